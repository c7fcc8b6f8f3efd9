"""immobiliare.it: an element of a page of results, or the `realEstate` of an advertisement's own page."""

import re
from typing import Final

from common.listing import AdvertiserKind, Agency, Feature, Furnishing, Offering, Rent, RentUnit
from itarent.listings import numbers
from itarent.listings.doubts import area_reading, rent_reading
from itarent.listings.draft import Draft
from itarent.listings.outcomes import Refusal
from itarent.listings.portals.payload import Payload, position_of, present
from itarent.listings.reading import NOTHING, Reading, first_of_each
from itarent.listings.vocabulary import FEATURE_WORDS, FURNISHINGS, TYPOLOGIES, floor_of, pets_of, spese_of

SOURCE: Final = "immobiliare.it"
FIELDS: Final = frozenset({"realEstate"})

_UNITS: Final = {"/anno": RentUnit.YEAR, "m²": RentUnit.SQUARE_METRE_MONTH, "mq": RentUnit.SQUARE_METRE_MONTH}
_AREA: Final = re.compile(r"([\d.,]+)\s*(?:m²|mq)")


def draft_of(payload: Payload) -> Draft:
    estate = payload.at("realEstate")
    home = estate.at("properties").first()
    if estate.at("contract").words() not in {"", "rent"}:
        raise estate.at("contract").refused(Refusal.NOT_TO_LET)
    said = present(
        id=estate.at("id").text(),
        url=payload.at("seo", "url").text(),
        title=estate.at("title").text(),
        description=home.at("description").text(),
        bedrooms=_count(home.at("bedRoomsNumber")),
        bathrooms=_count(home.at("bathrooms")),
        floor=floor_of(home.at("floor", "value").words()) or floor_of(home.at("floor", "abbreviation").words()),
    )
    readings = (Reading(said), _typology(home), _place(home.at("location")), _rent(estate, home), _rooms(home))
    others = (_area(home.at("surface")), _equipment(home), _advertiser(estate.at("advertiser")))
    return Draft(SOURCE, first_of_each((*readings, *others)), payload.canonical())


def _typology(home: Payload) -> Reading:
    name = home.at("typology", "name").words()
    if "stanza" in name or "posto letto" in name:
        return Reading({"offering": Offering.ROOM})
    property_type, rooms = TYPOLOGIES.get(name, (None, None))
    offering = Offering.WHOLE if name else None  # the portal has rooms to let in a category of their own
    return Reading(present(property_type=property_type, rooms=rooms, offering=offering))


def _place(location: Payload) -> Reading:
    return Reading(
        present(
            comune_name=location.at("city").text(),
            province=location.at("province").text(),
            zone=location.at("microzone").text() or location.at("macrozone").text(),
            address=location.at("address").text(),
            position=position_of(location.at("latitude"), location.at("longitude")),
        )
    )


def _rent(estate: Payload, home: Payload) -> Reading:
    price = estate.at("price")
    amount = price.at("value").number()
    if amount is None or price.at("visible").flag() is False:
        return rent_reading(None)
    formatted = price.at("formattedValue").words()
    per = next((unit for word, unit in _UNITS.items() if word in formatted), RentUnit.MONTH)
    spese = spese_of(home.at("description").words())
    return rent_reading(Rent(amount_cents=numbers.cents(amount), per=per, spese=spese))


def _rooms(home: Payload) -> Reading:
    """`4`, `5+`. It comes before what the typology tells."""
    text = home.at("rooms").text()
    if text is None:
        return NOTHING
    with home.at("rooms").named():
        rooms, or_more = numbers.at_least(text)
    return Reading({"rooms": rooms, "rooms_or_more": or_more})


def _count(part: Payload) -> int | None:
    text = part.text()
    with part.named():
        return None if text is None else numbers.at_least(text)[0]


def _area(surface: Payload) -> Reading:
    """`100 m²`, `1.200 m²`."""
    text = surface.text()
    if text is None:
        return NOTHING
    matched = _AREA.fullmatch(text)
    with surface.named():
        return area_reading(numbers.italian(matched[1] if matched else text))


def _equipment(home: Payload) -> Reading:
    """The labels of the features shown, and the words of the list that the portal keeps for its statistics."""
    labels = [feature.at("label").words() for feature in home.at("featureList").each()]
    words = labels + [word.words() for word in home.at("ga4features").each()]
    features: dict[Feature, bool] = dict(FEATURE_WORDS[word] for word in reversed(words) if word in FEATURE_WORDS)
    if (pets := pets_of(home.at("description").words())) is not None:
        features[Feature.PETS] = pets
    furnishing: Furnishing | None = next((FURNISHINGS[word] for word in words if word in FURNISHINGS), None)
    return Reading(present(furnishing=furnishing), features)


def _advertiser(advertiser: Payload) -> Reading:
    name = advertiser.at("agency", "displayName").text()
    if advertiser.at("agency", "id").text() is None and name is None:
        return NOTHING
    return Reading({"advertiser": AdvertiserKind.AGENCY, "agency": Agency(name=name)})
