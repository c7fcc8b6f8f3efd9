"""The comune that a source means, by name and whatever else it tells about the place."""

from typing import assert_never

from common.comuni import Ambiguous, Comune, Comuni
from common.listing import ListingFlag
from common.text import fold
from itarent.listings.reading import Reading


def place_of(comuni: Comuni, code: str | None, name: str, province: str | None, region: str | None) -> Reading:
    """Code and province of the comune; a name that fits none or several stays text, with a flag.

    `province` is a sigla or a name, `region` a name; a comune that lies elsewhere is not meant.
    """
    found = comuni.by_code(code) if code else comuni.find(name, province)
    candidates = _candidates(found)
    if region:
        candidates = [comune for comune in candidates if _lies_in(comuni, comune, region)]
    if len(candidates) != 1:
        known = comuni.province(province) if province else None
        return Reading({"province": known.code if known else None}, flags=(ListingFlag.COMUNE_UNKNOWN,))
    return Reading({"comune": candidates[0].code, "province": candidates[0].province})


def _candidates(found: Comune | Ambiguous | None) -> list[Comune]:
    match found:
        case Comune():
            return [found]
        case Ambiguous():
            return list(found.candidates)
        case None:
            return []
        case _:
            assert_never(found)


def _lies_in(comuni: Comuni, comune: Comune, region: str) -> bool:
    """Today or before its province changed. Regions are written `valle-d-aosta`, `Valle d'Aosta/Vallée d'Aoste`, …."""
    provinces = map(comuni.province, (comune.province, *comune.former_provinces))
    return _region_key(region) in {_region_key(province.region) for province in provinces if province}


def _region_key(region: str) -> str:
    return fold(region.split("/", maxsplit=1)[0])
