"""The ledger at the moment of sending: what is due is planned, and committed as `sending` before Twilio is called."""

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg
import structlog

from common.events import (
    DirectMessageRequested,
    DirectPurpose,
    Disposition,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
    Reason,
    Recipient,
)
from common.outbox import Outbox
from common.topics import Topics
from sender import first_looks, means, pace, rate, spending, written_first
from sender.budget import day_of
from sender.fold import Settled
from sender.journal import Happened
from sender.means import Lack, Means
from sender.plan import HELD, Asked, Case, Contact, Due, End, Plan, Policy, Send, Wait, Worded, plan
from sender.rate import Channel, Throttle
from sender.schedule import FRESH_FOR, WINDOW
from sender.spending import Expense
from sender.templates import Standings

if TYPE_CHECKING:
    from common.outbox import Connection

log = structlog.get_logger()

CANNOT_BE_WORDED_RETRY: Final = timedelta(minutes=10)

Waiting = Sequence[Asked]


@dataclass(frozen=True)
class Call:
    """A call to Twilio that is committed as `sending` and may be made once `delay` has passed."""

    message_id: UUID
    attempt: int
    to: str
    worded: Worded
    content_sid: str | None
    delay: timedelta
    tells: "Tells"


@dataclass(frozen=True)
class Tells:
    """What a message tells, for those who follow a listing through the logs; empty for a direct message."""

    notification_ids: tuple[UUID, ...] = ()
    listing_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Begun:
    """What may be sent now, how many messages were decided about, sent or not, and why the channel is paused.

    `rate_share`: how much of the rate is used; `held_by_rate`: more may be due than there are slots for as yet.
    """

    calls: tuple[Call, ...] = ()
    decided: int = 0
    paused: str = ""
    rate_share: float = 1.0
    held_by_rate: bool = False


@dataclass(frozen=True)
class _Claimed:
    """Everything that the plans of a batch need."""

    due: Sequence[Due]
    attempts: Mapping[UUID, int]
    recipients: Mapping[UUID, Recipient]
    contacts: Mapping[UUID, Contact]
    waiting: Mapping[UUID, Waiting]
    told: Mapping[UUID, frozenset[UUID]]
    standings: Standings
    means: Means


@dataclass
class _Decided:
    """The plans of a batch by kind."""

    sends: list[tuple[Due, Send]] = field(default_factory=list)
    waits: list[tuple[Due, Wait]] = field(default_factory=list)
    ends: list[tuple[Due, End]] = field(default_factory=list)


