"""casa.it: an advertisement as its app reads it."""

import datetime as dt
import re
from typing import Any, Final

from common.listing import (
    AdvertiserKind,
    Agency,
    EnergyClass,
    ListingStatus,
    Offering,
    PropertyType,
    Rent,
)
from itarent.listings import numbers
from itarent.listings.doubts import area_reading, rent_reading
from itarent.listings.draft import Draft
from itarent.listings.outcomes import Refusal
from itarent.listings.portals.payload import Payload, feature_flags, position_of, present
from itarent.listings.reading import NOTHING, Reading, first_of_each
from itarent.listings.vocabulary import FURNISHINGS, TYPOLOGIES, floor_of, pets_of, spese_of

SOURCE: Final = "casa.it"
FIELDS: Final = frozenset({"transaction", "property"})

_CITY_ID: Final = re.compile(r"IT-[A-Z]{3}-(\d{6})", re.ASCII)
_YES_NO: Final = {"sì": True, "si": True, "no": False}
_TYPES: Final = {"villetta": PropertyType.TERRACED_HOUSE, "casa": PropertyType.DETACHED_HOUSE}


def draft_of(payload: Payload) -> Draft:
    if payload.at("transaction", "price", "type").words() not in {"", "affitto"}:
        raise payload.at("transaction", "price", "type").refused(Refusal.NOT_TO_LET)
    if payload.at("category", "type").words() not in {"", "residential"}:
        raise payload.at("category", "type").refused(Refusal.NOT_TO_LET)
    characteristic = payload.at("property", "characteristic")
    said = present(
        id=payload.at("listing_id").text(),
        version=_version(payload.at("modified")),
        status=ListingStatus.WITHDRAWN if _is_gone(payload) else ListingStatus.ACTIVE,
        url=_url(payload.at("meta", "links", "pretty", "href").text()),
        title=payload.at("title", "it").text(),
        description=payload.at("description", "it").text(),
        rooms=characteristic.at("rooms_count").count() or None,
        bedrooms=characteristic.at("bedrooms_count").count() or None,  # 0 where nobody has filled it in
        bathrooms=characteristic.at("bathrooms_count").count() or None,
        floor=floor_of(characteristic.at("level").words()),
        energy_class=_energy_class(payload.at("property", "energy_class", "class").text()),
    )
    parts = (_typology(payload), _place(payload), _rent(payload), _equipment(payload), _publisher(payload))
    return Draft(SOURCE, first_of_each((Reading(said), *parts)), payload.canonical())


def _version(modified: Payload) -> int | None:
    text = modified.text()
    if text is None:
        return None
    try:
        return int(dt.datetime.strptime(text, "%Y%m%dT%H%M%S%z").timestamp() * 1000)
    except ValueError:
        raise modified.refused(Refusal.UNREADABLE_DATE) from None


def _is_gone(payload: Payload) -> bool:
    return (
        payload.at("meta", "deleted").flag() is True
        or payload.at("active").flag() is False
        or payload.at("status").words() not in {"", "active"}
    )


def _url(pretty: str | None) -> str | None:
    return f"https://www.casa.it/{pretty.lstrip('/')}" if pretty else None


def _energy_class(text: str | None) -> EnergyClass | None:
    return EnergyClass(text) if text in set(EnergyClass) else None


def _typology(payload: Payload) -> Reading:
    immotype = payload.at("property", "immotype", "value").words()
    if "stanza" in immotype or "posto letto" in immotype:
        return Reading({"offering": Offering.ROOM})
    property_type = _TYPES.get(immotype) or TYPOLOGIES.get(immotype, (None,))[0]
    return Reading(present(property_type=property_type, offering=Offering.WHOLE if immotype else None))


def _place(payload: Payload) -> Reading:
    geo = payload.at("property", "geo")
    by_code = _CITY_ID.fullmatch(geo.at("city_id").text() or "")
    return Reading(
        present(
            comune=by_code[1] if by_code else None,
            comune_name=geo.at("city").text(),
            province=geo.at("province").text(),
            zone=geo.at("district_name").text(),
            address=geo.at("street").text(),
            position=position_of(geo.at("lat"), geo.at("lon")),
        )
    )


def _rent(payload: Payload) -> Reading:
    price = payload.at("transaction", "price")
    amount = price.at("value").number()
    if not amount or price.at("show_price").flag() is False:
        return rent_reading(None)
    spese = spese_of(payload.at("description", "it").words())
    return rent_reading(Rent(amount_cents=numbers.cents(amount), spese=spese))


def _equipment(payload: Payload) -> Reading:
    has = payload.at("property", "characteristic")
    gardens = {has.at("has_garden").flag(), has.at("private_garden").flag()} - {None}
    surface = has.at("property_surface").number()
    features = feature_flags(
        pets=pets_of(payload.at("description", "it").words()),
        lift=has.at("has_elevator").flag(),
        garden=any(gardens) if gardens else None,
        parking=True if has.at("parkings").count() or has.at("carparks").count() else None,  # 0: nobody filled it in
        air_conditioning=_YES_NO.get(has.at("air_conditioned").words()),
    )
    furnishing = FURNISHINGS.get(has.at("furniture").words())
    area = NOTHING if surface is None else area_reading(surface)
    return first_of_each((Reading(present(furnishing=furnishing), features), area))


def _publisher(payload: Payload) -> Reading:
    kinds: dict[str, Any] = {"agency": AdvertiserKind.AGENCY, "private": AdvertiserKind.PRIVATE}
    advertiser = kinds.get(payload.at("publisher", "type").words())
    name = payload.at("publisher", "name").text() if advertiser is AdvertiserKind.AGENCY else None
    agency = Agency(name=name, reference=payload.at("ref_publisher").text())
    return Reading(present(advertiser=advertiser, agency=agency))
