"""Recipients: how, when and whether a user may be reached. Each change is published from the same transaction."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from common.events import Language, QuietHours, Recipient, RecipientSaved
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
        row = await self._pool.fetchrow(_RECIPIENT, user_id)
        return _recipient(row) if row else None

    async def create(self, connection: "Connection", recipient: Recipient) -> None:
        """Add the recipient of a new account to the caller's transaction."""
        await connection.execute(_CREATE, recipient.user_id, recipient.language, recipient.time_zone)
        await self._outbox.add(connection, self._topic, [RecipientSaved(recipient=recipient)])

    async def change(self, user_id: UUID, changes: dict[str, Any]) -> Recipient | None:
        """Change some fields of a user's recipient; the recipient as it now is, or None for an unknown user."""
        async with self._pool.acquire() as connection, connection.transaction():
            recipient = await self.locked(connection, user_id)
            return await self.save(connection, recipient, changes) if recipient else None

    async def locked(self, connection: "Connection", user_id: UUID) -> Recipient | None:
        """A user's recipient, which nobody else changes until the caller's transaction ends."""
        row = await connection.fetchrow(f"{_RECIPIENT} FOR UPDATE", user_id)
        return _recipient(row) if row else None

    async def locked_with_phone(
        self, connection: "Connection", phone: str, claimant: UUID | None = None
    ) -> list[Recipient]:
        """Who has proven a phone, and the one who claims it, locked in an order that cannot deadlock."""
        return [_recipient(row) for row in await connection.fetch(_WITH_PHONE, phone, claimant)]

    async def save(self, connection: "Connection", recipient: Recipient, changes: dict[str, Any]) -> Recipient:
        """Record and publish a changed recipient, whose row the caller has locked."""
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
        stopped=row["stopped"],
        window_opened_at=row["window_opened_at"],
    )


_RECIPIENT = "SELECT * FROM recipients WHERE user_id = $1"

_WITH_PHONE = "SELECT * FROM recipients WHERE phone = $1 OR user_id = $2 ORDER BY user_id FOR UPDATE"

_CREATE = "INSERT INTO recipients (user_id, revision, language, time_zone) VALUES ($1, 1, $2, $3)"

_SAVE = """
UPDATE recipients SET revision = $2, phone = $3, language = $4, time_zone = $5, quiet_from = $6, quiet_until = $7,
    interval_seconds = $8, stopped = $9, window_opened_at = $10
WHERE user_id = $1
"""
