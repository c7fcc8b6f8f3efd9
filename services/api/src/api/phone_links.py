"""Phones: claimed by an account, proven by a code that came from the phone or went to it, and what they write later.

Whoever changes something takes the phone's lock first, then the recipients' rows in order, then the claims.
"""

import datetime as dt
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from uuid import UUID, uuid4, uuid5

import asyncpg

from api.commands import Command, Order, code_as_typed, codes_in, joins, new_code, order_of
from api.consents import Consents, How, What
from api.joins import SIGNS_COUNT_FOR, Heard
from api.recipients import Recipients
from api.security import Pseudonyms
from common.events import (
    NAMESPACE,
    DirectMessageRequested,
    DirectPurpose,
    FlatDeclined,
    InboundMessageReceived,
    PhoneClaim,
    Recipient,
)
from common.outbox import Outbox
from common.topics import Topic

if TYPE_CHECKING:
    from common.outbox import Connection

CLAIM_VALID_FOR: Final = dt.timedelta(minutes=10)  # as the templates of codes say, too
TRIES: Final = 5
CODES_TO_A_PHONE: Final = 3
CODES_COUNTED_FOR: Final = dt.timedelta(hours=24)


class Proof(StrEnum):
    """Which way the code goes."""

    FROM_PHONE = "from_phone"  # shown to the account, written to us from the phone
    TO_PHONE = "to_phone"  # sent to the phone, typed in by the account; never shown


@dataclass(frozen=True)
class Claim:
    """A phone that an account says is its own, and the code that proves it until `expires_at`."""

    claim_id: UUID
    phone: str
    proof: Proof
    code: str
    expires_at: dt.datetime
    tries_left: int = TRIES


@dataclass(frozen=True)
class Link:
    """What is known of an account's phone, or of the one that it claims, beside the recipient itself."""

    claim: Claim | None
    heard: Heard
    lost_at: dt.datetime | None


@dataclass(frozen=True)
class _Occasion:
    """When and by which way something was said about a phone."""

    how: How
    at: dt.datetime
    message_sid: str | None = None


@dataclass(frozen=True)
class PhoneRefuses:
    """The phone has said STOP: it has to write to us itself."""


@dataclass(frozen=True)
class TooManyCodes:
    """Enough codes were sent to the phone, for whichever account."""

    until: dt.datetime


@dataclass(frozen=True)
class Proven:
    """The phone is the account's now."""


@dataclass(frozen=True)
class WrongCode:
    tries_left: int


@dataclass(frozen=True)
class NothingToProve:
    """No code was sent for this account, or it has expired or been tried too often."""


@dataclass(frozen=True)
class Reply:
    """What follows from what a renter wrote: changes of the recipient, answers to be sent, flats to be told no more."""

    changes: dict[str, Any] = field(default_factory=dict)
    answers: tuple[DirectMessageRequested, ...] = ()
    declined: tuple[FlatDeclined, ...] = ()


class Replies(Protocol):
    """Answers renters who may be written to."""

    async def to(
        self, connection: "Connection", message: InboundMessageReceived, order: Order | None, renter: Recipient
    ) -> Reply: ...


Claimed: TypeAlias = Claim | PhoneRefuses | TooManyCodes
Verified: TypeAlias = Proven | WrongCode | NothingToProve


