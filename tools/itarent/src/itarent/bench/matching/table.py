"""Searches as rows of a table, and a listing as what it must be compared with: what the peers are given.

A search has a row for each place in which it can match, under the place's key. What has few values is a bit for each
value, set where the search accepts it (unknown is a value), what has many is a pair of bounds. So a listing that looks
under its keys finds its matches by comparisons alone, but for circles, polygons and keywords: such rows are `refined`,
that is, judged once more by the rules of `common.rules`.

A rent may be known to lie between two amounts only. What it is compared with depends on whether the search means spese
to be included and whether it lets the unknown pass: there are four classes of searches, and the class is in the key.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import ceil, floor
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from common.comuni import Comuni
from common.explain import Decision, decide
from common.geo import box_of
from common.listing import (
    AdvertiserKind,
    ContractType,
    EnergyClass,
    Feature,
    Floor,
    FloorKind,
    Furnishing,
    Listing,
    Offering,
    PropertyType,
)
from common.rules import RULES, Cost, Rooms, comparable_rent
from common.search import Criterion, InCircle, InComune, InPolygon, InProvince, Place, UnknownPolicy
from common.text import fold, fold_phrase
from itarent.bench.matching.oracle import Numbers, Wishes
from itarent.bench.matching.searches import Piece, Searches
from itarent.bench.matching.supply import SOURCES

MOST: Final = 2**31 - 1
"""An open bound; all else is less."""

WORDS: Final = 3
WORD_BITS: Final = 62
"""Bits are kept in three integers, none of which is negative."""

CLASSES: Final[Sequence[tuple[Literal["excluded", "included"], bool]]] = (
    *(("excluded", False), ("excluded", True)),
    *(("included", False), ("included", True)),
)
"""Of rents: what the limit means by spese, and whether an unknown value fails."""

_RULES: Final = {rule.criterion: rule for rule in RULES}
_REFINED: Final = (Criterion.PLACE, Criterion.KEYWORDS_WANTED, Criterion.KEYWORDS_UNWANTED)

Bits = int
"""A set of values."""


# What has few values


MOST_COUNTED: Final = 10
"""Rooms, floors and the like: no search has a bound above it, so that more is the same to all of them."""


def _floors() -> list[Floor]:
    high = (FloorKind.NUMBERED, FloorKind.ATTICO)
    numbered = [Floor(kind=kind, number=number) for kind in high for number in range(MOST_COUNTED + 1)]
    return [Floor(kind=kind) for kind in FloorKind] + numbered


_VALUES: Final[Mapping[Criterion, Sequence[Any]]] = {
    Criterion.SOURCE: SOURCES,
    Criterion.CONTRACT: [None, *ContractType],
    Criterion.OFFERING: [None, *Offering],
    Criterion.PROPERTY_TYPE: [None, *PropertyType],
    Criterion.ROOMS: [Rooms(None, False), *map(Rooms._make, product(range(1, MOST_COUNTED + 1), (False, True)))],
    Criterion.BEDROOMS: [None, *range(MOST_COUNTED + 1)],
    Criterion.BATHROOMS: [None, *range(MOST_COUNTED + 1)],
    Criterion.FLOOR: [None, *_floors()],
    Criterion.FURNISHING: [None, *Furnishing],
    Criterion.ENERGY_CLASS: [None, *EnergyClass],
    Criterion.ADVERTISER: [None, *AdvertiserKind],
    # One by one: a search accepts a listing's features if it accepts each of them.
    Criterion.FEATURES: [(feature, has) for feature in Feature for has in (True, False, None)],
    # Values are compared with bounds; whether none is accepted is a bit.
    Criterion.AREA: [None],
    Criterion.DEPOSIT: [None],
    Criterion.AVAILABILITY: [None],
}
"""What a rule may see, as far as the searches can tell it apart."""

_SAID: Final = [(criterion, value) for criterion, values in _VALUES.items() for value in values]
BITS: Final[Mapping[tuple[Criterion, Any], Bits]] = {said: 1 << bit for bit, said in enumerate(_SAID)}
ALL: Final = (1 << len(BITS)) - 1
assert len(BITS) <= WORDS * WORD_BITS


def _accepted(criterion: Criterion, piece: Piece) -> Bits:
    """What a search accepts that says this: everything of other criteria."""
    rule, search = _RULES[criterion], piece.alone(criterion)
    asked, policy = rule.asks(search), rule.policy(search)
    refused = 0
    if asked is not None:
        for value in _VALUES[criterion]:
            if decide(rule.judge(*_as_seen(criterion, asked, value)), policy) is Decision.FAIL:
                refused |= BITS[criterion, value]
    return ALL & ~refused


def _as_seen(criterion: Criterion, asked: Any, value: Any) -> tuple[Any, Any]:  # noqa: ANN401 - what the rule takes
    if criterion is not Criterion.FEATURES:
        return asked, value
    feature, has = value
    return asked & {feature}, frozenset() if has is None else frozenset({value})


def _said(listing: Listing) -> Bits:
    """What a listing says."""
    bits = 0
    for criterion in _VALUES:
        if criterion is Criterion.FEATURES:
            for feature in Feature:
                bits |= BITS[criterion, (feature, listing.features.get(feature))]
        else:
            bits |= BITS.get((criterion, _counted(_RULES[criterion].says(listing))), 0)
    return bits


def _counted(value: Any) -> Any:  # noqa: ANN401 - whatever the rule sees
    """A value as one of those that searches can tell apart."""
    match value:
        case Rooms(int(number), or_more):
            return Rooms(min(number, MOST_COUNTED), or_more)
        case Floor(kind=FloorKind.NUMBERED | FloorKind.ATTICO as kind, number=int(number)):
            return Floor(kind=kind, number=max(0, min(number, MOST_COUNTED)))
        case Floor(kind=kind):
            return Floor(kind=kind)
        case int():
            return min(value, MOST_COUNTED)
        case _:
            return value


def _words(bits: Bits) -> list[int]:
    return [bits >> WORD_BITS * word & (1 << WORD_BITS) - 1 for word in range(WORDS)]


# Places


_TILE_DEGREES: Final = 0.05
"""A tile is 4 km by 6 km: fine enough that few circles and polygons are looked at in vain."""


def _keys_of(places: Iterable[Place]) -> Iterator[Hashable]:
    """Under what a search is filed that wants these places."""
    for place in places:
        match place:
            case InComune(zones=()):
                yield Comuni.load().current(place.code)
            case InComune():
                code = Comuni.load().current(place.code)
                yield from ((code, part) for zone in place.zones for part in _parts(zone))
            case InProvince():
                yield place.code
            case InCircle() | InPolygon():
                box = box_of(place)
                rows, columns = _tiles(box.south, box.north), _tiles(box.west, box.east)
                yield from product(rows, columns)


def _keys_if_unsaid(places: Iterable[Place]) -> Iterator[Hashable]:
    """Under what it is filed besides if a listing passes that does not say where it is."""
    for place in places:
        match place:
            case InComune():
                yield from ("no comune", ("no zone", Comuni.load().current(place.code)))
            case InProvince():
                yield "no province"
            case InCircle() | InPolygon():
                yield "no position"


def _keys_at(listing: Listing) -> Iterator[Hashable]:
    """Under what a listing looks."""
    comuni = Comuni.load()
    comune = comuni.by_code(listing.comune) if listing.comune else None
    yield (comune.province if comune else listing.province) or "no province"
    if listing.comune is None:
        yield "no comune"
    else:
        code = comuni.current(listing.comune)
        yield code
        yield from ((code, phrase) for phrase in _phrases(listing.zone)) if listing.zone else [("no zone", code)]
    if at := listing.position:
        yield _tile(at.latitude), _tile(at.longitude)
    else:
        yield "no position"


def _parts(zone: str) -> list[str]:
    """The names that a wanted zone joins."""
    for sign in ("\u2013", "/", ","):
        zone = zone.replace(sign, " - ")
    return [part for each in zone.split(" - ") if (part := fold(each))]


def _phrases(zone: str) -> Iterator[str]:
    """Every run of words of a listing's zone: one that is wanted stands among them."""
    words = fold_phrase(zone).split()
    return (" ".join(words[first:last]) for first, last in combinations(range(len(words) + 1), 2))


