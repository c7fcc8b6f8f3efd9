"""What a search would bring before it is saved, and why a listing matches or does not."""

import datetime as dt
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest

from api import rates
from api.previews import TOO_WIDE_FROM
from common.events import ListingPublished
from common.explain import explain
from common.kafka import Publisher, Received
from common.listing import Appraisal, Listing, ListingStatus, Signal
from common.search import Search
from testkit.factories import make_listing, monthly
from testkit.waiting import eventually

from .conftest import Api, Renter

MILANO: dict[str, Any] = {"places": ["Milano"]}
NOW = dt.datetime.now(dt.UTC)


def draft(**search: Any) -> dict[str, Any]:
    return {"name": "Bilocale", "search": {**MILANO, **search}}


def offer(**changes: Any) -> Listing:
    return make_listing(**{"listing_id": f"casa.it:{uuid4()}", **changes})


async def record(api: Api, listings: Iterable[Listing], at: dt.datetime = NOW) -> None:
    """Let listings take effect, as the consumer would with records of that moment."""
    record = cast("Any", SimpleNamespace(timestamp=at.timestamp() * 1000))
    received = [Received(each.listing_id, ListingPublished(listing=each), record) for each in listings]
    await api.services.activity.record_listings(received)


async def previewed(renter: Renter, **search: Any) -> dict[str, Any]:
    answer = await renter.call("POST", "/subscriptions/preview", json=draft(**search))
    assert answer.status_code == 200, answer.text
    preview: dict[str, Any] = answer.json()
    return preview


def at_rome(days_ago: int, hour: int) -> dt.datetime:
    """A moment some days ago, far from any change of clocks: the hour of Italy's winter."""
    return (NOW - dt.timedelta(days=days_ago)).replace(hour=hour, minute=0, second=0) - dt.timedelta(hours=1)


async def test_a_search_is_tried_on_the_listings_of_two_weeks(api: Api) -> None:
    renter = await api.renter()
    await renter.call(
        "PATCH", "/me", json={"quiet_hours": {"start": "22:00", "end": "08:00"}, "interval_seconds": 3600}
    )
    await record(api, [offer(rent=monthly(900)) for _ in range(40)], NOW - dt.timedelta(days=20))
    await record(api, [offer(comune="058091")], at_rome(12, 12))
    await record(api, [offer(rent=monthly(900)), offer(rent=monthly(950))], at_rome(9, 12))
    await record(api, [offer(rent=monthly(1000), spese_cents=None)], at_rome(6, 23))
    await record(api, [offer(rent=monthly(1040), title="Dear")], at_rome(5, 12))
    await record(api, [offer(rent=monthly(1500))], at_rome(4, 12))

    preview = await previewed(renter, rent={"maximum_cents": 100_000})
    assert (preview["listings"], preview["matches"]) == (6, 3)
    assert preview["days"] == pytest.approx((NOW - at_rome(12, 12)).total_seconds() / 86_400, abs=0.1)
    assert preview["flats_a_day"] == pytest.approx(3 / preview["days"], abs=0.01)
    assert preview["flats_a_night"] == pytest.approx(1 / preview["days"], abs=0.01)
    assert preview["messages_a_day"] == pytest.approx(2 / preview["days"], abs=0.01)
    assert float(preview["cost"]["a_month"]) == pytest.approx(30 * preview["messages_a_day"] * 0.035, abs=0.02)
    assert preview["too_wide"] is None
    effects = {effect.pop("criterion"): effect for effect in preview["criteria"]}
    assert effects["rent"] == {
        "wanted": "at most 1,000 € a month with spese excluded",
        "excluded": 2,
        "more_if_dropped": 2,
        "looser": "at most 1,100 € a month with spese excluded",
        "more_if_looser": 1,
    }
    assert effects["place"]["more_if_dropped"] is None
    assert preview["strictest"] == "rent"
    assert [each["listing"]["rent"]["amount_cents"] for each in preview["last"]][:1] == [100_000]
    assert [each["listing"]["rent"]["amount_cents"] for each in preview["nearly"]] == [150_000, 104_000]
    verdicts = {verdict["criterion"]: verdict for verdict in preview["nearly"][0]["verdicts"]}
    assert verdicts["rent"]["decision"] == "fail"
    assert "found 1,500 €" in verdicts["rent"]["why"]
    assert (await renter.call("GET", "/subscriptions")).json()["items"] == []


async def test_what_we_notice_about_listings_counts_and_not_what_their_sources_say_of_it(api: Api) -> None:
    renter = await api.renter()
    flattered = Appraisal(signals=(Signal.SCAM_SIGNS,))
    await record(api, [offer(appraisal=flattered), offer(description="Sono all'estero: bonifico estero, grazie.")])
    preview = await previewed(renter, signals_unwanted=["scam_signs"])
    assert (preview["listings"], preview["matches"]) == (2, 1)
    assert [each["listing"]["signals"] for each in preview["last"] + preview["nearly"]] == [[], ["scam_signs"]]


