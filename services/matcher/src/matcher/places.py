"""Where searches are filed and where a listing looks for them. Pure.

A search is filed under every place in which it can match; a listing looks under its comune, its province and the tiles
of the map that it lies in. What a listing does not say is a place of its own, None: searches that let an unknown
place pass are filed there too.
"""

from collections.abc import Hashable, Iterator, Sequence
from math import floor, inf
from typing import Final

from common.comuni import Comuni
from common.geo import box_of
from common.rules import Whereabouts
from common.search import InCircle, InComune, InPolygon, InProvince, Place, UnknownPolicy

TILE_DEGREES: Final = (0.1, 0.4, 1.6, 6.4)
"""The sides of tiles, level by level; the smallest are about 11 km by 8 km."""

HALF_TURN: Final = 180

ANYWHERE: Final = ("tile", "anywhere")
"""For a place that is larger than the largest tile."""


def filed_under(places: Sequence[Place], policy: UnknownPolicy) -> frozenset[Hashable]:
    """Every place in which a search can match that wants one of `places`, unknown ones judged by `policy`."""
    found = {each for place in places for each in _filed_under(place)}
    if policy is not UnknownPolicy.FAIL:
        found |= {(_kind(place), None) for place in places}
    return frozenset(found)


def looked_up(at: Whereabouts) -> Iterator[Hashable]:
    """Every place under which a search may be filed that a listing matches, once."""
    comuni = Comuni.load()
    comune = comuni.by_code(at.comune) if at.comune else None
    yield "comune", comuni.current(at.comune) if at.comune else None
    yield "province", comune.province if comune else at.province
    if at.position is None:
        yield "tile", None
    else:
        for level, degrees in enumerate(TILE_DEGREES):
            yield "tile", (level, floor(at.position.latitude / degrees), floor(at.position.longitude / degrees))
        yield ANYWHERE


def _kind(place: Place) -> str:
    return "tile" if isinstance(place, InCircle | InPolygon) else place.kind


def _filed_under(place: Place) -> Iterator[Hashable]:
    match place:
        case InComune():
            yield "comune", Comuni.load().current(place.code)
        case InProvince():
            yield "province", place.code
        case InCircle() | InPolygon():
            yield from _tiles_of(place)


def _tiles_of(place: InCircle | InPolygon) -> Iterator[Hashable]:
    """The tiles that the place touches, at most four: of the smallest level whose tiles are as large as its box."""
    box = box_of(place)
    size = max(box.north - box.south, box.east - box.west)
    if box.west < -HALF_TURN or box.east > HALF_TURN:
        size = inf  # it lies on both sides of the antimeridian
    for level, degrees in enumerate(TILE_DEGREES):
        if size <= degrees:
            for row in range(floor(box.south / degrees), floor(box.north / degrees) + 1):
                for column in range(floor(box.west / degrees), floor(box.east / degrees) + 1):
                    yield "tile", (level, row, column)
            return
    yield ANYWHERE