class Ledger:
    """Decides and commits what is sent. All replicas share the tables, the channel and the clock of PostgreSQL."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        topics: Topics,
        policy: Policy,
        *,
        name: str,
        per_second: float,
        lease: timedelta,
        standings: Callable[[], Standings] = Standings,
    ) -> None:
        self._pool = pool
        self._topics = topics
        self._policy = policy
        self._standings = standings
        self._name = name
        self._per_second = per_second
        self._lease = lease
        self._outbox = Outbox("sender")

    async def begin(self, most: int) -> Begun:
        """Decide about up to `most` messages that are due, direct ones first.

        All in one short transaction, whose row locks are the claim: consent is read under a lock in the same
        transaction that commits `sending`, and a crash before the commit leaves everything as it was. No two replicas
        are here at once, since the channel's row is locked: so what one has spent, the next one sees.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK_CHANNEL)
            assert row is not None
            now = row["now"]
            if row["held"]:
                return Begun(paused=HELD)
            channel = _channel(row)
            share = channel.throttle.at(now)
            room = channel.room(now, most)
            slots = rate.reserve(channel.next_slot, now, self._per_second * share, room, ahead=rate.BEGUN)
            if not slots.at:
                return Begun(paused=row["reason"], rate_share=share, held_by_rate=room > 0)
            claimed = await self._claim(connection, len(slots.at), now)
            if not claimed.due:
                return Begun(paused=row["reason"], rate_share=share)
            decided = self._decide(claimed, now)
            calls = await self._commit(connection, claimed, decided, slots, now)
            if calls:
                used = rate.reserve(channel.next_slot, now, self._per_second * share, len(calls))
                probing = now + rate.PROBE if channel.strikes else None
                await connection.execute(_USE_CHANNEL, used.next_slot, probing)
        held_by_rate = len(claimed.due) == len(slots.at) < room
        return Begun(tuple(calls), len(claimed.due), row["reason"], share, held_by_rate)

    async def another_slot(self) -> timedelta | None:
        """Another slot for a call whose own has lapsed: the delay until it, or None when all are taken for now."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(_LOCK_CHANNEL)
            assert row is not None
            now, share = row["now"], _channel(row).throttle.at(row["now"])
            slots = rate.reserve(row["next_slot"], now, self._per_second * share, 1)
            if not slots.at:
                return None
            await connection.execute(_USE_CHANNEL, slots.next_slot, row["probing_until"])
            return _delay(slots.at[0], now)

    async def extend_leases(self, message_ids: Sequence[UUID]) -> None:
        """Keep the calls that still run from being taken for those of a dead process."""
        await self._pool.execute(_EXTEND_LEASES, list(message_ids), self._lease, self._name)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _claim(self, connection: "Connection", most: int, now: datetime) -> _Claimed:
        rows = await connection.fetch(_CLAIM, now, most, FRESH_FOR)
        ids = [row["message_id"] for row in rows]
        users = sorted({row["user_id"] for row in rows})
        waiting = await self._waiting(connection, ids) if ids else {}
        contacts = await connection.fetch(_LOCK_CONTACTS, users) if ids else []
        locked = await connection.fetch(_LOCK_RECIPIENTS, users) if ids else []
        recipients = {row["user_id"]: recipient_of(row["recipient"]) for row in locked}
        refusing = await self._refusing_claims(connection, rows, recipients)
        due = [_due(row) for row in rows]
        return _Claimed(
            due=due,
            attempts={row["message_id"]: row["attempt"] for row in rows},
            recipients=recipients,
            contacts={row["user_id"]: _contact(row, claim_refuses=row["user_id"] in refusing) for row in contacts},
            waiting=waiting,
            told=await self._told(connection, waiting),
            standings=self._standings(),
            means=await self._means(connection, due, recipients, now),
        )

    async def _refusing_claims(
        self, connection: "Connection", rows: Sequence[asyncpg.Record], recipients: Mapping[UUID, Recipient]
    ) -> frozenset[UUID]:
        """Whose claimed phone wants nothing from us. Phones are not proven here: they may be anybody's."""
        claimants = [row["user_id"] for row in rows if row["purpose"] == DirectPurpose.CODE]
        phones = {user: known.claim.phone for user in claimants if (known := recipients.get(user)) and known.claim}
        if not phones:
            return frozenset()
        refusing = {row["phone"] for row in await connection.fetch(_REFUSING, sorted(set(phones.values())))}
        return frozenset(user for user, phone in phones.items() if phone in refusing)

    async def _means(
        self, connection: "Connection", due: Sequence[Due], recipients: Mapping[UUID, Recipient], now: datetime
    ) -> Means:
        phones = {phone for each in due for phone in _written_first(each, recipients.get(each.user_id), now)}
        limit = self._policy.recipients_per_day if phones else None
        return Means(
            await spending.purse(connection, self._policy.budget, now),
            await written_first.tier(connection, limit, phones, now),
        )

    async def _waiting(self, connection: "Connection", ids: Sequence[UUID]) -> Mapping[UUID, Waiting]:
        waiting: dict[UUID, list[Asked]] = defaultdict(list)
        for row in await connection.fetch(_WAITING, ids):
            kind = NotificationRequested if row["flat_id"] else DirectMessageRequested
            waiting[row["message_id"]].append(kind.model_validate_json(row["event"]))
        return waiting

    async def _told(self, connection: "Connection", waiting: Mapping[UUID, Waiting]) -> Mapping[UUID, frozenset[UUID]]:
        """Which flats that are gone each user was told of."""
        gone = [
            (event.user_id, event.flat_id, event.card.listing_id)
            for events in waiting.values()
            for event in events
            if isinstance(event, NotificationRequested) and event.reason is Reason.WITHDRAWN
        ]
        if not gone:
            return {}
        rows = await connection.fetch(_TOLD, *zip(*gone, strict=True))
        return {row["user_id"]: frozenset(row["flats"]) for row in rows}

    # --- deciding ---------------------------------------------------------------------------------------------------

    def _decide(self, claimed: _Claimed, now: datetime) -> _Decided:
        decided = _Decided()
        contacts, left = dict(claimed.contacts), claimed.means
        for due in claimed.due:
            contact = contacts.get(due.user_id, Contact())
            match self._plan(self._case(due, claimed, contact, left, now)):
                case Send() as send:
                    decided.sends.append((due, send))
                    left = left.after(send.need)
                    # Another message to this user in the batch has to keep its distance.
                    contacts[due.user_id] = self._written_to(contact, due, now)
                case Wait() as wait:
                    decided.waits.append((due, wait))
                    left = left.joined(wait.reason, queued=due.waits_for == wait.reason)
                case End() as end:
                    decided.ends.append((due, end))
        return decided

    def _case(self, due: Due, claimed: _Claimed, contact: Contact, left: Means, now: datetime) -> Case:
        return Case(
            due,
            claimed.recipients.get(due.user_id),
            contact,
            claimed.waiting.get(due.message_id, ()),
            claimed.told.get(due.user_id, frozenset()),
            self._policy,
            claimed.standings,
            left,
            now,
        )

    def _written_to(self, contact: Contact, due: Due, now: datetime) -> Contact:
        paced_until = pace.after(contact.paced_until, now, self._policy.pace)
        if due.purpose:
            return replace(contact, paced_until=paced_until)
        return replace(contact, paced_until=paced_until, last_digest_at=now, last_digest_id=due.message_id)

    def _plan(self, case: Case) -> Plan:
        try:
            return plan(case)
        except Exception:  # one message that nobody foresaw must not hold up those of everybody else
            log.exception("a message cannot be worded, it waits", message_id=str(case.due.message_id))
            return Wait(case.now + CANNOT_BE_WORDED_RETRY, "cannot_be_worded")

    # --- writing ----------------------------------------------------------------------------------------------------

    async def _commit(
        self, connection: "Connection", claimed: _Claimed, decided: _Decided, slots: rate.Slots, now: datetime
    ) -> list[Call]:
        settled: list[tuple[UUID, Settled]] = []
        if decided.waits:
            await self._postpone(connection, decided.waits, now)
        if decided.ends:
            settled += await self._end(connection, decided.ends, now)
            given_up = _given_up(decided.ends, claimed.attempts, now)
            await self._outbox.add(connection, self._topics.message_statuses, given_up)
        calls = [
            Call(
                due.message_id,
                claimed.attempts[due.message_id] + 1,
                send.need.phone,
                send.worded,
                send.form.content_sid,
                _delay(slot, now),
                _tells(claimed.waiting.get(due.message_id, ())),
            )
            for (due, send), slot in zip(decided.sends, slots.at, strict=False)
        ]
        if calls:
            await self._start_sending(connection, decided.sends, calls, now)
            settled += [(due.user_id, each) for due, send in decided.sends for each in send.settled if _untold(each)]
            await self._place_notifications(connection, decided.sends, now)
        await self._outbox.add(connection, self._topics.message_statuses, settled_events(settled, now))
        return calls

    async def _postpone(self, connection: "Connection", waits: Sequence[tuple[Due, Wait]], now: datetime) -> None:
        await connection.execute(
            _POSTPONE,
            [due.message_id for due, _ in waits],
            [wait.until for _, wait in waits],
            [wait.reason for _, wait in waits],
            now,
            [means.behind(due.opened_at, wait.until) if wait.reason in set(Lack) else None for due, wait in waits],
        )

    async def _end(
        self, connection: "Connection", ends: Sequence[tuple[Due, End]], now: datetime
    ) -> list[tuple[UUID, Settled]]:
        """End messages that are not sent: first what has a reason of its own, then the rest with the message's."""
        own = [(due.user_id, each) for due, end in ends for each in end.settled]
        await settle(connection, [each for _, each in own], now)
        ended = [Ended(due.message_id, _status_of(end), end.disposition, end.reason) for due, end in ends]
        return own + await end_messages(connection, ended, now)

    async def _start_sending(
        self, connection: "Connection", sends: Sequence[tuple[Due, Send]], calls: Sequence[Call], now: datetime
    ) -> None:
        await connection.execute(
            _START_SENDING,
            [call.message_id for call in calls],
            [call.attempt for call in calls],
            [call.to for call in calls],
            [call.worded.body for call in calls],
            [call.worded.variables for call in calls],
            [call.worded.marker for call in calls],
            [None if due.purpose else due.user_id for due, _ in sends],
            now,
            self._lease,
            self._name,
            [send.form.content_sid for _, send in sends],
            [send.form.charge.value for _, send in sends],
            [send.form.price for _, send in sends],
            self._policy.prices.currency,
            day_of(now),
            [send.need.writes_first for _, send in sends],
            [due.user_id for due, _ in sends],
            self._policy.pace,
            pace.BURST * self._policy.pace,
        )
        await written_first.record(connection, [send.need.phone for _, send in sends if send.need.writes_first], now)
        expenses = [Expense(day_of(now), send.form.charge, send.form.price) for _, send in sends]
        await spending.record(connection, self._policy.prices.currency, expenses)

    async def _place_notifications(
        self, connection: "Connection", sends: Sequence[tuple[Due, Send]], now: datetime
    ) -> None:
        """Where each notification went that was worded now; those of a retry are where they were."""
        await settle(connection, [each for _, send in sends for each in send.settled], now)
        looks = [(flat_id, due.user_id) for due, send in sends for flat_id in send.looks]
        await first_looks.record(connection, looks, now)
        retried_as_template = [due.message_id for due, send in sends if due.worded and send.worded.body is None]
        if retried_as_template:
            await connection.execute(_GROUP, retried_as_template)


