"""Millions of searches as renters save them, drawn from a market: busy cities get more of them.

A search is put together of pieces, one for each criterion, and many searches share a piece. So a search is a row of
small numbers, and whoever needs it gets it made: as an object, as an event's bytes, or as columns of a table.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any, Final
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray

from common.comuni import Comuni
from common.listing import (
    AdvertiserKind,
    ContractType,
    EnergyClass,
    Feature,
    FloorKind,
    Furnishing,
    Offering,
    Position,
    PropertyType,
)
from common.search import Criterion, InComune, Search, UnknownPolicy
from itarent.bench.matching.supply import PHRASES, SOURCES, Market, near

Column = NDArray[np.int32]
"""For each search the number of its piece."""

FAIL, PASS = UnknownPolicy.FAIL, UnknownPolicy.PASS
POLICIES: Final = (None, PASS, FAIL)
POLICY_SHARES: Final = (0.86, 0.05, 0.09)

_NOWHERE: Final = (InComune(code="000000"),)
_NOTHING: Final = Search(places=_NOWHERE)
_BLOCK: Final = 4_096


@dataclass(frozen=True)
class Piece:
    """What a search says about one criterion: its fields as objects and as JSON, and its policy if it has one."""

    fields: Mapping[str, Any]
    json: bytes
    policy: UnknownPolicy | None

    @classmethod
    def of(cls, said: Mapping[str, Any], policy: UnknownPolicy | None = None) -> "Piece":
        valid = Search.model_validate({"places": _NOWHERE, **said})
        as_json = orjson.dumps(valid.model_dump(mode="json", include=set(said)))
        return cls({name: getattr(valid, name) for name in said}, as_json[1:-1], policy)

    def alone(self, criterion: Criterion) -> Search:
        """A search that says nothing else."""
        return _NOTHING.model_copy(update={**self.fields, "unknown": {criterion: self.policy} if self.policy else {}})


UNRESTRICTED: Final = Piece({}, b"", None)


class Searches:
    """Searches by number, from 0; they are the same for the same market, count and seed."""

    def __init__(self, pieces: Mapping[Criterion, Sequence[Piece]], columns: Mapping[Criterion, Column]) -> None:
        self.pieces = pieces
        self.columns = columns
        self._pairs = {key: [None, *((key, piece) for piece in each[1:])] for key, each in pieces.items()}

    def __len__(self) -> int:
        return len(self.columns[Criterion.PLACE])

    def searches(self) -> Iterator[Search]:
        """Each search, in order."""
        return map(self._search, self._rows(range(len(self))))

    def search(self, number: int) -> Search:
        (row,) = self._rows(range(number, number + 1))
        return self._search(row)

    def saved(self, numbers: range, *, revision: int = 1) -> Iterator[bytes]:
        """The value of each search's `SubscriptionSaved`."""
        return (self._saved(number, row, revision) for number, row in zip(numbers, self._rows(numbers), strict=True))

    def changed(self, number: int, like: int, *, revision: int) -> bytes:
        """The value of a `SubscriptionSaved` by which a search becomes what another one is; it is so from now on."""
        for column in self.columns.values():
            column[number] = column[like]
        (row,) = self._rows(range(number, number + 1))
        return self._saved(number, row, revision)

    def _rows(self, numbers: range) -> Iterator[list[tuple[Criterion, Piece]]]:
        """What each search says, criterion by criterion."""
        tables = [(self._pairs[criterion], column) for criterion, column in self.columns.items()]
        for first in range(numbers.start, numbers.stop, _BLOCK):
            block = slice(first, min(first + _BLOCK, numbers.stop))
            said = [[pairs[which] for which in column[block].tolist()] for pairs, column in tables]
            yield from ([each for each in row if each] for row in zip(*said, strict=True))

    def _search(self, said: Iterable[tuple[Criterion, Piece]]) -> Search:
        fields = {name: value for _, piece in said for name, value in piece.fields.items()}
        unknown = {criterion: piece.policy for criterion, piece in said if piece.policy}
        return _NOTHING.model_copy(update={**fields, "unknown": unknown})

    def _saved(self, number: int, said: Iterable[tuple[Criterion, Piece]], revision: int) -> bytes:
        fields = b",".join([piece.json for _, piece in said])
        unknown = ",".join([f'"{criterion}":"{piece.policy}"' for criterion, piece in said if piece.policy])
        return (
            b'{"subscription":{"subscription_id":"%b","user_id":"%b","revision":%d,"name":"Ricerca %d",'
            b'"status":"active","alerts":["new","price_drop"],"search":{%b,"unknown":{%b}}}}'
        ) % (_text(subscription_id(number)), _text(_user_id(number)), revision, number, fields, unknown.encode())


