"""What a search would be with one criterion a step looser: the steps that a renter may think of. Pure."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final

from common.comuni import Comuni
from common.listing import EnergyClass
from common.search import Commute, Criterion, FloorWish, InCircle, InComune, InProvince, Place, Range, RentLimit, Search

TENTH: Final = 10
MONTH: Final = dt.timedelta(days=30)
HALF_AS_FAR_AGAIN: Final = 1.5
FARTHEST_M: Final = 100_000
LONGEST_MINUTES: Final = 240
FARTHEST_COMMUTE_M: Final = 200_000
ROUND_CENTS: Final = 10_00
LARGEST_BOUND: Final = 1_000_000
LOWEST_FLOOR, HIGHEST_FLOOR = -5, 150

_Changes = dict[str, Any]


def loosened(search: Search, criterion: Criterion) -> Search | None:
    """The search with a criterion one step looser; None where there is no step short of dropping it."""
    step = _STEPS.get(criterion)
    changes = step(search) if step else {}
    looser = search.model_copy(update=changes)
    return None if looser == search else looser


def _places(search: Search) -> _Changes:
    """All zones of a comune, a province in place of its comune, half as far again around a point."""
    return {"places": tuple(dict.fromkeys(map(_wider, search.places)))}


def _wider(place: Place) -> Place:
    match place:
        case InComune(zones=zones) if zones:
            return InComune(code=place.code)
        case InComune():
            comune = Comuni.load().by_code(place.code)
            return InProvince(code=comune.province) if comune else place
        case InCircle():
            radius_m = min(FARTHEST_M, round(place.radius_m * HALF_AS_FAR_AGAIN))
            return InCircle(centre=place.centre, radius_m=radius_m)
        case _:
            return place


def _rent(search: Search) -> _Changes:
    """A tenth more, and a tenth less, in full tens of euros."""
    limit = search.rent or RentLimit()
    low, high = limit.minimum_cents, limit.maximum_cents
    looser = {
        "minimum_cents": None if low is None else (low - low // TENTH) // ROUND_CENTS * ROUND_CENTS,
        "maximum_cents": None if high is None else _a_tenth_more(high),
    }
    return {"rent": limit.model_copy(update=looser)}


def _a_tenth_more(cents: int) -> int:
    return -(-(cents + cents // TENTH) // ROUND_CENTS) * ROUND_CENTS


def _deposit(search: Search) -> _Changes:
    most = search.deposit_max_cents
    return {} if most is None else {"deposit_max_cents": _a_tenth_more(most)}


def _one_more_or_less(field: str) -> Callable[[Search], _Changes]:
    def step(search: Search) -> _Changes:
        wanted: Range = getattr(search, field) or Range()
        return {field: _by(wanted, 1 if wanted.minimum else 0, 1)}

    return step


def _area(search: Search) -> _Changes:
    """A tenth either way, and a square metre at least."""
    wanted = search.area_m2 or Range()
    less, more = (max(1, (bound or 0) // TENTH) for bound in (wanted.minimum, wanted.maximum))
    return {"area_m2": _by(wanted, less if wanted.minimum else 0, more)}


def _by(wanted: Range, less: int, more: int) -> Range:
    low = None if wanted.minimum is None else max(0, wanted.minimum - less)
    high = None if wanted.maximum is None else min(LARGEST_BOUND, wanted.maximum + more)
    return Range(minimum=low, maximum=high)


def _floor(search: Search) -> _Changes:
    """One floor lower and one higher."""
    wish = search.floor or FloorWish()
    low = None if wish.minimum is None else max(LOWEST_FLOOR, wish.minimum - 1)
    high = None if wish.maximum is None else min(HIGHEST_FLOOR, wish.maximum + 1)
    return {"floor": wish.model_copy(update={"minimum": low, "maximum": high})}


def _energy_class(search: Search) -> _Changes:
    """The next class: those of today are A4 to A1 and B to G."""
    if search.energy_class is None:
        return {}
    old = {EnergyClass.A_PLUS, EnergyClass.A}
    classes = [each for each in EnergyClass if each not in old or each is search.energy_class]
    following = classes[classes.index(search.energy_class) + 1 :]
    return {"energy_class": following[0]} if following else {}


def _availability(search: Search) -> _Changes:
    """A month later."""
    by = search.available_by
    if by is None or by > dt.date.max - MONTH:
        return {}
    return {"available_by": by + MONTH}


def _commutes(search: Search) -> _Changes:
    """Half as long and as far again."""
    return {"commutes": tuple(map(_longer, search.commutes))}


def _longer(commute: Commute) -> Commute:
    limits = {
        "minutes": commute.minutes and min(LONGEST_MINUTES, round(commute.minutes * HALF_AS_FAR_AGAIN)),
        "max_distance_m": commute.max_distance_m
        and min(FARTHEST_COMMUTE_M, round(commute.max_distance_m * HALF_AS_FAR_AGAIN)),
    }
    return commute.model_copy(update=limits)


_STEPS: Final[Mapping[Criterion, Callable[[Search], _Changes]]] = {
    Criterion.PLACE: _places,
    Criterion.RENT: _rent,
    Criterion.DEPOSIT: _deposit,
    Criterion.ROOMS: _one_more_or_less("rooms"),
    Criterion.BEDROOMS: _one_more_or_less("bedrooms"),
    Criterion.BATHROOMS: _one_more_or_less("bathrooms"),
    Criterion.AREA: _area,
    Criterion.FLOOR: _floor,
    Criterion.ENERGY_CLASS: _energy_class,
    Criterion.AVAILABILITY: _availability,
    Criterion.COMMUTE: _commutes,
}
"""Sets of choices and keywords have no step: one of them more is another wish."""
