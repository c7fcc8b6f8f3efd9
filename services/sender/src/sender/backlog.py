"""What the sender has not finished, as metrics: how much, since when, and whether an operator holds it back."""

import asyncio
from typing import Final

import asyncpg
import structlog
from prometheus_client import Gauge

from common.postgres import CONNECTION_LOST
from sender.progress import Stage

log = structlog.get_logger()

LOOK_EVERY_S: Final = 15.0

messages = Gauge(
    "itarent_sender_messages",
    "Messages by what they wait for: due (to be sent now), sending, in_doubt (a look-up), parked (a person)",
    ["stage"],
)
oldest_seconds = Gauge(
    "itarent_sender_oldest_seconds", "For how long the oldest of these messages has been waiting; 0: none is", ["stage"]
)
without_final_status = Gauge(
    "itarent_sender_without_final_status",
    "Messages that Twilio has and of whose end nothing is known yet, by for how long at least there was no news",
    ["at_least"],
)
held = Gauge("itarent_sender_held", "1 while an operator has paused sending, to everybody or over one channel")
users_held = Gauge("itarent_sender_users_held", "Users to whom an operator has paused sending")


class Backlog:
    """Looks every now and then. Each replica tells the same: take the largest, not the sum."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.parked = 0  # as of the last look

    async def run(self) -> None:
        """Keep looking until cancelled."""
        while True:
            try:
                await self.look()
            except (*CONNECTION_LOST, TimeoutError) as error:
                log.warning("the database is away, trying again", error=type(error).__name__)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        for row in await self._pool.fetch(_WAITING):
            messages.labels(row["stage"]).set(row["count"])
            oldest_seconds.labels(row["stage"]).set(row["seconds"])
            self.parked = row["count"] if row["stage"] == Stage.PARKED else self.parked
        unheard = await self._pool.fetchrow(_UNHEARD)
        assert unheard is not None
        for age, count in unheard.items():
            without_final_status.labels(age).set(count)
        paused = await self._pool.fetchrow(_HELD)
        assert paused is not None
        held.set(paused["channel"])
        users_held.set(paused["users"])


_WAITING = """
SELECT stage, count(since), coalesce(extract(epoch FROM clock_timestamp() - min(since)), 0)::float8 AS seconds
FROM unnest(ARRAY['due', 'sending', 'in_doubt', 'parked']) AS known(stage) LEFT JOIN (
    SELECT 'due' AS stage, due_at AS since FROM messages
    WHERE stage IN ('waiting', 'retrying') AND due_at <= clock_timestamp()
    UNION ALL
    SELECT stage, changed_at FROM messages WHERE stage = 'sending'
    UNION ALL
    SELECT stage, changed_at FROM messages WHERE stage IN ('in_doubt', 'parked')
) AS unfinished USING (stage) GROUP BY stage
"""

_UNHEARD = """
SELECT count(*) AS "0h", count(*) FILTER (WHERE changed_at < now() - interval '1 hour') AS "1h",
    count(*) FILTER (WHERE changed_at < now() - interval '12 hours') AS "12h",
    count(*) FILTER (WHERE changed_at < now() - interval '1 day') AS "1d",
    count(*) FILTER (WHERE changed_at < now() - interval '7 days') AS "7d"
FROM messages WHERE stage = 'taken'
"""

_HELD = """
SELECT (SELECT cardinality(held) > 0 FROM channel)::int AS channel,
    (SELECT count(*) FROM contacts WHERE held_at IS NOT NULL) AS users
"""
