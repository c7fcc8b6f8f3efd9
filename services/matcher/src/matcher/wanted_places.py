"""The places that the searches of one partition want: names are told apart by a table, shapes are measured."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import shapely  # type: ignore[import-untyped] # published without types
from numpy.typing import NDArray

from common.explain import decide
from common.geo import EARTH_RADIUS_M, in_circle
from common.listing import Position
from common.rules import RULES, Whereabouts
from common.search import Criterion, InCircle, InPolygon, Place, UnknownPolicy
from matcher.kernels import FAIL, PASS
from matcher.places import filed_under
from matcher.verdicts import VERDICT_OF, Column, Table, Verdicts

BORDER_M: Final = 0.01
"""Nearer to a circle's edge than this, the rule itself decides: array and scalar functions may round differently."""

(_RULE,) = (rule for rule in RULES if rule.criterion is Criterion.PLACE)


NAMED: Final = 0  # comuni, zones, provinces
CIRCLE: Final = 1
POLYGON: Final = 2
MIXED: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class PlaceWish:
    """Where a search looks. Compared by identity: who makes them makes equal ones once."""

    places: tuple[Place, ...]
    policy: UnknownPolicy
    kind: int
    filed_under: tuple[Hashable, ...]

    @classmethod
    def of(cls, places: tuple[Place, ...], policy: UnknownPolicy) -> Self:
        return cls(places, policy, _kind(places, policy), tuple(filed_under(places, policy)))

    def judge(self, at: Whereabouts) -> int:
        return VERDICT_OF[decide(_RULE.judge(self.places, at), self.policy)]


def _kind(places: tuple[Place, ...], policy: UnknownPolicy) -> int:
    match places:
        case (InCircle(),) if policy is UnknownPolicy.FAIL:
            return CIRCLE
        case (InPolygon(),) if policy is UnknownPolicy.FAIL:
            return POLYGON
        case _:
            return MIXED if any(isinstance(place, InCircle | InPolygon) for place in places) else NAMED


class PlaceWishes:
    """The wishes of one partition by number. Circles and polygons are kept as little more than their coordinates."""

    def __init__(self) -> None:
        self._kinds = Column(np.uint8)
        self._circles = Column(np.float64, 3)
        self._shapes: dict[int, Any] = {}
        self._others: dict[int, PlaceWish] = {}
        self._numbers: dict[PlaceWish, int] = {}
        self._tables: dict[Whereabouts, Table] = {}
        self._mixed = False

    def __len__(self) -> int:
        return len(self._kinds)

    @property
    def bytes_used(self) -> int:
        return self._kinds.bytes_used + self._circles.bytes_used

    def number(self, wish: PlaceWish) -> int:
        number = self._numbers.get(wish)
        return self._add(wish) if number is None else number

    def _add(self, wish: PlaceWish) -> int:
        number, kind = len(self._kinds), wish.kind
        circle = (0.0, 0.0, 0.0)
        match wish.places:
            case (InCircle(centre=centre, radius_m=radius_m),) if kind == CIRCLE:
                circle = (centre.latitude, centre.longitude, radius_m)
            case (InPolygon() as polygon,) if kind == POLYGON:
                self._shapes[number] = polygon.shape
            case _:
                self._numbers[wish] = number
                self._others[number] = wish
                self._mixed |= kind == MIXED
        self._kinds.append(kind)
        self._circles.append(circle)
        return number

    def taken_from(self, other: "PlaceWishes", number: int) -> int:
        """The number here of a wish of another partition."""
        wish = other._others.get(number)  # noqa: SLF001 - of the same class
        if wish is not None:
            return self.number(wish)
        if number in other._shapes:  # noqa: SLF001 - as above
            self._shapes[len(self)] = other._shapes[number]  # noqa: SLF001 - as above
        self._kinds.append(other._kinds.values[number])  # noqa: SLF001 - as above
        self._circles.append(other._circles.values[number])  # noqa: SLF001 - as above
        return len(self) - 1

    @property
    def measured(self) -> bool:
        """Whether there is a wish that a table does not decide."""
        return len(self._others) < len(self) or self._mixed

    def is_measured(self, number: int) -> bool:
        return bool(self._kinds.values[number] != NAMED)

    def table(self, at: Whereabouts) -> Table:
        """The verdict on each wish of a listing's names; a wish that is measured passes."""
        named = at._replace(position=None)
        table = self._tables.get(named)
        if table is None or len(table.verdicts) < len(self):
            if len(self._tables) >= MOST_REMEMBERED:
                self._tables.clear()
            known = len(table.verdicts) if table else 0
            more = np.fromiter((self._judge_named(number, named) for number in range(known, len(self))), np.uint8)
            table = self._tables[named] = Table.of(np.concatenate([table.verdicts, more]) if table else more)
        return table

    def _judge_named(self, number: int, named: Whereabouts) -> int:
        return PASS if self.is_measured(number) else self._others[number].judge(named)

    def measure(self, numbers: NDArray[Any], at: Whereabouts) -> Verdicts:
        """The verdicts on wishes; one that is not measured passes."""
        kinds = self._kinds.values[numbers]
        verdicts = np.where(kinds == NAMED, PASS, FAIL).astype(np.uint8)
        for where in _where(kinds == MIXED):
            verdicts[where] = [self._others[number].judge(at) for number in numbers[where].tolist()]
        if at.position is not None:
            for where in _where(kinds == CIRCLE):
                verdicts[where] = self._in_circles(self._circles.values[numbers[where]], at.position)
            for where in _where(kinds == POLYGON):
                shapes = np.array([self._shapes[number] for number in numbers[where].tolist()])
                verdicts[where] = shapely.intersects_xy(shapes, at.position.longitude, at.position.latitude)
        return verdicts

    @staticmethod
    def _in_circles(circles: NDArray[np.float64], here: Position) -> NDArray[np.bool_]:
        distance_m, radius_m = _distances_m(circles, here), circles[:, 2]
        inside = distance_m <= radius_m
        for border in np.flatnonzero(np.abs(distance_m - radius_m) <= BORDER_M).tolist():
            latitude, longitude, radius = circles[border].tolist()
            circle = InCircle(centre=Position(latitude=latitude, longitude=longitude), radius_m=int(radius))
            inside[border] = in_circle(here, circle)
        return inside


MOST_REMEMBERED: Final = 1024


def _where(mask: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    """The places where a mask is set, if there are any."""
    if mask.any():
        yield np.flatnonzero(mask)


def _distances_m(circles: NDArray[np.float64], here: Position) -> NDArray[np.float64]:
    """`common.geo.distance_m` to each centre."""
    latitudes, longitudes = np.radians(circles[:, 0]), np.radians(circles[:, 1])
    latitude, longitude = np.radians(here.latitude), np.radians(here.longitude)
    north, east = np.sin((latitudes - latitude) / 2), np.sin((longitudes - longitude) / 2)
    chord = north * north + np.cos(latitude) * np.cos(latitudes) * east * east
    angles: NDArray[np.float64] = np.arcsin(np.sqrt(np.minimum(1.0, chord)))
    return 2 * EARTH_RADIUS_M * angles