def subscription_id(number: int) -> UUID:
    """An id that looks like any other, from which `number_of` gets the number back."""
    return UUID(int=(_scattered(number) << 64) | number)


def number_of(subscription_id: UUID) -> int:
    return subscription_id.int & 0xFFFF_FFFF_FFFF_FFFF


def _user_id(number: int) -> UUID:
    return UUID(int=(_scattered(number + 1) << 64) | number)


def _scattered(number: int) -> int:
    return (number * 0x9E37_79B9_7F4A_7C15 + 0x1234_5678_9ABC_DEF1) & 0xFFFF_FFFF_FFFF_FFFF


def _text(uuid: UUID) -> bytes:
    return str(uuid).encode()


def draw(market: Market, count: int, seed: int) -> Searches:
    """Searches that a mean of about two in a thousand match a listing of the market."""
    chance = np.random.default_rng(seed)
    homes = chance.integers(len(market.comune), size=count)  # the flat that a renter has in mind
    drawn = {
        Criterion.PLACE: _places(market, homes, chance),
        Criterion.RENT: _rents(market.rent_eur[homes], chance),
        Criterion.ROOMS: _rooms(market.rooms[homes], chance),
        Criterion.AREA: _areas(market.area_m2[homes], chance),
        **{criterion: _chosen(count, share, said, chance) for criterion, (share, said) in _WISHES.items()},
    }
    return Searches({key: pieces for key, (pieces, _) in drawn.items()}, {key: row for key, (_, row) in drawn.items()})


_Drawn = tuple[list[Piece], Column]

_AVAILABLE_BY: Final = [f"2027-{month:02}-01" for month in range(1, 7)]
_WISHES: Final[Mapping[Criterion, tuple[float, Sequence[Mapping[str, Any]]]]] = {
    Criterion.SOURCE: (0.02, [{"sources": [SOURCES[0]]}, {"sources": SOURCES[:3]}, {"sources": SOURCES[1:]}]),
    Criterion.DEPOSIT: (0.03, [{"deposit_max_cents": cents} for cents in range(100_000, 400_000, 25_000)]),
    Criterion.CONTRACT: (
        0.25,
        [
            {"contracts": [ContractType.FREE_4_4, ContractType.AGREED_3_2]},
            {"contracts": [ContractType.TRANSITORY, ContractType.STUDENTS]},
            {"contracts": [ContractType.FREE_4_4]},
            {"contracts": list(ContractType)[:5]},
        ],
    ),
    Criterion.OFFERING: (0.2, 4 * [{"offering": Offering.WHOLE}] + [{"offering": Offering.ROOM}]),
    Criterion.PROPERTY_TYPE: (
        0.45,
        [
            *3 * [{"property_types": [PropertyType.APARTMENT]}],
            {"property_types": [PropertyType.APARTMENT, PropertyType.STUDIO, PropertyType.LOFT]},
            {"property_types": [PropertyType.APARTMENT, PropertyType.ATTICO, PropertyType.MANSARDA]},
            {"property_types": [PropertyType.VILLA, PropertyType.TERRACED_HOUSE, PropertyType.DETACHED_HOUSE]},
        ],
    ),
    Criterion.BEDROOMS: (0.08, [{"bedrooms": {"minimum": least}} for least in (1, 1, 2, 2, 3)]),
    Criterion.BATHROOMS: (0.1, [{"bathrooms": {"minimum": least}} for least in (1, 1, 1, 2, 2, 3)]),
    Criterion.FLOOR: (
        0.2,
        [
            *2 * [{"floor": {"minimum": 1}}],
            {"floor": {"minimum": 2}},
            {"floor": {"maximum": 3}},
            {"floor": {"kinds": [FloorKind.PIANO_TERRA, FloorKind.RIALZATO]}},
            {"floor": {"kinds": [FloorKind.NUMBERED, FloorKind.ATTICO], "minimum": 3}},
        ],
    ),
    Criterion.FURNISHING: (
        0.35,
        [
            *3 * [{"furnishing": [Furnishing.FURNISHED]}],
            {"furnishing": [Furnishing.FURNISHED, Furnishing.PARTLY]},
            {"furnishing": [Furnishing.UNFURNISHED]},
        ],
    ),
    Criterion.FEATURES: (
        0.45,
        [
            *({"features": [feature]} for feature in Feature),
            {"features": [Feature.LIFT, Feature.BALCONY]},
            {"features": [Feature.PARKING, Feature.GARDEN]},
            {"features": [Feature.PETS, Feature.LIFT, Feature.AIR_CONDITIONING]},
        ],
    ),
    Criterion.ENERGY_CLASS: (0.06, [{"energy_class": each} for each in EnergyClass]),
    Criterion.ADVERTISER: (0.08, [{"advertiser": each} for each in AdvertiserKind]),
    Criterion.AVAILABILITY: (0.05, [{"available_by": day} for day in _AVAILABLE_BY]),
    Criterion.KEYWORDS_WANTED: (
        0.04,
        [{"keywords_wanted": [each.upper()]} for each in PHRASES]
        + [{"keywords_wanted": pair} for pair in zip(PHRASES, PHRASES[7:], strict=False)],
    ),
    Criterion.KEYWORDS_UNWANTED: (
        0.05,
        [{"keywords_unwanted": [each]} for each in PHRASES]
        + [{"keywords_unwanted": pair} for pair in zip(PHRASES, PHRASES[11:], strict=False)],
    ),
}
"""How many searches ask for it, and what they ask for; what many ask for stands there several times."""


