"""What each criterion of a search asks of a listing: one table, which `common.explain` reads.

A rule sees of a search only what it `asks` and of a listing only what it `says`, both hashable: equal ones are judged
alike, so who meets the same again may remember the finding. It judges values and builds no text; the words that
explain it are asked for only when somebody reads them.
"""

import datetime as dt
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from math import inf
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar, assert_never

from common.comuni import Comuni
from common.geo import cell_of, distance_m, in_circle, in_polygon
from common.listing import (
    Cents,
    EnergyClass,
    Feature,
    Floor,
    FloorKind,
    IstatCode,
    Journey,
    Listing,
    Position,
    ProvinceCode,
    Rent,
    RentUnit,
    SpeseTerm,
    TravelMode,
)
from common.search import (
    Commute,
    Criterion,
    FloorWish,
    InCircle,
    InComune,
    InPolygon,
    InProvince,
    Place,
    Range,
    RentLimit,
    Search,
    UnknownPolicy,
)
from common.text import Folded, contains_phrase, fold, fold_all, fold_keyword, fold_phrase

_T = TypeVar("_T", bound=Hashable)
_Asked = TypeVar("_Asked", bound=Hashable)
_Said = TypeVar("_Said", bound=Hashable)


class Finding(Enum):
    """What a listing is to one criterion."""

    SATISFIED = "satisfied"
    VIOLATED = "violated"
    UNKNOWN = "unknown"  # the listing does not say enough to decide


SATISFIED, VIOLATED, UNKNOWN = Finding


@dataclass(frozen=True, slots=True)
class Rule(Generic[_Asked, _Said]):
    """One criterion: how it is judged, what an unknown value means unless the search says otherwise, and its words."""

    criterion: Criterion
    asks: Callable[[Search], _Asked | None]  # None: the search does not restrict it
    says: Callable[[Listing], _Said]
    judge: Callable[[_Asked, _Said], Finding]
    wanted: Callable[[Search], str]
    found: Callable[[Search, Listing], str | None]  # None: the listing does not say
    unknown: UnknownPolicy
    because: str  # why an unknown value means this

    def find(self, search: Search, listing: Listing) -> Finding | None:
        """What the listing is to the search; None where the search does not restrict the criterion."""
        asked = self.asks(search)
        return None if asked is None else self.judge(asked, self.says(listing))

    def policy(self, search: Search) -> UnknownPolicy:
        return search.unknown.get(self.criterion, self.unknown)


# Building blocks: what is compared with what


class Interval(NamedTuple):
    """Where a value lies, ends included: as a point where it is known, wider where it is known in part."""

    low: float
    high: float

    @classmethod
    def point(cls, value: float) -> "Interval":
        return cls(value, value)


def _within(minimum: int | None, maximum: int | None, value: Interval | None) -> Finding:
    if value is None:
        return UNKNOWN
    floor = -inf if minimum is None else minimum
    ceiling = inf if maximum is None else maximum
    if value.high < floor or value.low > ceiling:
        return VIOLATED
    return SATISFIED if floor <= value.low and value.high <= ceiling else UNKNOWN


def _bounded(wanted: Range | None) -> Range | None:
    return wanted if wanted and (wanted.minimum is not None or wanted.maximum is not None) else None


def _in_range(wanted: Range, value: int | None) -> Finding:
    return _within(wanted.minimum, wanted.maximum, None if value is None else Interval.point(value))


def _at_most(wanted: int, value: int | None) -> Finding:
    return _within(None, wanted, None if value is None else Interval.point(value))


def _among(wanted: Collection[_T], value: _T | None) -> Finding:
    if value is None:
        return UNKNOWN
    return SATISFIED if value in wanted else VIOLATED


def _equal(wanted: _T, value: _T | None) -> Finding:
    if value is None:
        return UNKNOWN
    return SATISFIED if value == wanted else VIOLATED


# Place


class Whereabouts(NamedTuple):
    """What a listing says about where it is."""

    comune: IstatCode | None
    province: ProvinceCode | None
    zone: str | None
    position: Position | None

    @classmethod
    def of(cls, listing: Listing) -> "Whereabouts":
        return cls(listing.comune, listing.province, listing.zone, listing.position)


def _judge_place(wanted: tuple[Place, ...], at: Whereabouts) -> Finding:
    """Any of the places; a place that cannot be decided counts only where no other one is certain."""
    best = VIOLATED
    for place in wanted:
        finding = _lies_in(place, at)
        if finding is SATISFIED:
            return SATISFIED
        if finding is UNKNOWN:
            best = UNKNOWN
    return best


