"""Routing engines to ask: tiny servers that are as strict about requests as the real ones, and know a few ways."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import uvicorn
from graphql import GraphQLError, build_schema, graphql
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from common.listing import Position, TravelMode
from matcher.engines import EngineKind
from testkit.waiting import eventually

Point = tuple[float, float]
"""Latitude and longitude, rounded to a hundredth of a degree."""

ITALY: Final = (36.0, 47.5)
"""Between these latitudes engines have a map."""


def point(latitude: float, longitude: float) -> Point:
    return round(latitude, 2), round(longitude, 2)


@dataclass
class RoutingWorld:
    """What engines know: by end and way of travelling the seconds, None where there is no way; 600 where not said."""

    seconds: dict[tuple[Point, TravelMode], float | None] = field(default_factory=dict)
    asked: list[tuple[TravelMode, int]] = field(default_factory=list)
    """Each question: by what, and how many ends."""
    moments: list[str] = field(default_factory=list)
    broken: bool = False
    late: set[Point] = field(default_factory=set)
    """Ends of which it never tells."""
    answering: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answering.set()

    def way(self, end: Position, by: TravelMode, seconds: float | None) -> None:
        self.seconds[point(end.latitude, end.longitude), by] = seconds

    async def answer(self, by: TravelMode, ends: Sequence[Point]) -> list[float | None]:
        self.asked.append((by, len(ends)))
        await (asyncio.Event() if self.late.intersection(point(*end) for end in ends) else self.answering).wait()
        return [self.seconds.get((point(*end), by), 600.0) for end in ends]


def is_on_the_map(latitude: float) -> bool:
    return ITALY[0] <= latitude <= ITALY[1]


# --- OSRM: https://project-osrm.org/docs/v5.24.0/api/#table-service ---

_OSRM_PROFILES: Final = {"foot": TravelMode.WALK, "bike": TravelMode.BICYCLE, "car": TravelMode.CAR}


def osrm(world: RoutingWorld) -> Starlette:
    async def table(request: Request) -> Response:
        if world.broken:
            return Response("<html>Bad Gateway</html>", status_code=502)
        served, profile = request.path_params["served"], request.path_params["profile"]
        assert served == profile, "each server of OSRM knows one profile"
        if set(request.query_params) - {"sources", "destinations", "annotations"}:
            return _osrm_refuses("InvalidOptions")
        if not re.fullmatch(
            r"-?\d+(\.\d+)?,-?\d+(\.\d+)?(;-?\d+(\.\d+)?,-?\d+(\.\d+)?)*", request.path_params["places"]
        ):
            return _osrm_refuses("InvalidQuery")
        places = [tuple(map(float, each.split(","))) for each in request.path_params["places"].split(";")]
        sources = [int(each) for each in request.query_params["sources"].split(";")]
        destinations = [int(each) for each in request.query_params["destinations"].split(";")]
        if len(places) > 100 or max(*sources, *destinations) >= len(places):
            return _osrm_refuses("TooBig" if len(places) > 100 else "InvalidOptions")
        if not all(is_on_the_map(latitude) for _, latitude in places):
            return _osrm_refuses("NoSegment")
        ends = [(places[each][1], places[each][0]) for each in destinations]
        durations = await world.answer(_OSRM_PROFILES[profile], ends)
        return JSONResponse(
            {"code": "Ok", "durations": [durations for _ in sources], "sources": [], "destinations": []}
        )

    return Starlette(routes=[Route("/{served}/table/v1/{profile}/{places:path}", table, methods=["GET"])])


def _osrm_refuses(code: str) -> Response:
    return JSONResponse({"code": code, "message": "see the code"}, status_code=400)


# --- Valhalla: https://valhalla.github.io/valhalla/api/ ---

_COSTINGS: Final = {"pedestrian": TravelMode.WALK, "bicycle": TravelMode.BICYCLE, "auto": TravelMode.CAR}


def valhalla(world: RoutingWorld) -> Starlette:
    async def matrix(request: Request) -> Response:
        asked = await request.json()
        if refusal := _refused(world, asked, _FAULTS_OF_A_MATRIX):
            return refusal
        ends = [(each["lat"], each["lon"]) for each in asked["targets"]]
        times = await world.answer(_COSTINGS[asked["costing"]], ends)
        cells = [
            {"from_index": 0, "to_index": index, "time": time, "distance": None if time is None else 1.5}
            for index, time in enumerate(times)
        ]
        return JSONResponse({"sources_to_targets": [cells], "units": "kilometers"})

    async def route(request: Request) -> Response:
        asked = await request.json()
        if refusal := _refused(world, asked, _FAULTS_OF_A_ROUTE):
            return refusal
        world.moments.append(asked["date_time"]["value"])
        end = asked["locations"][1]
        (time,) = await world.answer(TravelMode.TRANSIT, [(end["lat"], end["lon"])])
        if time is None:
            return _valhalla_refuses(442, "No path could be found for input")
        return JSONResponse({"trip": {"summary": {"time": time, "length": 3.2}, "status": 0, "legs": []}})

    return Starlette(
        routes=[Route("/sources_to_targets", matrix, methods=["POST"]), Route("/route", route, methods=["POST"])]
    )


Faults = Mapping[tuple[int, str], Callable[[dict[str, Any]], bool]]
"""By code and text of the error: whether a question has this fault."""

_FAULTS_OF_A_MATRIX: Final[Faults] = {
    (110, "Insufficiently specified required parameter"): lambda asked: set(asked) != {"sources", "targets", "costing"},
    (140, "Action does not support multimodal costing"): lambda asked: asked["costing"] not in _COSTINGS,
    (150, "Exceeded max locations"): lambda asked: len(asked["sources"]) + len(asked["targets"]) > 50,
    (171, "No suitable edges near location"): lambda asked: _is_off_the_map(asked["sources"] + asked["targets"]),
}

_FAULTS_OF_A_ROUTE: Final[Faults] = {
    (110, "Insufficiently specified required parameter"): lambda asked: (
        set(asked) - {"directions_type"} != {"locations", "costing", "date_time"} or len(asked["locations"]) != 2
    ),
    (125, "No costing method found"): lambda asked: asked["costing"] != "multimodal",
    (162, "Date and time is invalid. Format is YYYY-MM-DDTHH:MM"): lambda asked: (
        asked["date_time"]["type"] != 1 or not re.fullmatch(r"[\d-]{10}T\d\d:\d\d", asked["date_time"]["value"])
    ),
    (171, "No suitable edges near location"): lambda asked: _is_off_the_map(asked["locations"]),
}


def _is_off_the_map(places: Iterable[Mapping[str, float]]) -> bool:
    return not all(is_on_the_map(each["lat"]) for each in places)


def _refused(world: RoutingWorld, asked: dict[str, Any], faults: Faults) -> Response | None:
    if world.broken:
        return JSONResponse({"error_code": 401, "error": "Failed", "status_code": 500}, status_code=500)
    return next((_valhalla_refuses(*fault) for fault, has in faults.items() if has(asked)), None)


def _valhalla_refuses(code: int, error: str) -> Response:
    answer = {"error_code": code, "error": error, "status_code": 400, "status": "Bad Request"}
    return JSONResponse(answer, status_code=400)


# --- OpenTripPlanner 2: the part of its GTFS GraphQL schema that a plan needs ---

_OTP_SCHEMA: Final = build_schema(
    """
    scalar Long
    scalar Duration
    scalar OffsetDateTime
    scalar CoordinateValue
    enum PlanDirectMode { BICYCLE BICYCLE_PARKING BICYCLE_RENTAL CAR CAR_PARKING CAR_RENTAL FLEX SCOOTER_RENTAL WALK }
    enum RoutingErrorCode {
      LOCATION_NOT_FOUND NO_STOPS_IN_RANGE NO_TRANSIT_CONNECTION NO_TRANSIT_CONNECTION_IN_SEARCH_WINDOW
      OUTSIDE_BOUNDS OUTSIDE_SERVICE_PERIOD WALKING_BETTER_THAN_TRANSIT
    }
    input PlanCoordinateInput { latitude: CoordinateValue! longitude: CoordinateValue! }
    input PlanLocationInput { coordinate: PlanCoordinateInput }
    input PlanLabeledLocationInput { label: String location: PlanLocationInput! }
    input PlanDateTimeInput { earliestDeparture: OffsetDateTime latestArrival: OffsetDateTime }
    input PlanModesInput { direct: [PlanDirectMode!] directOnly: Boolean = false transitOnly: Boolean = false }
    type RoutingError { code: RoutingErrorCode! description: String! }
    type Itinerary { duration: Long numberOfTransfers: Int! }
    type PlanEdge { cursor: String! node: Itinerary! }
    type PlanConnection { edges: [PlanEdge] routingErrors: [RoutingError!]! searchDateTime: OffsetDateTime }
    type Query {
      planConnection(
        origin: PlanLabeledLocationInput! destination: PlanLabeledLocationInput! dateTime: PlanDateTimeInput
        searchWindow: Duration first: Int modes: PlanModesInput
      ): PlanConnection
    }
    """
)

_DIRECT: Final = {"WALK": TravelMode.WALK, "BICYCLE": TravelMode.BICYCLE, "CAR": TravelMode.CAR}


def open_trip_planner(world: RoutingWorld) -> Starlette:
    async def plan(_root: object, _info: object, **asked: Any) -> dict[str, Any]:
        places = [asked[each]["location"]["coordinate"] for each in ("origin", "destination")]
        moment = asked["dateTime"]["earliestDeparture"]
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?[+-]\d\d:\d\d", moment):
            raise GraphQLError(f"Expected type 'OffsetDateTime' but was '{moment}'")
        if not all(is_on_the_map(each["latitude"]) for each in places):
            return _nothing("OUTSIDE_BOUNDS")
        world.moments.append(moment)
        modes = asked["modes"]
        by = _DIRECT[modes["direct"][0]] if modes["directOnly"] else TravelMode.TRANSIT
        (seconds,) = await world.answer(by, [(places[1]["latitude"], places[1]["longitude"])])
        if seconds is None:
            return _nothing("NO_TRANSIT_CONNECTION")
        durations = [seconds + 900, seconds]  # a slower one is offered as well
        edges = [{"cursor": str(each), "node": {"duration": each, "numberOfTransfers": 1}} for each in durations]
        return {"edges": edges, "routingErrors": []}

    async def endpoint(request: Request) -> Response:
        if world.broken:
            return JSONResponse({"error": "graph is being built"}, status_code=503)
        asked = await request.json()
        _OTP_SCHEMA.query_type.fields["planConnection"].resolve = plan  # type: ignore[union-attr] # it has a Query
        result = await graphql(_OTP_SCHEMA, asked["query"], variable_values=asked["variables"])
        errors = [{"message": each.message} for each in result.errors or ()]
        return JSONResponse({"data": result.data} | ({"errors": errors} if errors else {}))

    return Starlette(routes=[Route("/otp/gtfs/v1", endpoint, methods=["POST"])])


def _nothing(code: str) -> dict[str, Any]:
    return {"edges": [], "routingErrors": [{"code": code, "description": code}]}


# --- over real HTTP ---


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def routing_world() -> RoutingWorld:
    return RoutingWorld()


APPS: Final = {EngineKind.OTP: open_trip_planner, EngineKind.VALHALLA: valhalla, EngineKind.OSRM: osrm}
PATHS: Final = {EngineKind.OTP: "/otp/gtfs/v1", EngineKind.VALHALLA: "", EngineKind.OSRM: "/{profile}"}
"""What an engine's address ends with."""


def engine_of(kind: EngineKind, world: RoutingWorld) -> Starlette:
    return APPS[kind](world)
