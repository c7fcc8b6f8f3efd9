"""What the ledger knows of a message, a user or a listing, as values: read in one snapshot, no phone and no text."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg

from common.events import Recipient
from common.quiet_hours import quiet_until

if TYPE_CHECKING:
    from common.outbox import Connection

MESSAGES_OF_USER: Final = 20
MOST_OF_LISTING: Final = 200


@dataclass(frozen=True)
class Attempt:
    """One call to Twilio, as the sender has it."""

    attempt: int
    state: str
    detail: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    sid: str | None
    error_code: int | None
    template: bool


@dataclass(frozen=True)
class Status:
    """A status as the api has heard it, from the sender or from Twilio's callbacks."""

    at: dt.datetime
    attempt: int
    status: str
    reported_by: str
    sid: str | None
    error_code: int | None


@dataclass(frozen=True)
class Entry:
    """A line of the sender's journal; `attempt` None: of the channel, or before any call."""

    at: dt.datetime
    attempt: int | None
    what: str
    detail: str
    error_code: int | None
    until: dt.datetime | None


@dataclass(frozen=True)
class Ordered:
    """What an operator ordered."""

    at: dt.datetime
    action: str
    by: str
    why: str
    whom: str  # to whom sending is paused or resumed


@dataclass(frozen=True)
class Told:
    """A notification: a flat or what a user asked for, and where it ended."""

    notification_id: UUID
    user_id: UUID
    reason: str
    disposition: str
    detail: str
    received_at: dt.datetime
    settled_at: dt.datetime | None
    listing_id: str | None
    title: str | None
    message_id: UUID | None
    message_stage: str | None = None
    message_status: str | None = None


@dataclass(frozen=True)
class Held:
    """Why a message that waited for its first time did so, as far as the user's settings of now tell."""

    until: dt.datetime
    reason: str  # paused, quiet_hours or interval


@dataclass(frozen=True)
class MessageStory:
    """A message as it stands, and all that happened to it."""

    message_id: UUID
    user_id: UUID
    kind: str  # digest, or what a direct message is for
    stage: str
    status: str
    detail: str
    error_code: int | None
    sid: str | None
    opened_at: dt.datetime
    due_at: dt.datetime
    latest_at: dt.datetime
    changed_at: dt.datetime
    attempts: tuple[Attempt, ...]
    statuses: tuple[Status, ...]
    statuses_known: bool  # whether the api's tables could be read
    journal: tuple[Entry, ...]
    channel: tuple[Entry, ...]  # what happened to the channel while it waited
    orders: tuple[Ordered, ...]
    paused: tuple[Ordered, ...]  # pauses by operators that hold now and concern it
    held: Held | None
    told: tuple[Told, ...]


@dataclass(frozen=True)
class UserStory:
    """A user as the sender knows them, their messages and what was in none, newest first."""

    user_id: UUID
    known: bool
    verified: bool
    stopped: bool
    paused_until: dt.datetime | None
    language: str | None
    quiet_hours: str | None
    interval_seconds: int | None
    window_opened_at: dt.datetime | None
    last_digest_at: dt.datetime | None
    opted_out_at: dt.datetime | None
    held_at: dt.datetime | None
    erased_at: dt.datetime | None
    orders: tuple[Ordered, ...]
    messages: tuple[MessageStory, ...]
    in_no_message: tuple[Told, ...]


@dataclass(frozen=True)
class ListingStory:
    """What became of a listing: whom it was to be told to. `counts` are of all, `told` are the newest ones."""

    listing_id: str
    version: int | None
    offered: bool | None
    published_at: dt.datetime | None
    users: int
    counts: dict[str, int]  # by disposition
    told: tuple[Told, ...]


Story = MessageStory | UserStory | ListingStory


