"""What operators order: messages sent again, settled or cancelled, sending paused and resumed. Each leaves a trail.

An order is a transaction of the sender's own code in the sender's database: it holds when it is told to be carried out,
whichever replicas run, and it needs neither Kafka nor a sender that runs.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias
from uuid import UUID

import asyncpg

from common.events import Disposition, MessageStatus, MessageStatusReported
from common.outbox import Outbox
from common.topics import Topics
from sender.intake import DUE_CHANNEL
from sender.ledger import Ended, end_messages, settled_events
from sender.outcomes import Accepted, Rejected
from sender.plan import HELD
from sender.progress import DOUBTFUL, Disproven, Report, Stage
from sender.reports import Reported, Reports, Source

if TYPE_CHECKING:
    from common.outbox import Connection

CANCELLED: Final = "cancelled"
NOT_SENT: Final = "not_sent"
BY_ORDER: Final = "by_order"
"""The reasons that the ledger gives for what was ordered."""

ALL: Final = "all"
WHATSAPP: Final = "whatsapp"
CHANNELS: Final = (ALL, WHATSAPP)

FRESH_FOR: Final = timedelta(hours=1)
"""How long a message that is sent again by order is worth sending, if its own time is over."""

FAILED: Final = frozenset({MessageStatus.REJECTED, MessageStatus.FAILED, MessageStatus.UNDELIVERED})


class Action(StrEnum):
    RETRY = "retry"
    SENT = "sent"
    NOT_SENT = "not_sent"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True)
class Order:
    """Who orders something, and why: both stay in the trail."""

    by: str
    why: str


@dataclass(frozen=True)
class Done:
    """It was carried out; `stage`: where the message is now, None for what concerns no message."""

    stage: Stage | None = None
    in_flight: int = 0
    """Calls that were begun before sending was paused, and still run."""


@dataclass(frozen=True)
class Impossible:
    """It cannot be done, since things stand otherwise: nothing was changed, and nothing is in the trail."""

    because: str


Carried: TypeAlias = Done | Impossible


@dataclass(frozen=True)
class _Found:
    """A message as an order finds it, under its lock."""

    message_id: UUID
    user_id: UUID
    stage: Stage
    status: MessageStatus
    attempt: int
    worded: bool
    now: datetime

    def __str__(self) -> str:
        return f"{self.stage}, {self.status}, attempt {self.attempt}"


class Orders:
    """Carries orders out, each in one transaction with its trail."""

    def __init__(self, pool: asyncpg.Pool, topics: Topics, reports: Reports) -> None:
        self._pool = pool
        self._topics = topics
        self._reports = reports
        self._outbox = Outbox("sender")

    # --- messages ---------------------------------------------------------------------------------------------------

    async def retry(self, message_id: UUID, order: Order) -> Carried:
        """Have a message sent as soon as the gates allow: one that waits, is in doubt, or has failed.

        Of one in doubt it says that Twilio does not have it: whoever orders that must have looked.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            found = await _found(connection, message_id)
            match found:
                case None:
                    return _UNKNOWN
                case _Found(stage=Stage.WAITING | Stage.RETRYING):
                    await connection.execute(_DUE_NOW, message_id, found.now, FRESH_FOR)
                    await connection.execute(_WAKE)
                case _Found(stage=Stage.IN_DOUBT | Stage.PARKED):
                    await self._report(connection, found, Disproven())
                case _Found(stage=Stage.ENDED) if found.status in FAILED and found.worded:
                    await self._reopen(connection, found)
                case _:
                    return _not_to_be("sent again", found)
            return await self._carried(connection, Action.RETRY, found, order)

    async def settle(self, message_id: UUID, order: Order, *, sent: bool, sid: str | None = None) -> Carried:
        """End a doubt: Twilio has the message (and under which MessageSid), or it has not and is not to be sent."""
        async with self._pool.acquire() as connection, connection.transaction():
            found = await _found(connection, message_id)
            if found is None:
                return _UNKNOWN
            if found.stage not in DOUBTFUL:
                return _not_to_be("settled", found)
            report = Accepted(sid or "", MessageStatus.SENT) if sent else Rejected(None, NOT_SENT)
            await self._report(connection, found, report)
            return await self._carried(connection, Action.SENT if sent else Action.NOT_SENT, found, order)

    async def cancel(self, message_id: UUID, order: Order) -> Carried:
        """Let a message that waits never go out: what it was to tell is suppressed."""
        async with self._pool.acquire() as connection, connection.transaction():
            found = await _found(connection, message_id)
            if found is None:
                return _UNKNOWN
            if found.stage not in (Stage.WAITING, Stage.RETRYING):
                return _not_to_be("cancelled", found)
            ended = Ended(message_id, MessageStatus.SUPPRESSED, Disposition.SUPPRESSED, CANCELLED)
            settled = await end_messages(connection, [ended], found.now)
            events = [_status(found, MessageStatus.SUPPRESSED)] if found.attempt else []
            await self._outbox.add(
                connection, self._topics.message_statuses, [*events, *settled_events(settled, found.now)]
            )
            return await self._carried(connection, Action.CANCEL, found, order)

    async def _report(self, connection: "Connection", found: _Found, report: Report) -> None:
        await self._reports.record_within(
            connection, [Reported(found.message_id, found.attempt, report, Source.PERSON)]
        )

    async def _reopen(self, connection: "Connection", found: _Found) -> None:
        """What has failed waits again, with the text that it had."""
        await connection.execute(_REOPEN, found.message_id, found.now, FRESH_FOR, BY_ORDER)
        await connection.execute(_PLACE_AGAIN, found.message_id)
        await connection.execute(_WAKE)
        waits = _status(found, MessageStatus.WAITING)
        await self._outbox.add(connection, self._topics.message_statuses, [waits])

    async def _carried(self, connection: "Connection", action: Action, found: _Found, order: Order) -> Done:
        await _note(
            connection, action, order, found.now, str(found), message_id=found.message_id, user_id=found.user_id
        )
        stage = await connection.fetchval("SELECT stage FROM messages WHERE message_id = $1", found.message_id)
        return Done(Stage(stage))

    # --- sending ----------------------------------------------------------------------------------------------------

    async def pause(self, order: Order, *, channel: str = ALL, user_id: UUID | None = None) -> Carried:
        """Let nothing go out: over a channel, over all, or to one user. What is to be told waits until it expires.

        When it returns nothing more is begun, by any replica. Calls that were begun before are finished.
        """
        return await self._hold(Action.PAUSE, order, channel=channel, user_id=user_id)

    async def resume(self, order: Order, *, channel: str = ALL, user_id: UUID | None = None) -> Carried:
        """Take such a pause back: what waited for it is due now. One of Twilio's ends as well: the next call tries."""
        return await self._hold(Action.RESUME, order, channel=channel, user_id=user_id)

    async def _hold(self, action: Action, order: Order, *, channel: str, user_id: UUID | None) -> Carried:
        held = action is Action.PAUSE
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK_CHANNEL)  # as whoever begins to send does
            assert row is not None
            if user_id is None:
                was = channel in row["held"] or (not held and row["paused"])
                await connection.execute(_HOLD_CHANNEL if held else _RELEASE_CHANNEL, channel)
            else:
                if not await connection.fetchval(_IS_KNOWN, user_id):
                    return Impossible("There is no such user.")
                was = await connection.fetchval(_HELD_SINCE, user_id) is not None
                await connection.execute(_HOLD_USER if held else _RELEASE_USER, user_id)
            if was is held:
                return Impossible("That is paused already." if held else "That is not paused.")
            await connection.execute(_LOOK_AGAIN, user_id, HELD)
            await connection.execute(_WAKE)
            trail = {"user_id": user_id} if user_id else {"channel": channel}
            await _note(connection, action, order, row["now"], "paused" if was else "sending", **trail)
            in_flight = await connection.fetchval(_IN_FLIGHT, user_id)
        return Done(in_flight=in_flight)


