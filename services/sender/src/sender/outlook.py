"""The forecast in the tables: what it is made of, and that it is published now and then."""

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

from common.events import ForecastMade, Language, WindowsAhead
from common.outbox import Outbox
from common.postgres import CONNECTION_LOST
from common.prices import Charge, Prices
from common.topics import Topics
from sender.budget import Budget, day_of, month_of
from sender.forecast import AHEAD, DAYS_LOOKED_AT, Awaiting, Known, forecast
from sender.schedule import WINDOW
from sender.templates import Purpose, templates
from sender.tier import COUNTS_FOR

if TYPE_CHECKING:
    from common.outbox import Connection

log = structlog.get_logger()

EVERY_S: Final = 60.0
MOST_DIGESTS: Final = 20_000


class Outlook:
    """Publishes forecasts. Each replica tries; one a minute is made."""

    def __init__(self, pool: asyncpg.Pool, topics: Topics, prices: Prices) -> None:
        self._pool = pool
        self._topics = topics
        self._prices = prices
        self._outbox = Outbox("sender")

    async def run(self) -> None:
        """Keep looking ahead until cancelled."""
        while True:
            try:
                await self.publish()
            except (*CONNECTION_LOST, TimeoutError) as error:
                log.warning("the forecast is made later", error=type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def publish(self) -> None:
        """Publish a forecast, unless another replica has just done so."""
        async with self._pool.acquire() as connection, connection.transaction():
            now = await connection.fetchval(_TAKE_TURN, timedelta(seconds=EVERY_S / 2))
            if now is not None:
                made = await look_ahead(connection, self._prices, now)
                await self._outbox.add(connection, self._topics.forecasts, [made] if made else [])


async def look_ahead(connection: "Connection", prices: Prices, now: datetime) -> ForecastMade | None:
    """The forecast of now, in the caller's transaction; None: no sender has ever run. Reads only."""
    known = await _known(connection, prices, now)
    return forecast(known, now) if known else None


async def _known(connection: "Connection", prices: Prices, now: datetime) -> Known | None:
    in_force = await connection.fetchrow(_IN_FORCE)
    if in_force is None:
        return None
    budget = Budget(in_force["currency"], in_force["limit_micros"], in_force["reserve_micros"])
    since = min(month_of(now), day_of(now) - timedelta(days=DAYS_LOOKED_AT))
    spent = await connection.fetch(_SPENT, budget.currency, since)
    begun = await connection.fetch(_BEGUN, now - COUNTS_FOR)
    waiting = await connection.fetch(_WAITING)
    awaiting = await connection.fetch(_AWAITING, now + AHEAD, MOST_DIGESTS)
    return Known(
        budget,
        in_force["recipients_per_day"],
        {row["spent_on"]: row["micros"] for row in spent},
        [row["begun_at"] for row in begun],
        await _windows(connection, now),
        {row["detail"]: row["count"] for row in waiting},
        [_awaiting(row, prices) for row in awaiting],
    )


async def _windows(connection: "Connection", now: datetime) -> WindowsAhead:
    opened = now - WINDOW
    row = await connection.fetchrow(
        _WINDOWS, f"{opened:%Y-%m-%dT%H:%M:%S}", opened, opened + timedelta(hours=1), opened + timedelta(hours=6)
    )
    assert row is not None
    return WindowsAhead(
        open=row["open"],
        close_within_1_hour=row["within_1_hour"],
        close_within_6_hours=row["within_6_hours"],
        last_closes_at=row["last"] + WINDOW if row["last"] else None,
    )


def _awaiting(row: asyncpg.Record, prices: Prices) -> Awaiting:
    template = Charge(templates()[Purpose.DIGEST, Language(row["language"])].category.lower())
    return Awaiting(
        user_id=row["user_id"],
        phone=row["phone"],
        due_at=row["due_at"],
        opened_at=row["opened_at"],
        waits_for=row["detail"],
        as_template=row["as_template"],
        window_opened_at=row["window_opened_at"],
        written_first_at=row["begun_at"],
        price_of_text=prices.of(row["phone"], Charge.SERVICE),
        price_of_template=prices.of(row["phone"], template),
    )


_TAKE_TURN = """
UPDATE forecasts SET made_at = clock_timestamp() WHERE made_at < clock_timestamp() - $1::interval
RETURNING made_at
"""

_IN_FORCE = "SELECT currency, limit_micros, reserve_micros, recipients_per_day FROM budget"

_SPENT = """
SELECT spent_on, sum(micros)::bigint AS micros FROM spending
WHERE currency = $1 AND spent_on >= $2 GROUP BY spent_on
"""

_BEGUN = "SELECT begun_at FROM written_first WHERE begun_at > $1 ORDER BY begun_at"

_WAITING = """
SELECT detail, count(*) FROM messages WHERE stage IN ('waiting', 'retrying') GROUP BY detail ORDER BY detail
"""

_AWAITING = """
SELECT user_id, due_at, opened_at, detail, as_template, phone, language, window_opened_at, begun_at
FROM messages JOIN (
    SELECT user_id, recipient::jsonb ->> 'phone' AS phone, recipient::jsonb ->> 'language' AS language,
        (recipient::jsonb ->> 'window_opened_at')::timestamptz AS window_opened_at
    FROM recipients
    WHERE (recipient::jsonb ->> 'verified')::boolean AND NOT (recipient::jsonb ->> 'stopped')::boolean
) AS reader USING (user_id)
LEFT JOIN written_first ON phone_hash = sha256(convert_to(phone, 'UTF8'))
WHERE kind = 'digest' AND stage IN ('waiting', 'retrying') AND due_at <= $1
    AND (due_at AT TIME ZONE 'UTC') + behind <= ($1::timestamptz AT TIME ZONE 'UTC') + interval '1 minute'
ORDER BY due_at LIMIT $2
"""

_WINDOWS = """
SELECT count(*) AS open, count(*) FILTER (WHERE opened_at <= $3) AS within_1_hour,
    count(*) FILTER (WHERE opened_at <= $4) AS within_6_hours, max(opened_at) AS last
FROM (
    SELECT (recipient::jsonb ->> 'window_opened_at')::timestamptz AS opened_at FROM recipients
    WHERE recipient::jsonb ->> 'window_opened_at' >= $1 AND NOT (recipient::jsonb ->> 'stopped')::boolean
) AS windows WHERE opened_at > $2
"""