class PhoneLinks:
    """The links, the claims and what was heard of phones."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        recipients: Recipients,
        consents: Consents,
        outbox: Outbox,
        notifications: Topic,
        *,
        pseudonyms: Pseudonyms,
        replies: Replies,
    ) -> None:
        self._pool = pool
        self._replies = replies
        self._recipients = recipients
        self._consents = consents
        self._outbox = outbox
        self._notifications = notifications
        self._pseudonyms = pseudonyms

    # --- what an account does ---------------------------------------------------------------------------------------

    async def claim(self, user_id: UUID, phone: str, proof: Proof, now: dt.datetime) -> Claimed:
        """Claim a phone for an account, with a new code; an earlier claim of the account ends."""
        claim = Claim(uuid4(), phone, proof, new_code(), now + CLAIM_VALID_FOR)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_LOCK_PHONE, phone)
            if proof is Proof.TO_PHONE and (refused := await self._refusal(connection, phone, now)):
                return refused
            recipient = await self._recipients.locked(connection, user_id)
            if recipient is None:
                return claim  # the account has just gone: there is nobody left to prove anything
            await connection.execute(
                _CLAIM, user_id, claim.claim_id, phone, proof, claim.code, now, claim.expires_at, TRIES
            )
            await self._note(connection, user_id, What.PHONE_CLAIMED, phone, _Occasion(How.API, now))
            if proof is Proof.TO_PHONE:
                await self._send_code(connection, recipient, claim, now)
            elif recipient.claim:
                await self._recipients.save(connection, recipient, {"claim": None})
        return claim

    async def _refusal(
        self, connection: "Connection", phone: str, now: dt.datetime
    ) -> "PhoneRefuses | TooManyCodes | None":
        if await connection.fetchval(_HAS_STOPPED, self._hashed(phone)):
            return PhoneRefuses()
        sent = await connection.fetch(_CODES_SENT, self._hashed(phone), now - CODES_COUNTED_FOR, CODES_TO_A_PHONE)
        if len(sent) < CODES_TO_A_PHONE:
            return None
        return TooManyCodes(until=sent[-1]["requested_at"] + CODES_COUNTED_FOR)

    async def _send_code(self, connection: "Connection", recipient: Recipient, claim: Claim, now: dt.datetime) -> None:
        published = PhoneClaim(claim_id=claim.claim_id, phone=claim.phone, code=claim.code, expires_at=claim.expires_at)
        await connection.execute(_COUNT_CODE, claim.claim_id, self._hashed(claim.phone), now)
        await self._recipients.save(connection, recipient, {"claim": published})
        await self._request(connection, claim.claim_id, recipient.user_id, DirectPurpose.CODE, now)

    async def verify(self, user_id: UUID, typed: str, now: dt.datetime) -> Verified:
        """Link the claimed phone if the code is the one that was sent to it; a wrong code uses up a try."""
        async with self._pool.acquire() as connection, connection.transaction():
            claimed = _claim(await connection.fetchrow(_CLAIM_OF, user_id, now))
            if claimed is None or claimed.proof is not Proof.TO_PHONE:
                return NothingToProve()
            await connection.execute(_LOCK_PHONE, claimed.phone)
            people = await self._recipients.locked_with_phone(connection, claimed.phone)
            claim = _claim(await connection.fetchrow(_CLAIM_OF, user_id, now))
            if claim is None or claim.claim_id != claimed.claim_id:
                return NothingToProve()  # it was replaced, proven or used up while we waited for our turn
            if not hmac.compare_digest(code_as_typed(typed).encode(), claim.code.encode()):
                await connection.execute(_MISS, claim.phone, [user_id], Proof.TO_PHONE)
                return WrongCode(claim.tries_left - 1)
            await connection.execute(_DROP_CLAIM, user_id)
            occasion, wrote_at = _Occasion(How.CODE, now), await self._wrote_at(connection, claim.phone)
            await self._link(connection, people, user_id, claim.phone, occasion, opened_at=wrote_at)
            await self._request(connection, uuid4(), user_id, DirectPurpose.LINKED, now)
        return Proven()

    async def _wrote_at(self, connection: "Connection", phone: str) -> dt.datetime | None:
        wrote_at: dt.datetime | None = await connection.fetchval(_WROTE_AT, self._hashed(phone))
        return wrote_at

    async def unlink(self, user_id: UUID, now: dt.datetime) -> None:
        """End an account's link and claim; doing so twice changes nothing more."""
        async with self._pool.acquire() as connection, connection.transaction():
            recipient = await self._recipients.locked(connection, user_id)
            await connection.execute(_DROP_CLAIM, user_id)
            if recipient and (recipient.phone or recipient.claim):
                await connection.execute(_SAVE_LINK, user_id, None, None)
                await self._recipients.save(connection, recipient, _UNLINKED)
                await self._note(connection, user_id, What.PHONE_UNLINKED, recipient.phone, _Occasion(How.API, now))

    async def link_of(self, caller: Recipient, now: dt.datetime) -> Link:
        """What is known of an account's phone, cheaply: it is asked for again and again while somebody waits."""
        claim = _claim(await self._pool.fetchrow(_CLAIM_OF, caller.user_id, now))
        phone = claim.phone if claim else caller.phone
        row = await self._pool.fetchrow(
            _SIGNS, caller.user_id, self._hashed(phone or ""), claim and claim.claim_id, now - SIGNS_COUNT_FOR
        )
        assert row is not None
        # A proof shows that the phone had joined, whichever way the code went.
        reached_at = max(filter(None, (row["reached_at"], None if claim else row["linked_at"])), default=None)
        return Link(claim, Heard(row["joined_at"], row["wrote_at"], reached_at, row["refused_at"]), row["lost_at"])

    async def request_test(self, user_id: UUID, now: dt.datetime) -> UUID:
        """Ask the sender for a test message to the account's own phone; the notification's id."""
        notification_id = uuid4()
        async with self._pool.acquire() as connection, connection.transaction():
            await self._request(connection, notification_id, user_id, DirectPurpose.TEST, now)
        return notification_id

    async def forget_expired(self, now: dt.datetime) -> None:
        """Drop claims that can no longer be proven, from the topic too: the phone may be a stranger's."""
        for row in await self._pool.fetch(_EXPIRED, now):
            async with self._pool.acquire() as connection, connection.transaction():
                recipient = await self._recipients.locked(connection, row["user_id"])
                dropped = await connection.fetchval(_DROP_EXPIRED, row["user_id"], now)
                if dropped and recipient and recipient.claim:
                    await self._recipients.save(connection, recipient, {"claim": None})

    # --- what a phone does ------------------------------------------------------------------------------------------

    async def receive(self, message: InboundMessageReceived) -> None:
        """Let an inbound message take effect, once."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(_FIRST_TIME, message.event_id):
                return
            # Two messages of one phone take their turns, also while nobody's row holds the phone.
            await connection.execute(_LOCK_PHONE, message.sender)
            people = await self._recipients.locked_with_phone(connection, message.sender)
            await self._take_effect(connection, message, people)

    async def _take_effect(
        self, connection: "Connection", message: InboundMessageReceived, people: Sequence[Recipient]
    ) -> None:
        order = order_of(message.button_payload or "") or order_of(message.body)
        command = order.command if order else None
        claimant = await self._proven_claimant(connection, message, people)
        starts = claimant is not None or command is Command.START
        stops, joined = command is Command.STOP, joins(message.body)
        await connection.execute(_HEAR, self._hashed(message.sender), message.received_at, joined, stops, starts)
        if claimant:
            occasion, at = _occasion(message), message.received_at
            await self._link(connection, people, claimant, message.sender, occasion, opened_at=at)
            linked = answer_to(message, claimant, DirectPurpose.LINKED)
            await self._outbox.add(connection, self._notifications, [linked])
            return
        for recipient in people:
            if recipient.phone == message.sender:
                await self._hear(connection, message, recipient, order)
            elif command is Command.STOP and recipient.claim and recipient.claim.phone == message.sender:
                await self._refuse(connection, recipient)

    async def _proven_claimant(
        self, connection: "Connection", message: InboundMessageReceived, people: Sequence[Recipient]
    ) -> UUID | None:
        """Whose claim of this phone a code in the message proves; a wrong code uses up a try."""
        codes, users = codes_in(message.body), [each.user_id for each in people]
        if not codes:
            return None
        claimant: UUID | None = await connection.fetchval(_PROVE, message.sender, codes, message.received_at, users)
        if claimant is None:
            await connection.execute(_MISS, message.sender, users, Proof.FROM_PHONE)
        return claimant

    async def _link(
        self,
        connection: "Connection",
        people: Sequence[Recipient],
        claimant: UUID,
        phone: str,
        occasion: _Occasion,
        *,
        opened_at: dt.datetime | None,
    ) -> None:
        """Give the phone to who has proven it; whoever had it before loses it, and is told so."""
        for other in people:
            if other.phone == phone and other.user_id != claimant:
                await connection.execute(_SAVE_LINK, other.user_id, None, occasion.at)
                await self._recipients.save(connection, other, _LOST)
                await self._note(connection, other.user_id, What.PHONE_LOST, phone, occasion)
        linked = next(each for each in people if each.user_id == claimant)
        await connection.execute(_SAVE_LINK, claimant, occasion.at, None)
        proven = {**_UNSTOPPED, "phone": phone, "verified": True, "window_opened_at": opened_at, "claim": None}
        await self._recipients.save(connection, linked, proven)
        await self._note(connection, claimant, What.PHONE_PROVEN, phone, occasion)

    async def _hear(
        self, connection: "Connection", message: InboundMessageReceived, recipient: Recipient, order: Order | None
    ) -> None:
        """Any message of a known phone opens its window; a command changes whether and how it is written to."""
        opened = max(message.received_at, recipient.window_opened_at or message.received_at)
        reply = await self._reply(connection, message, recipient, order)
        saved = await self._recipients.save(connection, recipient, {"window_opened_at": opened, **reply.changes})
        if saved.stopped != recipient.stopped:
            what = What.STOPPED if saved.stopped else What.STARTED
            await self._note(connection, recipient.user_id, what, message.sender, _occasion(message))
        await self._outbox.add(connection, self._notifications, [*reply.declined, *reply.answers])

    async def _reply(
        self, connection: "Connection", message: InboundMessageReceived, recipient: Recipient, order: Order | None
    ) -> Reply:
        """Consent is decided here; everything else is for those who have not stopped."""
        held_back = recipient.stopped or recipient.paused_until is not None
        match order:
            case Order(Command.STOP) if recipient.stopped:
                return Reply()  # an opt-out is confirmed once
            case Order(Command.STOP):
                stopped = {"stopped": True, "stopped_at": message.received_at, "paused_until": None}
                return Reply(stopped, (answer_to(message, recipient.user_id, DirectPurpose.STOPPED),))
            case Order(Command.START) if held_back:
                return Reply(_UNSTOPPED, (answer_to(message, recipient.user_id, DirectPurpose.STARTED),))
            case _ if recipient.stopped:
                return Reply()
            case _:
                return await self._replies.to(connection, message, order, recipient)

    async def _refuse(self, connection: "Connection", claimant: Recipient) -> None:
        """A phone that was sent a code, or is about to be, wants none."""
        await connection.execute(_DROP_CLAIM, claimant.user_id)
        await self._recipients.save(connection, claimant, {"claim": None})

    async def _request(
        self, connection: "Connection", notification_id: UUID, user_id: UUID, purpose: DirectPurpose, now: dt.datetime
    ) -> None:
        request = DirectMessageRequested(
            notification_id=notification_id, user_id=user_id, purpose=purpose, requested_at=now
        )
        await self._outbox.add(connection, self._notifications, [request])

    async def _note(
        self, connection: "Connection", user_id: UUID, what: What, phone: str | None, occasion: _Occasion
    ) -> None:
        await self._consents.record(
            connection, user_id, what, occasion.how, occasion.at, phone=phone, message_sid=occasion.message_sid
        )

    def _hashed(self, phone: str) -> bytes:
        return self._pseudonyms.of_phone(phone)


def answer_to(
    message: InboundMessageReceived,
    user_id: UUID,
    purpose: DirectPurpose,
    number: int | None = None,
    **fields: Any,  # noqa: ANN401 - those of the event
) -> DirectMessageRequested:
    """The answer to a message; `number` tells several of one purpose apart. The same message has the same answers."""
    which = f"direct/{message.event_id}/{purpose}" + (f"/{number}" if number else "")
    return DirectMessageRequested(
        notification_id=uuid5(NAMESPACE, which),
        user_id=user_id,
        purpose=purpose,
        requested_at=message.received_at,
        **fields,
    )


def _occasion(message: InboundMessageReceived) -> _Occasion:
    return _Occasion(How.MESSAGE, message.received_at, message.message_sid)


def _claim(row: asyncpg.Record | None) -> Claim | None:
    if row is None or row["claim_id"] is None:
        return None
    return Claim(
        row["claim_id"], row["claimed_phone"], Proof(row["proof"]), row["code"], row["expires_at"], row["tries_left"]
    )


_LOST: Final = {"phone": None, "verified": False, "window_opened_at": None}
_UNLINKED: Final = {**_LOST, "claim": None}
_UNSTOPPED: Final = {"stopped": False, "stopped_at": None, "paused_until": None}

_LOCK_PHONE = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"

_CLAIM = """
INSERT INTO phone_claims (user_id, claim_id, phone, proof, code, claimed_at, expires_at, tries_left)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (user_id) DO UPDATE SET
    claim_id = excluded.claim_id, phone = excluded.phone, proof = excluded.proof, code = excluded.code,
    claimed_at = excluded.claimed_at, expires_at = excluded.expires_at, tries_left = excluded.tries_left
