"""Saved searches."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from api.bodies import Body
from api.dependencies import User, Wired
from api.paging import After, Limit
from api.problems import Problem, may_answer, unknown
from api.searches import SubscriptionChange, SubscriptionDraft
from api.subscriptions import TooManySubscriptions
from common.search import Subscription, SubscriptionStatus

router = APIRouter(prefix="/api/v1/subscriptions", tags=["subscriptions"])


class SubscriptionPage(BaseModel):
    items: list[Subscription]
    next: str | None = Field(description="`after` of the next page; null on the last")


@router.post("", status_code=HTTPStatus.CREATED, responses=may_answer(409))
async def create(
    services: Wired, user_id: User, response: Response, draft: Annotated[SubscriptionDraft, Body(SubscriptionDraft)]
) -> Subscription:
    """Save a search."""
    try:
        created = await services.subscriptions.create(user_id, draft.fields())
    except TooManySubscriptions as error:
        raise Problem(HTTPStatus.CONFLICT, str(error.__doc__), kind="too-many-subscriptions") from None
    response.headers["Location"] = f"/api/v1/subscriptions/{created.subscription_id}"
    return created


@router.get("")
async def page(services: Wired, user_id: User, after: After, limit: Limit = 50) -> SubscriptionPage:
    """The caller's searches, in order of creation."""
    items, more = await services.subscriptions.of(user_id, after, limit)
    return SubscriptionPage(items=items, next=more.encoded() if more else None)


@router.get("/{subscription_id}")
async def one(services: Wired, user_id: User, subscription_id: UUID) -> Subscription:
    """One of the caller's searches."""
    return _found(await services.subscriptions.one(user_id, subscription_id))


@router.put("/{subscription_id}")
async def replace(
    services: Wired,
    user_id: User,
    subscription_id: UUID,
    draft: Annotated[SubscriptionDraft, Body(SubscriptionDraft)],
) -> Subscription:
    """Replace a search; whether it is paused stays as it is."""
    return _found(await services.subscriptions.change(user_id, subscription_id, draft.fields()))


@router.patch("/{subscription_id}")
async def change(
    services: Wired,
    user_id: User,
    subscription_id: UUID,
    sent: Annotated[SubscriptionChange, Body(SubscriptionChange)],
) -> Subscription:
    """Change the name, the alerts, the least price drop or the search; each is replaced as a whole."""
    return _found(await services.subscriptions.change(user_id, subscription_id, sent.fields()))


@router.delete("/{subscription_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete(services: Wired, user_id: User, subscription_id: UUID) -> None:
    """Delete a search: nothing more comes for it."""
    if not await services.subscriptions.delete(user_id, subscription_id):
        raise unknown("subscription")


@router.post("/{subscription_id}/pause")
async def pause(services: Wired, user_id: User, subscription_id: UUID) -> Subscription:
    """Send nothing for this search until it is resumed."""
    return _found(await services.subscriptions.set_status(user_id, subscription_id, SubscriptionStatus.PAUSED))


@router.post("/{subscription_id}/resume")
async def resume(services: Wired, user_id: User, subscription_id: UUID) -> Subscription:
    """Send for this search again."""
    return _found(await services.subscriptions.set_status(user_id, subscription_id, SubscriptionStatus.ACTIVE))


def _found(subscription: Subscription | None) -> Subscription:
    if subscription is None:
        raise unknown("subscription")
    return subscription
