"""Where a point lies. Degrees are WGS 84, distances metres."""

from math import asin, cos, degrees, floor, radians, sin, sqrt
from typing import NamedTuple

import shapely  # type: ignore[import-untyped] # published without types

from common.listing import Cell, Position
from common.search import InCircle, InPolygon

EARTH_RADIUS_M = 6_371_008.8
"""The mean radius (IUGG): distances within Italy are off by 0.3 % at most."""

ROUNDING = 1e-9
"""Degrees."""


class Box(NamedTuple):
    """All points between two meridians and two parallels, edges included."""

    south: float
    west: float
    north: float
    east: float

    def contains(self, position: Position) -> bool:
        return self.south <= position.latitude <= self.north and self.west <= position.longitude <= self.east


def distance_m(here: Position, there: Position) -> float:
    """The great-circle distance by the haversine formula."""
    latitude, other_latitude = radians(here.latitude), radians(there.latitude)
    north = sin((other_latitude - latitude) / 2)
    east = sin(radians(there.longitude - here.longitude) / 2)
    chord = north * north + cos(latitude) * cos(other_latitude) * east * east
    return 2 * EARTH_RADIUS_M * asin(sqrt(min(1.0, chord)))


def in_circle(position: Position, circle: InCircle) -> bool:
    return distance_m(position, circle.centre) <= circle.radius_m


def in_polygon(position: Position, polygon: InPolygon) -> bool:
    """Whether the point is inside or on the edge, taking degrees as a plane, as a map on a screen does."""
    return bool(shapely.intersects_xy(polygon.shape, position.longitude, position.latitude))


def cell_of(position: Position, side_degrees: float) -> Cell:
    """The cell of a grid that a point lies in; 0.001 degrees are 111 m to the north and 80 m to the east in Italy."""
    latitude, longitude = (
        (floor(degrees / side_degrees) + 0.5) * side_degrees for degrees in (position.latitude, position.longitude)
    )
    return f"{latitude:.4f},{longitude:.4f}"


def middle_of(cell: Cell) -> Position:
    latitude, longitude = cell.split(",")
    return Position(latitude=float(latitude), longitude=float(longitude))


def box_of(place: InCircle | InPolygon) -> Box:
    """The smallest box that holds the place, a tenth of a millimetre wider so that rounding loses no point."""
    match place:
        case InCircle():
            return _box_of_circle(place)
        case InPolygon(ring=ring):
            latitudes = [corner.latitude for corner in ring]
            longitudes = [corner.longitude for corner in ring]
            return Box(
                min(latitudes) - ROUNDING,
                min(longitudes) - ROUNDING,
                max(latitudes) + ROUNDING,
                max(longitudes) + ROUNDING,
            )


def _box_of_circle(circle: InCircle) -> Box:
    angle = circle.radius_m / EARTH_RADIUS_M
    height = degrees(angle) + ROUNDING
    ratio = sin(angle) / cos(radians(circle.centre.latitude))
    width = degrees(asin(ratio)) + ROUNDING if ratio < 1 else 180.0  # a circle around a pole meets every meridian
    latitude, longitude = circle.centre.latitude, circle.centre.longitude
    return Box(latitude - height, longitude - width, latitude + height, longitude + width)
