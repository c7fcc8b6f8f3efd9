"""Searches that are read at once are what their models say; what is unusual is left to the models."""

from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from common.events import SubscriptionSaved
from common.rules import RULES
from common.search import Alert, PriceDrop, Search, Subscription, SubscriptionStatus
from matcher.index import Index
from matcher.question import COLUMNS, PLACE
from matcher.reading import FIELD_OF, SearchReader
from matcher.register import Filed
from matcher.wanted_places import PlaceWish
from testkit.factories import make_subscription
from testkit.strategies import listings, searches_near

seeded = settings(derandomize=True, deadline=None, max_examples=150)

subscriptions = st.builds(
    Subscription,
    subscription_id=st.uuids(),
    user_id=st.uuids(),
    revision=st.integers(1, 2**63 - 1),
    name=st.text(min_size=1, max_size=120).filter(lambda name: "\0" not in name),
    status=st.sampled_from(SubscriptionStatus),
    alerts=st.frozensets(st.sampled_from(Alert)),
    price_drop=st.builds(PriceDrop, percent=st.integers(0, 99), cents=st.integers(0, 100_000_000)),
    search=listings().flatmap(searches_near),
)


def read(subscription: Subscription, **changes: Any) -> Filed | None:
    value = orjson.loads(SubscriptionSaved(subscription=subscription).model_dump_json())
    value["subscription"] |= changes
    return SearchReader(Index().criteria).read(orjson.dumps(value), str(subscription.subscription_id).encode())


@seeded
@given(subscriptions)
def test_what_is_read_at_once_is_what_the_model_holds(subscription: Subscription) -> None:
    criteria = Index().criteria
    value = SubscriptionSaved(subscription=subscription).model_dump_json().encode()
    filed = SearchReader(criteria).read(value, str(subscription.subscription_id).encode())
    assert filed is not None
    assert UUID(bytes=filed.subscription_id) == subscription.subscription_id
    assert UUID(bytes=filed.user_id) == subscription.user_id
    assert (filed.revision, filed.active) == (subscription.revision, subscription.active)
    assert {each for bit, each in enumerate(Alert) if filed.alerts >> bit & 1} == subscription.alerts
    assert filed.price_drop == (subscription.price_drop.percent, subscription.price_drop.cents)
    assert filed.name == to_json(subscription.name)
    assert filed.place.parts == PlaceWish.of(subscription.search.places, filed.place.policy).parts
    assert PLACE not in filed.wishes
    for column, rule in enumerate(COLUMNS):
        wished = criteria[column].wishes[filed.wishes.get(column, 0)]
        if column != PLACE:
            assert (wished.asked if wished else None) == rule.asks(subscription.search)
            assert wished is None or wished.policy is rule.policy(subscription.search)


def test_every_field_of_a_search_is_read_for_its_criterion() -> None:
    """A search whose field nobody reads would match what it does not want."""
    assert set(FIELD_OF.values()) == Search.model_fields.keys() - {"unknown"}
    assert list(FIELD_OF) == [rule.criterion for rule in RULES[1:]]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": 5},
        {"name": "x" * 121},
        {"revision": 0},
        {"revision": "1"},
        {"revision": 2**63},
        {"revision": True},
        {"user_id": "0a7c0f8e52f44c0b9a0e3d1f5b6c7d01"},
        {"user_id": None},
        {"status": "asleep"},
        {"alerts": ["everything"]},
        {"alerts": None},
        {"price_drop": {"percent": 100, "cents": 0}},
        {"price_drop": None},
        {"search": {}},
        {"search": {"places": []}},
        {"search": {"places": [{"kind": "comune", "code": "Roma"}]}},
        {"search": {"places": [{"kind": "comune", "code": "058091"}], "rooms": {"minimum": 4, "maximum": 2}}},
        {"search": {"places": [{"kind": "comune", "code": "058091"}], "rent": 900}},
        {"search": {"places": [{"kind": "comune", "code": "058091"}], "unknown": {"rent": "guess"}}},
        {"search": {"places": [{"kind": "comune", "code": "058091"}], "unknown": {"smell": "fail"}}},
    ],
)
def test_what_is_unusual_or_wrong_is_left_to_the_models(changes: dict[str, Any]) -> None:
    assert read(make_subscription()) is not None
    assert read(make_subscription(), **changes) is None


def test_a_bound_of_nought_restricts() -> None:
    subscription = make_subscription(search={"places": [{"kind": "province", "code": "MI"}], "deposit_max_cents": 0})
    filed = read(subscription)
    assert filed
    assert list(filed.wishes.values()) == [1]


def test_a_record_whose_key_is_not_its_search_is_left_to_the_models() -> None:
    value = SubscriptionSaved(subscription=make_subscription()).model_dump_json().encode()
    assert SearchReader(Index().criteria).read(value, str(UUID(int=7)).encode()) is None
    assert SearchReader(Index().criteria).read(b"[]", b"") is None
    assert SearchReader(Index().criteria).read(b"{", b"") is None
