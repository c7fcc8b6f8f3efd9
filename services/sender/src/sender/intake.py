"""What comes in, recorded once: notifications into the ledger and into their user's open digest; recipients."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg
from prometheus_client import Histogram

from common.events import (
    DirectMessageRequested,
    Disposition,
    FlatDeclined,
    Grouping,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    Reason,
    Recipient,
)
from common.kafka import Received
from common.outbox import Outbox
from common.topics import Topics
from sender.fold import Settled, is_asked_for
from sender.ledger import recipient_of, settle_messages, settled_events
from sender.plan import ERASED, PAUSED, READERS_OWN, Policy
from sender.rotation import behind
from sender.schedule import STALE_AFTER, due_at

if TYPE_CHECKING:
    from common.outbox import Connection

Requested = NotificationRequested | DirectMessageRequested
Taken = Requested | FlatDeclined

Series = tuple[UUID, UUID | None]
"""A user, and the search whose finds share a message; None: all that the user is to be told does."""

DUE_CHANNEL = "sender_due"

INTAKE_LOCK: Final = 0x111A4E
"""Key of the advisory lock that everybody shares who opens and joins digests, as the recipient that they read says."""

DECLINED: Final = "declined"
"""Why something is suppressed of whose flat the user wants to hear never again."""
opt_out_seconds = Histogram(
    "itarent_sender_opt_out_seconds",
    "From a STOP's arrival at the webhook until nothing more is begun to be sent",
    buckets=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.5, 5, 15, 60, 600),
)


@dataclass(frozen=True)
class _Standing:
    """What decides when a user's next digest is due, and whether there is to be one."""

    recipient: Recipient | None
    last_digest_at: datetime | None
    turns: int
    declines: bool  # there are flats of which the user wants to hear never again
    erased: bool

    def series_of(self, event: NotificationRequested) -> Series:
        """What shares a message with an event: as the user chose."""
        if self.recipient is None or self.recipient.grouping is Grouping.USER:
            return event.user_id, None
        first = next((search for search in event.searches if search.alert), event.searches[0])
        return event.user_id, first.subscription_id


@dataclass(frozen=True)
class _Decided:
    """Where notifications go when they come in: each is in one of the two."""

    now: datetime
    message_of: Mapping[UUID, UUID]
    refused: Mapping[UUID, str]


class _TakenMeanwhileError(Exception):
    """Another replica was given the same notifications and was first."""


