"""Saved searches as the index takes them, read from JSON without making their models.

What a search says of one criterion is validated by its model when it is met first, and remembered. Whatever looks
unusual is left to the models: they take it or say what is wrong with it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError
from pydantic_core import to_json

from common.search import Alert, Criterion, PriceDrop, Search, Subscription, SubscriptionStatus, UnknownPolicy
from matcher.question import COLUMNS, PLACE
from matcher.register import Filed
from matcher.verdicts import Wish, Wishes
from matcher.wanted_places import PlaceWish

FIELD_OF: Final[Mapping[Criterion, str]] = {
    Criterion.PLACE: "places",
    Criterion.SOURCE: "sources",
    Criterion.RENT: "rent",
    Criterion.DEPOSIT: "deposit_max_cents",
    Criterion.CONTRACT: "contracts",
    Criterion.OFFERING: "offering",
    Criterion.PROPERTY_TYPE: "property_types",
    Criterion.ROOMS: "rooms",
    Criterion.BEDROOMS: "bedrooms",
    Criterion.BATHROOMS: "bathrooms",
    Criterion.AREA: "area_m2",
    Criterion.FLOOR: "floor",
    Criterion.FURNISHING: "furnishing",
    Criterion.FEATURES: "features",
    Criterion.ENERGY_CLASS: "energy_class",
    Criterion.ADVERTISER: "advertiser",
    Criterion.AVAILABILITY: "available_by",
    Criterion.COMMUTE: "commutes",
    Criterion.SIGNALS: "signals_unwanted",
    Criterion.KEYWORDS_WANTED: "keywords_wanted",
    Criterion.KEYWORDS_UNWANTED: "keywords_unwanted",
}
"""The field of a search that the rule of a criterion reads."""

MOST_REMEMBERED: Final = 1 << 16

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ACTIVE: Final = {status.value: status is SubscriptionStatus.ACTIVE for status in SubscriptionStatus}
_POLICIES: Final = {None, *(policy.value for policy in UnknownPolicy)}
_CRITERIA: Final = {criterion.value for criterion in Criterion}
_ALERT_BITS: Final = {alert.value: 1 << place for place, alert in enumerate(Alert)}
_FIELDS: Final = {
    FIELD_OF[rule.criterion]: (column, rule.criterion.value) for column, rule in enumerate(COLUMNS) if column != PLACE
}
_SOMEWHERE: Final = [{"kind": "province", "code": "RM"}]
_ANY_DROP: Final = PriceDrop().model_dump()
_LONGEST_NAME: Final = 120
_LARGEST_REVISION: Final = 2**63


_Key = tuple[str, str | None]


class _UnusualError(Exception):
    """The record may be valid, but it is not written as we write it."""


class SearchReader:
    """Reads searches for an index, whose numbers of wishes it uses."""

    def __init__(self, criteria: Sequence[Wishes]) -> None:
        self._criteria = criteria
        self._wishes: tuple[dict[_Key, int], ...] = tuple({} for _ in criteria)
        self._price_drops: dict[tuple[Any, Any], tuple[int, int]] = {}
        self._places: dict[_Key, PlaceWish] = {}

    def read(self, value: bytes, key: bytes) -> Filed | None:
        """The search that a record of `SubscriptionSaved` holds; None if the models must be asked."""
        try:
            subscription = orjson.loads(value)["subscription"]
            return self._filed(subscription) if subscription["subscription_id"].encode() == key else None
        except (_UnusualError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def filed(self, subscription: Subscription) -> Filed:
        return self._filed(subscription.model_dump(mode="json"))

    def _filed(self, raw: dict[str, Any]) -> Filed:
        name, revision = raw["name"], raw["revision"]
        if type(name) is not str or not 0 < len(name) <= _LONGEST_NAME:
            raise _UnusualError
        if type(revision) is not int or not 0 < revision < _LARGEST_REVISION:
            raise _UnusualError
        search = raw["search"]
        policies = search.get("unknown") or {}
        if not (policies.keys() <= _CRITERIA and _POLICIES.issuperset(policies.values())):
            raise _UnusualError
        return Filed(
            subscription_id=_id(raw["subscription_id"]),
            user_id=_id(raw["user_id"]),
            revision=revision,
            active=_ACTIVE[raw.get("status", SubscriptionStatus.ACTIVE)],
            alerts=sum({_ALERT_BITS[alert] for alert in raw["alerts"]}),
            price_drop=self._price_drop(raw.get("price_drop", _ANY_DROP)),
            name=to_json(name),
            place=self._place(search["places"], policies.get(Criterion.PLACE)),
            wishes=self._wished(search, policies),
        )

    def _wished(self, search: Mapping[str, Any], policies: Mapping[str, str | None]) -> dict[int, int]:
        wishes = {}
        for field, value in search.items():
            if value is not None and value != [] and field in _FIELDS:
                column, criterion = _FIELDS[field]
                if wish := self._wish(column, field, value, policies.get(criterion)):
                    wishes[column] = wish
        return wishes

    def _price_drop(self, raw: dict[str, Any]) -> tuple[int, int]:
        key = (raw["percent"], raw["cents"])
        if key not in self._price_drops:
            drop = PriceDrop.model_validate(raw)
            self._price_drops[key] = (drop.percent, drop.cents)
        return self._price_drops[key]

    def _wish(self, column: int, field: str, value: Any, policy: str | None) -> int:  # noqa: ANN401 - JSON
        key = _key(value, policy)
        number = self._wishes[column].get(key)
        if number is None:
            if len(self._wishes[column]) >= MOST_REMEMBERED:
                self._wishes[column].clear()
            number = self._wishes[column][key] = self._new_wish(column, field, value, policy)
        return number

    def _new_wish(self, column: int, field: str, value: Any, policy: str | None) -> int:  # noqa: ANN401 - JSON
        rule = COLUMNS[column]
        search = _search({"places": _SOMEWHERE, field: value}, rule.criterion, policy)
        asked = rule.asks(search)
        return 0 if asked is None else self._criteria[column].number(Wish(asked, rule.policy(search)))

    def _place(self, places: list[Any], policy: str | None) -> PlaceWish:
        key = _key(places, policy)
        wish = self._places.get(key)
        if wish is None:
            search = _search({"places": places}, Criterion.PLACE, policy)
            wish = PlaceWish.of(search.places, COLUMNS[PLACE].policy(search))
            if wish.is_named:  # hardly two searches want the same circle
                if len(self._places) >= MOST_REMEMBERED:
                    self._places.clear()
                self._places[key] = wish
        return wish


def _key(value: Any, policy: str | None) -> _Key:  # noqa: ANN401 - JSON
    return orjson.dumps(value).decode(), policy  # as text: the bytes would keep the kilobyte that was made for them


def _search(fields: dict[str, Any], criterion: Criterion, policy: str | None) -> Search:
    try:
        return Search.model_validate(fields | {"unknown": {criterion: policy} if policy else {}})
    except ValidationError as error:
        raise _UnusualError from error


def _id(text: str) -> bytes:
    if not _UUID.fullmatch(text):
        raise _UnusualError
    return bytes.fromhex(text.replace("-", ""))
