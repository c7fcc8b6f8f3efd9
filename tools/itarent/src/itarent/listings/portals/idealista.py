"""idealista, Italy: an element of a result of its search API."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

from common.listing import AdvertiserKind, Agency, Floor, FloorKind, Offering, PropertyType, Rent, RentUnit
from itarent.listings import numbers
from itarent.listings.doubts import area_reading, rent_reading
from itarent.listings.draft import Draft
from itarent.listings.outcomes import Refusal
from itarent.listings.portals.payload import Payload, feature_flags, position_of, present
from itarent.listings.reading import NOTHING, Reading, first_of_each
from itarent.listings.vocabulary import floor_of, pets_of, spese_of

SOURCE: Final = "idealista.it"
FIELDS: Final = frozenset({"propertyCode"})

_TYPES: Final[Mapping[str, PropertyType]] = {
    "flat": PropertyType.APARTMENT,
    "duplex": PropertyType.APARTMENT,
    "studio": PropertyType.STUDIO,
    "penthouse": PropertyType.ATTICO,
    "loft": PropertyType.LOFT,
    "chalet": PropertyType.DETACHED_HOUSE,
    "independanthouse": PropertyType.DETACHED_HOUSE,
    "independenthouse": PropertyType.DETACHED_HOUSE,
    "villa": PropertyType.VILLA,
    "terracedhouse": PropertyType.TERRACED_HOUSE,
    "semidetachedhouse": PropertyType.TERRACED_HOUSE,
    "countryhouse": PropertyType.RUSTIC,
}
_NO_DWELLINGS: Final = frozenset(
    {"garage", "office", "premise", "premises", "storage", "storageroom", "land", "building"}
)
_FLOORS: Final[Mapping[str, Floor]] = {  # the API's codes are abbreviated Spanish
    "bj": Floor(kind=FloorKind.PIANO_TERRA, number=0),
    "en": Floor(kind=FloorKind.AMMEZZATO),
    "ss": Floor(kind=FloorKind.SEMINTERRATO),
    "st": Floor(kind=FloorKind.NUMBERED, number=-1),
}
_UNITS: Final = {"€/mese": RentUnit.MONTH, "€/anno": RentUnit.YEAR, "€/m²": RentUnit.SQUARE_METRE_MONTH}
_PROVINCE: Final = re.compile(r"0-EU-IT-([A-Z]{2})\b.*")
_STREET: Final = re.compile(r"\w+(?: \w+)? in (?P<street>[^,]+),.*", re.IGNORECASE)


def draft_of(payload: Payload) -> Draft:
    if payload.at("operation").words() not in {"", "rent"}:
        raise payload.at("operation").refused(Refusal.NOT_TO_LET)
    if payload.at("propertyType").words() in _NO_DWELLINGS:
        raise payload.at("propertyType").refused(Refusal.NOT_TO_LET)
    said = present(
        id=payload.at("propertyCode").text(),
        url=payload.at("url").text(),
        title=payload.at("suggestedTexts", "title").text() or payload.at("address").text(),
        description=payload.at("description").text(),
        rooms=payload.at("rooms").count() or None,
        bathrooms=payload.at("bathrooms").count() or None,
        floor=_FLOORS.get(payload.at("floor").words()) or floor_of(payload.at("floor").words()),
        published_at=_moment(payload.at("firstActivationDate")),
    )
    parts = (_typology(payload), _place(payload), _rent(payload), _equipment(payload), _advertiser(payload))
    return Draft(SOURCE, first_of_each((Reading(said), *parts)), payload.canonical())


def _moment(milliseconds: Payload) -> dt.datetime | None:
    count = milliseconds.count()
    try:
        return None if count is None else dt.datetime.fromtimestamp(count / 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise milliseconds.refused(Refusal.UNREADABLE_DATE) from None


def _typology(payload: Payload) -> Reading:
    kind = payload.at("propertyType").words()
    if kind == "room":
        return Reading({"offering": Offering.ROOM})
    sub_typology = payload.at("detailedType", "subTypology").words()
    property_type = _TYPES.get(sub_typology) or _TYPES.get(kind)
    return Reading(present(property_type=property_type, offering=Offering.WHOLE if kind else None))


def _place(payload: Payload) -> Reading:
    province = _PROVINCE.fullmatch(payload.at("locationId").text() or "")
    street = _STREET.fullmatch(payload.at("address").text() or "")
    return Reading(
        present(
            comune_name=payload.at("municipality").text(),
            province=province[1] if province else payload.at("province").text(),
            zone=payload.at("neighborhood").text() or payload.at("district").text(),
            address=street["street"] if street else None,
            position=position_of(payload.at("latitude"), payload.at("longitude")),
        )
    )


def _rent(payload: Payload) -> Reading:
    stated = payload.at("priceInfo", "price")
    amount = stated.at("amount").number()
    if amount is None:
        amount = payload.at("price").number()
    if not amount:
        return rent_reading(None)
    suffix = stated.at("currencySuffix").words()
    if suffix not in {"", *_UNITS}:
        raise stated.at("currencySuffix").refused(Refusal.UNKNOWN_WORD)
    spese = spese_of(payload.at("description").words())
    return rent_reading(Rent(amount_cents=numbers.cents(amount), per=_UNITS.get(suffix, RentUnit.MONTH), spese=spese))


def _equipment(payload: Payload) -> Reading:
    has = payload.at("features")
    size = payload.at("size").number()
    features = feature_flags(
        pets=pets_of(payload.at("description").words()),
        lift=payload.at("hasLift").flag(),
        terrace=has.at("hasTerrace").flag(),
        garden=has.at("hasGarden").flag(),
        parking=payload.at("parkingSpace", "hasParkingSpace").flag(),
        air_conditioning=has.at("hasAirConditioning").flag(),
    )
    return first_of_each((Reading(features=features), NOTHING if size is None else area_reading(size)))


def _advertiser(payload: Payload) -> Reading:
    kinds = {"professional": AdvertiserKind.AGENCY, "private": AdvertiserKind.PRIVATE}
    advertiser = kinds.get(payload.at("contactInfo", "userType").words())
    name = payload.at("contactInfo", "commercialName").text() if advertiser is AdvertiserKind.AGENCY else None
    agency = Agency(name=name, reference=payload.at("externalReference").text())
    return Reading(present(advertiser=advertiser, agency=agency))
