"""The journal: what happens to messages between their attempts, and to the channel, for whoever asks afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from common.outbox import Connection


class Happened(StrEnum):
    """What happened; `detail` is the reason in a word."""

    WAITS = "waits"  # put off by a gate, until a time
    DOUBTED = "doubted"  # Twilio may have it
    NOT_FOUND = "not_found"  # Twilio was asked and does not have it
    RESOLVED = "resolved"  # a doubt has ended: Twilio has it; `detail` says who told
    PARKED = "parked"  # a person must decide
    RETRIES = "retries"  # it is sent again at a time
    TWICE = "twice"  # an attempt that was given up as lost had reached Twilio after all, and so has another
    PAUSED = "paused"  # the channel: nothing is sent until a time
    RESUMED = "resumed"  # the channel
    SLOWED = "slowed"  # the channel: `detail` is how much of the rate is used, growing again from then on


@dataclass(frozen=True)
class Entry:
    """A line of the journal; without a message it is the channel's."""

    what: Happened
    message_id: UUID | None = None
    attempt: int | None = None
    detail: str = ""
    error_code: int | None = None
    until: datetime | None = None


async def write(connection: "Connection", entries: Sequence[Entry], now: datetime) -> None:
    """Add entries in the caller's transaction."""
    if entries:
        await connection.execute(
            _WRITE,
            [each.message_id for each in entries],
            [each.attempt for each in entries],
            [each.what.value for each in entries],
            [each.detail for each in entries],
            [each.error_code for each in entries],
            [each.until for each in entries],
            now,
        )


_WRITE = """
INSERT INTO journal (message_id, attempt, what, detail, error_code, until, at)
SELECT *, $7 FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::int[], $6::timestamptz[])
"""