def _tells(waiting: Waiting) -> Tells:
    told = [event for event in waiting if isinstance(event, NotificationRequested)]
    listing_ids = dict.fromkeys(event.card.listing_id for event in told)
    return Tells(tuple(event.notification_id for event in told), tuple(listing_ids))


def _untold(settled: Settled) -> bool:
    return settled.disposition not in (Disposition.IN_MESSAGE, Disposition.GROUPED)


async def settle(connection: "Connection", settled: Sequence[Settled], now: datetime) -> None:
    """Record where notifications have ended."""
    if settled:
        await connection.execute(
            _SETTLE,
            [each.notification_id for each in settled],
            [each.disposition.value for each in settled],
            [each.detail for each in settled],
            now,
            [each.number for each in settled],
        )


@dataclass(frozen=True)
class Ended:
    """A message that is not sent (any more), and how what it was to tell ends with it."""

    message_id: UUID
    status: MessageStatus
    disposition: Disposition
    reason: str


async def end_messages(connection: "Connection", ended: Sequence[Ended], now: datetime) -> list[tuple[UUID, Settled]]:
    """End messages, and what they were to tell: (user, notification) of each that was not settled before."""
    await connection.execute(
        _END,
        [each.message_id for each in ended],
        [each.status.value for each in ended],
        [each.reason for each in ended],
        now,
    )
    return await settle_messages(connection, [(each.message_id, each.disposition, each.reason) for each in ended], now)