"""

_CLAIM_OF = """
SELECT claim_id, phone AS claimed_phone, proof, code, expires_at, tries_left FROM phone_claims
WHERE user_id = $1 AND expires_at > $2 AND tries_left > 0
"""

_DROP_CLAIM = "DELETE FROM phone_claims WHERE user_id = $1"

_EXPIRED = "SELECT user_id FROM phone_claims WHERE expires_at <= $1"

_DROP_EXPIRED = "DELETE FROM phone_claims WHERE user_id = $1 AND expires_at <= $2 RETURNING true"

_HAS_STOPPED = """
SELECT stopped_at IS NOT NULL FROM phones_heard WHERE phone_hash = $1
"""

_CODES_SENT = """
-- The last codes that were sent to a phone, or may still be: what is known not to have arrived bothers nobody.
SELECT requested_at FROM codes_requested AS code
WHERE phone_hash = $1 AND requested_at > $2
    AND NOT EXISTS (
        SELECT FROM told_in_messages AS told JOIN messages USING (message_id)
        WHERE told.notification_id = code.claim_id AND messages.status IN ('rejected', 'failed', 'undelivered')
    )
    AND NOT EXISTS (SELECT FROM settled_notifications AS settled WHERE settled.notification_id = code.claim_id)
ORDER BY requested_at DESC LIMIT $3
"""

_COUNT_CODE = """
INSERT INTO codes_requested (claim_id, phone_hash, requested_at) VALUES ($1, $2, $3)
"""

_SAVE_LINK = """
INSERT INTO phone_links (user_id, linked_at, lost_at) VALUES ($1, $2, $3)
ON CONFLICT (user_id) DO UPDATE SET linked_at = excluded.linked_at, lost_at = excluded.lost_at
"""

_FIRST_TIME = "INSERT INTO inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true"

_HEAR = """
INSERT INTO phones_heard AS phone (phone_hash, wrote_at, joined_at, stopped_at)
VALUES ($1, $2::timestamptz, CASE WHEN $3 THEN $2::timestamptz END, CASE WHEN $4 THEN $2::timestamptz END)
ON CONFLICT (phone_hash) DO UPDATE SET
    wrote_at = greatest(phone.wrote_at, excluded.wrote_at),
    joined_at = greatest(phone.joined_at, excluded.joined_at),
    stopped_at = CASE WHEN $5 THEN NULL ELSE greatest(phone.stopped_at, excluded.stopped_at) END
