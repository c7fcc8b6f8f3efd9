"""A renter's last thirty days in numbers: matches and messages a day, how fast they came, what became of them."""

import datetime as dt
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

from common.events import MessageStatus

DAYS: Final = 30


@dataclass(frozen=True)
class Day:
    """What matched and what was sent on one day of the renter's calendar."""

    date: dt.date
    matches: int
    messages: int


@dataclass(frozen=True)
class Summary:
    """`typical_delay` and `slowest_delay`: from a listing's publication to the phone; None where nothing arrived."""

    days: tuple[Day, ...]
    statuses: dict[MessageStatus, int]
    typical_delay: dt.timedelta | None
    slowest_delay: dt.timedelta | None

    @property
    def matches(self) -> int:
        return sum(day.matches for day in self.days)

    @property
    def messages(self) -> int:
        return sum(day.messages for day in self.days)


class Statistics:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def of(self, user_id: UUID, time_zone: str, now: dt.datetime) -> Summary:
        """A user's last thirty days, in the days of the user's zone."""
        days = await self._pool.fetch(_DAYS, user_id, time_zone, now, DAYS)
        statuses = await self._pool.fetch(_STATUSES, user_id, now - dt.timedelta(days=DAYS))
        delays = await self._pool.fetchrow(_DELAYS, user_id, now - dt.timedelta(days=DAYS))
        assert delays is not None
        return Summary(
            days=tuple(Day(row["day"], row["matches"], row["messages"]) for row in days),
            statuses={MessageStatus(row["status"]): row["count"] for row in statuses},
            typical_delay=delays["typical"],
            slowest_delay=delays["slowest"],
        )


_DAYS = """
WITH days AS (
    SELECT today - back AS day FROM (SELECT ($3::timestamptz AT TIME ZONE $2)::date AS today) AS calendar,
        generate_series(0, $4::int - 1) AS back
), since AS (
    SELECT min(day)::timestamp AT TIME ZONE $2 AS moment FROM days
), matched AS (
    SELECT (requested_at AT TIME ZONE $2)::date AS day, count(*) FROM notifications
    WHERE user_id = $1 AND requested_at >= (SELECT moment FROM since) GROUP BY 1
), sent AS (
    SELECT (first_reported_at AT TIME ZONE $2)::date AS day, count(*) FROM messages
    WHERE user_id = $1 AND message_sid IS NOT NULL AND first_reported_at >= (SELECT moment FROM since) GROUP BY 1
)
SELECT day, coalesce(matched.count, 0) AS matches, coalesce(sent.count, 0) AS messages
FROM days LEFT JOIN matched USING (day) LEFT JOIN sent USING (day) ORDER BY day
"""

_STATUSES = """
SELECT status, count(*) FROM messages WHERE user_id = $1 AND first_reported_at >= $2
GROUP BY status ORDER BY count(*) DESC, status
"""

_DELAYS = """
-- From Kafka's time of the listing's version to the first word that it had reached the phone.
WITH arrived AS (
    SELECT min(step.reported_at) - listing.published_at AS delay
    FROM notifications AS notification
    JOIN told_in_messages AS told USING (notification_id)
    JOIN message_statuses AS step ON step.message_id = told.message_id AND step.status IN ('delivered', 'read')
    JOIN recent_listings AS listing ON listing.listing_id = notification.card ->> 'listing_id'
        AND listing.version = (notification.card ->> 'version')::bigint
    WHERE notification.user_id = $1 AND notification.requested_at >= $2
    GROUP BY notification.notification_id, listing.published_at
)
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY delay) AS typical, max(delay) AS slowest FROM arrived
"""
