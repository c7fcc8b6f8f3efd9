"""A search: what a renter wants, and what an unknown value means for each criterion."""

import datetime as dt
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self, TypeVar
from uuid import UUID

import shapely  # type: ignore[import-untyped] # published without types
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from common.listing import (
    AdvertiserKind,
    Cents,
    ContractType,
    EnergyClass,
    Feature,
    FloorKind,
    Furnishing,
    IstatCode,
    Offering,
    Position,
    PropertyType,
    ProvinceCode,
    Signal,
    TravelMode,
)
from common.model import Value

Member = TypeVar("Member", bound=str)


def _in_one_order(members: frozenset[Member]) -> frozenset[Member]:
    """The order of a set depends on how it was filled: filled in one order, what is read is what was saved."""
    return frozenset(sorted(members))


SetOf = Annotated[frozenset[Member], AfterValidator(_in_one_order)]


class Criterion(StrEnum):
    """Everything a search can be particular about, in the order in which it is explained."""

    STATUS = "status"
    PLACE = "place"
    SOURCE = "source"
    RENT = "rent"
    DEPOSIT = "deposit"
    CONTRACT = "contract"
    OFFERING = "offering"
    PROPERTY_TYPE = "property_type"
    ROOMS = "rooms"
    BEDROOMS = "bedrooms"
    BATHROOMS = "bathrooms"
    AREA = "area"
    FLOOR = "floor"
    FURNISHING = "furnishing"
    FEATURES = "features"
    ENERGY_CLASS = "energy_class"
    ADVERTISER = "advertiser"
    AVAILABILITY = "availability"
    COMMUTE = "commute"
    SIGNALS = "signals"
    KEYWORDS_WANTED = "keywords_wanted"
    KEYWORDS_UNWANTED = "keywords_unwanted"


class UnknownPolicy(StrEnum):
    """What a criterion decides where the listing does not say."""

    PASS = "pass"  # noqa: S105 - a verdict, not a secret
    FLAG = "flag"  # pass, and say in the message that it is unknown
    FAIL = "fail"


class InComune(Value):
    kind: Literal["comune"] = "comune"
    code: IstatCode
    zones: tuple[str, ...] = Field(default=(), max_length=50, description="any of these zones; none means everywhere")


class InProvince(Value):
    kind: Literal["province"] = "province"
    code: ProvinceCode


class InCircle(Value):
    kind: Literal["circle"] = "circle"
    centre: Position
    radius_m: int = Field(gt=0, le=100_000)


def _closed_ring(ring: tuple[Position, ...]) -> tuple[Position, ...]:
    return ring if ring[0] == ring[-1] else (*ring, ring[0])


class InPolygon(Value):
    """Inside one ring of points; the last is joined to the first. Its edge counts as inside."""

    kind: Literal["polygon"] = "polygon"
    ring: Annotated[tuple[Position, ...], Field(min_length=3, max_length=1000), AfterValidator(_closed_ring)]

    @cached_property
    def shape(self) -> shapely.Polygon:
        """The polygon in degrees, x is the longitude; made once and prepared for many questions."""
        polygon = shapely.Polygon([(point.longitude, point.latitude) for point in self.ring])
        shapely.prepare(polygon)
        return polygon


Place = Annotated[InComune | InProvince | InCircle | InPolygon, Field(discriminator="kind")]


class Range(Value):
    """A closed interval; a bound that is None is open."""

    minimum: int | None = Field(default=None, ge=0, le=1_000_000)
    maximum: int | None = Field(default=None, ge=0, le=1_000_000)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}: exchange them")
        return self


class RentLimit(Value):
    """Bounds of the monthly rent, which say whether the spese condominiali are meant to be within them."""

    minimum_cents: Cents | None = None
    maximum_cents: Cents | None = None
    spese: Literal["included", "excluded"] = "excluded"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.minimum_cents, self.maximum_cents
        if low is not None and high is not None and low > high:
            raise ValueError(f"minimum_cents {low} is above maximum_cents {high}: exchange them")
        return self