def _chosen(count: int, share: float, said: Sequence[Mapping[str, Any]], chance: np.random.Generator) -> _Drawn:
    """A share of the searches asks for one of these."""
    pieces = [UNRESTRICTED, *(Piece.of(each, policy) for each in said for policy in POLICIES)]
    which = chance.integers(len(said), size=count) * len(POLICIES) + _policies(count, chance) + 1
    return pieces, np.where(_some(share, count, chance), which, 0).astype(np.int32)


def _some(share: float, count: int, chance: np.random.Generator) -> NDArray[np.bool_]:
    """A share of the searches."""
    return chance.random(count) < share


def _policies(count: int, chance: np.random.Generator) -> NDArray[np.int64]:
    return chance.choice(len(POLICIES), size=count, p=POLICY_SHARES)


def _distinct(*numbers: NDArray[np.int64]) -> tuple[list[tuple[int, ...]], Column]:
    """The distinct rows of several columns of numbers from 0 to 65,535, and for each row which it is."""
    packed = numbers[0]
    for each in numbers[1:]:
        packed = packed << 16 | each
    distinct, which = np.unique(packed, return_inverse=True)
    rows = zip(*(distinct >> 16 * back & 0xFFFF for back in reversed(range(len(numbers)))), strict=True)
    return [tuple(map(int, row)) for row in rows], which.astype(np.int32)