def _lies_in(place: Place, at: Whereabouts) -> Finding:
    match place:
        case InComune():
            return _lies_in_comune(place, at)
        case InProvince():
            return _lies_in_province(place, at)
        case InCircle():
            return _lies_at(at.position, lambda position: in_circle(position, place))
        case InPolygon():
            return _lies_at(at.position, lambda position: in_polygon(position, place))
        case _:
            assert_never(place)


def _lies_at(position: Position | None, inside: Callable[[Position], bool]) -> Finding:
    if position is None:
        return UNKNOWN
    return SATISFIED if inside(position) else VIOLATED


def _lies_in_comune(place: InComune, at: Whereabouts) -> Finding:
    if at.comune is None:
        return _may_lie_in_comune(place, at)
    if at.comune != place.code and not _same_comune(at.comune, place.code):
        return VIOLATED
    if not place.zones:
        return SATISFIED
    if not at.zone:
        return UNKNOWN
    return SATISFIED if in_zones(at.zone, place.zones) else VIOLATED


def _may_lie_in_comune(place: InComune, at: Whereabouts) -> Finding:
    """A listing without a comune: its province alone can rule a comune out."""
    comune = Comuni.load().by_code(place.code)
    elsewhere = comune and at.province and not comune.lies_in(at.province)
    return VIOLATED if elsewhere else UNKNOWN


def _same_comune(code: str, other: str) -> bool:
    """Whether two codes mean one comune of today: either may be of before a merger."""
    current = Comuni.load().current
    return current(code) == current(other)


def _lies_in_province(place: InProvince, at: Whereabouts) -> Finding:
    """The comune's province of today; what the source calls the province counts where the comune is unknown."""
    comune = Comuni.load().by_code(at.comune) if at.comune else None
    province = comune.province if comune else at.province
    if province is None:
        return UNKNOWN
    return SATISFIED if province == place.code else VIOLATED


def in_zones(zone: str, wanted: Iterable[str]) -> bool:
    """Whether a part of a wanted zone stands in the listing's zone as whole words, whatever accents and case.

    Portals join neighbours with dashes, each its own way: `Trionfale` and `Trionfale - Balduina` are both found in
    `Monte Mario - Trionfale`. A zone that is narrower than the wanted one fits (`Centro` in `Centro Storico`), a
    wider one does not.
    """
    folded = fold_phrase(zone)
    return any(contains_phrase(folded, part) for each in wanted for part in _zone_parts(each))


def zone_beginnings(wanted: str) -> frozenset[str]:
    """The words with which the parts of a wanted zone begin: a zone in which none of them stands does not fit."""
    return frozenset(part.partition(" ")[0] for part in _zone_parts(wanted))


@lru_cache(maxsize=16_384)
def _zone_parts(zone: str) -> tuple[Folded, ...]:
    spaced = zone.replace("\u2013", "-").replace("/", " - ").replace(",", " - ")
    return tuple(fold(part) for part in spaced.split(" - "))


# Money


class Cost(NamedTuple):
    """What a listing says about its rent."""

    rent: Rent | None
    spese_cents: Cents | None

    @classmethod
    def of(cls, listing: Listing) -> "Cost":
        return cls(listing.rent, listing.spese_cents)


def _limited(limit: RentLimit | None) -> RentLimit | None:
    return limit if limit and (limit.minimum_cents is not None or limit.maximum_cents is not None) else None


def _judge_rent(limit: RentLimit, cost: Cost) -> Finding:
    return _within(limit.minimum_cents, limit.maximum_cents, comparable_rent(limit.spese, cost))


def comparable_rent(spese: Literal["included", "excluded"], cost: Cost) -> Interval | None:
    """The monthly rent in cents in the terms of a limit; None on request, per m² or per year.

    An amount that does not say whether the spese are in it is read as portals mean it: without them where the limit is
    without, and possibly with them where the limit is with.
    Spese of unknown amount lie between nothing and the canone itself. That they are never more is a bound and not
    a guess at the amount: it holds for 4,300 of the 4,303 flats of Milano of 2025 whose spese are known, and without
    it a flat of 5,000 € might cost a renter 1,000 €.
    """
    rent, known = cost
    if rent is None or rent.per is not RentUnit.MONTH:
        return None
    amount = rent.amount_cents
    if spese == "excluded":
        if rent.spese is not SpeseTerm.INCLUDED:
            return Interval.point(amount)
        return Interval(amount / 2, amount) if known is None else Interval.point(max(0, amount - known))
    if rent.spese is SpeseTerm.INCLUDED:
        return Interval.point(amount)
    if known is None:
        return Interval(amount, 2 * amount)
    total = amount + known
    return Interval.point(total) if rent.spese is SpeseTerm.EXCLUDED else Interval(amount, total)


