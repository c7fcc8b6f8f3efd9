"""Routing engines, each by its own API: OpenTripPlanner 2, Valhalla and OSRM. No other module knows their words.

An engine answers for one start and several ends: seconds, `inf` where it knows that there is no way, None where it
cannot tell (an end is off its map, its timetable has run out).
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from itertools import chain
from math import inf
from typing import Any, Final, Protocol, assert_never
from zoneinfo import ZoneInfo

import httpx

from common.listing import Position, TravelMode

ROME: Final = ZoneInfo("Europe/Rome")

ENDS_AT_ONCE: Final = 40
"""Of one matrix; Valhalla's own limit is 50 places, OSRM's 100."""

CALLS_AT_ONCE: Final = 8

Clock = Callable[[], dt.datetime]
Seconds = float | None
Ask = Callable[[Sequence[Position]], Awaitable[Sequence[Seconds] | None]]


class EngineKind(StrEnum):
    OTP = "otp"
    VALHALLA = "valhalla"
    OSRM = "osrm"


class EngineError(Exception):
    """The routing engine does not answer as it should: check COMMUTE_ENGINE and COMMUTE_URL, and whether it runs."""

    def __str__(self) -> str:
        return ": ".join([str(self.__doc__), *map(str, self.args)])


class Engine(Protocol):
    """How long it takes to get from one place to others."""

    def ends_at_once(self, by: TravelMode) -> int:
        """How many ends one question may have; 0: it does not know this way of travelling."""

    async def seconds(self, start: Position, ends: Sequence[Position], by: TravelMode) -> Sequence[Seconds]:
        """For each end the time, as the module says.

        Raises:
            EngineError: it cannot be reached, fails, or is another kind of server.
        """


@asynccontextmanager
async def engine_at(kind: EngineKind, url: str, clock: Clock) -> AsyncIterator[Engine]:
    """An engine behind an address, for the life of the block; `clock` says for which morning its timetable is asked."""
    limits = httpx.Limits(max_connections=CALLS_AT_ONCE)
    async with httpx.AsyncClient(limits=limits, timeout=None) as client:  # noqa: S113 - who asks has a deadline
        match kind:
            case EngineKind.OTP:
                yield OpenTripPlanner(client, url, clock)
            case EngineKind.VALHALLA:
                yield Valhalla(client, url, clock)
            case EngineKind.OSRM:
                yield Osrm(client, url)
            case _:
                assert_never(kind)


def morning_after(now: dt.datetime) -> dt.datetime:
    """Eight o'clock in Italy on the next day from Monday to Friday: when people go to work."""
    day = now.astimezone(ROME).date() + dt.timedelta(days=1)
    while day.weekday() > 4:  # noqa: PLR2004 - Friday
        day += dt.timedelta(days=1)
    return dt.datetime.combine(day, dt.time(8), ROME)


async def _answer(call: httpx.Request, client: httpx.AsyncClient) -> tuple[int, Any]:
    """The status and the JSON of an answer; 400 is one too, by which engines say that they find nothing."""
    try:
        response = await client.send(call)
        if response.status_code not in {httpx.codes.OK, httpx.codes.BAD_REQUEST}:
            raise EngineError(f"status {response.status_code}")
        return response.status_code, response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise EngineError(repr(error)) from error


# --- OpenTripPlanner ---


class OpenTripPlanner:
    """Its GTFS GraphQL API. `url` is that of the API: http://127.0.0.1:8080/otp/gtfs/v1."""

    def __init__(self, client: httpx.AsyncClient, url: str, clock: Clock) -> None:
        self._client = client
        self._url = url
        self._clock = clock

    def ends_at_once(self, by: TravelMode) -> int:  # noqa: ARG002 - it is the same for all
        return 1

    async def seconds(self, start: Position, ends: Sequence[Position], by: TravelMode) -> Sequence[Seconds]:
        return await asyncio.gather(*(self._one(start, end, by) for end in ends))

    async def _one(self, start: Position, end: Position, by: TravelMode) -> Seconds:
        variables = {
            "origin": _labelled(start),
            "destination": _labelled(end),
            "dateTime": {"earliestDeparture": morning_after(self._clock()).isoformat()},
            "modes": _OTP_MODES[by],
        }
        call = self._client.build_request("POST", self._url, json={"query": _PLAN, "variables": variables})
        _, answer = await _answer(call, self._client)
        try:
            plan = answer["data"]["planConnection"]
            durations = [float(edge["node"]["duration"]) for edge in plan["edges"]]
            errors = {error["code"] for error in plan["routingErrors"]}
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError("an answer that OpenTripPlanner does not give") from error
        if durations:
            return min(durations)
        return None if errors & _OTP_CANNOT_TELL else inf


def _labelled(position: Position) -> dict[str, Any]:
    return {"location": {"coordinate": {"latitude": position.latitude, "longitude": position.longitude}}}


_OTP_MODES: Final[dict[TravelMode, dict[str, Any]]] = {
    TravelMode.WALK: {"direct": ["WALK"], "directOnly": True},
    TravelMode.BICYCLE: {"direct": ["BICYCLE"], "directOnly": True},
    TravelMode.CAR: {"direct": ["CAR"], "directOnly": True},
    TravelMode.TRANSIT: {"direct": ["WALK"]},  # a short way is walked
}