class Ledger:
    """Reads stories within one transaction."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    async def of(self, name: str) -> Story | None:
        """The story of a message (by id, reference or MessageSid), of a notification, of a user, or of a listing."""
        if message_id := await self._message_named(name):
            return await self.of_message(message_id)
        if named := _uuid(name):
            return await self._of_id(named)
        return await self.of_listing(name)

    async def _of_id(self, named: UUID) -> Story | None:
        for told in await self._told(_OF_NOTIFICATION, named):
            if told.message_id:
                return await self.of_message(told.message_id)
            return ListingStory(told.listing_id or "", None, None, None, 1, {told.disposition: 1}, (told,))
        return await self.of_user(named) if await self._connection.fetchval(_IS_USER, named) else None

    async def parked(self) -> list[MessageStory]:
        """What waits for a person's decision, oldest first."""
        rows = await self._connection.fetch(_PARKED)
        return [await self.of_message(row["message_id"]) for row in rows]

    async def _message_named(self, name: str) -> UUID | None:
        found: UUID | None = None
        if re.fullmatch(r"(SM|MM)[0-9a-fA-F]{32}", name):
            found = await self._connection.fetchval(_BY_SID, name)
        elif re.fullmatch(r"[0-9a-fA-F]{10}", name):  # the reference at the end of a text: how the id begins
            found = await self._connection.fetchval(_BETWEEN, UUID(name.ljust(32, "0")), UUID(name.ljust(32, "f")))
        elif named := _uuid(name):
            found = await self._connection.fetchval(_BETWEEN, named, named)
        return found

    # --- one message ------------------------------------------------------------------------------------------------

    async def of_message(self, message_id: UUID) -> MessageStory:
        row = await self._connection.fetchrow(_MESSAGE, message_id)
        assert row is not None
        statuses = await self._of_api(_STATUSES, message_id)
        attempts = [Attempt(**each) for each in await self._connection.fetch(_ATTEMPTS, message_id)]
        taken_at = next((each.ended_at for each in attempts if each.state == "accepted" and each.ended_at), None)
        until = taken_at or (row["changed_at"] if row["stage"] == "ended" else row["now"])
        channel = await self._connection.fetch(_CHANNEL, row["opened_at"], until)
        orders = await self._connection.fetch(_ORDERS, message_id, row["user_id"], row["opened_at"], until)
        return MessageStory(
            message_id=row["message_id"],
            user_id=row["user_id"],
            kind=row["purpose"] or row["kind"],
            stage=row["stage"],
            status=row["status"],
            detail=row["detail"],
            error_code=row["error_code"],
            sid=row["sid"],
            opened_at=row["opened_at"],
            due_at=row["due_at"],
            latest_at=row["latest_at"],
            changed_at=row["changed_at"],
            attempts=tuple(attempts),
            statuses=tuple(Status(**each) for each in statuses or ()),
            statuses_known=statuses is not None,
            journal=tuple(Entry(**each) for each in await self._connection.fetch(_JOURNAL, message_id)),
            channel=tuple(Entry(**each) for each in channel),
            orders=tuple(Ordered(**each) for each in orders),
            paused=await self._paused(row),
            held=await self._held(row, attempts),
            told=await self._told(_TOLD, message_id),
        )

    async def _paused(self, row: asyncpg.Record) -> tuple[Ordered, ...]:
        if row["stage"] not in ("waiting", "retrying"):
            return ()
        return tuple(Ordered(**each) for each in await self._connection.fetch(_PAUSED, row["user_id"]))

    async def _held(self, row: asyncpg.Record, attempts: Sequence[Attempt]) -> Held | None:
        """What made a digest wait from the moment it was opened: its due time is written over later."""
        first = attempts[0].started_at if attempts else row["due_at"]
        if row["purpose"] or first - row["opened_at"] < dt.timedelta(seconds=5):
            return None
        known = await self._connection.fetchval(_RECIPIENT, row["user_id"])
        recipient = Recipient.model_validate_json(known) if known else None
        if recipient and recipient.paused_until and row["opened_at"] < recipient.paused_until:
            return Held(recipient.paused_until, "paused")
        if recipient and (until := quiet_until(recipient.quiet_hours, recipient.time_zone, row["opened_at"])):
            return Held(until, "quiet_hours")
        before = await self._connection.fetchval(_LAST_DIGEST, row["user_id"], row["opened_at"], row["message_id"])
        return Held(first, "interval") if before else None

    async def _told(self, query: str, *arguments: object) -> tuple[Told, ...]:
        rows = await self._connection.fetch(query, *arguments)
        titles = await self._of_api(_TITLES, [row["notification_id"] for row in rows])
        title_of = {row["notification_id"]: row["title"] for row in titles or ()}
        return tuple(Told(**row, title=title_of.get(row["notification_id"])) for row in rows)

    async def _of_api(self, query: str, *arguments: object) -> list[asyncpg.Record] | None:
        """What the api's tables hold; None where they may not be read, or are not there."""
        try:
            async with self._connection.transaction():
                return await self._connection.fetch(query, *arguments)
        except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return None

    # --- users and listings -----------------------------------------------------------------------------------------

    async def of_user(self, user_id: UUID) -> UserStory:
        row = await self._connection.fetchrow(_USER, user_id)
        assert row is not None
        recipient = Recipient.model_validate_json(row["recipient"]) if row["recipient"] else None
        quiet = recipient.quiet_hours if recipient else None
        ids = await self._connection.fetch(_MESSAGES_OF, user_id, MESSAGES_OF_USER)
        return UserStory(
            user_id=user_id,
            known=recipient is not None,
            verified=bool(recipient and recipient.phone and recipient.verified),
            stopped=bool(recipient and recipient.stopped),
            paused_until=recipient.paused_until if recipient else None,
            language=recipient.language if recipient else None,
            quiet_hours=f"{quiet.start:%H:%M} to {quiet.end:%H:%M}" if quiet else None,
            interval_seconds=recipient.interval_seconds if recipient else None,
            window_opened_at=recipient.window_opened_at if recipient else None,
            last_digest_at=row["last_digest_at"],
            opted_out_at=row["opted_out_at"],
            held_at=row["held_at"],
            erased_at=row["erased_at"],
            orders=tuple(Ordered(**each) for each in await self._connection.fetch(_ORDERS_OF_USER, user_id)),
            messages=tuple([await self.of_message(each["message_id"]) for each in ids]),
            in_no_message=await self._told(_IN_NO_MESSAGE, user_id, MESSAGES_OF_USER),
        )

    async def of_listing(self, listing_id: str) -> ListingStory | None:
        """None where neither the ledger nor the api has heard of it."""
        told = await self._told(_OF_LISTING, listing_id, MOST_OF_LISTING)
        published = await self._of_api(_LISTING, listing_id)
        if not told and not published:
            return None
        row = published[0] if published else None
        counts = await self._connection.fetch(_COUNTS, listing_id)
        return ListingStory(
            listing_id=listing_id,
            version=row["version"] if row else None,
            offered=row["active"] if row else None,
            published_at=row["published_at"] if row else None,
            users=await self._connection.fetchval(_USERS, listing_id),
            counts={each["disposition"]: each["count"] for each in counts},
            told=told,
        )


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None


