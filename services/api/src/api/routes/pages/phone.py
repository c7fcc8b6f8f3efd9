"""My WhatsApp: claim a number, join the sandbox, prove it, test it, take it away. The page turns by itself."""

import datetime as dt
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from api.pages.forms import Form, Sent, faults_of
from api.pages.visits import Member, SignedIn
from api.phones import readable
from api.problems import Problem
from api.routes import whatsapp
from api.routes.whatsapp import LinkRequest, QrFile, VerifyRequest, WhatsappStatus
from api.words import counted

router = APIRouter(prefix="/phone")

MESSAGES_SHOWN: Final = 5


class State(BaseModel):
    """What the page shows, in a word that changes when anything of it does."""

    state: str


@router.get("")
async def page(member: SignedIn) -> Response:
    return await _page(member, Form())


@router.get("/state")
async def state(member: SignedIn) -> State:
    """Asked for again and again while the page is looked at."""
    return State(state=_state(await whatsapp.status(member.services, member.renter)))


@router.get("/qr.svg")
async def qr(member: SignedIn) -> Response:
    """The code to prove the claimed phone with, to be scanned by that phone."""
    return await whatsapp.link_qr(member.services, member.renter, QrFile.SVG)


@router.post("/link")
async def link(member: SignedIn, form: Sent) -> Response:
    try:
        sent = LinkRequest.model_validate(
            {"phone_number": form.value("phone_number"), "proof": form.value("proof") or None}
        )
        await whatsapp.link(member.services, member.renter, sent)
    except ValidationError as error:
        return await _page(member, form.refused(faults_of(error, member.said)))
    except Problem as problem:
        return await _refused(member, form, problem, "phone_number")
    return member.go("/phone")


@router.post("/verify")
async def verify(member: SignedIn, form: Sent) -> Response:
    try:
        await whatsapp.verify(member.services, member.renter, VerifyRequest(code=form.value("code")))
    except ValidationError as error:
        return await _page(member, form.refused(faults_of(error, member.said)))
    except Problem as problem:
        return await _refused(member, form, problem, "code")
    return member.go("/phone")


@router.post("/test")
async def test(member: SignedIn, _form: Sent) -> Response:
    await whatsapp.test(member.services, member.renter, whatsapp.TestRequest())
    return member.go("/phone", "test_sent")


@router.post("/unlink")
async def unlink(member: SignedIn, form: Sent) -> Response:
    """Take the number away; a claim that was not proven yet just ends."""
    await whatsapp.unlink(member.services, member.user_id)
    return member.go("/phone", "phone_unlinked" if form.value("linked") else None)


async def _refused(member: Member, form: Form, problem: Problem, field: str) -> Response:
    """What the API refuses with a conflict or a wrong code is said at the field."""
    said = member.said.faults
    match problem.details.type.removeprefix("urn:itarent:problem:"):
        case "wrong-code":
            known = await member.services.phones.link_of(member.renter, dt.datetime.now(dt.UTC))
            tries_left = known.claim.tries_left if known.claim else 0
            sentence = counted(said.code_wrong, tries_left, member.language) if tries_left else said.code_nothing
        case "no-code":
            sentence = said.code_nothing
        case "phone-refuses":
            sentence = said.phone_refuses
        case "our-number":
            sentence = said.our_number
        case _:
            raise problem
    return await _page(member, form.refused({field: sentence}))


async def _page(member: Member, form: Form) -> Response:
    status = await whatsapp.status(member.services, member.renter)
    return member.page(
        "phone.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if form.faults else HTTPStatus.OK,
        form=form,
        state=_state(status),
        link=status.link,
        window=status.window,
        stopped=status.stopped,
        messages=status.messages[:MESSAGES_SHOWN],
        hears_people=member.services.settings.hears_people,
        readable=readable,
    )


def _state(status: WhatsappStatus) -> str:
    link, newest = status.link, status.messages[0] if status.messages else None
    claimed = f"{link.claim.expires_at.timestamp():.0f}-{link.claim.tries_left}" if link.claim else ""
    message = f"{newest.message_id}-{newest.status}" if newest else ""
    return f"{link.state}/{status.stopped}/{link.phone_number is not None}/{claimed}/{message}"
