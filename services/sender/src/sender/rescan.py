"""The re-scan: rows of the ledger that should have ended and did not. Each is a fault of ours, and none is ever normal.

The sender counts them for its metrics, `itarent audit` shows them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog
from prometheus_client import Gauge

from common.postgres import CONNECTION_LOST

if TYPE_CHECKING:
    from common.outbox import Connection

log = structlog.get_logger()

rows_unfinished = Gauge(
    "itarent_sender_unfinished",
    "Rows that should have ended and did not: undecided, leased, unasked, undisposed, unpublished (`sender.rescan`)",
    ["kind"],
)
oldest_unfinished_seconds = Gauge(
    "itarent_sender_unfinished_oldest_seconds",
    "For how long the oldest of these rows should have ended; 0: there is none",
    ["kind"],
)

EVERY_S: Final = 600.0
"""A scan reads all notifications: seconds for ten million."""
GRACE: Final = timedelta(minutes=15)
"""How long after its end was due a row counts as unfinished, unless another time stands beside its kind."""


class Kind(StrEnum):
    """What did not end."""

    UNDECIDED = "undecided"  # a message that was to go out at the latest, and is neither sent nor given up
    LEASED = "leased"  # a message whose sender's lease has run out, and nobody took it for in doubt
    UNASKED = "unasked"  # a message about which Twilio was to be asked an hour ago
    UNDISPOSED = "undisposed"  # a notification without a disposition and without a message that is still to tell it
    UNPUBLISHED = "unpublished"  # an event that lies in the outbox


@dataclass(frozen=True)
class Unfinished:
    """Rows of one kind; `since`: when the first of them should have ended."""

    kind: Kind
    count: int
    since: datetime | None
    now: datetime

    @property
    def seconds(self) -> float:
        return (self.now - self.since).total_seconds() if self.since else 0.0


async def unfinished(connection: "Connection") -> Sequence[Unfinished]:
    """What is unfinished now, every kind; the search path must be the sender's schema."""
    rows = await connection.fetch(_UNFINISHED, GRACE)
    found = {row["kind"]: row for row in rows}
    return [Unfinished(kind, found[kind]["count"], found[kind]["since"], found[kind]["now"]) for kind in Kind]


class Rescan:
    """Looks every now and then. Each replica tells the same: take the largest, not the sum."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def run(self) -> None:
        """Keep looking until cancelled."""
        while True:
            try:
                await self.look()
            except (*CONNECTION_LOST, TimeoutError) as error:
                log.warning("the re-scan is done later", error=type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        async with self._pool.acquire() as connection:
            found = await unfinished(connection)
        for each in found:
            rows_unfinished.labels(each.kind.value).set(each.count)
            oldest_unfinished_seconds.labels(each.kind.value).set(each.seconds)
            if each.count:
                log.error("rows that should have ended did not", kind=each.kind.value, count=each.count, alert=True)


_UNFINISHED = """
WITH unfinished (kind, since) AS (
    -- Nothing is decided while an operator or Twilio holds the channel: then it is that which is told.
    SELECT 'undecided', greatest(latest_at, due_at) FROM messages, channel
    WHERE stage IN ('waiting', 'retrying') AND greatest(latest_at, due_at) < clock_timestamp() - $1::interval
        AND cardinality(held) = 0 AND paused_until IS NULL
    UNION ALL
    SELECT 'leased', lease_until FROM messages
    WHERE stage = 'sending' AND lease_until < clock_timestamp() - $1::interval
    UNION ALL
    SELECT 'unasked', due_at FROM messages
    WHERE stage IN ('in_doubt', 'parked', 'taken') AND due_at < clock_timestamp() - interval '1 hour'
    UNION ALL
    SELECT 'undisposed', received_at FROM notifications LEFT JOIN messages USING (message_id)
    WHERE disposition = 'waiting' AND received_at < clock_timestamp() - $1::interval
        AND (stage IS NULL OR stage NOT IN ('waiting', 'retrying'))
    UNION ALL
    SELECT 'unpublished', (headers ->> 'ce_time')::timestamptz FROM outbox
    WHERE (headers ->> 'ce_time')::timestamptz < clock_timestamp() - $1::interval
)
SELECT kind, count(since), min(since) AS since, clock_timestamp() AS now
FROM unnest(ARRAY['undecided', 'leased', 'unasked', 'undisposed', 'unpublished']) AS known(kind)
LEFT JOIN unfinished USING (kind) GROUP BY kind
"""