def _rents(rent_eur: NDArray[np.int64], chance: np.random.Generator) -> _Drawn:
    """Mostly a round limit somewhat around the flat's rent, seldom a lower bound as well; one in twelve has none."""
    count = len(rent_eur)
    wanted = rent_eur * chance.uniform(0.7, 1.15, count)
    step = chance.choice([100, 50, 10, 1], size=count, p=[0.5, 0.35, 0.08, 0.07])
    highest = (np.ceil(wanted / step) * step).astype(np.int64).clip(1, 60_000)
    lowest = np.where(_some(0.35, count, chance), (highest * chance.uniform(0.4, 0.8, count)) // 50 * 50, 0)
    # Whether spese are meant to be within it (1), and the policy (the rest).
    terms = (_some(0.2, count, chance)) + 2 * _policies(count, chance)
    rows, which = _distinct(lowest.astype(np.int64), highest, terms)
    pieces = [UNRESTRICTED]
    for low, high, term in rows:
        bounds = {"minimum_cents": 100 * low or None, "maximum_cents": 100 * high}
        limit = {**bounds, "spese": "included" if term & 1 else "excluded"}
        pieces.append(Piece.of({"rent": limit}, POLICIES[term >> 1]))
    return pieces, np.where(_some(11 / 12, count, chance), which + 1, 0).astype(np.int32)


def _rooms(rooms: NDArray[np.int64], chance: np.random.Generator) -> _Drawn:
    count = len(rooms)
    least = (rooms - (_some(0.4, count, chance))).clip(1)
    most = np.where(_some(0.45, count, chance), rooms + (_some(0.5, count, chance)), 0)
    rows, which = _distinct(least, most, _policies(count, chance))
    pieces = [Piece.of({"rooms": {"minimum": low, "maximum": high or None}}, POLICIES[to]) for low, high, to in rows]
    return [UNRESTRICTED, *pieces], np.where(_some(0.85, count, chance), which + 1, 0).astype(np.int32)


def _areas(area_m2: NDArray[np.int64], chance: np.random.Generator) -> _Drawn:
    """A round lower bound mostly, sometimes an odd one."""
    count = len(area_m2)
    step = chance.choice([10, 5, 1], size=count, p=[0.7, 0.25, 0.05])
    least = ((area_m2 * chance.uniform(0.5, 1.0, count)) // step * step).astype(np.int64)
    most = np.where(_some(0.1, count, chance), (least * 2).clip(20, 60_000), 0)
    rows, which = _distinct(least, most, _policies(count, chance))
    pieces = [Piece.of({"area_m2": {"minimum": low, "maximum": high or None}}, POLICIES[to]) for low, high, to in rows]
    return [UNRESTRICTED, *pieces], np.where(_some(0.7, count, chance), which + 1, 0).astype(np.int32)


# Places: kinds of them and their shares. Each kind has a pool of places, drawn from flats as the searches are.

_POOLS: Final[Mapping[str, tuple[float, int]]] = {
    "comune": (0.40, 72_000),
    "zones": (0.41, 40_000),
    "several": (0.09, 12_000),
    "province": (0.01, 600),
    "circle": (0.05, 5_000),
    "polygon": (0.04, 4_000),
}

PLACE_UNKNOWN_PASSES: Final = 0.015
"""The share of places for which a listing that does not say where it is will do."""


def _places(market: Market, homes: NDArray[np.int64], chance: np.random.Generator) -> _Drawn:
    """The piece 0, which would restrict nothing, is none of them: every search has a place."""
    pool = _PlacePool(market, random.Random(int(chance.integers(2**32))))  # noqa: S311 - seeded
    column = np.zeros(len(homes), np.int32)
    kinds = chance.choice(len(_POOLS), size=len(homes), p=[share for share, _ in _POOLS.values()])
    for number, (kind, (share, most)) in enumerate(_POOLS.items()):
        mine = np.flatnonzero(kinds == number)
        drawn_from = homes[mine][: min(most, int(len(homes) * share) + 1)]
        drawn = np.array([pool.piece(kind, home) for home in drawn_from.tolist()], np.int32)
        if len(drawn):
            column[mine] = drawn[chance.integers(len(drawn), size=len(mine))]
    return pool.pieces, column


class _PlacePool:
    """Pieces that say where, each place once."""

    def __init__(self, market: Market, chance: random.Random) -> None:
        self.pieces = [UNRESTRICTED]
        self._market = market
        self._chance = chance
        self._known: dict[tuple[bytes, UnknownPolicy | None], int] = {}
        self._neighbours: dict[str, list[str]] = {}  # by province
        self._zones: dict[str, list[str]] = {}  # by comune
        for code, zone in zip(market.comune, market.zone, strict=True):
            if comune := Comuni.load().by_code(code):
                self._neighbours.setdefault(comune.province, []).append(comune.code)
            if zone:
                self._zones.setdefault(code, []).append(zone)

    def piece(self, kind: str, home: int) -> int:
        """The number of a piece of this kind, for who has this flat in mind."""
        places = self._places(kind, self._market.comune[home], self._market.zone[home])
        policy = PASS if self._chance.random() < PLACE_UNKNOWN_PASSES else None
        number = self._known.setdefault((orjson.dumps(places), policy), len(self.pieces))
        if number == len(self.pieces):
            self.pieces.append(Piece.of({"places": places}, policy))
        return number

    def _places(self, kind: str, comune: str, zone: str | None) -> list[Mapping[str, Any]]:
        here: Mapping[str, Any] = {"kind": "comune", "code": comune}
        found = Comuni.load().by_code(comune)
        chance = self._chance
        match kind:
            case "zones" if zone:
                others = chance.choices(self._zones[comune], k=chance.choice((0, 1, 2, 4)))
                return [{**here, "zones": [zone, *others]}]
            case "several" if found:
                others = chance.choices(self._neighbours[found.province], k=chance.randint(1, 4))
                return [here, *({"kind": "comune", "code": code} for code in sorted(set(others) - {comune}))]
            case "province" if found:
                return [{"kind": "province", "code": found.province}]
            case "circle" if centre := near(comune, chance):
                radius = chance.choice((1_000, 1_500, 2_000, 3_000, 5_000))
                return [{"kind": "circle", "centre": centre.model_dump(), "radius_m": radius}]
            case "polygon" if centre := near(comune, chance):
                return [{"kind": "polygon", "ring": _ring(centre, chance)}]
            case _:
                return [here]


def _ring(centre: Position, chance: random.Random) -> list[Mapping[str, float]]:
    """A quarter drawn by hand: five to twelve corners around a point."""
    corners = chance.randint(5, 12)
    turns = (2 * pi * corner / corners for corner in range(corners))
    return [_away(centre, turn, chance.uniform(0.008, 0.03)) for turn in turns]


def _away(centre: Position, turn: float, degrees: float) -> Mapping[str, float]:
    return {
        "latitude": centre.latitude + degrees * sin(turn),
        "longitude": centre.longitude + degrees * cos(turn),
    }
