"""The restored tables are told what the topics know."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg
import orjson

from api.erasure import FORGET
from common.events import Disposition, MessageStatus, MessageStatusReported, NotificationRequested, Recipient
from common.kafka import tombstone
from common.search import Subscription
from common.topics import Topics
from itarent.restoring.heard import Heard, Requested
from matcher.flats import advertisement_of
from sender.fold import is_asked_for

if TYPE_CHECKING:
    from common.outbox import Connection


@dataclass(frozen=True)
class Told:
    """How many of each the tables learned of."""

    recipients: int
    searches: int
    erased: int
    """Accounts that were erased since the backup: they are erased again."""

    unknown: int
    """Accounts that are younger than the backup: their people must register again, and are told nothing until then."""

    messages: int
    settled: int
    unpublished: int
    """Events of the outboxes that had been published since."""


async def tell(database_url: str, topics: Topics, heard: Heard) -> Told:
    """One transaction; nothing else may write meanwhile. Can be repeated."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads
        )
        async with connection.transaction():
            users = {row["user_id"] for row in await connection.fetch("SELECT user_id FROM api.users")}
            unpublished = await _forget_what_is_published(connection, heard)
            erased = await _erase(connection, heard, users)
            recipients = await _tell_recipients(connection, heard, users - erased)
            searches = await _tell_searches(connection, heard, users - erased)
            await _tell_flats(connection, heard)
            unknown = await _let_go(connection, topics, heard, users)
            messages = await _tell_messages(connection, heard)
            settled = await _tell_settled(connection, heard)
    finally:
        await connection.close()
    return Told(recipients, searches, len(erased), unknown, messages, settled, unpublished)


# --- the api ----------------------------------------------------------------------------------------------------------


async def _forget_what_is_published(connection: "Connection", heard: Heard) -> int:
    """Published once more, an old state would come after a new one."""
    forgotten = 0
    for table in ("api.outbox", "sender.outbox"):
        rows = await connection.fetch(f"SELECT id, key, headers FROM {table}")  # noqa: S608 - constants
        ids = [row["id"] for row in rows if row["headers"].get("ce_id") in heard.published or _is_old(row, heard)]
        await connection.execute(f"DELETE FROM {table} WHERE id = ANY($1::bigint[])", ids)  # noqa: S608 - constants
        forgotten += len(ids)
    return forgotten


def _is_old(row: asyncpg.Record, heard: Heard) -> bool:
    """Of recipients and searches Kafka may have forgotten all but the newest."""
    kind = row["headers"].get("ce_type", "")
    known: set[str] = set()
    if kind.startswith("itarent.recipient."):
        known = set(map(str, heard.recipients))
    if kind.startswith("itarent.subscription."):
        known = set(map(str, heard.subscriptions))
    return row["key"] in known


