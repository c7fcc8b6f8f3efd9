"""Italian portals' words and what they mean here, as data: typologies, floors, furnishing, features, terms in texts."""

import re
from collections.abc import Mapping
from typing import Final

from common.listing import Feature, Floor, FloorKind, Furnishing, PropertyType, SpeseTerm

TYPOLOGIES: Final[Mapping[str, tuple[PropertyType, int | None]]] = {
    "monolocale": (PropertyType.STUDIO, 1),
    "bilocale": (PropertyType.APARTMENT, 2),
    "trilocale": (PropertyType.APARTMENT, 3),
    "quadrilocale": (PropertyType.APARTMENT, 4),
    "plurilocale": (PropertyType.APARTMENT, None),
    "appartamento in villa": (PropertyType.APARTMENT, None),
    "appartamento": (PropertyType.APARTMENT, None),
    "duplex": (PropertyType.APARTMENT, None),
    "attico": (PropertyType.ATTICO, None),
    "mansarda": (PropertyType.MANSARDA, None),
    "loft": (PropertyType.LOFT, None),
    "open space": (PropertyType.LOFT, None),
    "villa a schiera": (PropertyType.TERRACED_HOUSE, None),
    "villetta a schiera": (PropertyType.TERRACED_HOUSE, None),
    "villa unifamiliare": (PropertyType.VILLA, None),
    "villa bifamiliare": (PropertyType.VILLA, None),
    "villa plurifamiliare": (PropertyType.VILLA, None),
    "villa": (PropertyType.VILLA, None),
    "terratetto unifamiliare": (PropertyType.DETACHED_HOUSE, None),
    "terratetto plurifamiliare": (PropertyType.DETACHED_HOUSE, None),
    "terratetto": (PropertyType.DETACHED_HOUSE, None),
    "casa indipendente": (PropertyType.DETACHED_HOUSE, None),
    "casa colonica": (PropertyType.RUSTIC, None),
    "casale": (PropertyType.RUSTIC, None),
    "rustico": (PropertyType.RUSTIC, None),
    "palazzo - edificio": (PropertyType.PALACE, None),
    "palazzo": (PropertyType.PALACE, None),
    "stabile": (PropertyType.PALACE, None),
    "albergo": (PropertyType.OTHER, None),
    "soffitta": (PropertyType.OTHER, None),
}
"""Kinds of dwelling, with the number of locali where the word tells it."""

_GROUND: Final = Floor(kind=FloorKind.PIANO_TERRA, number=0)
FLOORS: Final[Mapping[str, Floor]] = {
    "seminterrato": Floor(kind=FloorKind.SEMINTERRATO),
    "piano terra": _GROUND,
    "piano rialzato": Floor(kind=FloorKind.RIALZATO),
    "ammezzato": Floor(kind=FloorKind.AMMEZZATO),
    "s": Floor(kind=FloorKind.SEMINTERRATO),
    "t": _GROUND,
    "terra": _GROUND,
    "r": Floor(kind=FloorKind.RIALZATO),
    "rialzato": Floor(kind=FloorKind.RIALZATO),
    "a": Floor(kind=FloorKind.AMMEZZATO),
    "ground floor": _GROUND,
    "mezzanine": Floor(kind=FloorKind.AMMEZZATO),
    "semi-basement": Floor(kind=FloorKind.SEMINTERRATO),
    "attico": Floor(kind=FloorKind.ATTICO),
}
LOWEST_FLOOR: Final = -5
_ORDINALS: Final = (
    "primo",
    "secondo",
    "terzo",
    "quarto",
    "quinto",
    "sesto",
    "settimo",
    "ottavo",
    "nono",
    "decimo",
    "undicesimo",
    "dodicesimo",
)
_NUMBERED: Final = re.compile(r"(-?\d{1,2})\s*°?", re.ASCII)


def floor_of(words: str) -> Floor | None:
    """`piano terra`, `R`, `3`, `3°`, `terzo piano`; None where it cannot be told, as of a flat on `3 - 4`."""
    folded = words.strip().lower()
    if known := FLOORS.get(folded):
        return known
    ordinal, _, piano = folded.partition(" ")
    if piano == "piano" and ordinal in _ORDINALS:
        return _numbered(_ORDINALS.index(ordinal) + 1)
    matched = _NUMBERED.fullmatch(folded)
    return _numbered(int(matched[1])) if matched else None


def _numbered(number: int) -> Floor | None:
    if number == 0:
        return _GROUND
    return Floor(kind=FloorKind.NUMBERED, number=number) if number >= LOWEST_FLOOR else None


FURNISHINGS: Final[Mapping[str, Furnishing]] = {
    "arredato": Furnishing.FURNISHED,
    "completamente arredato": Furnishing.FURNISHED,
    "parzialmente arredato": Furnishing.PARTLY,
    "solo cucina arredata": Furnishing.PARTLY,
    "non arredato": Furnishing.UNFURNISHED,
    "vuoto": Furnishing.UNFURNISHED,
}

FEATURE_WORDS: Final[Mapping[str, tuple[Feature, bool]]] = {
    "ascensore": (Feature.LIFT, True),
    "no ascensore": (Feature.LIFT, False),
    "balcone": (Feature.BALCONY, True),
    "balconi": (Feature.BALCONY, True),
    "terrazza": (Feature.TERRACE, True),
    "terrazzo": (Feature.TERRACE, True),
    "giardino privato": (Feature.GARDEN, True),
    "giardino comune": (Feature.GARDEN, True),
    "giardino privato e comune": (Feature.GARDEN, True),
    "posto auto": (Feature.PARKING, True),
    "box": (Feature.PARKING, True),
    "aria condizionata": (Feature.AIR_CONDITIONING, True),
    "climatizzatore": (Feature.AIR_CONDITIONING, True),
}

_SPESE_INCLUDED: Final = re.compile(
    r"(?<!alcune )(?<!delle )\bspese condominiali (?:sono )?(?:gi[aà] )?(?:comprese|incluse)\b(?!\s*:?\s*no\b)"
    r"|\btutte le spese (?:sono )?(?:comprese|incluse)\b(?:\s*:\s*s[iì]\b|(?!\s*:?\s*no\b))",
    re.IGNORECASE,
)
_PETS: Final = re.compile(r"\banimali domestici:?\s+(non )?(?:consentit|ammess)[oi]\b", re.IGNORECASE)


def spese_of(text: str) -> SpeseTerm:
    """INCLUDED where a text says so unmistakably."""
    return SpeseTerm.INCLUDED if _SPESE_INCLUDED.search(text) else SpeseTerm.UNKNOWN


def pets_of(text: str) -> bool | None:
    """Whether pets are welcome, if a text says so in the portals' fixed words."""
    said = {not match[1] for match in _PETS.finditer(text)}
    return said.pop() if len(said) == 1 else None