_BETWEEN: Final = "SELECT message_id FROM sender.messages WHERE message_id BETWEEN $1 AND $2 LIMIT 1"

_BY_SID: Final = "SELECT message_id FROM sender.attempts WHERE sid = $1"

_IS_USER: Final = """
SELECT EXISTS (SELECT FROM sender.contacts WHERE user_id = $1)
    OR EXISTS (SELECT FROM sender.recipients WHERE user_id = $1)
"""

_PARKED: Final = "SELECT message_id FROM sender.messages WHERE stage = 'parked' ORDER BY changed_at"

_MESSAGE: Final = "SELECT *, clock_timestamp() AS now FROM sender.messages WHERE message_id = $1"

_ATTEMPTS: Final = """
SELECT attempt, state, detail, started_at, ended_at, sid, error_code, content_sid IS NOT NULL AS template
FROM sender.attempts WHERE message_id = $1 ORDER BY attempt
"""

_STATUSES: Final = """
SELECT reported_at AS at, attempt, status, reported_by, message_sid AS sid, error_code
FROM api.message_statuses WHERE message_id = $1 ORDER BY attempt, reported_at, rank
"""

_JOURNAL: Final = """
SELECT at, attempt, what, detail, error_code, until FROM sender.journal WHERE message_id = $1 ORDER BY position
"""