# The flat


class Rooms(NamedTuple):
    """Locali; `or_more` where the source says `5+`."""

    at_least: int | None
    or_more: bool

    @classmethod
    def of(cls, listing: Listing) -> "Rooms":
        return cls(listing.rooms, listing.rooms_or_more)


def _judge_rooms(wanted: Range, rooms: Rooms) -> Finding:
    """`5+` rooms are five or any number above."""
    low, or_more = rooms
    value = None if low is None else Interval(low, inf if or_more else low)
    return _within(wanted.minimum, wanted.maximum, value)


LOW_KINDS = {
    FloorKind.SEMINTERRATO: Interval(-1, -1),
    FloorKind.PIANO_TERRA: Interval(0, 0),
    FloorKind.RIALZATO: Interval(0, 1),
    FloorKind.AMMEZZATO: Interval(0, 1),
}
"""Where floors lie that are called by a name and not by a number; 0 is the ground floor."""


def _particular(wish: FloorWish | None) -> FloorWish | None:
    return wish if wish and (wish.kinds or wish.minimum is not None or wish.maximum is not None) else None


def _judge_floor(wish: FloorWish, floor: Floor | None) -> Finding:
    """The kind, if kinds are named, and the height.

    A low kind that is named is welcome as it is: `piano terra, or from the third` is {PIANO_TERRA, NUMBERED} from 3.
    """
    if floor is None:
        return UNKNOWN
    if wish.kinds and floor.kind not in wish.kinds:
        return VIOLATED
    if floor.kind in wish.kinds and floor.kind in LOW_KINDS:
        return SATISFIED
    if wish.minimum is None and wish.maximum is None:
        return SATISFIED
    return _within(wish.minimum, wish.maximum, _height(floor))


def _height(floor: Floor) -> Interval:
    """In floors above the ground; an attico or a numbered floor without its number is the first or higher."""
    if floor.kind in LOW_KINDS:
        return LOW_KINDS[floor.kind]
    return Interval(1, inf) if floor.number is None else Interval.point(floor.number)


def _judge_features(wanted: frozenset[Feature], known: frozenset[tuple[Feature, bool]]) -> Finding:
    if any((feature, False) in known for feature in wanted):
        return VIOLATED
    return SATISFIED if all((feature, True) in known for feature in wanted) else UNKNOWN


_RANK = {energy_class: rank for rank, energy_class in enumerate(EnergyClass)}
_OLD_CLASSES = frozenset({EnergyClass.A_PLUS, EnergyClass.A})


def _judge_energy_class(wanted: EnergyClass, found: EnergyClass | None) -> Finding:
    """The wanted class or a better one. Whether an old A or A+ would be an A1 to A4 today, nobody can say."""
    if found is None or (found in _OLD_CLASSES and _RANK[wanted] < _RANK[EnergyClass.A_PLUS]):
        return UNKNOWN
    return SATISFIED if _RANK[found] <= _RANK[wanted] else VIOLATED


def _judge_availability(by: dt.date, available_from: dt.date | None) -> Finding:
    if available_from is None:
        return UNKNOWN
    return SATISFIED if available_from <= by else VIOLATED


# The way to work


class Start(NamedTuple):
    """Where a way begins: the listing's place, and what routing engines have said of ways from it."""

    position: Position | None
    journeys: tuple[Journey, ...]

    @classmethod
    def of(cls, listing: Listing) -> "Start":
        return cls(listing.position, listing.appraisal.journeys)


DESTINATION_DEGREES: Final = 0.001
"""The side of the cells that destinations are rounded to: an engine is asked once for all who work in one building."""

FASTEST_KMH: Final = {TravelMode.WALK: 8, TravelMode.BICYCLE: 35, TravelMode.CAR: 130, TravelMode.TRANSIT: 200}
"""Nobody gets along faster, door to door: what is farther away by the crow is too far, and no engine is asked."""


