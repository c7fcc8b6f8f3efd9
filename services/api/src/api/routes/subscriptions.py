"""Saved searches, and what they would find."""

import datetime as dt
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api import rates
from api.bodies import Body
from api.dependencies import Caller, Services, User, Wired
from api.paging import After, Limit
from api.previews import Preview, TooWide
from api.problems import Fault, Problem, may_answer, unknown
from api.searches import SubscriptionChange, SubscriptionDraft
from api.subscriptions import TooManySubscriptions
from common.explain import Verdict, explain
from common.listing import ListingId
from common.search import Search, Subscription, SubscriptionStatus

router = APIRouter(prefix="/api/v1/subscriptions", tags=["subscriptions"])


class SubscriptionPage(BaseModel):
    items: list[Subscription]
    next: str | None = Field(description="`after` of the next page; null on the last")


class ListingExplained(BaseModel):
    """What each criterion of a search says of a listing."""

    matches: bool
    verdicts: tuple[Verdict, ...]


@router.post("", status_code=HTTPStatus.CREATED, responses=may_answer(409))
async def create(
    services: Wired, user_id: User, response: Response, draft: Annotated[SubscriptionDraft, Body(SubscriptionDraft)]
) -> Subscription:
    """Save a search. One that would match nearly everything is refused: `too-wide`."""
    fields = draft.fields()
    await _refuse_if_too_wide(services, fields["search"])
    try:
        created = await services.subscriptions.create(user_id, fields)
    except TooManySubscriptions as error:
        raise Problem(HTTPStatus.CONFLICT, str(error.__doc__), kind="too-many-subscriptions") from None
    response.headers["Location"] = f"/api/v1/subscriptions/{created.subscription_id}"
    return created


@router.get("")
async def page(services: Wired, user_id: User, after: After, limit: Limit = 50) -> SubscriptionPage:
    """The caller's searches, in order of creation."""
    items, more = await services.subscriptions.of(user_id, after, limit)
    return SubscriptionPage(items=items, next=more.encoded() if more else None)


@router.post("/preview", responses=may_answer(429))
async def preview(
    services: Wired, renter: Caller, draft: Annotated[SubscriptionDraft, Body(SubscriptionDraft)]
) -> Preview:
    """Try a search without saving it: what the last 14 days would have brought, and what keeps how many flats away."""
    await services.rates.spend(rates.PREVIEWS, str(renter.user_id))
    search = draft.fields()["search"]
    return Preview.of(await services.previews.of(search, renter, dt.datetime.now(dt.UTC)))


@router.get("/{subscription_id:uuid}")
async def one(services: Wired, user_id: User, subscription_id: UUID) -> Subscription:
    """One of the caller's searches."""
    return _found(await services.subscriptions.one(user_id, subscription_id))


@router.put("/{subscription_id:uuid}")
async def replace(
    services: Wired,
    user_id: User,
    subscription_id: UUID,
    draft: Annotated[SubscriptionDraft, Body(SubscriptionDraft)],
) -> Subscription:
    """Replace a search; whether it is paused stays as it is."""
    return _found(await _changed(services, user_id, subscription_id, draft.fields()))


@router.patch("/{subscription_id:uuid}")
async def change(
    services: Wired,
    user_id: User,
    subscription_id: UUID,
    sent: Annotated[SubscriptionChange, Body(SubscriptionChange)],
) -> Subscription:
    """Change the name, the alerts, the least price drop or the search; each is replaced as a whole."""
    return _found(await _changed(services, user_id, subscription_id, sent.fields()))


@router.get("/{subscription_id:uuid}/explain/{listing_id:path}", responses=may_answer(404))
async def explain_listing(
    services: Wired, user_id: User, subscription_id: UUID, listing_id: ListingId
) -> ListingExplained:
    """Why a listing of the last 30 days matches one of the caller's searches, or does not: each criterion's verdict."""
    subscription = _found(await services.subscriptions.one(user_id, subscription_id))
    listing = await services.recent.one(listing_id)
    if listing is None:
        raise Problem(HTTPStatus.NOT_FOUND, "No listing of the last 30 days has this id.", kind="unknown-listing")
    explanation = explain(subscription.search, listing)
    return ListingExplained(matches=explanation.matches, verdicts=explanation.verdicts)


@router.delete("/{subscription_id:uuid}", status_code=HTTPStatus.NO_CONTENT)
async def delete(services: Wired, user_id: User, subscription_id: UUID) -> None:
    """Delete a search: nothing more comes for it."""
    if not await services.subscriptions.delete(user_id, subscription_id):
        raise unknown("subscription")


@router.post("/{subscription_id:uuid}/pause")
async def pause(services: Wired, user_id: User, subscription_id: UUID) -> Subscription:
    """Send nothing for this search until it is resumed."""
    return _found(await services.subscriptions.set_status(user_id, subscription_id, SubscriptionStatus.PAUSED))


@router.post("/{subscription_id:uuid}/resume")
async def resume(services: Wired, user_id: User, subscription_id: UUID) -> Subscription:
    """Send for this search again."""
    return _found(await services.subscriptions.set_status(user_id, subscription_id, SubscriptionStatus.ACTIVE))


async def _changed(
    services: Services, user_id: UUID, subscription_id: UUID, fields: dict[str, Any]
) -> Subscription | None:
    if "search" in fields:
        await _refuse_if_too_wide(services, fields["search"])
    return await services.subscriptions.change(user_id, subscription_id, fields)


async def _refuse_if_too_wide(services: Services, search: Search) -> None:
    try:
        await services.previews.check(search, dt.datetime.now(dt.UTC))
    except TooWide as error:
        faults = [Fault(pointer="/search", detail=str(error))]
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), kind="too-wide", errors=faults) from None


def _found(subscription: Subscription | None) -> Subscription:
    if subscription is None:
        raise unknown("subscription")
    return subscription
