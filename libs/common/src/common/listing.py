"""A listing: the full state of one advertisement of a flat or room to let, at one version of its source."""

import datetime as dt
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field, StringConstraints

from common.model import Value

IstatCode = Annotated[str, StringConstraints(pattern=r"^\d{6}$")]
"""A comune's code of ISTAT, six digits: Roma is 058091."""

ProvinceCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
"""A province's sigla automobilistica: RM, MI, BZ."""

ListingId = Annotated[str, StringConstraints(min_length=3, max_length=200, pattern=r"^[\x21-\x7e]+$")]
"""`<source>:<id at the source>`, printable ASCII without blanks: it is a Kafka key."""

Cents = Annotated[int, Field(ge=0, le=10**12)]
"""An amount of money in euro cents."""


BLANKS = "\\s\x85\N{ZERO WIDTH NO-BREAK SPACE}"
"""In a pattern: what is blank to anybody. Validators do not agree whether `\\s` holds the last two."""


class ListingStatus(StrEnum):
    ACTIVE = "active"
    WITHDRAWN = "withdrawn"


class RentUnit(StrEnum):
    """What a rent is counted per. Only MONTH is comparable; the others are kept, flagged and never guessed."""

    MONTH = "month"
    SQUARE_METRE_MONTH = "square_metre_month"
    YEAR = "year"


class SpeseTerm(StrEnum):
    """Whether an amount contains the spese condominiali (service charges)."""

    INCLUDED = "included"
    EXCLUDED = "excluded"
    UNKNOWN = "unknown"


class ContractType(StrEnum):
    FREE_4_4 = "4+4"  # canone libero
    AGREED_3_2 = "3+2"  # canone concordato
    TRANSITORY = "transitory"  # transitorio, 1 to 18 months
    STUDENTS = "students"  # transitorio per studenti universitari
    SHORT_TERM = "short_term"  # locazione breve, up to 30 days
    RENT_TO_BUY = "rent_to_buy"  # affitto con riscatto
    OTHER = "other"


class PropertyType(StrEnum):
    APARTMENT = "apartment"  # appartamento
    STUDIO = "studio"  # monolocale
    ATTICO = "attico"
    MANSARDA = "mansarda"
    LOFT = "loft"
    VILLA = "villa"
    TERRACED_HOUSE = "terraced_house"  # villetta a schiera
    DETACHED_HOUSE = "detached_house"  # casa indipendente, terratetto
    RUSTIC = "rustic"  # rustico, casale
    PALACE = "palace"  # palazzo, stabile
    OTHER = "other"


class Offering(StrEnum):
    WHOLE = "whole"
    ROOM = "room"  # stanza, posto letto


class FloorKind(StrEnum):
    SEMINTERRATO = "seminterrato"  # half below the ground
    PIANO_TERRA = "piano_terra"
    RIALZATO = "rialzato"  # raised by a few steps
    AMMEZZATO = "ammezzato"  # mezzanine
    NUMBERED = "numbered"  # `Floor.number` says which, 1 is the first above the ground
    ATTICO = "attico"


class Furnishing(StrEnum):
    FURNISHED = "furnished"
    PARTLY = "partly"
    UNFURNISHED = "unfurnished"


class Feature(StrEnum):
    PETS = "pets"
    LIFT = "lift"
    BALCONY = "balcony"
    TERRACE = "terrace"
    GARDEN = "garden"
    PARKING = "parking"
    AIR_CONDITIONING = "air_conditioning"


class EnergyClass(StrEnum):
    """APE classes of Italian law since 2015, best first; A and A+ are what older certificates say."""

    A4 = "A4"
    A3 = "A3"
    A2 = "A2"
    A1 = "A1"
    A_PLUS = "A+"
    A = "A"
    B = "B"
    C = "C"
    D = "D"
    E = "E"
    F = "F"
    G = "G"


class AdvertiserKind(StrEnum):
    AGENCY = "agency"
    PRIVATE = "private"


class ListingFlag(StrEnum):
    """What is doubtful about a listing: it is passed on and shown, never silently repaired."""

    RENT_IMPLAUSIBLY_LOW = "rent_implausibly_low"
    RENT_IMPLAUSIBLY_HIGH = "rent_implausibly_high"
    RENT_ON_REQUEST = "rent_on_request"
    RENT_NOT_MONTHLY = "rent_not_monthly"
    DATE_AMBIGUOUS = "date_ambiguous"  # day and month may be swapped
    DATE_SWAPPED = "date_swapped"  # was in the future as written, day and month were exchanged
    COMUNE_UNKNOWN = "comune_unknown"
    AREA_IMPLAUSIBLE = "area_implausible"