async def _erase(connection: "Connection", heard: Heard, users: set[UUID]) -> set[UUID]:
    gone = {user for user, recipient in heard.recipients.items() if recipient is None and user in users}
    await connection.execute("SET LOCAL search_path = api")
    for user in gone:
        await connection.execute("INSERT INTO erased_users (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user)
        for statement in FORGET:
            await connection.execute(statement, user)
    await connection.execute("SET LOCAL search_path = sender")
    await connection.execute("DELETE FROM recipients WHERE user_id = ANY($1::uuid[])", list(gone))
    return gone


async def _tell_recipients(connection: "Connection", heard: Heard, users: set[UUID]) -> int:
    """The api's rows, and the sender's: who has stopped since must not be told before it has read that again."""
    known = await connection.fetch("SELECT user_id, revision FROM api.recipients")
    revisions = {row["user_id"]: row["revision"] for row in known}
    newer = [
        each
        for user, each in heard.recipients.items()
        if each and user in users and each.revision > revisions.get(user, 0)
    ]
    # A phone may have changed hands in between.
    await connection.execute(_RELEASE_PHONES, [each.user_id for each in newer])
    await connection.executemany(_SAVE_RECIPIENT, [_columns_of(each) for each in newer])
    everybody = [each for each in heard.recipients.values() if each]
    await connection.executemany(
        _TELL_SENDER, [(each.user_id, each.revision, each.model_dump_json()) for each in everybody]
    )
    return len(newer)


def _columns_of(recipient: Recipient) -> tuple[Any, ...]:
    quiet = recipient.quiet_hours
    return (
        recipient.user_id,
        recipient.revision,
        recipient.phone if recipient.verified else None,
        recipient.language.value,
        recipient.time_zone,
        quiet.start.replace(tzinfo=None) if quiet else None,
        quiet.end.replace(tzinfo=None) if quiet else None,
        recipient.interval_seconds,
        recipient.stopped,
        recipient.window_opened_at,
        recipient.grouping.value,
        recipient.paused_until,
        recipient.stopped_at,
    )


async def _tell_searches(connection: "Connection", heard: Heard, users: set[UUID]) -> int:
    gone = [search for search, saved in heard.subscriptions.items() if saved is None]
    await connection.execute("DELETE FROM api.subscriptions WHERE subscription_id = ANY($1::uuid[])", gone)
    newer = [each for each in heard.subscriptions.values() if each and each.user_id in users]
    told = [await connection.fetchval(_SAVE_SEARCH, *_columns_of_search(each)) for each in newer]
    return sum(each is not None for each in told)


def _columns_of_search(subscription: Subscription) -> tuple[Any, ...]:
    return (
        subscription.subscription_id,
        subscription.user_id,
        subscription.revision,
        subscription.name,
        subscription.status.value,
        sorted(subscription.alerts),
        subscription.price_drop.model_dump(mode="json"),
        subscription.search.model_dump(mode="json", exclude_none=True),
    )


async def _let_go(connection: "Connection", topics: Topics, heard: Heard, users: set[UUID]) -> int:
    """Nobody could sign in to an account that is younger than the backup, or stop what it is told: it is deleted."""
    unknown = {user for user, each in heard.recipients.items() if each and user not in users}
    searches = [each for each in heard.subscriptions.values() if each and each.user_id in unknown]
    gone = [
        *(tombstone(topics.subscriptions, str(each.subscription_id)) for each in searches),
        *(tombstone(topics.recipients, str(user)) for user in sorted(unknown)),
    ]
    await connection.executemany(
        "INSERT INTO api.outbox (topic, key, value, headers) VALUES ($1, $2, NULL, $3)",
        [(each.topic, each.key, dict(each.headers)) for each in gone],
    )
    await connection.execute("DELETE FROM sender.recipients WHERE user_id = ANY($1::uuid[])", list(unknown))
    return len(unknown)


# --- the matcher ------------------------------------------------------------------------------------------------------


async def _tell_flats(connection: "Connection", heard: Heard) -> None:
    """Which flat an advertisement is of, where somebody was told so.

    A flat's id follows from its first advertisement, and when listings are read again, another may be first: people
    would be told of the flat once more, by another id.
    """
    flat_of = {
        each.card.listing_id: each.flat_id
        for each in heard.requested.values()
        if isinstance(each, NotificationRequested)
    }
    known = [
        (heard.listings[listing_id], flat_id) for listing_id, flat_id in flat_of.items() if listing_id in heard.listings
    ]
    await connection.executemany(
        _TELL_FLAT,
        [
            (each.listing_id, flat_id, each.version, advertisement_of(each).model_dump(mode="json"))
            for each, flat_id in known
        ],
    )


_TELL_FLAT: Final = """
INSERT INTO matcher.advertisements (listing_id, flat_id, version, traits) VALUES ($1, $2, $3, $4)
ON CONFLICT (listing_id) DO NOTHING
"""


# --- the sender -------------------------------------------------------------------------------------------------------


async def _tell_messages(connection: "Connection", heard: Heard) -> int:
    """What Twilio has was told, whatever the tables believe."""
    await _know(connection, _requested(heard, [each for said in heard.sent.values() for each in said.notification_ids]))
    told = 0
    for message_id, said in heard.sent.items():
        kind, purpose = _kind_of(heard, said)
        if await connection.fetchval(_TELL_MESSAGE, *_columns_of_message(message_id, said), kind, purpose):
            told += 1
            await connection.execute(_TELL_ATTEMPT, message_id, said.attempt or 1, said.reported_at, said.message_sid)
            shown = set(said.shown_notification_ids)
            placed = [
                Disposition.IN_MESSAGE if each in shown or not shown else Disposition.GROUPED
                for each in said.notification_ids
            ]
            await connection.execute(
                _TELL_NOTIFICATIONS,
                list(said.notification_ids),
                [each.value for each in placed],
                message_id,
                said.reported_at,
            )
            if kind == "digest":
                await connection.execute(_TELL_CONTACT, said.user_id, said.reported_at, message_id)
    return told


async def _tell_settled(connection: "Connection", heard: Heard) -> int:
    await _know(connection, _requested(heard, heard.settled))
    settled = list(heard.settled.values())
    changed = await connection.fetch(
        _TELL_SETTLED,
        [each.notification_id for each in settled],
        [each.disposition.value for each in settled],
        [each.detail for each in settled],
        [each.settled_at for each in settled],
    )
    return len(changed)


def _requested(heard: Heard, ids: Iterable[UUID]) -> list[Requested]:
    return [heard.requested[each] for each in ids if each in heard.requested]


async def _know(connection: "Connection", requested: Sequence[Requested]) -> None:
    """Rows of what was requested since the backup, which is then settled, and so not told when it is read again."""
    await connection.executemany(_KNOW, [_row(each) for each in requested])


def _row(event: Requested) -> tuple[Any, ...]:
    if isinstance(event, NotificationRequested):
        card = event.card
        return (*_ids(event), event.flat_id, event.reason.value, card.listing_id, card.version, is_asked_for(event))
    return (*_ids(event), None, event.purpose.value, None, None, True)


def _ids(event: Requested) -> tuple[UUID, UUID]:
    return event.notification_id, event.user_id


def _kind_of(heard: Heard, said: MessageStatusReported) -> tuple[str, str | None]:
    for each in _requested(heard, said.notification_ids):
        if not isinstance(each, NotificationRequested):
            return "direct", each.purpose.value
    return "digest", None


def _columns_of_message(message_id: UUID, said: MessageStatusReported) -> tuple[Any, ...]:
    status = MessageStatus.ACCEPTED if said.status is MessageStatus.IN_DOUBT else said.status
    return (message_id, said.user_id, status.value, said.attempt or 1, said.message_sid, said.reported_at, _LATER)


_LATER: Final = dt.timedelta(days=3)

_RELEASE_PHONES: Final = "UPDATE api.recipients SET phone = NULL WHERE user_id = ANY($1::uuid[])"

_SAVE_RECIPIENT: Final = """
UPDATE api.recipients SET revision = $2, phone = $3, language = $4, time_zone = $5, quiet_from = $6, quiet_until = $7,
    interval_seconds = $8, stopped = $9, window_opened_at = $10, "grouping" = $11, paused_until = $12, stopped_at = $13
WHERE user_id = $1
"""

_TELL_SENDER: Final = """
INSERT INTO sender.recipients AS known (user_id, revision, recipient) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET revision = excluded.revision, recipient = excluded.recipient
WHERE known.revision < excluded.revision
"""

_SAVE_SEARCH: Final = """
INSERT INTO api.subscriptions AS known
    (subscription_id, user_id, revision, name, status, alerts, price_drop, search)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (subscription_id) DO UPDATE SET revision = excluded.revision, name = excluded.name,
    status = excluded.status, alerts = excluded.alerts, price_drop = excluded.price_drop, search = excluded.search
WHERE known.revision < excluded.revision
RETURNING subscription_id
"""

_KNOW: Final = """
INSERT INTO sender.notifications (notification_id, user_id, flat_id, reason, listing_id, version, asked_for)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (notification_id) DO NOTHING
"""

_TELL_MESSAGE: Final = """
INSERT INTO sender.messages AS known
    (message_id, user_id, stage, status, attempt, sid, opened_at, due_at, latest_at, changed_at, kind, purpose)
SELECT $1, $2, 'taken', $3, $4, $5, at, at, at + $7::interval, at, $8, $9 FROM (SELECT $6::timestamptz AS at) AS told
ON CONFLICT (message_id) DO UPDATE SET stage = 'taken', status = excluded.status, attempt = excluded.attempt,
    sid = excluded.sid, due_at = excluded.due_at, changed_at = excluded.changed_at, detail = '',
    lease_until = NULL, leased_by = NULL
WHERE known.stage NOT IN ('taken', 'ended')
RETURNING message_id
"""

_TELL_ATTEMPT: Final = """
INSERT INTO sender.attempts (message_id, attempt, state, started_at, ended_at, sid)
VALUES ($1, $2, 'accepted', $3, $3, $4)
ON CONFLICT (message_id, attempt) DO UPDATE SET state = 'accepted', ended_at = excluded.ended_at, sid = excluded.sid
"""

_TELL_NOTIFICATIONS: Final = """
UPDATE sender.notifications SET disposition = told.disposition, message_id = $3, settled_at = $4, event = NULL
FROM unnest($1::uuid[], $2::text[]) AS told(notification_id, disposition)
WHERE notifications.notification_id = told.notification_id
"""

_TELL_CONTACT: Final = """
INSERT INTO sender.contacts AS known (user_id, last_digest_at, last_digest_id) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE
SET last_digest_at = excluded.last_digest_at, last_digest_id = excluded.last_digest_id
WHERE coalesce(known.last_digest_at, '-infinity') < excluded.last_digest_at
"""

_TELL_SETTLED: Final = """
UPDATE sender.notifications SET disposition = told.disposition, detail = told.detail, settled_at = told.settled_at,
    event = NULL
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[])
    AS told(notification_id, disposition, detail, settled_at)
WHERE notifications.notification_id = told.notification_id AND notifications.disposition = 'waiting'
RETURNING notifications.notification_id
"""
