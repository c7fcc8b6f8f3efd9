"""To whom we wrote first, in the tables: read and added to under the channel's lock, so that the tier is exact."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sender.means import Lack
from sender.tier import COUNTS_FOR, Tier

if TYPE_CHECKING:
    from common.outbox import Connection

LOOKS_AHEAD: Final = 500
"""Of how many places it is known when they get free."""


async def tier(connection: "Connection", limit: int | None, phones: Iterable[str], now: datetime) -> Tier:
    """The places as they stand. `phones`: those that may be written to now."""
    if limit is None:
        return Tier()
    row = await connection.fetchrow(_TIER, now - COUNTS_FOR, sorted(set(phones)), LOOKS_AHEAD, limit)
    assert row is not None
    return Tier(limit, row["used"], frozenset(row["taken"] or ()), row["begun_at"] or (), row["queued"])


async def record(connection: "Connection", phones: Sequence[str], now: datetime) -> None:
    """Count phones that are written to first now, in the caller's transaction."""
    if phones:
        await connection.execute(_FORGET, now - COUNTS_FOR)
        await connection.execute(_RECORD, sorted(set(phones)), now)


async def give_back(connection: "Connection", attempts: Sequence[tuple[UUID, int]]) -> None:
    """What these attempts took, which have not reached anybody after all."""
    if attempts:
        await connection.execute(_GIVE_BACK, [each for each, _ in attempts], [number for _, number in attempts])


_TIER = f"""
SELECT (SELECT count(*) FROM written_first WHERE begun_at > $1)::int AS used,
    (
        SELECT array_agg(phone) FROM unnest($2::text[]) AS wanted(phone)
        JOIN written_first ON phone_hash = sha256(convert_to(phone, 'UTF8')) WHERE begun_at > $1
    ) AS taken,
    ARRAY(SELECT begun_at FROM written_first WHERE begun_at > $1 ORDER BY begun_at LIMIT $3) AS begun_at,
    (
        SELECT count(*) FROM (
            SELECT FROM messages WHERE stage IN ('waiting', 'retrying') AND detail = '{Lack.TIER}' LIMIT $4
        ) AS waiting
    )::int AS queued
"""  # noqa: S608 - a constant

_FORGET = "DELETE FROM written_first WHERE begun_at <= $1"

_RECORD = """
INSERT INTO written_first AS known (phone_hash, begun_at)
SELECT sha256(convert_to(phone, 'UTF8')), $2 FROM unnest($1::text[]) AS written(phone)
ON CONFLICT (phone_hash) DO UPDATE SET begun_at = excluded.begun_at, before = known.begun_at
"""

_GIVE_BACK = """
-- Only what such an attempt was the last to take; who had been written to before counts from then.
WITH free AS (
    SELECT phone_hash FROM written_first JOIN attempts
        ON phone_hash = sha256(convert_to(recipient, 'UTF8')) AND begun_at = started_at
    WHERE writes_first AND (message_id, attempt) IN (SELECT * FROM unnest($1::uuid[], $2::int[]))
    ORDER BY phone_hash FOR UPDATE OF written_first
), gone AS (
    DELETE FROM written_first USING free WHERE written_first.phone_hash = free.phone_hash AND before IS NULL
)
UPDATE written_first SET begun_at = before, before = NULL
FROM free WHERE written_first.phone_hash = free.phone_hash AND before IS NOT NULL
"""
