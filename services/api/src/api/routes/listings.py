"""Listings from producers, who have a key."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field, RootModel, TypeAdapter

from api.bodies import ReadBody, received, validated
from api.dependencies import Wired
from api.problems import Problem
from api.security import is_key
from common.events import ListingPublished
from common.listing import Listing

router = APIRouter(prefix="/api/v1/listings", tags=["listings"])

MOST_AT_ONCE: Final = 500
ACKNOWLEDGED_WITHIN_S: Final = 15.0

Several = Annotated[list[Listing], Field(min_length=1, max_length=MOST_AT_ONCE)]

_ONE: Final[TypeAdapter[Listing]] = TypeAdapter(Listing)
_SEVERAL: Final[TypeAdapter[list[Listing]]] = TypeAdapter(Several)

ApiKey = Annotated[str | None, Depends(APIKeyHeader(name="X-Api-Key", scheme_name="ProducerKey", auto_error=False))]
BearerKey = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(scheme_name="ProducerBearer", description="the producer's key", auto_error=False)),
]


class Listings(RootModel[Listing | Several]):
    """One listing, or several."""


class Accepted(BaseModel):
    accepted: int


class _ReadListings(ReadBody):
    """Reads one or several, so that a fault's place is a place in what was sent."""

    def __init__(self) -> None:
        super().__init__(Listings)

    async def __call__(self, request: Request) -> list[Listing]:
        body = await received(request)
        if body.lstrip().startswith(b"["):
            return validated(_SEVERAL, body)
        return [validated(_ONE, body)]


def _producer(services: Wired, api_key: ApiKey, bearer: BearerKey) -> None:
    given = api_key or (bearer.credentials if bearer else "")
    if not is_key(given, services.settings.producer_key.get_secret_value()):
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "Send the producer's key: X-Api-Key: <key>, or Authorization: Bearer <key>.",
            kind="not-a-producer",
            headers={"WWW-Authenticate": "Bearer"},
        )


@router.post("", status_code=HTTPStatus.ACCEPTED, dependencies=[Depends(_producer)])
async def publish(services: Wired, listings: Annotated[list[Listing], Depends(_ReadListings())]) -> Accepted:
    """Publish one listing or a list of at most 500; all of them, or after a fault none.

    The answer comes when Kafka has them safely. Sending the same again is harmless.
    """
    async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
        await services.publisher.publish(
            services.settings.topics.listings, [ListingPublished(listing=listing) for listing in listings]
        )
    return Accepted(accepted=len(listings))