async def settle_messages(
    connection: "Connection", ended: Sequence[tuple[UUID, Disposition, str]], now: datetime
) -> list[tuple[UUID, Settled]]:
    """End what messages were to tell, except what was settled before: (user, notification) of each."""
    if not ended:
        return []
    rows = await connection.fetch(
        _SETTLE_MESSAGES,
        [message_id for message_id, _, _ in ended],
        [disposition.value for _, disposition, _ in ended],
        [detail for _, _, detail in ended],
        now,
    )
    return [
        (row["user_id"], Settled(row["notification_id"], Disposition(row["disposition"]), row["detail"]))
        for row in rows
    ]


def settled_events(settled: Sequence[tuple[UUID, Settled]], now: datetime) -> list[NotificationSettled]:
    return [
        NotificationSettled(
            notification_id=each.notification_id,
            user_id=user_id,
            disposition=each.disposition,
            detail=each.detail,
            settled_at=now,
        )
        for user_id, each in settled
    ]


def _given_up(
    ends: Sequence[tuple[Due, End]], attempts: Mapping[UUID, int], now: datetime
) -> list[MessageStatusReported]:
    """What became of messages that others have heard of, and that are not tried again."""
    return [
        MessageStatusReported(
            message_id=due.message_id,
            attempt=attempts[due.message_id] + 1,
            status=_status_of(end),
            reported_by="sender",
            reported_at=now,
            user_id=due.user_id,
        )
        for due, end in ends
        if attempts[due.message_id]
    ]


def _status_of(end: End) -> MessageStatus:
    return MessageStatus.FAILED if end.disposition is Disposition.FAILED else MessageStatus.SUPPRESSED


def _delay(slot: datetime, now: datetime) -> timedelta:
    return max(slot - now, timedelta())


def _due(row: asyncpg.Record) -> Due:
    worded = Worded(row["body"], row["variables"], row["marker"]) if row["marker"] else None
    return Due(
        message_id=row["message_id"],
        user_id=row["user_id"],
        purpose=DirectPurpose(row["purpose"]) if row["purpose"] else None,
        opened_at=row["opened_at"],
        latest_at=row["latest_at"],
        as_template=row["as_template"],
        worded=worded,
        asked_by=row["asked_by"],
        subscription_id=row["subscription_id"],
        waits_for=row["detail"],
    )