def _judge_commutes(wanted: tuple[Commute, ...], start: Start) -> Finding:
    findings = {_judge_commute(each, start) for each in wanted}
    return next(finding for finding in (VIOLATED, UNKNOWN, SATISFIED) if finding in findings)


def _judge_commute(wanted: Commute, start: Start) -> Finding:
    if start.position is None:
        return UNKNOWN
    distance = distance_m(start.position, wanted.to)
    if wanted.max_distance_m is not None and distance > wanted.max_distance_m:
        return VIOLATED
    if wanted.minutes is None:
        return SATISFIED
    if distance > wanted.minutes * FASTEST_KMH[wanted.by] * 1000 / 60:
        return VIOLATED
    journey = journey_of(wanted, start.journeys)
    if journey is None:
        return UNKNOWN
    return SATISFIED if journey.seconds is not None and journey.seconds <= wanted.minutes * 60 else VIOLATED


def journey_of(wanted: Commute, journeys: Iterable[Journey]) -> Journey | None:
    to = cell_of(wanted.to, DESTINATION_DEGREES)
    return next((each for each in journeys if each.to == to and each.by is wanted.by), None)


def left_to_ask(search: Search, listing: Listing) -> list[Commute]:
    """The commutes of which only a routing engine can tell whether they are short enough."""
    start = Start.of(listing)
    if start.position is None or not search.commutes or _judge_commutes(search.commutes, start) is VIOLATED:
        return []
    return [each for each in search.commutes if _judge_commute(each, start) is UNKNOWN]


# Words


class Text(NamedTuple):
    """The words of a listing; without a description it has hardly said anything."""

    words: Folded
    described: bool

    @classmethod
    def of(cls, listing: Listing) -> "Text":
        return cls(_folded_text(listing.title, listing.description), bool(listing.description))

    @property
    def vocabulary(self) -> frozenset[str]:
        return _vocabulary(self.words)

    def holds(self, phrase: Folded) -> bool:
        """Whether the phrase stands in it; most do not, and their first word tells."""
        return phrase.partition(" ")[0] in self.vocabulary and contains_phrase(self.words, phrase)


def _judge_wanted(phrases: tuple[Folded, ...], text: Text) -> Finding:
    if all(map(text.holds, phrases)):
        return SATISFIED
    return VIOLATED if text.described else UNKNOWN


def _judge_unwanted(phrases: tuple[Folded, ...], text: Text) -> Finding:
    if any(map(text.holds, phrases)):
        return VIOLATED
    return SATISFIED if text.described else UNKNOWN


def _phrases(keywords: tuple[str, ...]) -> tuple[Folded, ...] | None:
    """Keywords without a letter or digit ask for nothing."""
    return tuple(phrase for keyword in keywords if (phrase := fold_keyword(keyword))) or None


@lru_cache(maxsize=512)  # one listing meets many searches in a row
def _folded_text(title: str, description: str) -> Folded:
    return fold_all(title, description)


@lru_cache(maxsize=512)
def _vocabulary(words: Folded) -> frozenset[str]:
    return frozenset(words.split())


# Words that explain


def _euros(cents: int) -> str:
    whole, rest = divmod(cents, 100)
    return f"{whole:,}.{rest:02} €" if rest else f"{whole:,} €"


def _listed(values: Iterable[object]) -> str:
    return " or ".join(sorted(str(value).replace("_", " ") for value in values))


def _said(value: object | None) -> str | None:
    return None if value is None else str(value).replace("_", " ")


def _bounds(minimum: object | None, maximum: object | None) -> str:
    if maximum is None:
        return f"at least {minimum}"
    if minimum is None:
        return f"at most {maximum}"
    return f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"


def _range_in_words(wanted: Range | None, unit: str) -> str:
    wanted = wanted or Range()
    return f"{_bounds(wanted.minimum, wanted.maximum)} {unit}"


def _places_in_words(search: Search) -> str:
    return " or ".join(_place_in_words(place) for place in search.places)


def _place_in_words(place: Place) -> str:
    match place:
        case InComune(code=code, zones=zones):
            comune = Comuni.load().by_code(code)
            name = comune.name if comune else f"the comune {code}"
            return f"{' or '.join(zones)} in {name}" if zones else name
        case InProvince(code=code):
            return f"the province {code}"
        case InCircle(centre=centre, radius_m=radius_m):
            return f"within {radius_m:,} m of {_degrees(centre)}"
        case InPolygon(ring=ring):
            return f"inside a polygon of {len(ring) - 1} points"
        case _:
            assert_never(place)


