"""Erasure: an account and everything of it, in every table here; tombstones make the other services do the same.

What stays says nothing of anybody: the trail of consents without phones and messages, and ids of accounts that are
gone, for as long as Kafka may still bring events of theirs.
"""

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg

from api.consents import Consents, How, What
from api.dead_letters import DeadLetters
from api.security import Pseudonyms
from common.outbox import Outbox
from common.topics import Topic, Topics

if TYPE_CHECKING:
    from common.outbox import Connection

EVENTS_MAY_COME_FOR: Final = dt.timedelta(days=40)  # Kafka keeps notifications and statuses for 30
TOKENS_MAY_COME_FOR: Final = dt.timedelta(days=1)
AFTER_THE_SEGMENT: Final = dt.timedelta(minutes=5)


class Erasure:
    def __init__(
        self,
        pool: asyncpg.Pool,
        outbox: Outbox,
        topics: Topics,
        consents: Consents,
        *,
        pseudonyms: Pseudonyms,
        dead_letters: DeadLetters,
    ) -> None:
        self._pool = pool
        self._outbox = outbox
        self._topics = topics
        self._consents = consents
        self._pseudonyms = pseudonyms
        self._dead_letters = dead_letters

    async def erase(self, user_id: UUID, now: dt.datetime) -> None:
        """Erase an account, in one transaction; one that has gone stays so."""
        letters = await self._dead_letters_of(user_id)
        async with self._pool.acquire() as connection, connection.transaction():
            account = await connection.fetchrow(_LOCK, user_id)
            if account is None:
                return
            phone = account["phone"]
            gone = [*await self._deleted_keys(connection, user_id, phone), *letters]
            await self._remember(connection, user_id, account, now)
            for statement in FORGET:
                await connection.execute(statement, user_id)
            if phone:
                await connection.execute(_FORGET_PHONE, self._pseudonyms.of_phone(phone))
            await self._consents.record(connection, user_id, What.ERASED, How.API, now)
            await self._consents.make_anonymous(connection, user_id)
            for topic, key in gone:
                await self._outbox.add_tombstone(connection, topic, key)
                due_at = now + topic.forgets_after + AFTER_THE_SEGMENT
                await connection.execute(_REPEAT_TOMBSTONE, topic.name, key, due_at)

    async def _dead_letters_of(self, user_id: UUID) -> list[tuple[Topic, str]]:
        phone: str | None = await self._pool.fetchval(_PHONE, user_id)
        marks = [str(user_id), *((phone.removeprefix("+"), _sender_hash(phone)) if phone else ())]
        return [(letter.topic, letter.key) for letter in await self._dead_letters.mentioning(marks)]

    async def _deleted_keys(
        self, connection: "Connection", user_id: UUID, phone: str | None
    ) -> list[tuple[Topic, str]]:
        """What is to be deleted from Kafka."""
        searches = await connection.fetch(_SEARCHES, user_id)
        keys = [(self._topics.subscriptions, str(row["subscription_id"])) for row in searches]
        keys.append((self._topics.recipients, str(user_id)))
        if phone:
            keys.append((self._topics.inbound_messages, _sender_hash(phone)))
        return keys

    async def _remember(
        self, connection: "Connection", user_id: UUID, account: asyncpg.Record, now: dt.datetime
    ) -> None:
        """Keep what makes it stay erased, whatever is still under way."""
        await connection.execute(_REMEMBER_USER, user_id, now)
        if account["subject"]:
            identity = self._pseudonyms.of_identity(account["issuer"], account["subject"])
            await connection.execute(_REMEMBER_IDENTITY, identity, now)

    async def keep_erased(self, now: dt.datetime) -> None:
        """Finish what takes its time: repeat tombstones, and remove what was under way at the moment of an erasure."""
        for statement in _REMOVE_WHAT_CAME_LATER:
            await self._pool.execute(statement)
        async with self._pool.acquire() as connection, connection.transaction():
            topics = {topic.name: topic for topic in self._topics.all()}
            for row in await connection.fetch(_DUE_TOMBSTONES, now):
                if topic := topics.get(row["topic"]):
                    await self._outbox.add_tombstone(connection, topic, row["key"])
        await self._pool.execute(_FORGET_USERS, now - EVENTS_MAY_COME_FOR)
        await self._pool.execute(_FORGET_IDENTITIES, now - TOKENS_MAY_COME_FOR)


def _sender_hash(phone: str) -> str:
    """The key of what a phone wrote, as the webhook makes it."""
    return hashlib.sha256(phone.encode()).hexdigest()


_PHONE = "SELECT phone FROM recipients WHERE user_id = $1"

_LOCK = """
SELECT issuer, subject, phone FROM users LEFT JOIN recipients USING (user_id) WHERE user_id = $1 FOR UPDATE OF users
"""

_SEARCHES = "SELECT subscription_id FROM subscriptions WHERE user_id = $1"

_REMEMBER_USER = "INSERT INTO erased_users (user_id, erased_at) VALUES ($1, $2)"

_REMEMBER_IDENTITY = """
INSERT INTO erased_identities (identity_hash, erased_at) VALUES ($1, $2)
ON CONFLICT (identity_hash) DO UPDATE SET erased_at = excluded.erased_at
"""

FORGET: Final = (
    """
    WITH mine AS (
        SELECT notification_id FROM notifications WHERE user_id = $1
        UNION ALL SELECT notification_id FROM direct_messages WHERE user_id = $1
    ), settled AS (
        DELETE FROM settled_notifications WHERE notification_id IN (SELECT notification_id FROM mine)
    )
    DELETE FROM told_in_messages WHERE notification_id IN (SELECT notification_id FROM mine)
    """,
    """
    DELETE FROM message_statuses WHERE user_id = $1
        OR message_id IN (SELECT message_id FROM messages WHERE user_id = $1)
    """,
    "DELETE FROM messages WHERE user_id = $1",
    "DELETE FROM direct_messages WHERE user_id = $1",
    "DELETE FROM notifications WHERE user_id = $1",
    # With it go recipient, claims, links, searches and sign-ins.
    "DELETE FROM users WHERE user_id = $1",
)

# A STOP is kept, as a hash that only we can compare: it is why nobody's code is sent there.
_FORGET_PHONE = "DELETE FROM phones_heard WHERE phone_hash = $1 AND stopped_at IS NULL"

_REPEAT_TOMBSTONE = """
INSERT INTO repeated_tombstones (topic, key, due_at) VALUES ($1, $2, $3)
ON CONFLICT (topic, key) DO UPDATE SET due_at = excluded.due_at
"""

_DUE_TOMBSTONES = """
DELETE FROM repeated_tombstones WHERE (topic, key) IN (
    SELECT topic, key FROM repeated_tombstones WHERE due_at <= $1 ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED
)
RETURNING topic, key
"""

_REMOVE_WHAT_CAME_LATER: Final = tuple(
    f"DELETE FROM {table} WHERE user_id IN (SELECT user_id FROM erased_users)"  # noqa: S608 - constants
    for table in ("message_statuses", "messages", "direct_messages", "notifications")
)

_FORGET_USERS = "DELETE FROM erased_users WHERE erased_at < $1"

_FORGET_IDENTITIES = "DELETE FROM erased_identities WHERE erased_at < $1"