@functools.lru_cache(maxsize=8192)
def recipient_of(text: str) -> Recipient:
    """A recipient as the tables hold it. Remembered: whoever hears of one flat soon hears of another."""
    return Recipient.model_validate_json(text)


def _contact(row: asyncpg.Record, *, claim_refuses: bool) -> Contact:
    return Contact(
        row["last_digest_at"],
        row["last_digest_id"],
        row["opted_out_at"],
        row["opted_out_phone"],
        erased=row["erased_at"] is not None,
        held=row["held_at"] is not None,
        claim_refuses=claim_refuses,
        paced_until=row["paced_until"],
    )


def _channel(row: asyncpg.Record) -> Channel:
    throttle = Throttle(row["throttle_share"], row["throttled_at"])
    paused = (row["paused_at"], row["paused_until"], row["probing_until"])
    return Channel(row["next_slot"], *paused, row["strikes"], throttle)


def _written_first(due: Due, recipient: Recipient | None, now: datetime) -> set[str]:
    """The phones that a message may write to first: to look at the tier is needless for all others."""
    if recipient is None:
        return set()
    if due.purpose is DirectPurpose.CODE:
        return {recipient.claim.phone} if recipient.claim else set()
    opened_at = recipient.window_opened_at
    is_open = opened_at is not None and now < opened_at + WINDOW
    return {recipient.phone} if recipient.phone and (due.as_template or not is_open) else set()


_LOCK_CHANNEL = """
-- One replica at a time decides what is sent next: slots are handed out in order, and none twice.
SELECT clock_timestamp() AS now, next_slot, paused_at, paused_until, probing_until, strikes, reason, held,
    throttle_share, throttled_at
FROM channel FOR UPDATE
"""

_USE_CHANNEL = "UPDATE channel SET next_slot = $1, probing_until = $2"

_CLAIM: Any = """
-- Of digests that became due at about the same time, whose turn it is goes first; nobody waits for that.
WITH direct AS (
    SELECT * FROM messages
    WHERE kind = 'direct' AND stage IN ('waiting', 'retrying') AND due_at <= $1
    ORDER BY (due_at AT TIME ZONE 'UTC') + behind LIMIT $2
    FOR UPDATE SKIP LOCKED
), digest AS (
    SELECT * FROM messages
    WHERE kind = 'digest' AND stage IN ('waiting', 'retrying') AND due_at <= $1
        AND (due_at AT TIME ZONE 'UTC') + behind <= ($1::timestamptz AT TIME ZONE 'UTC') + $3::interval
    ORDER BY (due_at AT TIME ZONE 'UTC') + behind LIMIT $2 - (SELECT count(*) FROM direct)
    FOR UPDATE SKIP LOCKED
)
SELECT claimed.message_id, user_id, subscription_id, purpose, opened_at, latest_at, claimed.attempt, as_template,
    claimed.detail, body, variables, marker,
    CASE WHEN kind = 'direct' THEN (
        SELECT notification_id FROM notifications WHERE notifications.message_id = claimed.message_id
    ) END AS asked_by
FROM (SELECT * FROM direct UNION ALL SELECT * FROM digest) AS claimed
LEFT JOIN attempts ON attempts.message_id = claimed.message_id AND attempts.attempt = claimed.attempt
"""

_WAITING = """
SELECT message_id, flat_id, event FROM notifications
WHERE message_id = ANY($1::uuid[]) AND disposition = 'waiting'
ORDER BY position
"""

_LOCK_CONTACTS = """
SELECT user_id, last_digest_at, last_digest_id, opted_out_at, opted_out_phone, erased_at, held_at, paced_until
FROM contacts WHERE user_id = ANY($1::uuid[])
ORDER BY user_id FOR UPDATE
"""

_LOCK_RECIPIENTS = """
-- Whoever revokes a consent waits until we have committed, or we see the revocation.
SELECT user_id, recipient FROM recipients WHERE user_id = ANY($1::uuid[]) ORDER BY user_id FOR SHARE
"""

_REFUSING = """
-- Twilio has said so, and the phone has not written since; or its owner has said STOP.
SELECT phone FROM unnest($1::text[]) AS claimed(phone)
LEFT JOIN refusing_phones ON phone_hash = sha256(convert_to(phone, 'UTF8'))
LEFT JOIN recipients ON recipient::jsonb ->> 'phone' = phone
WHERE (recipient::jsonb ->> 'stopped')::boolean
    OR refused_at >= coalesce((recipient::jsonb ->> 'window_opened_at')::timestamptz, refused_at)
"""

