"""Saved searches: whose they are, what may be in them, and that each change is published in order."""

import asyncio
from typing import Any
from uuid import UUID

from common.events import SubscriptionSaved
from common.search import InComune, PriceDrop, SubscriptionStatus

from .conftest import Api, Renter

ROMA = "058091"
BOLZANO = "021008"


def draft(**search: Any) -> dict[str, Any]:
    return {"name": "Bilocale", "search": {"places": ["Roma"], **search}}


async def saved(renter: Renter, **search: Any) -> dict[str, Any]:
    answer = await renter.call("POST", "/subscriptions", json=draft(**search))
    assert answer.status_code == 201, answer.text
    subscription: dict[str, Any] = answer.json()
    return subscription


async def revisions(api: Api) -> list[int | None]:
    events = await api.events(api.topics.subscriptions)
    return [event.subscription.revision if isinstance(event, SubscriptionSaved) else None for event in events]


async def test_a_search_lives_from_creation_to_tombstone(api: Api) -> None:
    renter = await api.renter()
    created = await saved(renter, rent={"maximum_cents": 120_000})
    address = f"/subscriptions/{created['subscription_id']}"
    assert (await renter.call("GET", address)).json() == created

    await renter.call("PUT", address, json={"name": "Trilocale", "search": {"places": ["Bolzano"]}})
    await renter.call("PATCH", address, json={"alerts": ["new"]})
    assert (await renter.call("POST", f"{address}/pause")).json()["status"] == "paused"
    await renter.call("POST", f"{address}/pause")
    assert (await renter.call("POST", f"{address}/resume")).json()["revision"] == 5
    assert (await renter.call("DELETE", address)).status_code == 204
    assert (await renter.call("GET", address)).status_code == 404

    events = await api.events(api.topics.subscriptions)
    assert events[-1] is None
    changes = [event.subscription for event in events if isinstance(event, SubscriptionSaved)]
    assert [change.revision for change in changes] == [1, 2, 3, 4, 5]
    assert changes[1].search.places == (InComune(code=BOLZANO),)
    assert changes[1].search.rent is None
    assert [change.status for change in changes[3:]] == [SubscriptionStatus.PAUSED, SubscriptionStatus.ACTIVE]


async def test_a_search_says_from_how_much_a_price_drop_is_told(api: Api) -> None:
    renter = await api.renter()
    created = await saved(renter)
    assert created["price_drop"] == {"percent": 1, "cents": 0}
    address = f"/subscriptions/{created['subscription_id']}"
    changed = await renter.call("PATCH", address, json={"price_drop": {"percent": 5, "cents": 50_00}})
    assert changed.json()["price_drop"] == {"percent": 5, "cents": 50_00}
    assert (await renter.call("GET", address)).json() == changed.json()
    wrong = await renter.call("PATCH", address, json={"price_drop": {"percent": 100}})
    assert wrong.status_code == 422
    last = (await api.events(api.topics.subscriptions))[-1]
    assert isinstance(last, SubscriptionSaved)
    assert last.subscription.price_drop == PriceDrop(percent=5, cents=50_00)


async def test_changes_at_the_same_moment_get_growing_revisions_and_are_published_in_that_order(api: Api) -> None:
    renter = await api.renter()
    created = await saved(renter)
    address = f"/subscriptions/{created['subscription_id']}"
    answers = await asyncio.gather(
        *(renter.call("PATCH", address, json={"name": f"Name {number}"}) for number in range(12))
    )
    assert sorted(answer.json()["revision"] for answer in answers) == list(range(2, 14))
    assert await revisions(api) == list(range(1, 14))


async def test_somebody_elses_search_cannot_be_told_from_one_that_does_not_exist(api: Api) -> None:
    owner, other = await api.renter(), await api.renter()
    address = f"/subscriptions/{(await saved(owner))['subscription_id']}"
    nothing = f"/subscriptions/{UUID(int=1)}"
    for method, path, body in [
        ("GET", "", None),
        ("PUT", "", draft()),
        ("PATCH", "", {"name": "Mine"}),
        ("DELETE", "", None),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
    ]:
        answers = [await other.call(method, where + path, json=body) for where in (address, nothing)]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()
    assert (await other.call("GET", "/subscriptions")).json() == {"items": [], "next": None}
    assert (await api.http.get(f"/api/v1{address}")).status_code == 401
    assert await revisions(api) == [1]


async def test_searches_are_listed_in_pages_that_new_ones_do_not_shift(api: Api) -> None:
    renter = await api.renter()
    ids = [(await saved(renter))["subscription_id"] for _ in range(5)]
    first = (await renter.call("GET", "/subscriptions?limit=3")).json()
    ids.append((await saved(renter))["subscription_id"])
    second = (await renter.call("GET", f"/subscriptions?limit=3&after={first['next']}")).json()
    assert [item["subscription_id"] for item in first["items"] + second["items"]] == ids
    assert second["next"] is None
    assert (await renter.call("GET", "/subscriptions?after=nonsense")).json()["errors"][0]["parameter"] == "after"


async def test_roma_is_one_comune_and_a_bilingual_name_is_known(api: Api) -> None:
    renter = await api.renter()
    for name, code in [("Roma", ROMA), ("Bolzano", BOLZANO), ("Bozen", BOLZANO)]:
        assert (await saved(renter, places=[name]))["search"]["places"] == [
            {"kind": "comune", "code": code, "zones": []}
        ]
    zoned = await saved(renter, places=[{"name": "Roma", "zones": ["Trastevere"]}])
    assert zoned["search"]["places"][0] == {"kind": "comune", "code": ROMA, "zones": ["Trastevere"]}


async def test_a_name_that_two_comuni_bear_is_asked_about_and_the_province_decides(api: Api) -> None:
    renter = await api.renter()
    refused = await renter.call("POST", "/subscriptions", json=draft(places=["Roma", "Castro"]))
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["pointer"] == "/search/places/1"
    assert "BG" in error["detail"]
    assert "LE" in error["detail"]
    decided = await saved(renter, places=[{"name": "Castro", "province": "BG"}])
    assert decided["search"]["places"][0]["code"] == "016065"


async def test_a_search_that_makes_no_sense_is_refused_by_field(api: Api) -> None:
    renter = await api.renter()
    refused: list[tuple[dict[str, Any], list[str]]] = [
        ({"places": []}, ["/search/places"]),
        ({"places": ["Atlantide"]}, ["/search/places/0"]),
        ({"places": [{"kind": "comune", "code": "999999"}]}, ["/search/places/0"]),
        ({"places": [{"kind": "comune", "code": ROMA, "zone": "x"}]}, ["/search/places/0/zone"]),
        ({"places": [{"kind": "circle", "radius_m": 5}]}, ["/search/places/0/centre"]),
        ({"places": [{"kind": "planet"}]}, ["/search/places/0"]),
        ({"rooms": {"minimum": 3, "maximum": 2}}, ["/search/rooms"]),
        ({"rent": {"maximum": 900}}, ["/search/rent/maximum"]),
        ({"max_rent": 900}, ["/search/max_rent"]),
        (
            {"rent": {"maximum_cents": "much"}, "contracts": ["5+5"]},
            ["/search/rent/maximum_cents", "/search/contracts/0"],
        ),
    ]
    for search, pointers in refused:
        answer = await renter.call("POST", "/subscriptions", json=draft(**search))
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert [error["pointer"] for error in answer.json()["errors"]] == pointers, answer.text
    assert (await renter.call("GET", "/subscriptions")).json()["items"] == []
