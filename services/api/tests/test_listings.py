"""Listings from producers: accepted when Kafka has them, refused by index and field."""

import json
from typing import Any

import httpx

from common.events import ListingPublished
from testkit.factories import make_listing

from .conftest import PRODUCER_KEY, Api


async def post(api: Api, sent: object, **headers: str) -> httpx.Response:
    return await api.http.post("/api/v1/listings", json=sent, headers=headers or {"X-Api-Key": PRODUCER_KEY})


def as_json(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(make_listing(**changes).model_dump_json(exclude_none=True))
    return value


async def test_one_listing_or_a_list_is_on_kafka_when_it_is_accepted(api: Api) -> None:
    one = await post(api, as_json())
    several = await post(
        api,
        [as_json(listing_id=f"idealista.it:{number}", source="idealista.it") for number in range(500)],
        Authorization=f"Bearer {PRODUCER_KEY}",
    )
    assert (one.status_code, one.json()) == (202, {"accepted": 1})
    assert (several.status_code, several.json()) == (202, {"accepted": 500})
    events = await api.events(api.topics.listings)
    assert len(events) == 501
    assert ListingPublished(listing=make_listing()) in events


async def test_what_is_wrong_is_named_by_index_and_field_and_nothing_is_published(api: Api) -> None:
    wrong = [
        as_json(),
        {**as_json(), "rooms": "3"},
        {**as_json(), "price": 900, "rent": {"amount_cents": 90_000.5}},
        {**as_json(), "published_at": "2026-11-20T09:30:00"},
        {"listing_id": "x:1"},
    ]
    answer = await post(api, wrong)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [
        "/1/rooms",
        "/2/rent/amount_cents",
        "/2/price",
        "/3/published_at",
        "/4/version",
        "/4/source",
    ]
    assert [(await post(api, [])).status_code, (await post(api, [as_json()] * 501)).status_code] == [422, 422]
    assert (await post(api, {**as_json(), "comune": "Roma"})).json()["errors"][0]["pointer"] == "/comune"
    assert await api.events(api.topics.listings) == []