_CHANNEL: Final = """
SELECT at, attempt, what, detail, error_code, until FROM sender.journal
WHERE message_id IS NULL AND at BETWEEN $1 AND $2 ORDER BY position LIMIT 200
"""

_ORDERED: Final = """
SELECT ordered_at AS at, action, ordered_by AS by, why, CASE
        WHEN action NOT IN ('pause', 'resume') THEN ''
        WHEN orders.user_id IS NOT NULL THEN 'to this user'
        WHEN orders.channel = 'all' THEN 'to everybody'
        ELSE 'to everybody over ' || orders.channel
    END AS whom
FROM sender.orders
"""

_ORDERS: Final = f"""
{_ORDERED}
WHERE message_id = $1 OR (message_id IS NULL AND (user_id = $2 OR user_id IS NULL) AND ordered_at BETWEEN $3 AND $4)
ORDER BY order_id
"""

_ORDERS_OF_USER: Final = f"{_ORDERED} WHERE user_id = $1 ORDER BY order_id"

_PAUSED: Final = f"""
-- The orders by which nothing goes out to a user now.
{_ORDERED} WHERE order_id IN (
    SELECT max(order_id) FROM sender.orders, sender.channel
    WHERE action = 'pause' AND orders.channel = ANY(held) GROUP BY orders.channel
    UNION ALL
    SELECT max(order_id) FROM sender.orders JOIN sender.contacts USING (user_id)
    WHERE action = 'pause' AND user_id = $1 AND held_at IS NOT NULL
) ORDER BY order_id
"""  # noqa: S608 - a constant

_RECIPIENT: Final = "SELECT recipient FROM sender.recipients WHERE user_id = $1"

_LAST_DIGEST: Final = """
SELECT max(started_at) FROM sender.attempts JOIN sender.messages USING (message_id)
WHERE user_id = $1 AND kind = 'digest' AND started_at < $2 AND message_id <> $3
"""

_NOTIFICATION: Final = """
SELECT notification_id, notifications.user_id, reason, disposition, notifications.detail, received_at, settled_at,
    listing_id, message_id, messages.stage AS message_stage, messages.status AS message_status
FROM sender.notifications LEFT JOIN sender.messages USING (message_id)
"""

_OF_NOTIFICATION: Final = f"{_NOTIFICATION} WHERE notification_id = $1"

_TOLD: Final = f"{_NOTIFICATION} WHERE message_id = $1 ORDER BY position"

_IN_NO_MESSAGE: Final = f"""
{_NOTIFICATION} WHERE notifications.user_id = $1 AND message_id IS NULL ORDER BY position DESC LIMIT $2
"""

_OF_LISTING: Final = f"{_NOTIFICATION} WHERE listing_id = $1 ORDER BY position DESC LIMIT $2"

_COUNTS: Final = """
SELECT disposition, count(*) FROM sender.notifications WHERE listing_id = $1 GROUP BY disposition ORDER BY count DESC
"""

_USERS: Final = "SELECT count(DISTINCT user_id) FROM sender.notifications WHERE listing_id = $1"

_TITLES: Final = """
SELECT notification_id, coalesce(nullif(card ->> 'title', ''), card ->> 'comune_name') AS title
FROM api.notifications WHERE notification_id = ANY($1::uuid[])
"""

_USER: Final = """
SELECT recipient, last_digest_at, opted_out_at, held_at, erased_at
FROM (SELECT $1::uuid AS user_id) AS asked
    LEFT JOIN sender.recipients USING (user_id) LEFT JOIN sender.contacts USING (user_id)
"""

_MESSAGES_OF: Final = """
SELECT message_id FROM sender.messages WHERE user_id = $1 ORDER BY opened_at DESC, message_id LIMIT $2
"""

_LISTING: Final = "SELECT version, active, published_at FROM api.recent_listings WHERE listing_id = $1"