_OTP_CANNOT_TELL: Final = frozenset({"LOCATION_NOT_FOUND", "OUTSIDE_BOUNDS", "OUTSIDE_SERVICE_PERIOD"})

_PLAN: Final = """
query Commute(
  $origin: PlanLabeledLocationInput!
  $destination: PlanLabeledLocationInput!
  $dateTime: PlanDateTimeInput!
  $modes: PlanModesInput!
) {
  planConnection(
    origin: $origin
    destination: $destination
    dateTime: $dateTime
    searchWindow: "PT1H"
    first: 5
    modes: $modes
  ) {
    routingErrors { code }
    edges { node { duration } }
  }
}
"""


# --- Valhalla ---


class Valhalla:
    """Its matrix, and for public transport, which the matrix lacks, its routes. `url` is that of the server."""

    def __init__(self, client: httpx.AsyncClient, url: str, clock: Clock) -> None:
        self._client = client
        self._url = url
        self._clock = clock

    def ends_at_once(self, by: TravelMode) -> int:
        return 1 if by is TravelMode.TRANSIT else ENDS_AT_ONCE

    async def seconds(self, start: Position, ends: Sequence[Position], by: TravelMode) -> Sequence[Seconds]:
        if by is TravelMode.TRANSIT:
            return await asyncio.gather(*(self._route(start, end) for end in ends))
        return await _matrix(ends, lambda part: self._matrix(start, part, _COSTING[by]))

    async def _matrix(self, start: Position, ends: Sequence[Position], costing: str) -> Sequence[Seconds] | None:
        asked = {"sources": [_lat_lon(start)], "targets": [_lat_lon(end) for end in ends], "costing": costing}
        status, answer = await self._post("/sources_to_targets", asked)
        if status == httpx.codes.BAD_REQUEST:
            return None
        try:
            row = {cell["to_index"]: cell["time"] for cell in answer["sources_to_targets"][0]}
            return [inf if row[index] is None else float(row[index]) for index in range(len(ends))]
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise EngineError("an answer that Valhalla does not give") from error

    async def _route(self, start: Position, end: Position) -> Seconds:
        morning = morning_after(self._clock()).strftime("%Y-%m-%dT%H:%M")
        asked = {
            "locations": [_lat_lon(start), _lat_lon(end)],
            "costing": "multimodal",
            "date_time": {"type": 1, "value": morning},
            "directions_type": "none",
        }
        status, answer = await self._post("/route", asked)
        if status == httpx.codes.BAD_REQUEST:
            return inf if answer.get("error_code") in _VALHALLA_NO_WAY else None
        try:
            return float(answer["trip"]["summary"]["time"])
        except (KeyError, TypeError, ValueError) as error:
            raise EngineError("an answer that Valhalla does not give") from error

    async def _post(self, path: str, asked: dict[str, Any]) -> tuple[int, Any]:
        return await _answer(self._client.build_request("POST", f"{self._url}{path}", json=asked), self._client)


def _lat_lon(position: Position) -> dict[str, float]:
    return {"lat": position.latitude, "lon": position.longitude}


_COSTING: Final = {TravelMode.WALK: "pedestrian", TravelMode.BICYCLE: "bicycle", TravelMode.CAR: "auto"}

_VALHALLA_NO_WAY: Final = frozenset({170, 442})
"""Locations in unconnected regions; no path could be found."""


# --- OSRM ---


class Osrm:
    """Its table. Each server knows one profile: `url` holds {profile} where theirs differ, car, bike and foot."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self._url = url

    def ends_at_once(self, by: TravelMode) -> int:
        return ENDS_AT_ONCE if by in _PROFILES else 0

    async def seconds(self, start: Position, ends: Sequence[Position], by: TravelMode) -> Sequence[Seconds]:
        return await _matrix(ends, lambda part: self._table(start, part, _PROFILES[by]))

    async def _table(self, start: Position, ends: Sequence[Position], profile: str) -> Sequence[Seconds] | None:
        places = ";".join(f"{place.longitude:.6f},{place.latitude:.6f}" for place in (start, *ends))
        destinations = ";".join(str(number) for number in range(1, len(ends) + 1))
        url = f"{self._url.replace('{profile}', profile)}/table/v1/{profile}/{places}"
        query = f"sources=0&destinations={destinations}&annotations=duration"
        status, answer = await _answer(self._client.build_request("GET", f"{url}?{query}"), self._client)
        if status == httpx.codes.BAD_REQUEST:
            return None
        try:
            durations = [inf if duration is None else float(duration) for duration in answer["durations"][0]]
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise EngineError("an answer that OSRM does not give") from error
        if len(durations) != len(ends):
            raise EngineError("an answer that OSRM does not give")
        return durations


_PROFILES: Final = {TravelMode.WALK: "foot", TravelMode.BICYCLE: "bike", TravelMode.CAR: "car"}


async def _matrix(ends: Sequence[Position], ask: Ask) -> Sequence[Seconds]:
    """A matrix is refused as a whole for one place that is off the map: then each end is asked alone."""
    answer = await ask(ends)
    if answer is not None:
        return answer
    if len(ends) == 1:
        return [None]
    alone = await asyncio.gather(*(_matrix([end], ask) for end in ends))
    return list(chain.from_iterable(alone))
