"""Titles of Italian portals: `<typology> <street or state>, …, <zone>, <city>`.

Trilocale via Malta 13, Colli Saragozza, Bologna
Bilocale ottimo stato, primo piano, De Gasperi - Croce Rossa, Palermo
Villa unifamiliare, ottimo stato, 980 m², Trastevere, Roma
Quadrilocale Roberto da bari , 56, Murat, Bari
"""

import re
from typing import Any, Final

from itarent.listings.vocabulary import TYPOLOGIES, floor_of

_LONGEST_FIRST: Final = sorted(TYPOLOGIES, key=len, reverse=True)
_STATE: Final = re.compile(r"(?:ottimo|buono) stato|nuov[oa]|da ristrutturare|\d+ piani", re.IGNORECASE)
_AREA: Final = re.compile(r"[\d.]+ m²")
_HOUSE_NUMBER_OR_POSTCODE: Final = re.compile(r"\d.*", re.ASCII)


def read_title(text: str) -> dict[str, Any]:
    """The fields of a listing that a title tells; the last part is the city."""
    head, *between = [part.strip() for part in text.split(",")]
    city = between.pop() if between else ""
    typology, street = typology_at_start(head)
    fields: dict[str, Any] = {"comune_name": city} if city else {}
    if typology:
        property_type, rooms = TYPOLOGIES[typology]
        fields["property_type"] = property_type
        fields |= {"rooms": rooms} if rooms else {}
    said = [part for part in between if part not in {city, "Italia", f"{city} Italia"}]
    return fields | _address_and_zone(street, said)


def typology_at_start(part: str) -> tuple[str | None, str]:
    """The typology that a title begins with, and what follows it."""
    folded = part.lower()
    for typology in _LONGEST_FIRST:
        if folded == typology or folded.startswith(f"{typology} "):
            return typology, part[len(typology) :].strip()
    return None, part


def _address_and_zone(street: str, between: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    address = [] if _tells_state(street) else [street]
    zone: list[str] = []
    for part in between:
        if not part or _tells_state(part):
            continue
        if _HOUSE_NUMBER_OR_POSTCODE.fullmatch(part):
            address.append(part)
        elif floor := floor_of(part):
            fields["floor"] = floor
        else:
            zone.append(part)
    if address and address[0]:
        fields["address"] = ", ".join(address)
    return fields | ({"zone": ", ".join(zone)} if zone else {})


def _tells_state(part: str) -> bool:
    return bool(_STATE.fullmatch(part) or _AREA.fullmatch(part))
