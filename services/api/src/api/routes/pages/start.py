"""The start page, and signing in and out."""

import datetime as dt
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import ValidationError

from api.pages.forms import Form, Sent, faults_of
from api.pages.visits import LANGUAGE, YEAR_S, Member, Visit, Visitor, own_path
from api.phones import readable
from api.problems import Problem
from api.routes import auth
from common.events import Language

router = APIRouter()

NEWEST: Final = 3
MOST_SEARCHES: Final = 100


@router.get("/")
async def start(visit: Visitor) -> Response:
    """What this is; for who is signed in, how things stand."""
    if visit.renter is None:
        return visit.page("welcome.html")
    return await _overview(Member.of(visit, visit.renter))


async def _overview(member: Member) -> Response:
    services = member.services
    searches, _ = await services.subscriptions.of(member.user_id, None, MOST_SEARCHES)
    newest, _ = await services.activity.of(member.user_id, None, NEWEST)
    summary = await services.statistics.of(member.user_id, member.renter.time_zone, dt.datetime.now(dt.UTC))
    return member.page("overview.html", searches=searches, newest=newest, summary=summary, readable=readable)


@router.get("/register")
async def registration(visit: Visitor) -> Response:
    return visit.go("/") if visit.renter else visit.page("register.html", form=Form())


@router.post("/register")
async def register(visit: Visitor, form: Sent) -> Response:
    """Create an account in the visitor's language, and sign in."""
    try:
        sent = auth.Registration(email=form.value("email"), password=form.raw("password"), language=visit.language)
        tokens = await auth.register(visit.request, visit.services, sent)
    except ValidationError as error:
        return _again(visit, "register.html", form.refused(faults_of(error, visit.said)))
    except Problem as problem:
        if problem.details.status != HTTPStatus.CONFLICT:
            raise
        return _again(visit, "register.html", form.refused({"email": visit.said.faults.email_taken}))
    return await _signed_in(visit, tokens, "/phone", "welcome")


@router.get("/sign-in")
async def sign_in_form(visit: Visitor, next: str = "/") -> Response:  # noqa: A002 - the parameter's name in addresses
    return visit.go(own_path(next)) if visit.renter else visit.page("sign_in.html", form=Form(), next=own_path(next))


@router.post("/sign-in")
async def sign_in(visit: Visitor, form: Sent) -> Response:
    """Sign in, and go on to the page that was asked for."""
    goal = own_path(form.value("next", "/"))
    try:
        sent = auth.SignIn(email=form.value("email"), password=form.raw("password"))
        tokens = await auth.sign_in(visit.request, visit.services, sent)
    except ValidationError as error:
        return _again(visit, "sign_in.html", form.refused(faults_of(error, visit.said)), next=goal)
    except Problem as problem:
        if problem.details.status != HTTPStatus.UNAUTHORIZED:
            raise
        return _again(visit, "sign_in.html", form.refused({"password": visit.said.faults.credentials}), next=goal)
    return await _signed_in(visit, tokens, goal)


@router.post("/sign-out")
async def sign_out(visit: Visitor, _form: Sent) -> Response:
    await visit.sign_out()
    return visit.go("/", "signed_out")


@router.post("/language")
async def choose_language(visit: Visitor, form: Sent) -> Response:
    """Another language from now on; for a renter, in messages too."""
    if (chosen := form.value("language")) in set(Language):
        visit.cookies.set(LANGUAGE, chosen, max_age=YEAR_S)
        if visit.renter:
            await visit.services.recipients.change(visit.renter.user_id, {"language": Language(chosen)})
    return visit.go(own_path(form.value("here", "/")))


async def _signed_in(visit: Visit, tokens: auth.Tokens, goal: str, notice: str | None = None) -> Response:
    """End the session that this browser may have had, and begin the new one."""
    await visit.sign_out()
    visit.sign_in(tokens.refresh_token)
    return visit.go(goal, notice)


def _again(visit: Visit, template: str, form: Form, **context: object) -> Response:
    return visit.page(template, HTTPStatus.UNPROCESSABLE_ENTITY, form=form, **context)