class Intake:
    """Writes what the topics bring, one transaction and a fixed number of round trips per batch."""

    def __init__(self, pool: asyncpg.Pool, topics: Topics, policy: Policy) -> None:
        self._pool = pool
        self._topics = topics
        self._policy = policy
        self._outbox = Outbox("sender")

    async def take(self, received: Sequence[Received[Taken]]) -> int:
        """Record what was not recorded before, and open or join digests; returns how many were new."""
        once = {each.event.event_id: each for each in received if each.event}.values()
        requested = [
            (each.event, (each.record.value or b"").decode())
            for each in once
            if isinstance(each.event, NotificationRequested | DirectMessageRequested)
        ]
        declined = [each.event for each in once if isinstance(each.event, FlatDeclined)]
        while True:
            try:
                return await self._take(declined, requested)
            except _TakenMeanwhileError:
                pass  # then it is known by now

    async def _take(self, declined: Sequence[FlatDeclined], requested: Sequence[tuple[Requested, str]]) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_TAKE_IN, INTAKE_LOCK)
            if declined:
                await self._decline(connection, declined)
            known = await self._known(connection, [event for event, _ in requested])
            new = [(event, text) for event, text in requested if event.notification_id not in known]
            if new:
                await self._insert(connection, new, await self._decided(connection, [event for event, _ in new]))
        return len(new)

    async def _known(self, connection: "Connection", requested: Sequence[Requested]) -> set[UUID]:
        if not requested:
            return set()
        rows = await connection.fetch(_KNOWN, [event.notification_id for event in requested])
        return {row["notification_id"] for row in rows}

    async def _insert(
        self, connection: "Connection", new: Sequence[tuple[Requested, str]], decided: "_Decided"
    ) -> None:
        """Write each notification once, where it belongs; the dispatcher looks.

        Raises:
            _TakenMeanwhileError: another replica has just written some of them. What was opened for them is undone.
        """
        rows = [_row(event, text, decided) for event, text in new]
        try:
            await connection.copy_records_to_table("notifications", records=rows, columns=_COLUMNS)
        except asyncpg.UniqueViolationError as error:
            raise _TakenMeanwhileError from error
        if decided.message_of:
            await connection.execute(_WAKE)

    async def _decline(self, connection: "Connection", declined: Sequence[FlatDeclined]) -> None:
        """Remember what users want to hear of never again, and take it out of what waits for them."""
        rows = [(each.user_id, each.flat_id, each.listing_id, each.declined_at) for each in declined]
        await connection.execute(_DECLINE, *_columns(rows, 4))
        # What is being worded now is told: its digest is locked, and what it tells is settled when we look.
        await connection.execute(_LOCK_OPEN, sorted({each.user_id for each in declined}))
        ended = await connection.fetch(_END_DECLINED, *_columns(rows, 3), DECLINED)
        settled = [(row["user_id"], Settled(row["notification_id"], Disposition.SUPPRESSED, DECLINED)) for row in ended]
        if ended:
            await self._outbox.add(
                connection, self._topics.message_statuses, settled_events(settled, ended[0]["settled_at"])
            )

    async def _decided(self, connection: "Connection", new: Sequence[Requested]) -> "_Decided":
        """Where each goes; the digests are opened, and others are told of what is refused."""
        rows = await connection.fetch(_KNOW_USERS, list({event.user_id for event in new}))
        now = rows[0]["now"]
        standings = {row["user_id"]: _standing(row) for row in rows}
        refused = dict.fromkeys((each.notification_id for each in new if standings[each.user_id].erased), ERASED)
        welcome = [event for event in new if event.notification_id not in refused]
        directs = [event for event in welcome if isinstance(event, DirectMessageRequested)]
        flats = [event for event in welcome if isinstance(event, NotificationRequested)]
        refused |= await self._refused(connection, flats, standings, now)
        joining = [event for event in flats if event.notification_id not in refused]
        placed = await self._place(connection, joining, standings, now)
        placed |= await self._open_directs(connection, directs, now)
        await self._tell_refused(connection, [each for each in new if each.notification_id in refused], refused, now)
        return _Decided(now, placed, refused)

    async def _refused(
        self,
        connection: "Connection",
        flats: Sequence[NotificationRequested],
        standings: Mapping[UUID, _Standing],
        now: datetime,
    ) -> Mapping[UUID, str]:
        """Why notifications are in no message and will be in none: the first reason of several."""
        refused = dict.fromkeys(await self._told_before(connection, flats), "told_before")
        outlasted = {user for user, each in standings.items() if self._is_outlasted(each, now)}
        refused |= dict.fromkeys((each.notification_id for each in flats if each.user_id in outlasted), PAUSED)
        declining = [event for event in flats if standings[event.user_id].declines]
        refused |= dict.fromkeys(await self._declined(connection, declining), DECLINED)
        return refused | dict.fromkeys(await self._unwanted(connection, flats), "not_asked_for")

    def _is_outlasted(self, standing: _Standing, now: datetime) -> bool:
        """Whether the user's pause lasts for longer than a flat of now is worth telling."""
        until = standing.recipient.paused_until if standing.recipient else None
        return until is not None and until >= now + self._policy.useful_for(standing.recipient)

    async def _declined(self, connection: "Connection", flats: Sequence[NotificationRequested]) -> set[UUID]:
        if not flats:
            return set()
        rows = [(event.notification_id, event.user_id, event.flat_id, event.card.listing_id) for event in flats]
        return {row["notification_id"] for row in await connection.fetch(_DECLINED, *_columns(rows, 4))}

    async def _place(
        self,
        connection: "Connection",
        joining: Sequence[NotificationRequested],
        standings: Mapping[UUID, _Standing],
        now: datetime,
    ) -> dict[UUID, UUID]:
        """The open digest of each notification: the one in which its flat waits already, else that of its series."""
        own = [(event, standings[event.user_id].series_of(event)) for event in joining]
        placed = await self._waits_in(
            connection, [event for event, (_, search) in own if search or event.reason is not Reason.NEW]
        )
        if placed:
            own = [(event, series) for event, series in own if event.notification_id not in placed]
        series_of: dict[tuple[UUID, UUID], Series] = {}  # what waits of one flat stays together
        together = [(event, series_of.setdefault((event.user_id, event.flat_id), series)) for event, series in own]
        message_of = await self._open_digests(connection, {series for _, series in together}, standings, now)
        return placed | {event.notification_id: message_of[series] for event, series in together}

    async def _waits_in(self, connection: "Connection", events: Sequence[NotificationRequested]) -> dict[UUID, UUID]:
        """The open digests in which the flats of these wait already; they are locked until we have joined."""
        if not events:
            return {}
        asked = [(event.notification_id, event.user_id, event.flat_id, event.card.listing_id) for event in events]
        rows = await connection.fetch(_WAITS_IN, *_columns(asked, 4))
        locked = await connection.fetch(_LOCK_MESSAGES, sorted({row["message_id"] for row in rows}))
        still_open = {row["message_id"] for row in locked}
        return {row["notification_id"]: row["message_id"] for row in rows if row["message_id"] in still_open}

    async def _unwanted(self, connection: "Connection", flats: Sequence[NotificationRequested]) -> set[UUID]:
        """The notifications that no search asks for, but for those that change what waits to be told of their flat."""
        candidates = [event for event in flats if not is_asked_for(event)]
        if not candidates:
            return set()
        telling = filter(_will_be_told, flats)
        coming = {(event.user_id, known) for event in telling for known in (event.flat_id, event.card.listing_id)}
        rows = await connection.fetch(
            _WAITING_FLATS,
            [event.user_id for event in candidates],
            [event.flat_id for event in candidates],
            [event.card.listing_id for event in candidates],
        )
        waiting = {(row["user_id"], row["flat_id"]) for row in rows}
        return {
            event.notification_id
            for event in candidates
            if (event.user_id, event.flat_id) not in waiting
            and coming.isdisjoint([(event.user_id, event.flat_id), (event.user_id, event.card.listing_id)])
        }

    async def _told_before(self, connection: "Connection", flats: Sequence[NotificationRequested]) -> set[UUID]:
        """Those about a flat that was parted from another, whose user has heard of it by the other's id, or will."""
        parted = [
            (event.notification_id, event.user_id, listing_id)
            for event in flats
            if event.parted
            for listing_id in event.parted.listing_ids
        ]
        if not parted:
            return set()
        rows = await connection.fetch(_TOLD_BEFORE, *_columns(parted, 3))
        return {row["notification_id"] for row in rows} | _told_just_before(flats)

    async def _open_digests(
        self, connection: "Connection", series: AbstractSet[Series], standings: Mapping[UUID, _Standing], now: datetime
    ) -> dict[Series, UUID]:
        """The open digest of each series; one that is open already keeps its due time."""
        if not series:
            return {}
        users, searches = zip(*series, strict=True)
        joined = _message_of(await connection.fetch(_JOIN_DIGESTS, users, searches))
        if missing := series - joined.keys():
            joined |= await self._open_new_digests(connection, list(missing), standings, now)
        return joined

    async def _open_new_digests(
        self, connection: "Connection", series: Sequence[Series], standings: Mapping[UUID, _Standing], now: datetime
    ) -> dict[Series, UUID]:
        due = [self._due_at(standings[user], now) for user, _ in series]
        rows = await connection.fetch(
            _OPEN_DIGESTS,
            [uuid.uuid4() for _ in series],
            [user for user, _ in series],
            [search for _, search in series],
            due,
            [each + STALE_AFTER for each in due],
            [behind(user, standings[user].turns) for user, _ in series],
            now,
        )
        return _message_of(rows)

    def _due_at(self, standing: _Standing, now: datetime) -> datetime:
        recipient = standing.recipient
        return due_at(
            now,
            standing.last_digest_at,
            self._policy.interval_of(recipient),
            recipient.quiet_hours if recipient else None,
            recipient.time_zone if recipient else "Europe/Rome",
            recipient.paused_until if recipient else None,
        )

    async def _open_directs(
        self, connection: "Connection", directs: Sequence[DirectMessageRequested], now: datetime
    ) -> dict[UUID, UUID]:
        if not directs:
            return {}
        opened = [(uuid.uuid4(), event.user_id, event.purpose.value) for event in directs]
        await connection.execute(_OPEN_DIRECTS, *_columns(opened, 3), now, now + STALE_AFTER)
        return {event.notification_id: message[0] for event, message in zip(directs, opened, strict=True)}

    async def _tell_refused(
        self, connection: "Connection", events: Sequence[Requested], why: Mapping[UUID, str], now: datetime
    ) -> None:
        """Others hear of what is in no message and will be in none, with a reason each."""
        settled = [
            (each.user_id, Settled(each.notification_id, Disposition.SUPPRESSED, why[each.notification_id]))
            for each in events
        ]
        await self._outbox.add(connection, self._topics.message_statuses, settled_events(settled, now))

    async def save_recipients(self, saved: Collection[Recipient]) -> None:
        """Record recipients, unless a later revision is known; what waits for a change of theirs is due again."""
        if not saved:
            return
        latest = {each.user_id: each for each in sorted(saved, key=lambda each: each.revision)}
        users = sorted(latest)
        async with self._pool.acquire() as connection:
            newly = await connection.fetch(
                _SAVE_RECIPIENTS,
                users,
                [latest[user].revision for user in users],
                [latest[user].model_dump_json() for user in users],
            )
            _measure_opt_outs([latest[row["user_id"]] for row in newly if row["stopped"]])
            # Not in the same transaction: whoever began before it was saved goes by what was, and may still set a time.
            async with connection.transaction():
                await connection.execute(_AFTER_WHO_TAKES_IN, INTAKE_LOCK)
                await connection.execute(_LOOK_AGAIN, users, READERS_OWN)
                await connection.execute(_WAKE)

    async def erase_recipients(self, users: Collection[UUID]) -> None:
        """Forget how users are reached and what they were sent; what waits for them ends. Can be repeated.

        The ledger keeps that there were notifications, and how each ended: under the user's id, which says nothing
        once the account has gone. A call that runs is recorded when it ends, and is not repeated.
        """
        if not users:
            return
        async with self._pool.acquire() as connection, connection.transaction():
            # Messages before contacts and recipients, as the dispatcher locks them.
            ended = await connection.fetch(_END_WAITING, sorted(users), ERASED)
            for statement in _ERASE:
                await connection.execute(statement, sorted(users))
            if ended:
                now = ended[0]["now"]
                ids = [(row["message_id"], Disposition.SUPPRESSED, ERASED) for row in ended]
                settled = await settle_messages(connection, ids, now)
                events = [*map(_given_up, (row for row in ended if row["attempt"])), *settled_events(settled, now)]
                await self._outbox.add(connection, self._topics.message_statuses, events)


