"""Saved searches. A change and the event that tells it are one transaction; revisions grow under the row's lock."""

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import asyncpg

from api.paging import Cursor
from common.events import SubscriptionSaved
from common.outbox import Outbox
from common.search import Subscription, SubscriptionStatus
from common.topics import Topic

if TYPE_CHECKING:
    from common.outbox import Connection

MOST_OF_ONE_USER: Final = 100


class TooManySubscriptions(Exception):  # noqa: N818 - the name says it
    """A user may keep at most 100 searches: delete one that is no longer needed."""


class Subscriptions:
    def __init__(self, pool: asyncpg.Pool, outbox: Outbox, topic: Topic) -> None:
        self._pool = pool
        self._outbox = outbox
        self._topic = topic

    async def create(self, user_id: UUID, fields: dict[str, Any]) -> Subscription:
        """Save a new search, given its name, alerts, least price drop and search.

        Raises:
            TooManySubscriptions: the user has as many as are allowed.
        """
        created = Subscription(subscription_id=uuid4(), user_id=user_id, revision=1, **fields)
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_LOCK_USER, user_id)
            if await connection.fetchval(_COUNT, user_id) >= MOST_OF_ONE_USER:
                raise TooManySubscriptions
            await connection.execute(_CREATE, *_columns(created))
            await self._publish(connection, created)
        return created

    async def of(self, user_id: UUID, after: Cursor | None, limit: int) -> tuple[list[Subscription], Cursor | None]:
        """A user's searches in order of creation, and where the next page begins."""
        rows = await self._pool.fetch(_PAGE, user_id, after and after.at, after and after.id, limit + 1)
        page = rows[:limit]
        more = Cursor(page[-1]["created_at"], page[-1]["subscription_id"]) if len(rows) > limit else None
        return [subscription_of(row) for row in page], more

    async def one(self, user_id: UUID, subscription_id: UUID) -> Subscription | None:
        row = await self._pool.fetchrow(_ONE, subscription_id, user_id)
        return subscription_of(row) if row else None

    async def change(self, user_id: UUID, subscription_id: UUID, fields: dict[str, Any]) -> Subscription | None:
        """Replace some fields of a user's search; None where the user has no such search."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(f"{_ONE} FOR UPDATE", subscription_id, user_id)
            if row is None:
                return None
            before = subscription_of(row)
            after = before.model_copy(update=fields)
            if after == before:
                return before
            saved = after.model_copy(update={"revision": before.revision + 1})
            await connection.execute(_SAVE, *_columns(saved))
            await self._publish(connection, saved)
        return saved

    async def set_status(self, user_id: UUID, subscription_id: UUID, status: SubscriptionStatus) -> Subscription | None:
        """Pause or resume a user's search; one that is so already stays as it is."""
        return await self.change(user_id, subscription_id, {"status": status})

    async def delete(self, user_id: UUID, subscription_id: UUID) -> bool:
        """Delete a user's search; whether there was one."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(_DELETE, subscription_id, user_id):
                return False
            await self._outbox.add_tombstone(connection, self._topic, str(subscription_id))
        return True

    async def publish_again(self) -> int:
        """Publish every search as it is, for a topic that was lost; who knows the revision passes it over. How many."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch("SELECT * FROM subscriptions ORDER BY subscription_id FOR UPDATE")
            saved = [SubscriptionSaved(subscription=subscription_of(row)) for row in rows]
            await self._outbox.add(connection, self._topic, saved)
        return len(saved)

    async def _publish(self, connection: "Connection", subscription: Subscription) -> None:
        await self._outbox.add(connection, self._topic, [SubscriptionSaved(subscription=subscription)])


def _columns(subscription: Subscription) -> tuple[object, ...]:
    return (
        subscription.subscription_id,
        subscription.user_id,
        subscription.revision,
        subscription.name,
        subscription.status,
        sorted(subscription.alerts),
        subscription.price_drop.model_dump(mode="json"),
        subscription.search.model_dump(mode="json", exclude_none=True),
    )


def subscription_of(row: asyncpg.Record) -> Subscription:
    """A row of the table as what it stands for."""
    return Subscription.model_validate({name: row[name] for name in Subscription.model_fields})


_LOCK_USER = "SELECT FROM users WHERE user_id = $1 FOR UPDATE"

_COUNT = "SELECT count(*) FROM subscriptions WHERE user_id = $1"

_CREATE = """
INSERT INTO subscriptions (subscription_id, user_id, revision, name, status, alerts, price_drop, search)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""

_ONE = "SELECT * FROM subscriptions WHERE subscription_id = $1 AND user_id = $2"

_PAGE = """
SELECT * FROM subscriptions
WHERE user_id = $1 AND ($2::timestamptz IS NULL OR (created_at, subscription_id) > ($2, $3::uuid))
ORDER BY created_at, subscription_id LIMIT $4
"""

_SAVE = """
UPDATE subscriptions SET revision = $3, name = $4, status = $5, alerts = $6, price_drop = $7, search = $8
WHERE subscription_id = $1 AND user_id = $2
"""

_DELETE = "DELETE FROM subscriptions WHERE subscription_id = $1 AND user_id = $2 RETURNING true"
