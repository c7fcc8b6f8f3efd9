"""First looks: who is told first of a flat that several want, measured. Nothing depends on it.

When the last reader of a flat has been told, each one's head start is how much earlier than the average reader of that
flat they were. Rotation (`sender.rotation`) is fair if everybody's head starts add up to about nothing.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Gauge, Histogram

from common.postgres import CONNECTION_LOST

if TYPE_CHECKING:
    from common.outbox import Connection

log = structlog.get_logger()

head_start_seconds = Histogram(
    "itarent_sender_head_start_seconds",
    "How much earlier than the average reader of a flat somebody was told of it; below zero: later",
    buckets=(-600, -300, -120, -60, -30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30, 60, 120, 300, 600),
)
mean_head_start_seconds = Gauge(
    "itarent_sender_mean_head_start_seconds",
    "A user's head start on the average of all flats that several users were told of, by quantile over the users",
    ["quantile"],
)

LAST_LOOK_BEFORE: Final = timedelta(minutes=10)
"""A flat that nobody was told of for so long has been told to everybody."""
EVERY_S: Final = 60.0
FLATS_AT_ONCE: Final = 500
QUANTILES: Final = (0.01, 0.1, 0.5, 0.9, 0.99)


async def record(connection: "Connection", looks: Iterable[tuple[UUID, UUID]], now: datetime) -> None:
    """Note of each flat and user that the user is told now that the flat is new."""
    pairs = sorted(set(looks))
    if pairs:
        await connection.execute(_RECORD, [flat for flat, _ in pairs], [user for _, user in pairs], now)


class FirstLooks:
    """Reckons head starts in the background; any number of replicas may."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        while True:
            try:
                while await self.reckon(LAST_LOOK_BEFORE) == FLATS_AT_ONCE:
                    pass
                await self.announce()
            except CONNECTION_LOST as error:
                log.warning("head starts are reckoned later", error=type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def reckon(self, quiet_for: timedelta) -> int:
        """Reckon the head starts of flats that nobody was told of for a while; how many flats there were."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_TAKE, quiet_for, FLATS_AT_ONCE)
            starts = [(row["user_id"], row["seconds"]) for row in rows if row["readers"] > 1]
            if starts:
                await connection.execute(_ADD, [user for user, _ in starts], [seconds for _, seconds in starts])
        for _, seconds in starts:
            head_start_seconds.observe(seconds)
        return len({row["flat_id"] for row in rows})

    async def announce(self) -> None:
        """Export how evenly the head starts are spread over the users."""
        spread: Sequence[float] | None = await self._pool.fetchval(_SPREAD, list(QUANTILES))
        for quantile, seconds in zip(QUANTILES, spread or (), strict=False):
            mean_head_start_seconds.labels(f"{quantile:g}").set(seconds)


_RECORD = """
INSERT INTO first_looks (flat_id, user_id, told_at)
SELECT flat_id, user_id, $3 FROM unnest($1::uuid[], $2::uuid[]) AS look(flat_id, user_id) ON CONFLICT DO NOTHING
"""

_TAKE = """
WITH done AS (
    SELECT flat_id FROM first_looks GROUP BY flat_id HAVING max(told_at) < clock_timestamp() - $1::interval LIMIT $2
), taken AS (
    DELETE FROM first_looks WHERE flat_id IN (SELECT flat_id FROM done) RETURNING flat_id, user_id, told_at
)
SELECT flat_id, user_id, count(*) OVER flat AS readers,
    (avg(extract(epoch FROM told_at)) OVER flat - extract(epoch FROM told_at))::float8 AS seconds
FROM taken WINDOW flat AS (PARTITION BY flat_id)
"""

_ADD = """
INSERT INTO head_starts AS known (user_id, flats, seconds)
SELECT user_id, count(*), sum(seconds) FROM unnest($1::uuid[], $2::float8[]) AS start(user_id, seconds)
GROUP BY user_id ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE SET flats = known.flats + excluded.flats, seconds = known.seconds + excluded.seconds
"""

_SPREAD = """
SELECT percentile_cont($1::float8[]) WITHIN GROUP (ORDER BY seconds / flats) FROM head_starts
"""