def _given_up(row: asyncpg.Record) -> MessageStatusReported:
    """What became of a message that others have heard of, and that is not tried again."""
    return MessageStatusReported(
        message_id=row["message_id"],
        attempt=row["attempt"] + 1,
        status=MessageStatus.SUPPRESSED,
        reported_by="sender",
        reported_at=row["now"],
        user_id=row["user_id"],
    )


def _measure_opt_outs(stopped: Iterable[Recipient]) -> None:
    """How long it took until each of these opt-outs holds: the transaction that says so has committed."""
    now = datetime.now(UTC)
    for each in stopped:
        if each.stopped_at:
            opt_out_seconds.observe(max(0.0, (now - each.stopped_at).total_seconds()))


_COLUMNS: Final = (
    *("notification_id", "user_id", "flat_id", "reason", "listing_id", "version", "asked_for"),
    *("event", "message_id", "disposition", "detail", "settled_at"),
)


def _row(event: Requested, text: str, decided: "_Decided") -> tuple[Any, ...]:
    return (*_what(event), *_where(event.notification_id, text, decided))


def _what(event: Requested) -> tuple[Any, ...]:
    if isinstance(event, DirectMessageRequested):
        return (event.notification_id, event.user_id, None, event.purpose.value, None, None, True)
    return (
        event.notification_id,
        event.user_id,
        event.flat_id,
        event.reason.value,
        event.card.listing_id,
        event.card.version,
        is_asked_for(event),
    )


