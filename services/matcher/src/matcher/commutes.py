"""How long ways take: remembered in PostgreSQL for all replicas, and asked of a routing engine within bounds.

A batch of listings waits `within_seconds` for an engine, no longer; what is not told by then counts as unknown, and
each search has said what that means. An engine that was too slow or failed is left alone for a while.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import Final, NamedTuple

import asyncpg
import structlog
from prometheus_client import Counter

from common.geo import cell_of, middle_of
from common.listing import Cell, Journey, Listing, TravelMode
from common.rules import DESTINATION_DEGREES, left_to_ask
from common.search import Search
from matcher.engines import Engine, EngineError, Seconds

log = structlog.get_logger()

ways_wanted = Counter("itarent_matcher_ways_total", "Ways that searches want to know, by who told them", ["told_by"])

START_DEGREES: Final = 0.002
"""The side of the cells that listings are rounded to: 220 m by 160 m. A way begins 140 m off at the most."""

MOST_ASKED: Final = 200
"""Ways that an engine is asked for one batch of listings."""

REST_SECONDS: Final = 30.0
"""For which an engine is left alone that was too slow or failed: else every batch would wait for it."""

KEPT_DAYS: Final = 30
"""Timetables and roads change."""

MOST_KEPT: Final = 1_000_000

FORGOTTEN_EVERY_SECONDS: Final = 3600.0


class Way(NamedTuple):
    start: Cell
    to: Cell
    by: TravelMode

    def journey(self, seconds: int | None) -> Journey:
        return Journey(to=self.to, by=self.by, seconds=seconds)


def ways_wanted_by(listing: Listing, searches: Iterable[Search]) -> set[Way]:
    """What decides whether the listing is near enough for searches that it fits otherwise."""
    if listing.position is None:
        return set()
    start = cell_of(listing.position, START_DEGREES)
    commutes = (commute for search in searches for commute in left_to_ask(search, listing))
    return {Way(start, cell_of(each.to, DESTINATION_DEGREES), each.by) for each in commutes}


@dataclass
class Commutes:
    """What is known of ways, and who can be asked."""

    pool: asyncpg.Pool
    engine: Engine | None
    within_seconds: float
    most_asked: int = MOST_ASKED
    _rests_until: float = field(default=0.0, init=False)
    _forgets_at: float = field(default=0.0, init=False)

    async def journeys(self, ways: Collection[Way]) -> dict[Way, Journey]:
        """Of the ways those that are known now, or are told in time."""
        if self.engine is None or not ways:
            return {}
        known = await self._remembered(ways)
        told = await self._asked([way for way in sorted(ways) if way not in known])
        await self._remember(told)
        ways_wanted.labels("memory").inc(len(known))
        ways_wanted.labels("engine").inc(len(told))
        ways_wanted.labels("nobody").inc(len(ways) - len(known) - len(told))
        return {way: way.journey(seconds) for way, seconds in (known | told).items()}

    async def _asked(self, ways: Sequence[Way]) -> dict[Way, int | None]:
        if self.engine is None or time.monotonic() < self._rests_until:
            return {}
        told: dict[Way, int | None] = {}
        asking = [
            asyncio.create_task(self._ask(self.engine, each, told))
            for each in _questions(self.engine, ways, self.most_asked)
        ]
        if not asking:
            return told
        done, late = await asyncio.wait(asking, timeout=self.within_seconds)
        for each in late:
            each.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        errors = [error for each in done if (error := each.exception())]
        for error in errors:
            if not isinstance(error, EngineError):
                raise error
        if late or errors:
            self._rests_until = time.monotonic() + REST_SECONDS
            log.warning("the routing engine is left alone", late=len(late), errors=[str(each) for each in errors[:1]])
        return told

    async def _ask(self, engine: Engine, ways: Sequence[Way], told: dict[Way, int | None]) -> None:
        ends = [middle_of(way.to) for way in ways]
        answers = await engine.seconds(middle_of(ways[0].start), ends, ways[0].by)
        told |= {way: _whole(answer) for way, answer in zip(ways, answers, strict=True) if answer is not None}

    async def _remembered(self, ways: Collection[Way]) -> dict[Way, int | None]:
        rows = await self.pool.fetch(_REMEMBERED, *_columns(ways), KEPT_DAYS)
        return {Way(row["start"], row["destination"], TravelMode(row["mode"])): row["seconds"] for row in rows}

    async def _remember(self, told: Mapping[Way, int | None]) -> None:
        if told:
            await self.pool.execute(_REMEMBER, *_columns(told), list(told.values()))
        if told and time.monotonic() >= self._forgets_at:
            self._forgets_at = time.monotonic() + FORGOTTEN_EVERY_SECONDS
            await self.pool.execute(_FORGET, KEPT_DAYS, MOST_KEPT)


def _questions(engine: Engine, ways: Iterable[Way], most: int) -> Iterator[Sequence[Way]]:
    """The first ways that the engine can tell, by what one question may hold: what it tells in time then counts."""
    by_start: defaultdict[tuple[Cell, TravelMode], list[Way]] = defaultdict(list)
    for way in islice((way for way in ways if engine.ends_at_once(way.by)), most):
        by_start[way.start, way.by].append(way)
    for (_, by), group in by_start.items():
        size = engine.ends_at_once(by)
        yield from (group[first : first + size] for first in range(0, len(group), size))


def _whole(seconds: Seconds) -> int | None:
    """Whole seconds; None where there is no way, or none within a day."""
    return round(seconds) if seconds is not None and seconds != inf and seconds < _A_DAY_S else None


_A_DAY_S: Final = 86_400


def _columns(ways: Iterable[Way]) -> tuple[list[str], ...]:
    ways = list(ways)
    return [way.start for way in ways], [way.to for way in ways], [way.by.value for way in ways]


_REMEMBERED = """
SELECT start, destination, mode, seconds
  FROM unnest($1::text[], $2::text[], $3::text[]) AS wanted (start, destination, mode)
       JOIN ways USING (start, destination, mode)
 WHERE asked_at > now() - make_interval(days => $4)
"""

_REMEMBER = """
INSERT INTO ways (start, destination, mode, seconds)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int[])
ON CONFLICT (start, destination, mode) DO UPDATE SET seconds = excluded.seconds, asked_at = now()
"""

_FORGET = """
-- What is too old, and the oldest of what is too much.
DELETE FROM ways
 WHERE asked_at <= greatest(
           now() - make_interval(days => $1), (SELECT asked_at FROM ways ORDER BY asked_at DESC OFFSET $2 LIMIT 1))
"""
