"""Recipients: how, when and whether a user may be reached. Each change is published from the same transaction."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from common.events import Grouping, Language, PhoneClaim, QuietHours, Recipient, RecipientSaved
from common.outbox import Outbox
from common.topics import Topic

if TYPE_CHECKING:
    from common.outbox import Connection


class Recipients:
    """The table `recipients` and the topic that tells of it."""

    def __init__(self, pool: asyncpg.Pool, outbox: Outbox, topic: Topic) -> None:
        self._pool = pool
        self._outbox = outbox
        self._topic = topic

    async def of(self, user_id: UUID) -> Recipient | None:
        rows = await self._pool.fetch(_RECIPIENTS, [user_id])
        return _recipient(rows[0]) if rows else None

    async def create(self, connection: "Connection", recipient: Recipient) -> None:
        """Add the recipient of a new account to the caller's transaction."""
        await connection.execute(_CREATE, recipient.user_id, recipient.language, recipient.time_zone)
        await self._outbox.add(connection, self._topic, [RecipientSaved(recipient=recipient)])

    async def change(self, user_id: UUID, changes: dict[str, Any]) -> Recipient | None:
        """Change some fields of a user's recipient; the recipient as it now is, or None for an unknown user."""
        async with self._pool.acquire() as connection, connection.transaction():
            recipient = await self.locked(connection, user_id)
            return await self.save(connection, recipient, changes) if recipient else None

    async def publish_again(self) -> int:
        """Publish everybody as they are, for a topic that was lost; who knows the revision passes it over. How many."""
        async with self._pool.acquire() as connection, connection.transaction():
            locked = await connection.fetch("SELECT user_id FROM recipients ORDER BY user_id FOR UPDATE")
            everybody = await self._read(connection, locked)
            await self._outbox.add(connection, self._topic, [RecipientSaved(recipient=each) for each in everybody])
        return len(everybody)

    async def locked(self, connection: "Connection", user_id: UUID) -> Recipient | None:
        """A user's recipient, which nobody else changes until the caller's transaction ends."""
        locked = await self._read(connection, await connection.fetch(_LOCK, user_id))
        return locked[0] if locked else None

    async def locked_with_phone(self, connection: "Connection", phone: str) -> list[Recipient]:
        """Who has proven a phone, and all who claim it, locked in an order that cannot deadlock."""
        return await self._read(connection, await connection.fetch(_LOCK_WITH_PHONE, phone))

    async def _read(self, connection: "Connection", locked: list[asyncpg.Record]) -> list[Recipient]:
        """Recipients whose rows are locked by now: a claim that was read before the lock could be an old one."""
        rows = await connection.fetch(_RECIPIENTS, [row["user_id"] for row in locked])
        return [_recipient(row) for row in rows]

    async def save(self, connection: "Connection", recipient: Recipient, changes: dict[str, Any]) -> Recipient:
        """Record and publish a changed recipient, whose row the caller has locked; claims have a table of their own."""
        saved = recipient.model_copy(update={**changes, "revision": recipient.revision + 1})
        quiet = saved.quiet_hours
        await connection.execute(
            _SAVE,
            saved.user_id,
            saved.revision,
            saved.phone,
            saved.language,
            saved.time_zone,
            quiet.start if quiet else None,
            quiet.end if quiet else None,
            saved.interval_seconds,
            saved.stopped,
            saved.window_opened_at,
            saved.grouping,
            saved.paused_until,
            saved.stopped_at,
        )
        await self._outbox.add(connection, self._topic, [RecipientSaved(recipient=saved)])
        return saved


def _recipient(row: asyncpg.Record) -> Recipient:
    return Recipient(
        user_id=row["user_id"],
        revision=row["revision"],
        phone=row["phone"],
        verified=row["phone"] is not None,  # only a proven phone is stored
        language=Language(row["language"]),
        time_zone=row["time_zone"],
        quiet_hours=(
            QuietHours(start=row["quiet_from"], end=row["quiet_until"]) if row["quiet_from"] is not None else None
        ),
        interval_seconds=row["interval_seconds"],
        grouping=Grouping(row["grouping"]),
        paused_until=row["paused_until"],
        stopped_at=row["stopped_at"],
        stopped=row["stopped"],
        window_opened_at=row["window_opened_at"],
        claim=_claim(row) if row["claim_id"] else None,
    )


def _claim(row: asyncpg.Record) -> PhoneClaim:
    return PhoneClaim(
        claim_id=row["claim_id"], phone=row["claimed_phone"], code=row["code"], expires_at=row["expires_at"]
    )


_RECIPIENTS = """
-- With the claim whose code is sent to the phone; others are nobody's business but the api's.
SELECT recipients.*, claim_id, claim.phone AS claimed_phone, code, expires_at FROM recipients
LEFT JOIN phone_claims AS claim ON claim.user_id = recipients.user_id AND claim.proof = 'to_phone'
WHERE recipients.user_id = ANY($1::uuid[]) ORDER BY recipients.user_id
"""

_LOCK = "SELECT user_id FROM recipients WHERE user_id = $1 FOR UPDATE"

_LOCK_WITH_PHONE = """
SELECT user_id FROM recipients
WHERE phone = $1 OR user_id IN (SELECT user_id FROM phone_claims WHERE phone = $1)
ORDER BY user_id FOR UPDATE
"""

_CREATE = "INSERT INTO recipients (user_id, revision, language, time_zone) VALUES ($1, 1, $2, $3)"

_SAVE = """
UPDATE recipients SET revision = $2, phone = $3, language = $4, time_zone = $5, quiet_from = $6, quiet_until = $7,
    interval_seconds = $8, stopped = $9, window_opened_at = $10, "grouping" = $11, paused_until = $12, stopped_at = $13
WHERE user_id = $1
"""