_UNKNOWN: Final = Impossible("There is no such message.")


def _not_to_be(what: str, found: _Found) -> Impossible:
    stands = f"{found.stage} ({found.status})".replace("_", " ")
    return Impossible(f"It cannot be {what}: it is {stands}.")


def _status(found: _Found, status: MessageStatus) -> MessageStatusReported:
    return MessageStatusReported(
        message_id=found.message_id,
        attempt=found.attempt + 1,
        status=status,
        reported_by="sender",
        reported_at=found.now,
        user_id=found.user_id,
    )


async def _found(connection: "Connection", message_id: UUID) -> _Found | None:
    row = await connection.fetchrow(_LOCK_MESSAGE, message_id)
    if row is None:
        return None
    return _Found(
        row["message_id"],
        row["user_id"],
        Stage(row["stage"]),
        MessageStatus(row["status"]),
        row["attempt"],
        row["worded"],
        row["now"],
    )


async def _note(
    connection: "Connection",
    action: Action,
    order: Order,
    now: datetime,
    found: str,
    *,
    message_id: UUID | None = None,
    user_id: UUID | None = None,
    channel: str | None = None,
) -> None:
    await connection.execute(_NOTE, now, order.by, order.why, action.value, message_id, user_id, channel, found)


_LOCK_MESSAGE = """
SELECT messages.*, clock_timestamp() AS now, EXISTS (
    SELECT FROM attempts WHERE attempts.message_id = messages.message_id AND marker IS NOT NULL
) AS worded
FROM messages WHERE message_id = $1 FOR UPDATE
"""