_TOLD = """
-- Of a flat that was parted from another, somebody may have been told by the other's id.
SELECT gone.user_id, array_agg(gone.flat_id) AS flats
FROM notifications AS known JOIN unnest($1::uuid[], $2::uuid[], $3::text[]) AS gone(user_id, flat_id, listing_id)
    ON known.user_id = gone.user_id AND (known.flat_id = gone.flat_id OR known.listing_id = gone.listing_id)
WHERE disposition IN ('in_message', 'grouped') AND reason <> 'withdrawn'
GROUP BY gone.user_id
"""

_POSTPONE = f"""
-- The journal is told of a reason once, however often it is looked at again.
WITH postponed AS (
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $5::interval[])
        AS postponed(message_id, until, reason, place)
), noted AS (
    INSERT INTO journal (message_id, at, what, detail, until)
    SELECT message_id, $4, '{Happened.WAITS}', reason, until FROM postponed JOIN messages USING (message_id)
    WHERE detail <> reason
)
UPDATE messages SET due_at = until, detail = reason, behind = coalesce(place, behind)
FROM postponed WHERE messages.message_id = postponed.message_id
"""  # noqa: S608 - a constant

_END = """
UPDATE messages SET stage = 'ended', status = ended.status, detail = ended.detail, changed_at = $4
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS ended(message_id, status, detail)
WHERE messages.message_id = ended.message_id
"""

_START_SENDING = """
-- Only digests have a reader here: the user whose next one has to keep its distance.
WITH started AS (
    SELECT *
    FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::uuid[], $11::text[],
                $12::text[], $13::bigint[], $16::boolean[], $17::uuid[])
        AS started(message_id, attempt, recipient, body, variables, marker, reader, content_sid, charge, price,
            writes_first, user_id)
), sending AS (
    UPDATE messages
    SET stage = 'sending', detail = '', attempt = started.attempt, as_template = started.body IS NULL,
        lease_until = $8::timestamptz + $9::interval, leased_by = $10, changed_at = $8
    FROM started
    WHERE messages.message_id = started.message_id
), written_to AS (
    SELECT user_id, count(*) AS messages, count(reader) AS digests,
        (array_agg(message_id) FILTER (WHERE reader IS NOT NULL))[1] AS digest_id
    FROM started GROUP BY user_id
), counted AS (
    UPDATE contacts
    SET paced_until = least(greatest(paced_until, $8) + $18::interval * messages, $8 + $19::interval),
        turns = turns + digests,
        last_digest_at = CASE WHEN digests > 0 THEN $8 ELSE last_digest_at END,
        last_digest_id = coalesce(digest_id, last_digest_id)
    FROM written_to WHERE contacts.user_id = written_to.user_id
)
INSERT INTO attempts (message_id, attempt, recipient, body, variables, marker, started_at,
    content_sid, charge, currency, spent_on, price_micros, charged_micros, writes_first)
SELECT message_id, attempt, recipient, body, variables, marker, $8, content_sid, charge, $14, $15, price, price,
    writes_first
FROM started
"""

_SETTLE = """
UPDATE notifications
SET disposition = settled.disposition, detail = settled.detail, settled_at = $4, event = NULL, number = settled.number
FROM unnest($1::uuid[], $2::text[], $3::text[], $5::int[]) AS settled(notification_id, disposition, detail, number)
WHERE notifications.notification_id = settled.notification_id
"""

_SETTLE_MESSAGES = """
UPDATE notifications
SET disposition = ended.disposition, detail = ended.detail, settled_at = $4, event = NULL,
    placed = notifications.disposition
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS ended(message_id, disposition, detail)
WHERE notifications.message_id = ended.message_id
    AND notifications.disposition IN ('waiting', 'in_message', 'grouped')
RETURNING notifications.user_id, notification_id, notifications.disposition, notifications.detail
"""

_GROUP = """
-- A template shows no flat itself.
UPDATE notifications SET disposition = 'grouped'
WHERE message_id = ANY($1::uuid[]) AND disposition = 'in_message'
"""

_EXTEND_LEASES = """
UPDATE messages SET lease_until = clock_timestamp() + $2::interval
WHERE message_id = ANY($1::uuid[]) AND stage = 'sending' AND leased_by = $3
"""
