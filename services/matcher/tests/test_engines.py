"""What routing engines are asked and how their answers are read, over HTTP, by the API of each."""

import datetime as dt
from collections.abc import AsyncIterator
from math import inf

import pytest

from common.listing import Position, TravelMode
from matcher.engines import Engine, EngineError, EngineKind, engine_at, morning_after

from .conftest import PATHS, RoutingWorld, engine_of, served

DUOMO = Position(latitude=45.4642, longitude=9.19)
LORETO = Position(latitude=45.4803, longitude=9.2188)
ISLAND = Position(latitude=40.73, longitude=13.42)
BERLIN = Position(latitude=52.52, longitude=13.4)  # off every map
NOON = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)  # a Saturday


@pytest.fixture(params=EngineKind)
def kind(request: pytest.FixtureRequest) -> EngineKind:
    return EngineKind(request.param)


@pytest.fixture
async def engine(kind: EngineKind, routing_world: RoutingWorld) -> AsyncIterator[Engine]:
    async with (
        served(engine_of(kind, routing_world)) as url,
        engine_at(kind, f"{url}{PATHS[kind]}", lambda: NOON) as engine,
    ):
        yield engine


async def test_each_way_of_travelling_is_asked_for_and_told_in_seconds(
    engine: Engine, routing_world: RoutingWorld
) -> None:
    modes = [by for by in TravelMode if engine.ends_at_once(by)]
    for number, by in enumerate(modes):
        routing_world.way(DUOMO, by, 1000.0 + number)
        routing_world.way(ISLAND, by, None)
        assert await engine.seconds(LORETO, [DUOMO, ISLAND, LORETO], by) == [1000.0 + number, inf, 600.0]
    assert {by for by, _ in routing_world.asked} == set(modes)


async def test_an_end_that_is_off_the_map_is_unknown_and_the_others_are_told(engine: Engine) -> None:
    for by in filter(engine.ends_at_once, TravelMode):
        assert await engine.seconds(LORETO, [DUOMO, BERLIN], by) == [600.0, None]


async def test_as_many_ends_as_it_says_are_answered_in_their_order(engine: Engine, routing_world: RoutingWorld) -> None:
    at_once = engine.ends_at_once(TravelMode.CAR)
    ends = [Position(latitude=45 + number / 100, longitude=9.2) for number in range(at_once)]
    routing_world.way(ends[-1], TravelMode.CAR, 77)
    answers = await engine.seconds(LORETO, ends, TravelMode.CAR)
    assert answers == [600.0] * (at_once - 1) + [77.0]
    assert routing_world.asked == [(TravelMode.CAR, at_once)]


async def test_an_engine_that_fails_or_is_none_says_so(engine: Engine, routing_world: RoutingWorld) -> None:
    routing_world.broken = True
    with pytest.raises(EngineError, match="COMMUTE_URL"):
        await engine.seconds(LORETO, [DUOMO], TravelMode.CAR)


async def test_an_address_where_nothing_answers_is_an_error(kind: EngineKind) -> None:
    async with engine_at(kind, "http://127.0.0.1:9", lambda: NOON) as engine:
        with pytest.raises(EngineError, match="COMMUTE_URL"):
            await engine.seconds(LORETO, [DUOMO], TravelMode.CAR)


@pytest.mark.parametrize("asked_as", EngineKind)
async def test_another_kind_of_server_is_found_out(
    kind: EngineKind, asked_as: EngineKind, routing_world: RoutingWorld
) -> None:
    if kind is asked_as:
        return
    async with (
        served(engine_of(kind, routing_world)) as url,
        engine_at(asked_as, f"{url}{PATHS[asked_as]}", lambda: NOON) as engine,
    ):
        with pytest.raises(EngineError):
            await engine.seconds(LORETO, [DUOMO], TravelMode.CAR)


@pytest.mark.parametrize("kind", [EngineKind.OTP, EngineKind.VALHALLA], indirect=True)
async def test_public_transport_is_asked_for_on_the_next_working_morning(
    engine: Engine, routing_world: RoutingWorld
) -> None:
    await engine.seconds(LORETO, [DUOMO], TravelMode.TRANSIT)
    assert [moment[:16] for moment in routing_world.moments] == ["2026-11-30T08:00"]


def test_a_working_morning_is_eight_oclock_in_italy_in_summer_and_winter() -> None:
    friday_night = dt.datetime(2026, 7, 3, 23, 30, tzinfo=dt.UTC)  # Saturday in Italy
    assert morning_after(friday_night).isoformat() == "2026-07-06T08:00:00+02:00"
    assert morning_after(NOON).isoformat() == "2026-11-30T08:00:00+01:00"
    assert morning_after(morning_after(NOON)).isoformat() == "2026-12-01T08:00:00+01:00"