async def test_a_newer_version_counts_in_place_of_the_one_before_and_a_withdrawn_one_as_it_was_offered(
    running_api: Api, producer: Publisher
) -> None:
    api, topic = running_api, running_api.topics.listings
    renter = await api.renter()
    dear, gone, never = offer(rent=monthly(2000)), offer(), offer(status=ListingStatus.WITHDRAWN)
    await producer.publish(topic, [ListingPublished(listing=each) for each in (dear, gone, never)])

    async def matches(expected: int) -> bool:
        preview = await previewed(renter, rent={"maximum_cents": 120_000})
        return bool((preview["listings"], preview["matches"]) == (2, expected))

    await eventually(lambda: matches(1))
    cheaper = dear.model_copy(update={"version": 2, "rent": monthly(1000)})
    withdrawn = gone.model_copy(update={"version": 2, "status": ListingStatus.WITHDRAWN, "rent": None})
    await producer.publish(topic, [ListingPublished(listing=each) for each in (cheaper, withdrawn)])
    await eventually(lambda: matches(2))


async def test_a_search_that_would_match_nearly_everything_is_refused_with_the_number(api: Api) -> None:
    renter = await api.renter()
    elsewhere = int(TOO_WIDE_FROM * 0.65)
    await record(api, [offer(comune="058091") for _ in range(elsewhere)])
    await record(api, [offer() for _ in range(TOO_WIDE_FROM - elsewhere)])
    wide, narrow = draft(), draft(rent={"maximum_cents": 50_000})
    assert "matches 350 of the 1,000" in (await previewed(renter))["too_wide"]
    saved = (await renter.call("POST", "/subscriptions", json=narrow)).json()
    address = f"/subscriptions/{saved['subscription_id']}"
    for method, path, body in [
        ("POST", "/subscriptions", wide),
        ("PUT", address, wide),
        ("PATCH", address, {"search": wide["search"]}),
    ]:
        refused = await renter.call(method, path, json=body)
        assert refused.status_code == 422
        problem = refused.json()
        assert problem["type"] == "urn:itarent:problem:too-wide"
        assert "35%" in problem["detail"]
        assert problem["errors"][0]["pointer"] == "/search"
    assert (await renter.call("GET", "/subscriptions")).json()["items"] == [saved]
    assert (await renter.call("PATCH", address, json={"name": "Ours"})).status_code == 200


async def test_of_few_listings_a_search_may_match_all(api: Api) -> None:
    renter = await api.renter()
    await record(api, [offer() for _ in range(5)])
    assert (await previewed(renter))["too_wide"] is None
    assert (await renter.call("POST", "/subscriptions", json=draft())).status_code == 201


async def explained(renter: Renter, subscription_id: object, listing_id: str) -> httpx.Response:
    return await renter.call("GET", f"/subscriptions/{subscription_id}/explain/{listing_id}")


async def test_its_owner_is_told_why_a_listing_matches_a_search_or_does_not(api: Api) -> None:
    owner, other = await api.renter(), await api.renter()
    listing = offer(listing_id="casa.it:a/b?c#d%2F", rent=monthly(1400))
    await record(api, [listing])
    search = {**MILANO, "rent": {"maximum_cents": 120_000}}
    created = await owner.call("POST", "/subscriptions", json={"name": "Bilocale", "search": search})
    subscription_id = created.json()["subscription_id"]
    encoded = "casa.it:a%2Fb%3Fc%23d%252F"

    answer = await explained(owner, subscription_id, encoded)
    expected = explain(Search.model_validate(created.json()["search"]), listing)
    assert answer.json() == {"matches": False, **expected.model_dump(mode="json")}

    gone = listing.model_copy(update={"version": 2, "status": ListingStatus.WITHDRAWN, "rent": None})
    await record(api, [gone])
    verdicts = (await explained(owner, subscription_id, encoded)).json()["verdicts"]
    decided = {verdict["criterion"]: verdict["decision"] for verdict in verdicts}
    assert (decided["status"], decided["rent"]) == ("fail", "fail")

    foreign = await explained(other, subscription_id, encoded)
    nowhere = await explained(other, UUID(int=1), encoded)
    assert foreign.status_code == nowhere.status_code == 404
    assert foreign.json() == nowhere.json()
    unknown = await explained(owner, subscription_id, "casa.it:unknown")
    assert unknown.status_code == 404
    assert unknown.json()["type"] == "urn:itarent:problem:unknown-listing"
    assert (await explained(owner, subscription_id, "x")).status_code == 422
    assert (await explained(owner, "not-an-id", encoded)).status_code == 404


async def test_who_tries_too_often_is_told_when_to_try_again(api: Api) -> None:
    renter, patient = await api.renter(), await api.renter()
    for _ in range(rates.PREVIEWS.amount):
        await api.services.rates.spend(rates.PREVIEWS, str(await renter.id()))
    refused = await renter.call("POST", "/subscriptions/preview", json=draft())
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert (await patient.call("POST", "/subscriptions/preview", json=draft())).status_code == 200


async def test_what_cannot_be_saved_cannot_be_tried(api: Api) -> None:
    renter = await api.renter()
    refused_at: list[tuple[dict[str, Any], str]] = [
        ({"places": []}, "/search/places"),
        ({"places": ["Castro"]}, "/search/places/0"),
        ({"rooms": {"minimum": 3, "maximum": 2}}, "/search/rooms"),
        ({"max_rent": 900}, "/search/max_rent"),
    ]
    for search, pointer in refused_at:
        refused = await renter.call("POST", "/subscriptions/preview", json=draft(**search))
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == pointer
    assert (await api.http.post("/api/v1/subscriptions/preview", json=draft())).status_code == 401


async def test_only_what_is_offered_at_the_address_of_previews_is_allowed_there(api: Api) -> None:
    renter = await api.renter()
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        refused = await renter.call(method, "/subscriptions/preview", json=draft())
        assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