def _degrees(position: Position) -> str:
    return f"{position.latitude:.5f}, {position.longitude:.5f}"


def _where(listing: Listing) -> str | None:
    comune = Comuni.load().by_code(listing.comune) if listing.comune else None
    parts = (
        listing.zone,
        comune.name if comune else listing.comune_name or listing.comune,
        comune.province if comune else listing.province,
        _degrees(listing.position) if listing.position else None,
    )
    return ", ".join(part for part in parts if part) or None


def _rent_limit_in_words(search: Search) -> str:
    limit = search.rent or RentLimit()
    low, high = limit.minimum_cents, limit.maximum_cents
    amounts = _bounds(None if low is None else _euros(low), None if high is None else _euros(high))
    return f"{amounts} a month with spese {limit.spese}"


_PER = {RentUnit.MONTH: "a month", RentUnit.SQUARE_METRE_MONTH: "per m² a month", RentUnit.YEAR: "a year"}


def _rent_in_words(listing: Listing) -> str | None:
    if listing.rent is None:
        return None
    return f"{_amount_in_words(listing.rent)}, {_spese_in_words(listing.spese_cents)}"


def _amount_in_words(rent: Rent) -> str:
    term = "not said whether spese are included" if rent.spese is SpeseTerm.UNKNOWN else f"spese {rent.spese}"
    return f"{_euros(rent.amount_cents)} {_PER[rent.per]}, {term}"


def _spese_in_words(cents: int | None) -> str:
    return "spese unknown" if cents is None else f"spese {_euros(cents)}"


def _rooms_in_words(listing: Listing) -> str | None:
    return None if listing.rooms is None else f"{listing.rooms}{'+' if listing.rooms_or_more else ''}"


def _floor_wish_in_words(search: Search) -> str:
    wish = search.floor or FloorWish()
    height = None
    if wish.minimum is not None or wish.maximum is not None:
        height = f"floor {_bounds(wish.minimum, wish.maximum)}"
    return ", ".join(part for part in (_listed(wish.kinds), height) if part)


def _floor_in_words(listing: Listing) -> str | None:
    floor = listing.floor
    if floor is None:
        return None
    kind = "floor" if floor.kind is FloorKind.NUMBERED else str(_said(floor.kind))
    return kind if floor.number is None else f"{kind} {floor.number}"


def _features_in_words(search: Search, listing: Listing) -> str | None:
    known = {feature: listing.features[feature] for feature in search.features if feature in listing.features}
    said = (f"{'' if has else 'no '}{_said(feature)}" for feature, has in sorted(known.items()))
    return " and ".join(said) or None


def _quoted(keywords: Iterable[str]) -> str:
    return ", ".join(f"“{keyword}”" for keyword in keywords)


def _text_in_words(keywords: tuple[str, ...], listing: Listing) -> str | None:
    """Which keywords the text holds, or how long it is: the text itself is too long to quote."""
    words = len(listing.title.split()) + len(listing.description.split())
    if not words:
        return None
    held = [keyword for keyword in keywords if contains_phrase(Text.of(listing).words, fold_keyword(keyword))]
    return f"{_quoted(held) if held else 'none'} in {words} words"


def _commutes_in_words(search: Search) -> str:
    return " and ".join(map(_commute_in_words, search.commutes))


def _commute_in_words(wanted: Commute) -> str:
    limits = (
        None if wanted.minutes is None else f"{wanted.minutes} minutes by {wanted.by}",
        None if wanted.max_distance_m is None else f"{wanted.max_distance_m:,} m",
    )
    return f"at most {' and '.join(filter(None, limits))} to {wanted.label or _degrees(wanted.to)}"


def _ways_in_words(search: Search, listing: Listing) -> str | None:
    position = listing.position
    if position is None:
        return None
    return " and ".join(_way_in_words(each, position, listing.appraisal.journeys) for each in search.commutes)


def _way_in_words(wanted: Commute, position: Position, journeys: Iterable[Journey]) -> str:
    distance = f"{distance_m(position, wanted.to):,.0f} m"
    if wanted.minutes is None:
        return distance
    journey = journey_of(wanted, journeys)
    if journey is None:
        return f"{distance}, its time not known"
    time = "no way" if journey.seconds is None else f"{-(-journey.seconds // 60)} minutes"
    return f"{distance}, {time} by {wanted.by}"