def _tile(degrees: float) -> int:
    return floor(degrees / _TILE_DEGREES)


def _tiles(low: float, high: float) -> range:
    return range(_tile(low), _tile(high) + 1)


# The table


@dataclass(frozen=True)
class Probe:
    """What the rows for a listing are compared with: a row fits if its bounds hold and it has all bits of `words`."""

    keys: Sequence[Sequence[int]]  # for each class of rents
    rents: Sequence[tuple[int, int]]  # for each class, what is to be at least the low bound and at most the high one
    area: tuple[int, int]
    deposit: int
    available: int
    words: Sequence[int]

    def looks(self) -> list[tuple[int, int, int]]:
        """Each key with what is compared with the bounds of the rent."""
        return [(key, *rents) for keys, rents in zip(self.keys, self.rents, strict=True) for key in keys]

    def rest(self) -> list[int]:
        """What all else is compared with, in the order of the columns; each word twice, as SQL wants it."""
        return [*self.area, self.deposit, self.available, *(word for word in self.words for _ in range(2))]


@dataclass(frozen=True)
class Rows:
    """The table's columns, sorted by key and the highest rent."""

    key: NDArray[np.int32]
    ref: NDArray[np.int32]  # twice the search's number, and one more if it is to be refined
    rent_low: NDArray[np.int32]
    rent_high: NDArray[np.int32]
    area_low: NDArray[np.int32]
    area_high: NDArray[np.int32]
    deposit_high: NDArray[np.int32]
    available_high: NDArray[np.int32]  # a day's ordinal
    words: NDArray[np.int64]  # a column for each word

    NAMES: ClassVar[Sequence[str]] = (
        *("key", "ref", "rent_low", "rent_high", "area_low", "area_high", "deposit_high", "available_high"),
        *(f"word{word}" for word in range(WORDS)),
    )

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """All columns, the words one by one, in the order of `NAMES`."""
        integers = {name: getattr(self, name) for name in self.NAMES[:-WORDS]}
        return integers | {f"word{word}": self.words[:, word] for word in range(WORDS)}