class FloorWish(Value):
    """Kinds of floor that are welcome (none given: all), and bounds for numbered ones."""

    kinds: SetOf[FloorKind] = frozenset()
    minimum: int | None = Field(default=None, ge=-5, le=150)
    maximum: int | None = Field(default=None, ge=-5, le=150)


class Commute(Value):
    """A place to live near: minutes to get there at most, metres as the crow flies at most, or both."""

    to: Position
    label: str = Field(default="", max_length=80, description="what its owner calls it: Ufficio")
    by: TravelMode = TravelMode.TRANSIT
    minutes: int | None = Field(default=None, ge=1, le=240, description="at most, where a routing engine is configured")
    max_distance_m: int | None = Field(default=None, ge=1, le=200_000)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.minutes is None and self.max_distance_m is None:
            raise PydanticCustomError("commute_limits", "Give minutes, max_distance_m, or both")
        return self


Keyword = Annotated[str, Field(min_length=2, max_length=80)]


class Search(Value):
    """Criteria that must all hold; one that is empty or None does not restrict. At least one place is required."""

    places: tuple[Place, ...] = Field(min_length=1, max_length=50, description="any of these")
    sources: SetOf[str] = frozenset()
    rent: RentLimit | None = None
    deposit_max_cents: Cents | None = None
    contracts: SetOf[ContractType] = frozenset()
    offering: Offering | None = None
    property_types: SetOf[PropertyType] = frozenset()
    rooms: Range | None = None
    bedrooms: Range | None = None
    bathrooms: Range | None = None
    area_m2: Range | None = None
    floor: FloorWish | None = None
    furnishing: SetOf[Furnishing] = frozenset()
    features: SetOf[Feature] = Field(default=frozenset(), description="all of these")
    energy_class: EnergyClass | None = Field(default=None, description="this class or a better one")
    advertiser: AdvertiserKind | None = None
    available_by: dt.date | None = None
    commutes: tuple[Commute, ...] = Field(default=(), max_length=3, description="all of these")
    signals_unwanted: SetOf[Signal] = Field(default=frozenset(), description="none of these")
    keywords_wanted: tuple[Keyword, ...] = Field(default=(), max_length=20, description="all of these words or phrases")
    keywords_unwanted: tuple[Keyword, ...] = Field(default=(), max_length=20, description="none of these")
    unknown: dict[Criterion, UnknownPolicy] = Field(
        default_factory=dict, description="where it differs from the default policy of the criterion"
    )

    @property
    def asks_the_way(self) -> bool:
        """Whether it may depend on what a routing engine says."""
        return any(each.minutes is not None for each in self.commutes)

    def under(self, criterion: Criterion, policy: UnknownPolicy) -> Self:
        """The same search with another policy for what is unknown."""
        return self.model_copy(update={"unknown": {**self.unknown, criterion: policy}})


class Alert(StrEnum):
    """What about a matching flat a renter wants to be told."""

    NEW = "new"
    PRICE_DROP = "price_drop"
    WITHDRAWN = "withdrawn"


class PriceDrop(Value):
    """By how much a rent must at least fall to be news: both, by the percentage and by the amount. Hashable.

    Two whole numbers, so that a matcher can lay millions of them out as columns.
    """

    percent: int = Field(default=1, ge=0, le=99, description="of the rent before; 0: whatever the percentage")
    cents: int = Field(default=0, ge=0, le=100_000_000, description="euro cents; 0: whatever the amount")


class SubscriptionStatus(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"


class Subscription(Value):
    """A search that somebody saved. `revision` grows with each change; a newer one replaces an older one."""

    subscription_id: UUID
    user_id: UUID
    revision: int = Field(ge=1, lt=2**63)
    name: str = Field(min_length=1, max_length=120)
    status: SubscriptionStatus = SubscriptionStatus.ACTIVE
    alerts: SetOf[Alert] = frozenset({Alert.NEW, Alert.PRICE_DROP})
    price_drop: PriceDrop = PriceDrop()
    search: Search

    @property
    def active(self) -> bool:
        return self.status is SubscriptionStatus.ACTIVE