class TravelMode(StrEnum):
    """How somebody gets to a place."""

    WALK = "walk"
    BICYCLE = "bicycle"
    CAR = "car"
    TRANSIT = "transit"  # public transport, and on foot to the stop


class Signal(StrEnum):
    """What we have noticed about a listing beyond what its source says: shown, and by default excluding nothing."""

    RENT_FAR_BELOW_ZONE = "rent_far_below_zone"  # beside what flats like it cost in its OMI zone
    RENT_FAR_ABOVE_ZONE = "rent_far_above_zone"
    SCAM_SIGNS = "scam_signs"  # cheap beyond belief, no visit, money to be sent: two of these at least


class Rent(Value):
    """The canone: an amount that says what it is counted per and whether the spese are in it."""

    amount_cents: Cents
    per: RentUnit = RentUnit.MONTH
    spese: SpeseTerm = SpeseTerm.UNKNOWN


class Floor(Value):
    kind: FloorKind
    number: int | None = Field(default=None, ge=-5, le=150, description="0 is the ground floor")


class Position(Value):
    """A point, WGS 84, degrees."""

    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)


Cell = Annotated[str, StringConstraints(pattern=r"^-?\d{1,2}\.\d{3,4},-?\d{1,3}\.\d{3,4}$")]
"""The middle of a cell of a grid over the map, `latitude,longitude`: places within it count as one."""


class Journey(Value):
    """How long it takes from a listing to a cell, as a routing engine has said."""

    to: Cell
    by: TravelMode
    seconds: int | None = Field(ge=0, le=10**6, description="None: there is no way")


class Appraisal(Value):
    """What we have found out about a listing when it was matched, and went by from then on."""

    signals: tuple[Signal, ...] = ()
    journeys: tuple[Journey, ...] = ()


class Agency(Value):
    name: str | None = Field(default=None, max_length=200)
    reference: str | None = Field(
        default=None, max_length=100, description="the agency's own code of the flat: the best sign of one flat"
    )


class Listing(Value):
    """One advertisement. A field that is None (a feature that is absent) is unknown, which is not the same as no.

    Listings of one `listing_id` are ordered by `version`, the source's own counter or time of change in
    milliseconds: what is not newer than the version known changes nothing.
    """

    listing_id: ListingId
    version: int = Field(ge=0, lt=2**63, description="as large as a bigint of PostgreSQL")
    source: str = Field(min_length=1, max_length=60, pattern=r"^[a-z0-9._-]+$", description="the portal: idealista.it")
    status: ListingStatus = ListingStatus.ACTIVE
    url: str | None = Field(default=None, max_length=2000, pattern=f"^https?://[^{BLANKS}]+$")
    title: str = Field(default="", max_length=500)
    description: str = Field(default="", max_length=20_000)
    published_at: AwareDatetime | None = None

    comune: IstatCode | None = None
    comune_name: str = Field(default="", max_length=120, description="as advertised, or ISTAT's name of the code")
    province: ProvinceCode | None = None
    zone: str | None = Field(default=None, max_length=200, description="quartiere or zone, as advertised")
    address: str | None = Field(default=None, max_length=300)
    position: Position | None = None

    rent: Rent | None = None
    spese_cents: Cents | None = Field(default=None, description="spese condominiali a month")
    deposit_cents: Cents | None = None
    contract: ContractType | None = None

    offering: Offering | None = None
    property_type: PropertyType | None = None
    rooms: int | None = Field(default=None, ge=1, le=100, description="locali")
    rooms_or_more: bool = Field(default=False, description="the source says `5+`: rooms is a lower bound")
    bedrooms: int | None = Field(default=None, ge=0, le=100)
    bathrooms: int | None = Field(default=None, ge=0, le=100)
    area_m2: int | None = Field(default=None, ge=1, le=100_000)
    floor: Floor | None = None
    furnishing: Furnishing | None = None
    features: dict[Feature, bool] = Field(default_factory=dict, description="absent means unknown")
    energy_class: EnergyClass | None = None
    available_from: dt.date | None = None

    advertiser: AdvertiserKind | None = None
    agency: Agency = Agency()
    flags: tuple[ListingFlag, ...] = ()
    appraisal: Appraisal = Field(default=Appraisal(), description="ours: what a source writes here is replaced")

    @property
    def monthly_rent_cents(self) -> int | None:
        """The canone a month, or None where it is unknown or counted per anything but a month."""
        return self.rent.amount_cents if self.rent and self.rent.per is RentUnit.MONTH else None

    @property
    def active(self) -> bool:
        return self.status is ListingStatus.ACTIVE
