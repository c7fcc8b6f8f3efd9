"""What has been spent, in the tables: recorded with every attempt, summed by day and by what Meta charges for."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog
from prometheus_client import Gauge

from common.postgres import CONNECTION_LOST
from common.prices import MILLIONTHS, Charge, Micros
from sender.budget import ZONE, Budget, Purse, day_of, month_of, percent, warning_due
from sender.tier import COUNTS_FOR

if TYPE_CHECKING:
    from common.outbox import Connection

log = structlog.get_logger()

LOOK_EVERY_S: Final = 15.0

QUEUE_SEEN: Final = 1000
"""So many digests that wait for money are counted before one that comes new; more make no difference."""

spent_this_month = Gauge(
    "itarent_sender_spent_this_month",
    "What messages have cost since the first of the month (UTC), in units of the price table's currency",
    ["currency"],
)
monthly_budget = Gauge(
    "itarent_sender_monthly_budget",
    "What messages may cost in a month, in units of the price table's currency; none while there is no limit",
    ["currency"],
)
waiting_for_money = Gauge("itarent_sender_waiting_for_budget", "Messages that are not sent until there is money again")

written_to_first = Gauge(
    "itarent_sender_written_to_first",
    "Phones that we have written to first within 24 hours, of those that Meta's tier allows",
)
places = Gauge(
    "itarent_sender_recipients_per_day",
    "To how many phones the settings let us write first within 24 hours; none while there is no limit",
)
waiting_for_place = Gauge(
    "itarent_sender_waiting_for_tier", "Digests that are not sent until a place in Meta's tier gets free"
)


@dataclass(frozen=True)
class Expense:
    """Money that a message costs, or gives back; `messages`: by how many it changes the number of those sent."""

    day: date
    charge: Charge
    micros: Micros
    messages: int = 1


async def record(connection: "Connection", currency: str, expenses: Iterable[Expense]) -> None:
    """Add expenses in the caller's transaction, which holds no other row of this table: each day's in one order."""
    sums: dict[tuple[date, Charge], tuple[int, Micros]] = {}
    for each in expenses:
        messages, micros = sums.get((each.day, each.charge), (0, 0))
        sums[each.day, each.charge] = (messages + each.messages, micros + each.micros)
    if not sums:
        return
    in_order = sorted(sums.items())
    await connection.execute(
        _RECORD,
        currency,
        [day for (day, _), _ in in_order],
        [charge.value for (_, charge), _ in in_order],
        [messages for _, (messages, _) in in_order],
        [micros for _, (_, micros) in in_order],
    )


async def purse(connection: "Connection", budget: Budget, now: datetime) -> Purse:
    """What is left of the month of `now`, and how many digests wait for money."""
    if budget.limit is None:
        return Purse(budget, 0, now)
    row = await connection.fetchrow(_PURSE, budget.currency, month_of(now), QUEUE_SEEN)
    assert row is not None
    return Purse(budget, row["spent"], now, row["queued"])


@dataclass(frozen=True)
class Spent:
    """The month as it stands."""

    currency: str
    today: Micros
    month: Micros
    limit: Micros | None
    waiting: int

    def as_json(self) -> Mapping[str, object]:
        """Amounts in units of the currency, for people."""
        return {
            "currency": self.currency,
            "spent_today": self.today / MILLIONTHS,
            "spent_this_month": self.month / MILLIONTHS,
            "monthly_budget": None if self.limit is None else self.limit / MILLIONTHS,
            "used_percent": percent(self.month, self.limit),
            "messages_waiting_for_budget": self.waiting,
        }


class BudgetWatch:
    """Tells how the month stands, and warns once when the budget is nearly or wholly used."""

    def __init__(self, pool: asyncpg.Pool, budget: Budget, recipients_per_day: int | None = None) -> None:
        self._pool = pool
        self._budget = budget
        self._recipients_per_day = recipients_per_day
        self.spent: Spent | None = None  # as of the last look

    async def announce(self) -> None:
        """The settings that are in force now: what waits for means looks again, since there may be more."""
        budget = self._budget
        await self._pool.execute(_NEW_BUDGET, budget.currency, budget.limit, budget.reserve)
        await self._pool.execute(_ANNOUNCE, budget.currency, budget.limit, budget.reserve, self._recipients_per_day)
        await self._pool.execute(_LOOK_AGAIN)
        await self._pool.execute(_MORE_PLACES, self._recipients_per_day)

    async def run(self) -> None:
        """Keep looking until cancelled."""
        while True:
            try:
                await self.look(datetime.now(ZONE))
            except CONNECTION_LOST as error:
                log.warning("the database is away, trying again", error=type(error).__name__)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, now: datetime) -> None:
        """Sum up, set the gauges, and warn."""
        budget = self._budget
        row = await self._pool.fetchrow(_LOOK, budget.currency, month_of(now), day_of(now), now - COUNTS_FOR)
        assert row is not None
        written_to_first.set(row["written_to_first"])
        waiting_for_place.set(row["waiting_for_place"])
        if self._recipients_per_day is not None:
            places.set(self._recipients_per_day)
        self.spent = Spent(budget.currency, row["today"], row["month"], budget.limit, row["waiting"])
        spent_this_month.labels(budget.currency).set(row["month"] / MILLIONTHS)
        waiting_for_money.set(row["waiting"])
        if budget.limit is not None:
            monthly_budget.labels(budget.currency).set(budget.limit / MILLIONTHS)
            await self._warn(row["month"], now)

    async def _warn(self, spent: Micros, now: datetime) -> None:
        reached = warning_due(spent, self._budget)
        if not reached or not await self._pool.fetchval(_WARN_ONCE, month_of(now), reached):
            return
        used_up = reached >= 100  # noqa: PLR2004 - per cent
        level = log.error if used_up else log.warning
        level(
            "the month's budget is used up: digests wait" if used_up else "the month's budget is nearly used up",
            percent=percent(spent, self._budget.limit),
            spent=spent / MILLIONTHS,
            budget=(self._budget.limit or 0) / MILLIONTHS,
            currency=self._budget.currency,
        )


_RECORD = """
INSERT INTO spending (currency, spent_on, charge, messages, micros)
SELECT $1, * FROM unnest($2::date[], $3::text[], $4::bigint[], $5::bigint[])
ON CONFLICT (spent_on, currency, charge) DO UPDATE
SET messages = spending.messages + excluded.messages, micros = spending.micros + excluded.micros
"""

_PURSE = """
SELECT coalesce(sum(micros), 0)::bigint AS spent, (
    SELECT count(*) FROM (
        SELECT FROM messages WHERE stage IN ('waiting', 'retrying') AND detail = 'budget' LIMIT $3
    ) AS waiting
)::int AS queued
FROM spending
WHERE currency = $1 AND spent_on >= $2::date AND spent_on < $2::date + interval '1 month'
"""

_ANNOUNCE = """
INSERT INTO budget AS known (currency, limit_micros, reserve_micros, recipients_per_day) VALUES ($1, $2, $3, $4)
ON CONFLICT (one) DO UPDATE
SET currency = excluded.currency, limit_micros = excluded.limit_micros, reserve_micros = excluded.reserve_micros,
    recipients_per_day = excluded.recipients_per_day