class Table:
    """The rows of searches, and what it takes to ask for them."""

    def __init__(self, searches: Searches) -> None:
        self._searches = searches
        self._numbers: dict[Hashable, int] = {}
        self._to_refine = {each: Wishes(each, searches.pieces[each]) for each in _REFINED}

    def rows(self) -> Rows:
        pieces, columns = self._searches.pieces, self._searches.columns
        filed = [self._filed(piece) for piece in pieces[Criterion.PLACE]]
        places = columns[Criterion.PLACE]
        search, place = _spread([len(each) for each in filed], [key for each in filed for key in each], places)
        rent = columns[Criterion.RENT][search]
        rents = np.array([_rent_bounds(piece) for piece in pieces[Criterion.RENT]], np.int32)
        key, rent_high = place * len(CLASSES) + rents[rent, 2], rents[rent, 1]
        order = np.lexsort((rent_high, key))
        search, rent = search[order], rent[order]
        return Rows(
            key=key[order],
            ref=(2 * search + self._refined()[search]).astype(np.int32),
            rent_low=rents[rent, 0],
            rent_high=rent_high[order],
            **{name: column[search] for name, column in self._bounds().items()},
            words=self._words()[search],
        )

    def probe(self, listing: Listing) -> Probe:
        places = [self._numbers[key] for key in _keys_at(listing) if key in self._numbers] if listing.active else []
        area, available = listing.area_m2, listing.available_from
        return Probe(
            keys=[[place * len(CLASSES) + each for place in places] for each in range(len(CLASSES))],
            rents=_rents(Cost.of(listing)),
            area=(MOST, 0) if area is None else (area, area),
            deposit=min(listing.deposit_cents or 0, MOST),
            available=available.toordinal() if available else 0,
            words=_words(_said(listing)),
        )

    def answer(self, refs: NDArray[np.int32], listing: Listing) -> Numbers:
        """The searches that match, of rows that fit: refined, sorted, each once."""
        to_refine = (refs & 1).astype(np.bool_)
        fine = self._refine(np.unique(refs[to_refine] >> 1), listing)
        return np.unique(np.concatenate([refs[~to_refine] >> 1, fine]))

    def _refine(self, numbers: Numbers, listing: Listing) -> Numbers:
        for criterion, wishes in self._to_refine.items():
            said = wishes.rule.says(listing)
            pieces = self._searches.columns[criterion][numbers].tolist()
            numbers = numbers[[wishes.fits(piece, said) for piece in pieces]]
        return numbers

    def _filed(self, piece: Piece) -> list[int]:
        """The numbers of the places under which a search is filed that says this; new ones are given as needed."""
        places = piece.fields.get("places", ())
        keys = set(_keys_of(places)) | (set(_keys_if_unsaid(places)) if piece.policy else set())
        return [self._numbers.setdefault(key, len(self._numbers)) for key in sorted(keys, key=str)]

    def _refined(self) -> NDArray[np.bool_]:
        pieces, columns = self._searches.pieces, self._searches.columns
        said = np.array([_is_refined(piece) for piece in pieces[Criterion.PLACE]])[columns[Criterion.PLACE]]
        return said | (columns[Criterion.KEYWORDS_WANTED] > 0) | (columns[Criterion.KEYWORDS_UNWANTED] > 0)

    def _words(self) -> NDArray[np.int64]:
        words = np.broadcast_to(np.array(_words(ALL), np.int64), (len(self._searches), WORDS)).copy()
        for criterion in _VALUES:
            accepted = [_words(_accepted(criterion, piece)) for piece in self._searches.pieces[criterion]]
            words &= np.array(accepted, np.int64)[self._searches.columns[criterion]]
        return words

    def _bounds(self) -> Mapping[str, NDArray[np.int32]]:
        def column(criterion: Criterion, bounds: Sequence[int]) -> NDArray[np.int32]:
            return np.array(bounds, np.int32)[self._searches.columns[criterion]]

        pieces = self._searches.pieces
        areas = [piece.fields.get("area_m2") for piece in pieces[Criterion.AREA]]
        deposits = [piece.fields.get("deposit_max_cents", MOST) for piece in pieces[Criterion.DEPOSIT]]
        days = [piece.fields.get("available_by") for piece in pieces[Criterion.AVAILABILITY]]
        return {
            "area_low": column(Criterion.AREA, [(each and each.minimum) or 0 for each in areas]),
            "area_high": column(Criterion.AREA, [(each and each.maximum) or MOST for each in areas]),
            "deposit_high": column(Criterion.DEPOSIT, deposits),
            "available_high": column(Criterion.AVAILABILITY, [day.toordinal() if day else MOST for day in days]),
        }