_DUE_NOW = """
UPDATE messages SET due_at = $2::timestamptz, latest_at = greatest(latest_at, $2 + $3::interval)
WHERE message_id = $1
"""

_REOPEN = """
UPDATE messages
SET stage = 'retrying', status = 'waiting', detail = $4, due_at = $2::timestamptz, retries = 0, looks = 0, sid = NULL,
    latest_at = greatest(latest_at, $2 + $3::interval), changed_at = $2
WHERE message_id = $1
"""

_PLACE_AGAIN = """
UPDATE notifications SET disposition = placed, detail = '', settled_at = NULL
WHERE message_id = $1 AND disposition = 'failed' AND placed IN ('in_message', 'grouped')
"""

_LOCK_CHANNEL = """
SELECT held, coalesce(paused_until > clock_timestamp(), false) AS paused, clock_timestamp() AS now
FROM channel FOR UPDATE
"""

_HOLD_CHANNEL = "UPDATE channel SET held = array_append(array_remove(held, $1), $1)"

_RELEASE_CHANNEL = """
UPDATE channel SET held = array_remove(held, $1), paused_until = least(paused_until, clock_timestamp())
"""

_IS_KNOWN = """
SELECT EXISTS (SELECT FROM contacts WHERE user_id = $1) OR EXISTS (SELECT FROM recipients WHERE user_id = $1)
"""

_HELD_SINCE = "SELECT held_at FROM contacts WHERE user_id = $1 FOR UPDATE"

_HOLD_USER = """
INSERT INTO contacts (user_id, held_at) VALUES ($1, clock_timestamp())
ON CONFLICT (user_id) DO UPDATE SET held_at = coalesce(contacts.held_at, excluded.held_at)
"""

_RELEASE_USER = "UPDATE contacts SET held_at = NULL WHERE user_id = $1"

_LOOK_AGAIN = """
UPDATE messages SET due_at = clock_timestamp()
WHERE user_id = $1 AND stage IN ('waiting', 'retrying') AND detail = $2
"""

_WAKE = f"SELECT pg_notify('{DUE_CHANNEL}', '')"

_IN_FLIGHT = "SELECT count(*) FROM messages WHERE stage = 'sending' AND ($1::uuid IS NULL OR user_id = $1)"

_NOTE = """
INSERT INTO orders (ordered_at, ordered_by, why, action, message_id, user_id, channel, found)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
