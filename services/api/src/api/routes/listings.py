"""Listings from producers, who have a key."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel, Field, TypeAdapter

from api.bodies import received, validated
from api.dependencies import Credentials, Wired
from api.problems import Problem
from api.security import is_key
from common.events import ListingPublished
from common.listing import Listing

router = APIRouter(prefix="/api/v1/listings", tags=["listings"])

MOST_AT_ONCE: Final = 500
ACKNOWLEDGED_WITHIN_S: Final = 15.0

_ONE: Final[TypeAdapter[Listing]] = TypeAdapter(Listing)
_SEVERAL: Final[TypeAdapter[list[Listing]]] = TypeAdapter(
    Annotated[list[Listing], Field(min_length=1, max_length=MOST_AT_ONCE)]
)


class Accepted(BaseModel):
    accepted: int


def _producer(services: Wired, credentials: Credentials, x_api_key: Annotated[str | None, Header()] = None) -> None:
    given = x_api_key or (credentials.credentials if credentials else "")
    if not is_key(given, services.settings.producer_key.get_secret_value()):
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "Send the producer's key: X-Api-Key: <key>, or Authorization: Bearer <key>.",
            kind="not-a-producer",
            headers={"WWW-Authenticate": "Bearer"},
        )


@router.post("", status_code=HTTPStatus.ACCEPTED, dependencies=[Depends(_producer)])
async def publish(services: Wired, request: Request) -> Accepted:
    """Publish one listing or a list of at most 500; all of them, or after a fault none.

    The answer comes when Kafka has them safely. Sending the same again is harmless.
    """
    listings = _listings(await received(request))
    async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
        await services.publisher.publish(
            services.settings.topics.listings, [ListingPublished(listing=listing) for listing in listings]
        )
    return Accepted(accepted=len(listings))


def _listings(body: bytes) -> list[Listing]:
    if body.lstrip().startswith(b"["):
        return validated(_SEVERAL, body, strict=True)
    return [validated(_ONE, body, strict=True)]