def _where(notification_id: UUID, text: str, decided: "_Decided") -> tuple[Any, ...]:
    """The message, how it stands, why, and since when; its text for as long as it waits."""
    if message_id := decided.message_of.get(notification_id):
        return text, message_id, Disposition.WAITING.value, "", None
    return None, None, Disposition.SUPPRESSED.value, decided.refused[notification_id], decided.now


def _told_just_before(flats: Iterable[NotificationRequested]) -> set[UUID]:
    """Those about a flat that was parted from another which comes before them, to the same user, in the same batch."""
    heard: set[tuple[UUID, str]] = set()
    told: set[UUID] = set()
    for event in flats:
        if event.parted and any((event.user_id, each) in heard for each in event.parted.listing_ids):
            told.add(event.notification_id)
        if _will_be_told(event):
            heard.add((event.user_id, event.card.listing_id))
    return told


def _will_be_told(event: NotificationRequested) -> bool:
    return is_asked_for(event) and event.reason is not Reason.WITHDRAWN


def _standing(row: asyncpg.Record) -> _Standing:
    recipient = recipient_of(row["recipient"]) if row["recipient"] else None
    return _Standing(recipient, row["last_digest_at"], row["turns"] or 0, row["declines"], row["erased_at"] is not None)


def _message_of(rows: Iterable[asyncpg.Record]) -> dict[Series, UUID]:
    return {(row["user_id"], row["subscription_id"]): row["message_id"] for row in rows}


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [[row[i] for row in rows] for i in range(width)]


