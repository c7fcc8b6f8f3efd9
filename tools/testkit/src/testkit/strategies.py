"""Hypothesis strategies: listings with fields changed or unknown, and searches made from a listing.

A search drawn apart from its listing would hardly ever match, and prove little; here each criterion is drawn
near what the listing says, so that it decides both ways.
"""

import datetime as dt
from typing import Any, TypeVar

from hypothesis import strategies as st

from common.geo import cell_of
from common.listing import (
    AdvertiserKind,
    Appraisal,
    ContractType,
    EnergyClass,
    Feature,
    Floor,
    FloorKind,
    Furnishing,
    Journey,
    Listing,
    ListingStatus,
    Offering,
    Position,
    PropertyType,
    Rent,
    RentUnit,
    Signal,
    SpeseTerm,
    TravelMode,
)
from common.rules import DESTINATION_DEGREES
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
from testkit.factories import make_listing

_T = TypeVar("_T")

COMUNI = ("015146", "058091", "021008", "035033", "037061")
ZONES = ("Loreto - Buenos Aires", "Monte Mario - Trionfale", "Centro Storico", "Città Studi")
SENTENCES = ("Luminoso bilocale con balcone.", "No animali. Libero da subito!", "L'ascensore arriva all'ultimo piano.")
KEYWORDS = ("balcone", "no animali", "ultimo piano", "Luminoso", "asta")
SOURCES = ("immobiliare.it", "idealista.it", "casa.it")


def _nonempty(values: st.SearchStrategy[_T]) -> st.SearchStrategy[frozenset[_T]]:
    return st.frozensets(values, min_size=1, max_size=3)


positions = st.builds(Position, latitude=st.floats(45.3, 45.6), longitude=st.floats(9.0, 9.4))
"""Around Milano."""

rents = st.builds(
    Rent,
    amount_cents=st.integers(200_00, 4000_00),
    per=st.sampled_from([RentUnit.MONTH] * 6 + [RentUnit.YEAR, RentUnit.SQUARE_METRE_MONTH]),
    spese=st.sampled_from(SpeseTerm),
)

DUOMO = Position(latitude=45.4642, longitude=9.19)

journeys = st.builds(
    Journey,
    to=st.just(cell_of(DUOMO, DESTINATION_DEGREES)),
    by=st.sampled_from(TravelMode),
    seconds=st.none() | st.integers(0, 3600),
)

appraisals = st.builds(
    Appraisal,
    signals=st.lists(st.sampled_from(Signal), unique=True, max_size=2).map(tuple),
    journeys=st.lists(journeys, unique_by=lambda journey: journey.by, max_size=3).map(tuple),
)

commutes = st.builds(
    Commute,
    to=st.just(DUOMO) | positions,
    by=st.sampled_from(TravelMode),
    minutes=st.integers(5, 60),
    max_distance_m=st.none() | st.integers(1000, 20_000),
)

floors = st.builds(Floor, kind=st.sampled_from(FloorKind), number=st.none() | st.integers(-1, 9))


LISTING_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "source": st.sampled_from(SOURCES),
    "status": st.sampled_from(ListingStatus),
    "title": st.sampled_from(("", "Bilocale in affitto")),
    "description": st.lists(st.sampled_from(SENTENCES), max_size=3).map(" ".join),
    "comune": st.none() | st.sampled_from(COMUNI),
    "province": st.sampled_from((None, "MI", "RM")),
    "zone": st.none() | st.sampled_from(ZONES),
    "position": st.none() | positions,
    "rent": st.none() | rents,
    "spese_cents": st.none() | st.integers(0, 300_00),
    "deposit_cents": st.none() | st.integers(0, 9000_00),
    "contract": st.none() | st.sampled_from(ContractType),
    "offering": st.none() | st.sampled_from(Offering),
    "property_type": st.none() | st.sampled_from(PropertyType),
    "rooms": st.none() | st.integers(1, 8),
    "rooms_or_more": st.booleans(),
    "bedrooms": st.none() | st.integers(0, 5),
    "bathrooms": st.none() | st.integers(0, 3),
    "area_m2": st.none() | st.integers(12, 300),
    "floor": st.none() | floors,
    "furnishing": st.none() | st.sampled_from(Furnishing),
    "features": st.dictionaries(st.sampled_from(Feature), st.booleans()),
    "energy_class": st.none() | st.sampled_from(EnergyClass),
    "available_from": st.none() | st.dates(dt.date(2026, 9, 1), dt.date(2027, 6, 1)),
    "advertiser": st.none() | st.sampled_from(AdvertiserKind),
    "appraisal": appraisals,
}


@st.composite
def listings(draw: st.DrawFn, /, **fixed: Any) -> Listing:  # noqa: ANN401 - whatever the field takes
    """The factory's listing with some fields changed or unknown. `listings(rooms=2)` fixes fields."""
    changed = draw(st.lists(st.sampled_from(sorted(LISTING_FIELDS.keys() - fixed.keys())), unique=True, max_size=8))
    return make_listing(**{name: draw(LISTING_FIELDS[name]) for name in changed}, **fixed)


