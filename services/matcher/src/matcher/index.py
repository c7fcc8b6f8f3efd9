"""Searches by where they look, so that a listing meets few of them. `common.explain.match` alone is the verdict.

A search is filed under every place in which it can match; a listing looks under its comune, its province and the tile
of the map that it lies in. What a listing does not say is a place of its own, None: searches that let an unknown
place pass are filed there too.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from math import floor, inf
from typing import Final, NamedTuple
from uuid import UUID

from common.comuni import Comuni
from common.geo import box_of
from common.listing import Listing, SpeseTerm
from common.search import (
    Criterion,
    InCircle,
    InComune,
    InPolygon,
    InProvince,
    Place,
    Range,
    RentLimit,
    Search,
    Subscription,
    UnknownPolicy,
)

TILE_DEGREES: Final = 0.1
"""The side of a tile: about 11 km by 8 km."""

MOST_TILES: Final = 1_000
"""A place that spreads over more tiles than this is filed once, under ANYWHERE."""

ANYWHERE: Final = ("tile", "anywhere")


class Span(NamedTuple):
    """A closed interval, as searches want it and as listings are known to lie in it."""

    low: float = -inf
    high: float = inf


@dataclass(frozen=True, slots=True)
class _Filed:
    """A search with the bounds that refuse most listings, laid out flat: they are compared very often."""

    subscription: Subscription
    rent_low: float
    rent_high: float
    rooms_low: float
    rooms_high: float
    area_low: float
    area_high: float


class Index:
    """The searches of active subscriptions; the candidates for a listing are a few more than those that match it."""

    def __init__(self) -> None:
        self._filed: dict[Hashable, dict[UUID, _Filed]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, subscription: Subscription) -> None:
        """File a search; one of the same id must have been discarded before."""
        filed = _file(subscription)
        for place in _places_of(subscription.search):
            self._filed.setdefault(place, {})[subscription.subscription_id] = filed
        self._size += 1

    def discard(self, subscription: Subscription) -> None:
        for place in _places_of(subscription.search):
            filed = self._filed[place]
            del filed[subscription.subscription_id]
            if not filed:
                del self._filed[place]
        self._size -= 1

    def candidates(self, listing: Listing) -> Iterator[Subscription]:
        """Every search that may match the listing, once."""
        found = [filed for place in _places_of_listing(listing) if (filed := self._filed.get(place))]
        met: set[UUID] = set()
        for filed in found:
            likely = _likely(filed.values(), listing)
            yield from likely if not met else (each for each in likely if each.subscription_id not in met)
            if len(found) > 1:
                met.update(each.subscription_id for each in likely)


def _likely(filed: Iterable[_Filed], listing: Listing) -> list[Subscription]:
    """Without those that rent, rooms or area refuse for certain."""
    rent_low, rent_high = _rent_of(listing)
    rooms_low, rooms_high = _known(listing.rooms)
    if listing.rooms_or_more:
        rooms_high = inf
    area_low, area_high = _known(listing.area_m2)
    return [
        each.subscription
        for each in filed
        if each.rent_high >= rent_low
        and each.rooms_high >= rooms_low
        and each.rooms_low <= rooms_high
        and each.area_low <= area_high
        and each.area_high >= area_low
        and each.rent_low <= rent_high
    ]


def _file(subscription: Subscription) -> _Filed:
    search = subscription.search
    return _Filed(subscription, *_wanted_rent(search.rent), *_wanted(search.rooms), *_wanted(search.area_m2))


def _wanted(limits: Range | None) -> Span:
    return _span(limits.minimum, limits.maximum) if limits else Span()


def _wanted_rent(limit: RentLimit | None) -> Span:
    return _span(limit.minimum_cents, limit.maximum_cents) if limit else Span()


def _span(low: int | None, high: int | None) -> Span:
    return Span(-inf if low is None else low, inf if high is None else high)


def _known(value: int | None) -> Span:
    return Span() if value is None else Span(value, value)


def _rent_of(listing: Listing) -> Span:
    """From the least to the most that a search may take the rent for, with or without spese."""
    amount, spese = listing.monthly_rent_cents, listing.spese_cents
    if listing.rent is None or amount is None:
        return Span()
    most_spese = amount if spese is None else spese  # the rule bounds unknown spese by the canone
    if listing.rent.spese is SpeseTerm.INCLUDED:
        return Span(amount - most_spese, amount)
    return Span(amount, amount + most_spese)


def _places_of(search: Search) -> set[Hashable]:
    places = {each for place in search.places for each in _filed_under(place)}
    if search.unknown.get(Criterion.PLACE, UnknownPolicy.FAIL) is not UnknownPolicy.FAIL:
        places |= {(_kind(place), None) for place in search.places}
    return places


def _kind(place: Place) -> str:
    return "tile" if isinstance(place, InCircle | InPolygon) else place.kind


def _filed_under(place: Place) -> Iterator[Hashable]:
    match place:
        case InComune():
            yield "comune", Comuni.load().current(place.code)
        case InProvince():
            yield "province", place.code
        case InCircle() | InPolygon():
            yield from _tiles_of(place)


def _tiles_of(place: InCircle | InPolygon) -> Iterator[Hashable]:
    box = box_of(place)
    rows = range(_tile(box.south), _tile(box.north) + 1)
    columns = range(_tile(box.west), _tile(box.east) + 1)
    if len(rows) * len(columns) > MOST_TILES:
        yield ANYWHERE
    else:
        yield from (("tile", (row, column)) for row in rows for column in columns)


def _tile(degrees: float) -> int:
    return floor(degrees / TILE_DEGREES)


def _places_of_listing(listing: Listing) -> Iterator[Hashable]:
    comuni = Comuni.load()
    comune = comuni.by_code(listing.comune) if listing.comune else None
    yield "comune", comuni.current(listing.comune) if listing.comune else None
    yield "province", comune.province if comune else listing.province
    if listing.position is None:
        yield "tile", None
    else:
        yield "tile", (_tile(listing.position.latitude), _tile(listing.position.longitude))
        yield ANYWHERE
