"""Phones: claimed by an account, proven by a message with a code from that very phone, and what it writes later."""

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID, uuid4, uuid5

import asyncpg

from api.commands import Command, codes_in, command_of, new_code
from api.recipients import Recipients
from common.events import NAMESPACE, DirectMessageRequested, DirectPurpose, InboundMessageReceived, Recipient
from common.outbox import Outbox
from common.topics import Topic

if TYPE_CHECKING:
    from common.outbox import Connection

CLAIM_VALID_FOR: Final = dt.timedelta(minutes=15)
TRIES: Final = 5


@dataclass(frozen=True)
class Claim:
    """A phone that an account says is its own, and the code that proves it until `expires_at`."""

    phone: str
    code: str
    expires_at: dt.datetime


class PhoneLinks:
    def __init__(self, pool: asyncpg.Pool, recipients: Recipients, outbox: Outbox, notifications: Topic) -> None:
        self._pool = pool
        self._recipients = recipients
        self._outbox = outbox
        self._notifications = notifications

    async def claim(self, user_id: UUID, phone: str, now: dt.datetime) -> Claim:
        """Claim a phone for an account, with a new code; an earlier claim of the account ends."""
        claim = Claim(phone, new_code(), now + CLAIM_VALID_FOR)
        await self._pool.execute(_CLAIM, user_id, phone, claim.code, claim.expires_at, TRIES)
        return claim

    async def claim_of(self, user_id: UUID, now: dt.datetime) -> Claim | None:
        """The claim of an account that can still be proven."""
        row = await self._pool.fetchrow(_CLAIM_OF, user_id, now)
        return Claim(row["phone"], row["code"], row["expires_at"]) if row else None

    async def unlink(self, user_id: UUID) -> None:
        """End an account's link and claim; doing so twice changes nothing more."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_DROP_CLAIM, user_id)
            recipient = await self._recipients.locked(connection, user_id)
            if recipient and recipient.phone:
                await self._recipients.save(connection, recipient, _UNLINKED)

    async def request_test(self, user_id: UUID, now: dt.datetime) -> UUID:
        """Ask the sender for a test message to the account's own phone; the notification's id."""
        request = DirectMessageRequested(
            notification_id=uuid4(), user_id=user_id, purpose=DirectPurpose.TEST, requested_at=now
        )
        async with self._pool.acquire() as connection, connection.transaction():
            await self._outbox.add(connection, self._notifications, [request])
        return request.notification_id

    async def receive(self, message: InboundMessageReceived) -> None:
        """Let an inbound message take effect, once."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(_FIRST_TIME, message.event_id):
                return
            # Two messages of one phone take their turns, also while nobody's row holds the phone.
            await connection.execute(_LOCK_PHONE, message.sender)
            await self._take_effect(connection, message)

    async def _take_effect(self, connection: "Connection", message: InboundMessageReceived) -> None:
        if claimant := await self._proven_claimant(connection, message):
            await self._link(connection, message, claimant)
            return
        for recipient in await self._recipients.locked_with_phone(connection, message.sender):
            await self._hear(connection, message, recipient)

    async def _proven_claimant(self, connection: "Connection", message: InboundMessageReceived) -> UUID | None:
        """Whose claim of this phone a code in the message proves; a wrong code uses up a try."""
        codes = codes_in(message.body)
        if not codes:
            return None
        claimant: UUID | None = await connection.fetchval(_PROVE, message.sender, codes, message.received_at)
        if claimant is None:
            await connection.execute(_MISS, message.sender)
        return claimant

    async def _link(self, connection: "Connection", message: InboundMessageReceived, claimant: UUID) -> None:
        """Give the phone to who has proven it; whoever had it before loses it."""
        held = await self._recipients.locked_with_phone(connection, message.sender, claimant)
        for other in held:
            if other.user_id != claimant:
                await self._recipients.save(connection, other, _UNLINKED)
        linked = next(each for each in held if each.user_id == claimant)
        proven = {"phone": message.sender, "verified": True, "stopped": False, "window_opened_at": message.received_at}
        await self._recipients.save(connection, linked, proven)
        await self._answer(connection, message, claimant, DirectPurpose.LINKED)

    async def _hear(self, connection: "Connection", message: InboundMessageReceived, recipient: Recipient) -> None:
        """Any message of a known phone opens its window; a command changes whether it may be written to."""
        command = command_of(message.button_payload or message.body)
        stopped = recipient.stopped if command is None else command is Command.STOP
        opened = max(message.received_at, recipient.window_opened_at or message.received_at)
        await self._recipients.save(connection, recipient, {"stopped": stopped, "window_opened_at": opened})
        if stopped != recipient.stopped:
            purpose = DirectPurpose.STOPPED if stopped else DirectPurpose.STARTED
            await self._answer(connection, message, recipient.user_id, purpose)

    async def _answer(
        self, connection: "Connection", message: InboundMessageReceived, user_id: UUID, purpose: DirectPurpose
    ) -> None:
        answer = DirectMessageRequested(
            notification_id=uuid5(NAMESPACE, f"direct/{message.event_id}/{purpose}"),
            user_id=user_id,
            purpose=purpose,
            requested_at=message.received_at,
        )
        await self._outbox.add(connection, self._notifications, [answer])


_UNLINKED: Final = {"phone": None, "verified": False, "window_opened_at": None}

_CLAIM = """
INSERT INTO phone_claims (user_id, phone, code, expires_at, tries_left) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id) DO UPDATE SET
    phone = excluded.phone, code = excluded.code, expires_at = excluded.expires_at, tries_left = excluded.tries_left
"""

_CLAIM_OF = "SELECT * FROM phone_claims WHERE user_id = $1 AND expires_at > $2 AND tries_left > 0"

_DROP_CLAIM = "DELETE FROM phone_claims WHERE user_id = $1"

_FIRST_TIME = "INSERT INTO inbox (event_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING true"

_LOCK_PHONE = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"

_PROVE = """
DELETE FROM phone_claims WHERE phone = $1 AND code = ANY($2::text[]) AND expires_at > $3 AND tries_left > 0
RETURNING user_id
"""

_MISS = "UPDATE phone_claims SET tries_left = tries_left - 1 WHERE phone = $1 AND tries_left > 0"