_KNOWN = "SELECT notification_id FROM notifications WHERE notification_id = ANY($1::uuid[])"

_KNOW_USERS = """
WITH new AS (
    INSERT INTO contacts (user_id) SELECT * FROM unnest($1::uuid[]) ORDER BY 1 ON CONFLICT (user_id) DO NOTHING
), clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
)
SELECT user_id, recipient, last_digest_at, turns, erased_at, now,
    EXISTS (SELECT FROM declined_flats WHERE declined_flats.user_id = asked.user_id) AS declines
FROM clock, unnest($1::uuid[]) AS asked(user_id)
    LEFT JOIN recipients USING (user_id) LEFT JOIN contacts USING (user_id)
"""

_WAITING_FLATS = f"""
-- Flats of which something waits to be told; of one that was parted, by the id of the flat that it was taken for.
SELECT DISTINCT candidate.user_id, candidate.flat_id
FROM notifications AS known JOIN unnest($1::uuid[], $2::uuid[], $3::text[]) AS candidate(user_id, flat_id, listing_id)
    ON known.user_id = candidate.user_id
    AND (known.flat_id = candidate.flat_id OR known.listing_id = candidate.listing_id)
WHERE disposition = 'waiting' AND asked_for AND reason <> '{Reason.WITHDRAWN}'
"""  # noqa: S608 - a constant

_WAITS_IN = """
-- By way of the few digests that are open: a user may have been told of thousands of flats.
SELECT DISTINCT ON (asked.notification_id) asked.notification_id, known.message_id
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[]) AS asked(notification_id, user_id, flat_id, listing_id)
    JOIN messages ON messages.user_id = asked.user_id AND stage = 'waiting' AND kind = 'digest'
    JOIN notifications AS known ON known.message_id = messages.message_id
    AND (known.flat_id = asked.flat_id OR known.listing_id = asked.listing_id)
WHERE known.disposition = 'waiting'
ORDER BY asked.notification_id, known.position
"""

