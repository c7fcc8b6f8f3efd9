"""What is shown of the other services' work: listings, matches, messages. Records may come twice and in any order."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import asyncpg
from pydantic import Field

from api.meanings import meaning_of
from api.paging import Cursor
from api.statuses import ON_ITS_WAY, RANKS
from common.events import (
    Card,
    DirectMessageRequested,
    DirectPurpose,
    Disposition,
    Language,
    ListingPublished,
    MatchedSearch,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
    Reason,
    card_of,
)
from common.kafka import Received
from common.listing import Rent
from common.model import Value
from common.signals import noticed
from common.zone_rents import ZoneRents

if TYPE_CHECKING:
    from common.outbox import Connection

MESSAGES_SHOWN: Final = 20
LISTINGS_LOCK: Final = 0x115717
"""Key of the advisory lock under which listings are recorded: they become visible in the order of their arrival."""

OfUserT = TypeVar(
    "OfUserT", bound=NotificationRequested | DirectMessageRequested | MessageStatusReported | NotificationSettled
)
_Row = Any  # a row of PostgreSQL or an object of its JSON: both are indexed by name


class StatusStep(Value):
    """A status that a message had."""

    status: MessageStatus
    at: dt.datetime
    reported_by: str
    attempt: int
    error_code: int | None = None
    error: str | None = None


class MessageView(Value):
    """A message: its furthest status, and when each was reported."""

    message_id: UUID
    purpose: DirectPurpose | None = Field(default=None, description="null: it tells of flats")
    status: MessageStatus
    at: dt.datetime
    error_code: int | None = None
    error: str | None = None
    statuses: tuple[StatusStep, ...] = ()


class ToldFlat(Value):
    """A flat that a message tells of, in its text or behind its link."""

    notification_id: UUID
    reason: Reason
    shown: bool
    listing: Card


class MessageStory(MessageView):
    """Everything about a message but its text, which only the phone has."""

    message_sid: str | None = Field(description="Twilio's name of it: of the last attempt")
    flats: tuple[ToldFlat, ...]


class ActivityItem(Value):
    """A flat that matched: why, and what became of it."""

    notification_id: UUID
    reason: Reason
    requested_at: dt.datetime
    listing: Card
    previous_rent_cents: int | None
    searches: tuple[MatchedSearch, ...]
    disposition: Disposition
    detail: str | None
    message: MessageView | None


class TellingOf(Value):
    """A flat that a message tells of: its number there, and how it is now as far as we know."""

    item: ActivityItem
    number: int
    shown: bool
    offered: bool
    rent_now: Rent | None = Field(description="where it is another one by now")


class MessagePage(Value):
    """All flats that a message tells of by their numbers, and its reader's language."""

    language: Language
    flats: tuple[TellingOf, ...]

    @property
    def shown(self) -> int:
        return sum(flat.shown for flat in self.flats)