FLAG, PASS, FAIL = UnknownPolicy.FLAG, UnknownPolicy.PASS, UnknownPolicy.FAIL

RULES: Final[tuple[Rule[Any, Any], ...]] = (
    Rule(
        Criterion.STATUS,
        asks=lambda _: True,
        says=lambda listing: listing.active,
        judge=lambda _, active: SATISFIED if active else VIOLATED,
        wanted=lambda _: "an active listing",
        found=lambda _, listing: listing.status,
        unknown=FAIL,
        because="a listing always has a status",
    ),
    Rule(
        Criterion.PLACE,
        asks=lambda search: search.places,
        says=Whereabouts.of,
        judge=_judge_place,
        wanted=_places_in_words,
        found=lambda _, listing: _where(listing),
        unknown=FAIL,
        because="otherwise everything that names no place would reach every renter in Italy",
    ),
    Rule(
        Criterion.SOURCE,
        asks=lambda search: search.sources or None,
        says=lambda listing: listing.source,
        judge=_among,
        wanted=lambda search: _listed(search.sources),
        found=lambda _, listing: listing.source,
        unknown=FAIL,
        because="a listing always has a source",
    ),
    Rule(
        Criterion.RENT,
        asks=lambda search: _limited(search.rent),
        says=Cost.of,
        judge=_judge_rent,
        wanted=_rent_limit_in_words,
        found=lambda _, listing: _rent_in_words(listing),
        unknown=FLAG,
        because="most advertisements do not state their spese; a flat within the limit must not vanish for that",
    ),
    Rule(
        Criterion.DEPOSIT,
        asks=lambda search: search.deposit_max_cents,
        says=lambda listing: listing.deposit_cents,
        judge=_at_most,
        wanted=lambda search: f"at most {_euros(search.deposit_max_cents or 0)}",
        found=lambda _, listing: None if listing.deposit_cents is None else _euros(listing.deposit_cents),
        unknown=PASS,
        because="hardly any advertisement states the deposit: a flag on each would say nothing",
    ),
    Rule(
        Criterion.CONTRACT,
        asks=lambda search: search.contracts or None,
        says=lambda listing: listing.contract,
        judge=_among,
        wanted=lambda search: _listed(search.contracts),
        found=lambda _, listing: _said(listing.contract),
        unknown=FLAG,
        because="few portals have a field for it, and it is the first thing to ask",
    ),
    Rule(
        Criterion.OFFERING,
        asks=lambda search: search.offering,
        says=lambda listing: listing.offering,
        judge=_equal,
        wanted=lambda search: str(_said(search.offering)),
        found=lambda _, listing: _said(listing.offering),
        unknown=FLAG,
        because="sources that list whole flats only do not say so",
    ),
    Rule(
        Criterion.PROPERTY_TYPE,
        asks=lambda search: search.property_types or None,
        says=lambda listing: listing.property_type,
        judge=_among,
        wanted=lambda search: _listed(search.property_types),
        found=lambda _, listing: _said(listing.property_type),
        unknown=FLAG,
        because="it can be seen on the first picture",
    ),
    Rule(
        Criterion.ROOMS,
        asks=lambda search: _bounded(search.rooms),
        says=Rooms.of,
        judge=_judge_rooms,
        wanted=lambda search: _range_in_words(search.rooms, "rooms"),
        found=lambda _, listing: _rooms_in_words(listing),
        unknown=FLAG,
        because="the area and the rent bound it well enough for a look",
    ),
    Rule(
        Criterion.BEDROOMS,
        asks=lambda search: _bounded(search.bedrooms),
        says=lambda listing: listing.bedrooms,
        judge=_in_range,
        wanted=lambda search: _range_in_words(search.bedrooms, "bedrooms"),
        found=lambda _, listing: _said(listing.bedrooms),
        unknown=FLAG,
        because="Italian advertisements count locali; bedrooms are often in the text only",
    ),
    Rule(
        Criterion.BATHROOMS,
        asks=lambda search: _bounded(search.bathrooms),
        says=lambda listing: listing.bathrooms,
        judge=_in_range,
        wanted=lambda search: _range_in_words(search.bathrooms, "bathrooms"),
        found=lambda _, listing: _said(listing.bathrooms),
        unknown=FLAG,
        because="it can be asked in one sentence",
    ),
    Rule(
        Criterion.AREA,
        asks=lambda search: _bounded(search.area_m2),
        says=lambda listing: listing.area_m2,
        judge=_in_range,
        wanted=lambda search: _range_in_words(search.area_m2, "m²"),
        found=lambda _, listing: None if listing.area_m2 is None else f"{listing.area_m2} m²",
        unknown=FLAG,
        because="one advertisement in several leaves it out",
    ),
    Rule(
        Criterion.FLOOR,
        asks=lambda search: _particular(search.floor),
        says=lambda listing: listing.floor,
        judge=_judge_floor,
        wanted=_floor_wish_in_words,
        found=lambda _, listing: _floor_in_words(listing),
        unknown=FLAG,
        because="it matters to who asks for it, and is often missing",
    ),
    Rule(
        Criterion.FURNISHING,
        asks=lambda search: search.furnishing or None,
        says=lambda listing: listing.furnishing,
        judge=_among,
        wanted=lambda search: _listed(search.furnishing),
        found=lambda _, listing: _said(listing.furnishing),
        unknown=FLAG,
        because="it can be seen on the pictures",
    ),
    Rule(
        Criterion.FEATURES,
        asks=lambda search: search.features or None,
        says=lambda listing: frozenset(listing.features.items()),
        judge=_judge_features,
        wanted=lambda search: " and ".join(sorted(str(_said(feature)) for feature in search.features)),
        found=_features_in_words,
        unknown=FLAG,
        because="portals list what there is and rarely what there is not",
    ),
    Rule(
        Criterion.ENERGY_CLASS,
        asks=lambda search: search.energy_class,
        says=lambda listing: listing.energy_class,
        judge=_judge_energy_class,
        wanted=lambda search: f"{search.energy_class} or better",
        found=lambda _, listing: listing.energy_class,
        unknown=FLAG,
        because="the certificate is often still being made",
    ),
    Rule(
        Criterion.ADVERTISER,
        asks=lambda search: search.advertiser,
        says=lambda listing: listing.advertiser,
        judge=_equal,
        wanted=lambda search: str(search.advertiser),
        found=lambda _, listing: listing.advertiser,
        unknown=FLAG,
        because="the fee depends on it, and the first call tells",
    ),
    Rule(
        Criterion.AVAILABILITY,
        asks=lambda search: search.available_by,
        says=lambda listing: listing.available_from,
        judge=_judge_availability,
        wanted=lambda search: f"free by {search.available_by}",
        found=lambda _, listing: None if listing.available_from is None else f"free from {listing.available_from}",
        unknown=PASS,
        because="a flat that names no date is nearly always free now",
    ),
    Rule(
        Criterion.COMMUTE,
        asks=lambda search: search.commutes or None,
        says=Start.of,
        judge=_judge_commutes,
        wanted=_commutes_in_words,
        found=_ways_in_words,
        unknown=FLAG,
        because="an engine that is away, or an advertisement without a place, must not hide a flat",
    ),
    Rule(
        Criterion.SIGNALS,
        asks=lambda search: search.signals_unwanted or None,
        says=lambda listing: listing.appraisal.signals,
        judge=lambda unwanted, signals: VIOLATED if unwanted.intersection(signals) else SATISFIED,
        wanted=lambda search: f"none of {_listed(search.signals_unwanted).replace(' or ', ', ')}",
        found=lambda _, listing: _listed(listing.appraisal.signals).replace(" or ", ", ") or "none",
        unknown=FAIL,
        because="what we have noticed is always known",
    ),
    Rule(
        Criterion.KEYWORDS_WANTED,
        asks=lambda search: _phrases(search.keywords_wanted),
        says=Text.of,
        judge=_judge_wanted,
        wanted=lambda search: f"all of {_quoted(search.keywords_wanted)}",
        found=lambda search, listing: _text_in_words(search.keywords_wanted, listing),
        unknown=FAIL,
        because="who asks for a word asks for advertisements that say it",
    ),
    Rule(
        Criterion.KEYWORDS_UNWANTED,
        asks=lambda search: _phrases(search.keywords_unwanted),
        says=Text.of,
        judge=_judge_unwanted,
        wanted=lambda search: f"none of {_quoted(search.keywords_unwanted)}",
        found=lambda search, listing: _text_in_words(search.keywords_unwanted, listing),
        unknown=PASS,
        because="an advertisement without a text says nothing unwanted",
    ),
)
"""In the order of `Criterion`: cheap ones that refuse most listings come first."""