_LOCK_MESSAGES = """
SELECT message_id FROM messages WHERE message_id = ANY($1::uuid[]) AND stage = 'waiting' ORDER BY message_id FOR UPDATE
"""

_DECLINE = """
INSERT INTO declined_flats (user_id, flat_id, listing_id, declined_at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) ON CONFLICT DO NOTHING
"""

_LOCK_OPEN = """
SELECT message_id FROM messages WHERE user_id = ANY($1::uuid[]) AND stage = 'waiting' AND kind = 'digest'
ORDER BY message_id FOR UPDATE
"""

_END_DECLINED = """
UPDATE notifications
SET disposition = 'suppressed', detail = $4, settled_at = clock_timestamp(), event = NULL
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS declined(user_id, flat_id, listing_id)
    JOIN messages ON messages.user_id = declined.user_id AND stage = 'waiting' AND kind = 'digest'
WHERE notifications.message_id = messages.message_id AND disposition = 'waiting'
    AND (notifications.flat_id = declined.flat_id OR notifications.listing_id = declined.listing_id)
RETURNING notifications.user_id, notification_id, settled_at
"""

_DECLINED = """
SELECT DISTINCT notification_id
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[]) AS asked(notification_id, user_id, flat_id, listing_id)
    JOIN declined_flats AS declined ON declined.user_id = asked.user_id
    AND (declined.flat_id = asked.flat_id OR declined.listing_id = asked.listing_id)
"""

_TOLD_BEFORE = f"""
-- Whoever was told, or is about to be told, of one of the advertisements.
SELECT DISTINCT candidate.notification_id
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS candidate(notification_id, user_id, listing_id)
    JOIN notifications AS known ON known.user_id = candidate.user_id AND known.listing_id = candidate.listing_id
WHERE known.disposition IN ('waiting', 'in_message', 'grouped')
    AND known.asked_for AND known.reason <> '{Reason.WITHDRAWN}'
"""  # noqa: S608 - a constant

_JOIN_DIGESTS = """
-- The digests that are open, locked until we have joined them.
SELECT messages.user_id, messages.subscription_id, message_id
FROM unnest($1::uuid[], $2::uuid[]) AS series(user_id, subscription_id)
    JOIN messages ON messages.user_id = series.user_id
    AND messages.subscription_id IS NOT DISTINCT FROM series.subscription_id
WHERE stage = 'waiting' AND kind = 'digest'
ORDER BY message_id
FOR UPDATE OF messages
"""

_OPEN_DIGESTS = """
-- Unless somebody else has just done so: then we join it.
INSERT INTO messages (message_id, user_id, subscription_id, kind, due_at, latest_at, behind, opened_at)
SELECT message_id, user_id, subscription_id, 'digest', due_at, latest_at, behind, $7
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::interval[])
    AS opened(message_id, user_id, subscription_id, due_at, latest_at, behind)
ON CONFLICT (user_id, subscription_id) WHERE stage = 'waiting' AND kind = 'digest'
DO UPDATE SET latest_at = messages.latest_at  -- changes nothing: it locks the digest until we have joined it
RETURNING user_id, subscription_id, message_id
"""

_OPEN_DIRECTS = """
INSERT INTO messages (message_id, user_id, kind, purpose, due_at, latest_at, opened_at)
SELECT message_id, user_id, 'direct', purpose, $4, $5, $4
FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS opened(message_id, user_id, purpose)
"""

_WAKE = f"SELECT pg_notify('{DUE_CHANNEL}', '')"

_TAKE_IN = "SELECT pg_advisory_xact_lock_shared($1, hashtext(current_schema()))"

_AFTER_WHO_TAKES_IN = "SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))"

_LOOK_AGAIN = """
-- Quiet hours, intervals and consents may have changed: the gates decide anew, now. A digest that somebody is planning
-- at this moment is waited for: the plan goes by what was, and may put it off until the end of what has ended. What is
-- to be sent again keeps its time, unless its reader had it wait.
UPDATE messages SET due_at = clock_timestamp()
WHERE message_id IN (
    SELECT message_id FROM messages
    WHERE user_id = ANY($1::uuid[]) AND (stage = 'waiting' OR (stage = 'retrying' AND detail = ANY($2::text[])))
    ORDER BY message_id FOR UPDATE
)
"""