class Activity:
    def __init__(self, pool: asyncpg.Pool, zone_rents: ZoneRents | None = None) -> None:
        self._pool = pool
        self._zone_rents = zone_rents

    # --- recording: once each, whatever is redelivered ---

    async def record_listings(self, received: Sequence[Received[ListingPublished]]) -> None:
        """Keep the newest version of each listing; a tombstone withdraws it."""
        newest: dict[str, Received[ListingPublished]] = {}
        for each in received:
            known = newest.get(each.key)
            if each.event and (not (known and known.event) or _version(known) < _version(each)):
                newest[each.key] = each
        listings = [
            (each.key, noticed(each.event.listing, self._zone_rents), each.record.timestamp)
            for each in newest.values()
            if each.event
        ]
        rows = [
            (
                key,
                listing.version,
                listing.active,
                card_of(listing).model_dump(mode="json"),
                dt.datetime.fromtimestamp(published_ms / 1000, dt.UTC),
                listing.model_dump(mode="json", exclude_none=True),
            )
            for key, listing, published_ms in listings
        ]
        last = {each.key: each for each in received}
        gone = [key for key, each in last.items() if each.event is None]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_TAKE_TURN, LISTINGS_LOCK)
            await connection.execute(_RECORD_LISTINGS, *_by_column(rows, 6))
            await connection.execute(_WITHDRAW_LISTINGS, gone)

    async def record_notifications(self, events: Sequence[NotificationRequested | DirectMessageRequested]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            events = await _without_erased(connection, events)
            matches = [event.model_dump(mode="json") for event in events if isinstance(event, NotificationRequested)]
            direct = [
                (event.notification_id, event.user_id, event.purpose, event.requested_at, _about(event))
                for event in events
                if isinstance(event, DirectMessageRequested)
            ]
            await connection.execute(_RECORD_NOTIFICATIONS, matches)
            await connection.execute(_RECORD_DIRECT_MESSAGES, *_by_column(direct, 5))

    async def record_statuses(self, events: Sequence[MessageStatusReported | NotificationSettled]) -> None:
        """Add what messages and notifications came to; a message shows the furthest of all its statuses."""
        async with self._pool.acquire() as connection, connection.transaction():
            events = await _without_erased(connection, events)
            reports = [event for event in events if isinstance(event, MessageStatusReported) and event.message_id]
            settled = [event for event in events if isinstance(event, NotificationSettled)]
            told = [each for report in reports for each in _told(report)]
            await connection.execute(_RECORD_STATUSES, *_by_column([_status_row(report) for report in reports], 10))
            await connection.execute(
                _ADVANCE_MESSAGES, sorted({report.message_id for report in reports if report.message_id})
            )
            await connection.execute(_RECORD_TOLD, *_by_column(_known_if_ever(told), 4))
            await connection.execute(
                _RECORD_SETTLED,
                *_by_column(
                    [(each.notification_id, each.disposition, each.detail, each.settled_at) for each in settled], 4
                ),
            )

    # --- reading ---

    async def of(
        self, user_id: UUID, after: Cursor | None, limit: int, subscription_id: UUID | None = None
    ) -> tuple[list[ActivityItem], Cursor | None]:
        """A user's matches, of one search or of all, newest first, and where the next page begins."""
        rows = await self._pool.fetch(
            _ACTIVITY, user_id, after and after.at, after and after.id, limit + 1, subscription_id
        )
        page = rows[:limit]
        more = Cursor(page[-1]["requested_at"], page[-1]["notification_id"]) if len(rows) > limit else None
        return [_item(row) for row in page], more

    async def messages_of(self, user_id: UUID) -> list[MessageView]:
        """A user's last messages, newest first."""
        return [_message(row) for row in await self._pool.fetch(_MESSAGES, user_id, MESSAGES_SHOWN)]

    async def story_of(self, user_id: UUID, message_id: UUID) -> MessageStory | None:
        """A message of a user's with every status that it had; None where the user has no such message."""
        row = await self._pool.fetchrow(_MESSAGE_OF, user_id, message_id)
        if row is None:
            return None
        flats = tuple(
            ToldFlat(
                notification_id=flat["notification_id"],
                reason=flat["reason"],
                shown=flat["shown"],
                listing=flat["card"],
            )
            for flat in await self._pool.fetch(_FLATS_OF, message_id)
        )
        return MessageStory(**dict(_message(row)), message_sid=row["message_sid"], flats=flats)

    async def counts_of(self, user_id: UUID) -> dict[str, int]:
        """How many of a user's messages have which status."""
        return {row["status"]: row["count"] for row in await self._pool.fetch(_COUNTS, user_id)}

    async def message_page(self, message_id: UUID) -> MessagePage | None:
        """What a message tells, None where nothing is known of it (yet)."""
        language = await self._pool.fetchval(_LANGUAGE_OF_READER, message_id)
        if language is None:
            return None
        items = {row["notification_id"]: _item(row) for row in await self._pool.fetch(_TOLD, message_id)}
        flats: dict[int, TellingOf] = {}
        for place, row in enumerate(await self._pool.fetch(_PLACES, message_id), 1):
            telling = _telling(row, items[row["notification_id"]], row["number"] or place)
            flats.setdefault(telling.number, telling)
        return MessagePage(language=language, flats=tuple(flats.values()))


async def _without_erased(connection: "Connection", events: Sequence[OfUserT]) -> list[OfUserT]:
    """The events of users who have not been erased: what still comes of the others is recorded nowhere."""
    users = {event.user_id for event in events if event.user_id}
    erased = {row["user_id"] for row in await connection.fetch(_ERASED, list(users))}
    return [event for event in events if event.user_id not in erased]


def _version(received: Received[ListingPublished]) -> int:
    assert received.event is not None
    return received.event.listing.version


def _status_row(report: MessageStatusReported) -> tuple[object, ...]:
    return (
        report.event_id,
        report.message_id,
        report.attempt or 1,
        report.status,
        RANKS[report.status],
        report.reported_by,
        report.reported_at,
        report.message_sid,
        report.error_code,
        report.user_id,
    )


def _about(event: DirectMessageRequested) -> UUID | None:
    return event.flat.notification_id if event.flat else None


_Told = tuple[UUID | None, UUID, bool, int | None]


def _told(report: MessageStatusReported) -> Iterator[_Told]:
    """Message, notification, whether its text shows it, and the flat's number in it."""
    numbers = report.numbers or (None,) * len(report.notification_ids)
    for notification_id, number in zip(report.notification_ids, numbers, strict=False):
        yield report.message_id, notification_id, notification_id in report.shown_notification_ids, number


def _known_if_ever(told: Iterable[_Told]) -> list[_Told]:
    """One row for each message and notification: a statement may not change a row twice."""
    known: dict[tuple[UUID | None, UUID], _Told] = {}
    for message_id, notification_id, is_shown, number in told:
        _, _, was_shown, known_number = known.get((message_id, notification_id), (None, None, False, None))
        row = (message_id, notification_id, is_shown or was_shown, number or known_number)
        known[message_id, notification_id] = row
    return list(known.values())


def _by_column(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as the columns that `unnest` wants."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _item(row: _Row) -> ActivityItem:
    message = row["message"]
    return ActivityItem(
        notification_id=row["notification_id"],
        reason=row["reason"],
        requested_at=row["requested_at"],
        listing=row["card"],
        previous_rent_cents=row["previous_rent_cents"],
        searches=row["searches"],
        disposition=_disposition(row),
        detail=None if _was_sent_after_all(row) else row["detail"],
        message=_message(message) if message else None,
    )


def _telling(row: _Row, item: ActivityItem, number: int) -> TellingOf:
    now = Card.model_validate(row["card"]) if row["card"] else item.listing
    is_other = now.version > item.listing.version and now.rent != item.listing.rent
    return TellingOf(
        item=item,
        number=number,
        shown=row["shown"],
        offered=item.reason is not Reason.WITHDRAWN and row["active"] is not False,
        rent_now=now.rent if is_other else None,
    )


def _disposition(row: _Row) -> Disposition:
    """How a notification ended, as far as the events say: settled without a message, or told in one."""
    message = row["message"]
    if row["disposition"] and not _was_sent_after_all(row):
        return Disposition(row["disposition"])
    if message is None or message["status"] == MessageStatus.WAITING:
        return Disposition.WAITING
    return Disposition.IN_MESSAGE if row["shown"] else Disposition.GROUPED


def _was_sent_after_all(row: _Row) -> bool:
    """Whether a message that had failed was sent again, which an operator may order, or has arrived all the same."""
    message = row["message"]
    return bool(row["disposition"] == Disposition.FAILED and message and message["status"] in ON_ITS_WAY)


def _message(row: _Row) -> MessageView:
    return MessageView(
        message_id=row["message_id"],
        purpose=row["purpose"],
        status=row["status"],
        at=row["reported_at"],
        error_code=row["error_code"],
        error=meaning_of(row["error_code"]),
        statuses=tuple(step_of(step) for step in row["statuses"]),
    )


def step_of(step: _Row) -> StatusStep:
    return StatusStep(**step, error=meaning_of(step["error_code"]))


_ERASED = "SELECT user_id FROM erased_users WHERE user_id = ANY($1::uuid[])"

_TAKE_TURN = "SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))"

_RECORD_LISTINGS = """
INSERT INTO recent_listings AS known (listing_id, version, active, card, published_at, listing, offered_at)
SELECT *, CASE WHEN active THEN published_at END
FROM unnest($1::text[], $2::bigint[], $3::boolean[], $4::jsonb[], $5::timestamptz[], $6::jsonb[])
    AS given (listing_id, version, active, card, published_at, listing)
ON CONFLICT (listing_id) DO UPDATE SET
    version = excluded.version, active = excluded.active, card = excluded.card,
    published_at = excluded.published_at, arrival = DEFAULT,
    offered_at = coalesce(known.offered_at, excluded.offered_at),
    listing = CASE WHEN excluded.active OR known.listing IS NULL THEN excluded.listing ELSE known.listing END
WHERE known.version < excluded.version
"""

_WITHDRAW_LISTINGS = "UPDATE recent_listings SET active = false WHERE listing_id = ANY($1::text[])"

_RECORD_NOTIFICATIONS = """
INSERT INTO notifications (notification_id, user_id, reason, card, searches, previous_rent_cents, requested_at, flat_id)
SELECT (event ->> 'notification_id')::uuid, (event ->> 'user_id')::uuid, event ->> 'reason', event -> 'card',
    event -> 'searches', (event ->> 'previous_rent_cents')::bigint, (event ->> 'requested_at')::timestamptz,
    (event ->> 'flat_id')::uuid
FROM unnest($1::jsonb[]) AS event
ON CONFLICT DO NOTHING
"""

_RECORD_DIRECT_MESSAGES = """
INSERT INTO direct_messages (notification_id, user_id, purpose, requested_at, about)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::uuid[])
ON CONFLICT DO NOTHING
"""

_RECORD_STATUSES = """
INSERT INTO message_statuses (event_id, message_id, attempt, status, rank, reported_by, reported_at, message_sid,
    error_code, user_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::smallint[], $6::text[], $7::timestamptz[],
    $8::text[], $9::int[], $10::uuid[])
ON CONFLICT DO NOTHING
"""

_ADVANCE_MESSAGES = """
-- The furthest status of the last attempt, derived from all that are known: the order of arrival does not matter.
INSERT INTO messages AS message (message_id, user_id, attempt, status, error_code, message_sid, first_reported_at,
    reported_at)
SELECT DISTINCT ON (message_id)
    message_id,
    first_value(user_id) OVER (PARTITION BY message_id ORDER BY user_id NULLS LAST),
    attempt, status, error_code,
    first_value(message_sid) OVER (PARTITION BY message_id, attempt ORDER BY message_sid NULLS LAST),
    min(reported_at) OVER (PARTITION BY message_id), reported_at
FROM message_statuses WHERE message_id = ANY($1::uuid[])
ORDER BY message_id, attempt DESC, rank DESC, reported_at
ON CONFLICT (message_id) DO UPDATE SET
    user_id = excluded.user_id, attempt = excluded.attempt, status = excluded.status,
    error_code = excluded.error_code, message_sid = excluded.message_sid,
    first_reported_at = excluded.first_reported_at, reported_at = excluded.reported_at, arrival = DEFAULT
WHERE (message.*) IS DISTINCT FROM (message.message_id, excluded.user_id, excluded.attempt, excluded.status,
    excluded.error_code, excluded.message_sid, excluded.first_reported_at, excluded.reported_at, message.arrival)
"""

_RECORD_TOLD = """
INSERT INTO told_in_messages AS told (message_id, notification_id, shown, number)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::boolean[], $4::int[])
ON CONFLICT (message_id, notification_id) DO UPDATE SET
    shown = told.shown OR excluded.shown, number = coalesce(excluded.number, told.number)
WHERE excluded.shown AND NOT told.shown OR excluded.number IS DISTINCT FROM told.number
"""

_RECORD_SETTLED = """
INSERT INTO settled_notifications (notification_id, disposition, detail, settled_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[])
ON CONFLICT DO NOTHING
"""

_STATUSES = """
SELECT coalesce(jsonb_agg(jsonb_build_object('status', step.status, 'at', step.reported_at, 'attempt', step.attempt,
    'reported_by', step.reported_by, 'error_code', step.error_code)
    ORDER BY step.attempt, step.rank, step.reported_at), '[]')
FROM message_statuses AS step WHERE step.message_id = message.message_id
"""

_PURPOSE = """
SELECT purpose FROM told_in_messages AS direct JOIN direct_messages USING (notification_id)
WHERE direct.message_id = message.message_id LIMIT 1
"""

_ITEM = f"""
SELECT notification.*, told.shown, settled.disposition, settled.detail, CASE WHEN message.message_id IS NOT NULL THEN
    jsonb_build_object('message_id', message.message_id, 'status', message.status, 'reported_at', message.reported_at,
        'purpose', NULL, 'error_code', message.error_code, 'statuses', ({_STATUSES})) END AS message
FROM notifications AS notification
LEFT JOIN LATERAL (
    -- A notification may have been in a message that was given up: the one that was reported last tells it.
    SELECT told.message_id, told.shown, message.reported_at FROM told_in_messages AS told
    JOIN messages AS message USING (message_id) WHERE told.notification_id = notification.notification_id
    ORDER BY message.first_reported_at DESC LIMIT 1
) AS told ON true
LEFT JOIN messages AS message ON message.message_id = told.message_id
LEFT JOIN settled_notifications AS settled ON settled.notification_id = notification.notification_id
"""  # noqa: S608 - put together from constants

_ACTIVITY = f"""
{_ITEM}
WHERE notification.user_id = $1 AND ($2::timestamptz IS NULL OR
    (notification.requested_at, notification.notification_id) < ($2, $3::uuid))
    AND ($5::uuid IS NULL
        OR notification.searches @> jsonb_build_array(jsonb_build_object('subscription_id', $5::uuid)))
ORDER BY notification.requested_at DESC, notification.notification_id DESC LIMIT $4
"""

_TOLD = f"""
{_ITEM}
WHERE notification.notification_id IN (SELECT notification_id FROM told_in_messages WHERE message_id = $1)
"""  # noqa: S608 - put together from constants

_PLACES = """
-- Of what a message tells of one flat, the last word comes first.
SELECT notification_id, told.number, told.shown, recent.card, recent.active
FROM told_in_messages AS told JOIN notifications AS notification USING (notification_id)
LEFT JOIN recent_listings AS recent ON recent.listing_id = notification.card ->> 'listing_id'
WHERE told.message_id = $1
ORDER BY told.number, told.shown DESC, notification.requested_at DESC, notification_id
"""

_MESSAGES = f"""
SELECT message.*, ({_PURPOSE}) AS purpose, ({_STATUSES}) AS statuses FROM messages AS message WHERE user_id = $1
ORDER BY first_reported_at DESC, message_id DESC LIMIT $2
"""  # noqa: S608 - put together from constants

_MESSAGE_OF = f"""
SELECT message.*, ({_PURPOSE}) AS purpose, ({_STATUSES}) AS statuses FROM messages AS message
WHERE user_id = $1 AND message_id = $2
"""  # noqa: S608 - put together from constants

_FLATS_OF = """
SELECT notification_id, reason, shown, card FROM told_in_messages JOIN notifications USING (notification_id)
WHERE message_id = $1 ORDER BY shown DESC, requested_at, notification_id
"""

_COUNTS = "SELECT status, count(*) FROM messages WHERE user_id = $1 GROUP BY status ORDER BY status"

_LANGUAGE_OF_READER = """
SELECT coalesce(recipient.language, 'it') FROM messages AS message LEFT JOIN recipients AS recipient USING (user_id)
WHERE message_id = $1
"""