"""

_NEW_BUDGET = """
-- Before it is announced: another budget is warned about anew.
UPDATE budget SET warned_month = NULL, warned_percent = 0
WHERE (currency, limit_micros, reserve_micros) IS DISTINCT FROM ($1, $2, $3)
"""

_LOOK_AGAIN = """
UPDATE messages SET due_at = clock_timestamp()
WHERE message_id IN (
    SELECT message_id FROM messages
    WHERE stage IN ('waiting', 'retrying') AND detail = 'budget'
    FOR UPDATE SKIP LOCKED
)
"""

_MORE_PLACES = """
-- As many as there are places more: the others keep the time at which a place gets free for them.
UPDATE messages SET due_at = clock_timestamp()
FROM (
    SELECT message_id FROM messages
    WHERE stage IN ('waiting', 'retrying') AND detail = 'tier'
    ORDER BY due_at LIMIT (
        SELECT CASE WHEN $1::int IS NULL THEN NULL ELSE greatest($1 - count(*), 0) END FROM written_first
    )
    FOR UPDATE SKIP LOCKED
) AS first WHERE messages.message_id = first.message_id
"""

_LOOK = """
SELECT
    coalesce(sum(micros), 0)::bigint AS month,
    coalesce(sum(micros) FILTER (WHERE spent_on = $3), 0)::bigint AS today,
    (SELECT count(*) FROM messages WHERE stage IN ('waiting', 'retrying') AND detail = 'budget') AS waiting,
    (SELECT count(*) FROM messages WHERE stage IN ('waiting', 'retrying') AND detail = 'tier') AS waiting_for_place,
    (SELECT count(*) FROM written_first WHERE begun_at > $4) AS written_to_first
FROM spending WHERE currency = $1 AND spent_on >= $2::date AND spent_on < $2::date + interval '1 month'
"""

_WARN_ONCE = """
-- Of all replicas one logs each threshold, once a month.
UPDATE budget SET warned_month = $1, warned_percent = $2
WHERE warned_month IS DISTINCT FROM $1 OR warned_percent < $2
RETURNING true
"""