_SAVE_RECIPIENTS = """
-- Who is erased stays so, also while events from before come once more. Says who has stopped by this.
WITH before AS MATERIALIZED (
    SELECT user_id, (recipient::jsonb ->> 'stopped')::boolean AS stopped FROM recipients WHERE user_id = ANY($1::uuid[])
)
INSERT INTO recipients AS known (user_id, revision, recipient)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS saved(user_id, revision, recipient)
WHERE NOT EXISTS (SELECT FROM contacts WHERE contacts.user_id = saved.user_id AND erased_at IS NOT NULL)
ON CONFLICT (user_id) DO UPDATE SET revision = excluded.revision, recipient = excluded.recipient
WHERE known.revision < excluded.revision
RETURNING user_id, (recipient::jsonb ->> 'stopped')::boolean
    AND NOT coalesce((SELECT before.stopped FROM before WHERE before.user_id = known.user_id), false) AS stopped
"""

_END_WAITING = """
-- The rows are locked in the order in which reports lock them.
WITH waiting AS MATERIALIZED (
    SELECT message_id FROM messages WHERE user_id = ANY($1::uuid[]) AND stage IN ('waiting', 'retrying')
    ORDER BY message_id FOR UPDATE
)
UPDATE messages SET stage = 'ended', status = 'suppressed', detail = $2, changed_at = clock_timestamp()
FROM waiting WHERE messages.message_id = waiting.message_id
RETURNING messages.message_id, messages.user_id, messages.attempt, clock_timestamp() AS now
"""

_FORGET_WRITTEN_FIRST = """
-- The place in Meta's tier stays taken, by nobody whom we know.
UPDATE written_first SET phone_hash = sha256(uuid_send(gen_random_uuid()))
WHERE phone_hash IN (
    SELECT sha256(convert_to(recipient, 'UTF8')) FROM attempts JOIN messages USING (message_id)
    WHERE user_id = ANY($1::uuid[]) AND writes_first AND recipient IS NOT NULL
)
"""

_ERASE_ATTEMPTS = """
UPDATE attempts SET recipient = NULL, body = NULL, variables = NULL, marker = NULL
WHERE message_id IN (SELECT message_id FROM messages WHERE user_id = ANY($1::uuid[]))
"""

_ERASE_REFUSALS = """
DELETE FROM refusing_phones WHERE phone_hash IN (
    SELECT sha256(convert_to(phone, 'UTF8')) FROM recipients, LATERAL (
        VALUES (recipient::jsonb ->> 'phone'), (recipient::jsonb #>> '{claim,phone}')
    ) AS known(phone) WHERE user_id = ANY($1::uuid[])
)
"""

_ERASE_CONTACTS = """
INSERT INTO contacts AS contact (user_id, erased_at)
SELECT user_id, clock_timestamp() FROM unnest($1::uuid[]) AS erased(user_id)
ON CONFLICT (user_id) DO UPDATE SET
    erased_at = coalesce(contact.erased_at, excluded.erased_at), last_digest_at = NULL, last_digest_id = NULL,
    opted_out_at = NULL, opted_out_phone = NULL, paced_until = NULL
"""

_ERASE_RECIPIENTS = "DELETE FROM recipients WHERE user_id = ANY($1::uuid[])"

_ERASE_ORDERS = "UPDATE orders SET why = 'erased' WHERE user_id = ANY($1::uuid[])"  # operators may have named somebody

_ERASE: Final = (
    _FORGET_WRITTEN_FIRST,
    _ERASE_ATTEMPTS,
    _ERASE_REFUSALS,
    _ERASE_CONTACTS,
    _ERASE_RECIPIENTS,
    _ERASE_ORDERS,
    "DELETE FROM declined_flats WHERE user_id = ANY($1::uuid[])",
    "DELETE FROM first_looks WHERE user_id = ANY($1::uuid[])",
    "DELETE FROM head_starts WHERE user_id = ANY($1::uuid[])",
)