"""

_WROTE_AT = "SELECT wrote_at FROM phones_heard WHERE phone_hash = $1"

_PROVE = """
-- A code that was sent to the phone proves nothing when the phone sends it back: its owner may not know what it is for.
DELETE FROM phone_claims
WHERE phone = $1 AND code = ANY($2::text[]) AND expires_at > $3 AND tries_left > 0 AND user_id = ANY($4::uuid[])
    AND proof = 'from_phone'
RETURNING user_id
"""

_MISS = """
UPDATE phone_claims SET tries_left = tries_left - 1
WHERE phone = $1 AND tries_left > 0 AND user_id = ANY($2::uuid[]) AND proof = $3
"""

_SIGNS = """
-- Of a claimed phone only its code tells; of a linked one every message since it was linked, but for codes.
SELECT linked_at, lost_at, joined_at, wrote_at, refused_at, reached_at
FROM (VALUES ($1::uuid)) AS asked(user_id)
LEFT JOIN phone_links USING (user_id)
LEFT JOIN phones_heard ON phone_hash = $2
CROSS JOIN LATERAL (
    SELECT max(step.reported_at) FILTER (WHERE step.error_code = 63015) AS refused_at,
        max(step.reported_at) FILTER (WHERE step.status IN ('sent', 'delivered', 'read')) AS reached_at
    FROM messages AS message
    JOIN message_statuses AS step USING (message_id)
    LEFT JOIN LATERAL (
        SELECT notification_id FROM told_in_messages AS told JOIN direct_messages USING (notification_id)
        WHERE told.message_id = message.message_id AND purpose = 'code' LIMIT 1
    ) AS code ON true
    WHERE message.user_id = asked.user_id AND message.first_reported_at > $4
        AND CASE WHEN $3::uuid IS NOT NULL THEN code.notification_id = $3
            ELSE code.notification_id IS NULL AND message.first_reported_at >= linked_at END
) AS signs
"""