def _spread(
    counts: Sequence[int], keys: Sequence[int], pieces: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For each search and each key of its piece: the search and the key."""
    of_piece = np.array(counts)
    first = np.cumsum(of_piece) - of_piece
    of_search = of_piece[pieces]
    search = np.repeat(np.arange(len(pieces)), of_search)
    nth = np.arange(len(search)) - np.repeat(np.cumsum(of_search) - of_search, of_search)
    return search, np.array(keys, np.int32)[first[pieces][search] + nth]


def _is_refined(piece: Piece) -> bool:
    """Whether keys alone do not decide it."""
    shapes = any(isinstance(place, InCircle | InPolygon) for place in piece.fields.get("places", ()))
    return shapes or piece.policy is not None


def _rent_bounds(piece: Piece) -> tuple[int, int, int]:
    """The lowest and the highest rent, and the class."""
    limit = piece.fields.get("rent")
    if limit is None:
        return 0, MOST, CLASSES.index(("excluded", False))
    low, high = limit.minimum_cents, limit.maximum_cents
    return low or 0, MOST if high is None else high, CLASSES.index((limit.spese, piece.policy is UnknownPolicy.FAIL))


def _rents(cost: Cost) -> list[tuple[int, int]]:
    """For each class what must be at least the lowest and at most the highest rent of a search."""
    rents = []
    for spese, unknown_fails in CLASSES:
        known = comparable_rent(spese, cost)
        if known is None:
            rents.append((-1, MOST) if unknown_fails else (MOST, 0))
        elif unknown_fails:
            rents.append((floor(known.low), min(ceil(known.high), MOST)))
        else:
            rents.append((min(floor(known.high), MOST), ceil(known.low)))
    return rents
