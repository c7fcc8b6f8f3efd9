"""Searches: listed, made, changed, paused, deleted."""

import datetime as dt
from http import HTTPStatus
from typing import Final
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response

from api import rates
from api.pages.forms import Form, Sent
from api.pages.search_form import ALWAYS_KNOWN, KINDS, NEW, commute_rows, decides_unknown, draft_of, form_of, uses_more
from api.pages.visits import Member, SignedIn
from api.previews import TooWide, Trial
from api.problems import unknown
from api.searches import SubscriptionDraft
from api.subscriptions import TooManySubscriptions
from api.verdict_words import gains_of, lines_of
from common.rules import RULES
from common.search import Subscription, SubscriptionStatus

router = APIRouter(prefix="/searches")

MOST_SHOWN: Final = 100
POLICIES: Final = {rule.criterion: rule.unknown for rule in RULES if rule.criterion not in ALWAYS_KNOWN}


@router.get("")
async def listed(member: SignedIn) -> Response:
    searches, _ = await member.services.subscriptions.of(member.user_id, None, MOST_SHOWN)
    return member.page("searches.html", searches=searches)


@router.get("/new")
async def blank(member: SignedIn) -> Response:
    return _page(member, NEW, None)


@router.post("/new")
async def create(member: SignedIn, form: Sent) -> Response:
    if form.value("more"):
        return _page(member, _with_another_row(form), None)
    draft = draft_of(form, member.said)
    if isinstance(draft, Form):
        return _page(member, draft, None)
    if form.value("try"):
        return _page(member, form, None, await _tried(member, draft))
    try:
        await member.services.previews.check(draft.search.search(), dt.datetime.now(dt.UTC))
        await member.services.subscriptions.create(member.user_id, draft.fields())
    except TooWide:
        return _page(member, form.refused(_too_wide(member)), None, await _tried(member, draft))
    except TooManySubscriptions:
        return _page(member, form.refused({"name": member.said.faults.too_many_searches}), None)
    return member.go("/searches", "search_created")


@router.get("/{subscription_id}")
async def filled(member: SignedIn, subscription_id: UUID) -> Response:
    subscription = await _own(member, subscription_id)
    return _page(member, form_of(subscription), subscription)


@router.post("/{subscription_id}")
async def change(member: SignedIn, subscription_id: UUID, form: Sent) -> Response:
    subscription = await _own(member, subscription_id)
    if form.value("more"):
        return _page(member, _with_another_row(form), subscription)
    draft = draft_of(form, member.said)
    if isinstance(draft, Form):
        return _page(member, draft, subscription)
    if form.value("try"):
        return _page(member, form, subscription, await _tried(member, draft))
    try:
        await member.services.previews.check(draft.search.search(), dt.datetime.now(dt.UTC))
    except TooWide:
        return _page(member, form.refused(_too_wide(member)), subscription, await _tried(member, draft))
    await member.services.subscriptions.change(member.user_id, subscription_id, draft.fields())
    return member.go("/searches", "search_saved")


@router.post("/{subscription_id}/pause")
async def pause(member: SignedIn, subscription_id: UUID, _form: Sent) -> Response:
    return await _turned(member, subscription_id, SubscriptionStatus.PAUSED)


@router.post("/{subscription_id}/resume")
async def resume(member: SignedIn, subscription_id: UUID, _form: Sent) -> Response:
    return await _turned(member, subscription_id, SubscriptionStatus.ACTIVE)


@router.get("/{subscription_id}/delete")
async def ask_before_deleting(member: SignedIn, subscription_id: UUID) -> Response:
    return member.page("search_delete.html", search=await _own(member, subscription_id))


@router.post("/{subscription_id}/delete")
async def delete(member: SignedIn, subscription_id: UUID, _form: Sent) -> Response:
    if not await member.services.subscriptions.delete(member.user_id, subscription_id):
        raise unknown("subscription")
    return member.go("/searches", "search_deleted")


async def _own(member: Member, subscription_id: UUID) -> Subscription:
    subscription = await member.services.subscriptions.one(member.user_id, subscription_id)
    if subscription is None:
        raise unknown("subscription")
    return subscription


async def _turned(member: Member, subscription_id: UUID, status: SubscriptionStatus) -> Response:
    if await member.services.subscriptions.set_status(member.user_id, subscription_id, status) is None:
        raise unknown("subscription")
    return member.go("/searches", f"search_{status}")


def _with_another_row(form: Form) -> Form:
    """One more place can be given; what was typed stays."""
    return Form({**form.values, "place": [*form.values.get("place", []), ""]})


async def _tried(member: Member, draft: SubscriptionDraft) -> Trial:
    await member.services.rates.spend(rates.PREVIEWS, str(member.user_id))
    return await member.services.previews.of(draft.search.search(), member.renter, dt.datetime.now(dt.UTC))


def _too_wide(member: Member) -> dict[str, str]:
    return {"place_0": member.said.faults.too_wide}


def _page(member: Member, form: Form, search: Subscription | None, trial: Trial | None = None) -> Response:
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.faults else HTTPStatus.OK
    return member.page(
        "search.html",
        status,
        form=form,
        search=search,
        kinds=KINDS,
        kept=[name for each in ALWAYS_KNOWN if form.value(name := f"unknown_{each}")],
        policies=POLICIES,
        commute_rows=commute_rows(form),
        uses_more=uses_more(form),
        decides_unknown=decides_unknown(form),
        trial=trial,
        gains=gains_of(trial.search, trial.effects, member.language) if trial else [],
        lines_of=lambda listing: lines_of(trial.search, listing, member.language) if trial else [],
    )
