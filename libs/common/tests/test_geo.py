import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.geo import box_of, distance_m, in_circle, in_polygon
from common.listing import Position
from common.search import InCircle, InPolygon
from testkit.strategies import polygons_around, positions

seeded = settings(derandomize=True, deadline=None, max_examples=100)

DUOMO = Position(latitude=45.46427, longitude=9.18951)
SQUARE = InPolygon(
    ring=tuple(
        Position(latitude=latitude, longitude=longitude)
        for latitude, longitude in ((45, 9), (45, 10), (46, 10), (46, 9))
    )
)


def at(latitude: float, longitude: float) -> Position:
    return Position(latitude=latitude, longitude=longitude)


def test_from_milano_to_roma_are_477_kilometres() -> None:
    assert distance_m(DUOMO, at(41.9028, 12.4964)) == pytest.approx(477_000, rel=0.003)


def test_a_degree_of_latitude_is_111_195_metres() -> None:
    assert distance_m(at(45, 9), at(46, 9)) == pytest.approx(111_195, abs=1)


def test_a_degree_of_longitude_at_sixty_north_is_half_of_one_at_the_equator() -> None:
    assert distance_m(at(60, 9), at(60, 10)) == pytest.approx(111_195 / 2, rel=1e-4)


def test_a_point_at_the_radius_is_inside_and_one_a_metre_further_is_not() -> None:
    away = at(DUOMO.latitude + 0.01, DUOMO.longitude)  # 1111.95 m
    assert in_circle(away, InCircle(centre=DUOMO, radius_m=1112))
    assert not in_circle(away, InCircle(centre=DUOMO, radius_m=1111))
    assert in_circle(DUOMO, InCircle(centre=DUOMO, radius_m=1))


@pytest.mark.parametrize("point", [at(45.5, 9.5), at(45, 9), at(46, 10), at(45, 9.5), at(45.5, 10), at(45.25, 9)])
def test_inside_and_on_the_edge_of_a_polygon_is_inside(point: Position) -> None:
    assert in_polygon(point, SQUARE)


@pytest.mark.parametrize("point", [at(44.999999, 9.5), at(45.5, 10.000001), at(46.000001, 9.5), at(9.5, 45.5)])
def test_beside_a_polygon_is_outside(point: Position) -> None:
    assert not in_polygon(point, SQUARE)


def test_the_hollow_of_a_bent_polygon_is_outside() -> None:
    bent = InPolygon(ring=(at(45, 9), at(45, 10), at(45.2, 9.5), at(46, 9)))
    assert not in_polygon(at(45.5, 9.5), bent)
    assert in_polygon(at(45.1, 9.5), bent)


def test_a_ring_that_crosses_itself_or_encloses_nothing_still_gives_an_answer() -> None:
    bow_tie = InPolygon(ring=(at(45, 9), at(46, 10), at(46, 9), at(45, 10)))
    assert in_polygon(at(45.25, 9.5), bow_tie)
    assert not in_polygon(at(45.5, 9.9), bow_tie)
    assert not in_polygon(at(45.5, 9.9), InPolygon(ring=(at(45, 9), at(45, 9), at(45, 9))))


@seeded
@given(point=positions, centre=positions, radius_m=st.integers(1, 30_000))
def test_a_circle_lies_within_its_box(point: Position, centre: Position, radius_m: int) -> None:
    circle = InCircle(centre=centre, radius_m=radius_m)
    assert box_of(circle).contains(point) or not in_circle(point, circle)


@seeded
@given(point=positions, polygon=positions.flatmap(polygons_around))
def test_a_polygon_lies_within_its_box(point: Position, polygon: InPolygon) -> None:
    assert box_of(polygon).contains(point) or not in_polygon(point, polygon)


def test_a_circle_around_a_pole_meets_every_meridian() -> None:
    box = box_of(InCircle(centre=at(89.9, 9), radius_m=50_000))
    assert box.contains(at(89.99, 170))