def places_near(listing: Listing) -> st.SearchStrategy[Place]:
    """Places of every kind, most of which hold the listing."""
    comuni = st.builds(InComune, code=st.sampled_from([listing.comune or COMUNI[0]] * 4 + list(COMUNI)))
    zones = st.lists(st.sampled_from([listing.zone or ZONES[0], *ZONES]), min_size=1, max_size=2).map(tuple)
    in_zones = st.builds(InComune, code=st.just(listing.comune or COMUNI[0]), zones=zones)
    provinces = st.builds(InProvince, code=st.sampled_from([listing.province or "MI", "RM"]))
    centres = st.just(listing.position) if listing.position else positions
    circles = st.builds(InCircle, centre=centres | positions, radius_m=st.integers(100, 20_000))
    return st.one_of(comuni, in_zones, provinces, circles, centres.flatmap(polygons_around))


def polygons_around(centre: Position) -> st.SearchStrategy[InPolygon]:
    """Triangles about a point, which may just miss it."""
    offsets = st.tuples(st.floats(-0.05, 0.2), st.floats(-0.05, 0.2))
    directions = ((1, 0), (-1, 1), (-1, -1))

    def triangle(sizes: list[tuple[float, float]]) -> InPolygon:
        corners = zip(directions, sizes, strict=True)
        ring = [
            (centre.latitude + north * high, centre.longitude + east * wide) for (north, east), (high, wide) in corners
        ]
        return InPolygon(ring=tuple(Position(latitude=latitude, longitude=longitude) for latitude, longitude in ring))

    return st.lists(offsets, min_size=3, max_size=3).map(triangle)


@st.composite
def ranges_near(draw: st.DrawFn, value: int | None) -> Range:
    """Bounds at or about a value: half-open, closed, sometimes missing it by one."""
    middle = value if value is not None else 3
    minimum = draw(st.none() | st.integers(max(0, middle - 3), middle + 1))
    maximum = draw(st.none() | st.integers(max(minimum or 0, middle - 1), middle + 5))
    return Range(minimum=minimum, maximum=maximum)


@st.composite
def rent_limits_near(draw: st.DrawFn, listing: Listing) -> RentLimit:
    cents = listing.rent.amount_cents if listing.rent else 1000_00
    spese = listing.spese_cents or 0
    edges = st.sampled_from((cents, cents - 1, cents + spese, cents + spese + 1, 2 * cents, 3 * cents))
    maximum = draw(edges)
    minimum = draw(st.none() | st.integers(0, maximum))
    return RentLimit(
        minimum_cents=minimum, maximum_cents=maximum, spese=draw(st.sampled_from(("included", "excluded")))
    )


@st.composite
def floor_wishes(draw: st.DrawFn) -> FloorWish:
    return FloorWish(
        kinds=draw(st.frozensets(st.sampled_from(FloorKind))),
        minimum=draw(st.none() | st.integers(-1, 3)),
        maximum=draw(st.none() | st.integers(0, 9)),
    )


def _among(value: _T | None, kinds: type[_T]) -> st.SearchStrategy[frozenset[_T]]:
    """Sets, about half of which hold the listing's value."""
    any_of: st.SearchStrategy[_T] = st.sampled_from(list(kinds))  # type: ignore[call-overload] # kinds is an enum
    sets = _nonempty(any_of)
    return sets if value is None else sets | sets.map(lambda others: others | {value})


policies = st.dictionaries(st.sampled_from(Criterion), st.sampled_from(UnknownPolicy), max_size=6)


def restrictions_near(listing: Listing) -> dict[str, st.SearchStrategy[Any]]:
    """For each field of a search that may restrict, values about what the listing says."""
    return {
        "sources": _nonempty(st.sampled_from(SOURCES)),
        "rent": rent_limits_near(listing),
        "deposit_max_cents": st.sampled_from((2000_00, 4000_00)),
        "contracts": _among(listing.contract, ContractType),
        "offering": st.just(listing.offering) | st.sampled_from(Offering),
        "property_types": _among(listing.property_type, PropertyType),
        "rooms": ranges_near(listing.rooms),
        "bedrooms": ranges_near(listing.bedrooms),
        "bathrooms": ranges_near(listing.bathrooms),
        "area_m2": ranges_near(listing.area_m2),
        "floor": floor_wishes(),
        "furnishing": _among(listing.furnishing, Furnishing),
        "features": _nonempty(
            st.sampled_from([each for each, has in listing.features.items() if has] or list(Feature))
        ),
        "energy_class": st.sampled_from((listing.energy_class or EnergyClass.D, EnergyClass.F, EnergyClass.A1)),
        "advertiser": st.just(listing.advertiser) | st.sampled_from(AdvertiserKind),
        "available_by": st.dates(dt.date(2026, 9, 1), dt.date(2027, 9, 1)),
        "commutes": st.lists(commutes, min_size=1, max_size=2).map(tuple),
        "signals_unwanted": _nonempty(st.sampled_from(Signal)),
        "keywords_wanted": st.lists(st.sampled_from(KEYWORDS), max_size=2).map(tuple),
        "keywords_unwanted": st.lists(st.sampled_from(KEYWORDS), max_size=1).map(tuple),
    }


@st.composite
def searches_near(draw: st.DrawFn, listing: Listing) -> Search:
    """A search that restricts a few criteria, each about what the listing says."""
    restrictions = restrictions_near(listing)
    chosen = draw(st.lists(st.sampled_from(sorted(restrictions)), unique=True, max_size=4))
    fields = {name: draw(restrictions[name]) for name in chosen}
    places = draw(st.lists(places_near(listing), min_size=1, max_size=2).map(tuple))
    return Search(places=places, unknown=draw(policies), **fields)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Search, Listing]:
    """A search and a listing that may match."""
    listing = draw(listings())
    return draw(searches_near(listing)), listing
