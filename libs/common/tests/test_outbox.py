"""The outbox on real PostgreSQL and real Kafka: what is committed is published, in order, whatever is killed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from common.events import ListingPublished
from common.kafka import Encoded, Publisher
from common.outbox import Outbox, Relay
from common.postgres import open_pool
from common.topics import Topics
from testkit.factories import make_listing
from testkit.records import records_of
from testkit.servers import Database
from testkit.waiting import eventually

TABLE = """
CREATE TABLE IF NOT EXISTS outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    key text NOT NULL,
    value bytea,
    headers jsonb NOT NULL
)
"""
outbox = Outbox("tests")


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(database.url("matcher"), "tests") as pool:
        await pool.execute(TABLE)
        yield pool


@pytest.fixture
async def publisher(kafka: str) -> AsyncIterator[Publisher]:
    async with Publisher.connected(kafka, "tests") as publisher:
        yield publisher


@contextlib.asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def event(version: int) -> ListingPublished:
    return ListingPublished(listing=make_listing(version=version))


async def add(pool: asyncpg.Pool, topics: Topics, *versions: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await outbox.add(connection, topics.listings, [event(version) for version in versions])


async def emptied(pool: asyncpg.Pool) -> None:
    await eventually(lambda: pool.fetchval("SELECT count(*) = 0 FROM outbox"))


async def published(kafka: str, topics: Topics) -> list[int]:
    """The versions of the one listing, in the order in which they are on Kafka."""
    return [
        ListingPublished.model_validate_json(record.value or b"").listing.version
        for record in await records_of(kafka, topics.listings)
    ]


async def test_what_is_committed_is_published_in_order_and_removed(
    database: Database, pool: asyncpg.Pool, publisher: Publisher, kafka: str, topics: Topics
) -> None:
    await add(pool, topics, *range(1, 1201))
    async with running(Relay(database.url("matcher"), publisher)):
        await emptied(pool)
    assert await published(kafka, topics) == list(range(1, 1201))


async def test_a_commit_wakes_the_relay(
    database: Database, pool: asyncpg.Pool, publisher: Publisher, kafka: str, topics: Topics
) -> None:
    async with running(Relay(database.url("matcher"), publisher)):
        await add(pool, topics, 1)
        await emptied(pool)
        started = asyncio.get_running_loop().time()
        await add(pool, topics, 2)
        await emptied(pool)
        assert asyncio.get_running_loop().time() - started < 4  # it looks by itself every 5 s only
    assert await published(kafka, topics) == [1, 2]


async def test_what_is_rolled_back_is_never_published(
    database: Database, pool: asyncpg.Pool, publisher: Publisher, kafka: str, topics: Topics
) -> None:
    with contextlib.suppress(RuntimeError):
        async with pool.acquire() as connection, connection.transaction():
            await outbox.add(connection, topics.listings, [event(1)])
            raise RuntimeError
    await add(pool, topics, 2)
    async with running(Relay(database.url("matcher"), publisher)):
        await emptied(pool)
    assert await published(kafka, topics) == [2]


async def test_a_tombstone_is_published(
    database: Database, pool: asyncpg.Pool, publisher: Publisher, kafka: str, topics: Topics
) -> None:
    async with pool.acquire() as connection:
        await outbox.add_tombstone(connection, topics.subscriptions, "a-search")
    async with running(Relay(database.url("matcher"), publisher)):
        await emptied(pool)
    [record] = await records_of(kafka, topics.subscriptions)
    assert (record.key, record.value) == (b"a-search", None)


async def test_the_earlier_id_of_a_slower_transaction_is_not_skipped(
    database: Database, pool: asyncpg.Pool, publisher: Publisher, kafka: str, topics: Topics
) -> None:
    async with running(Relay(database.url("matcher"), publisher)), pool.acquire() as slow:
        async with slow.transaction():
            await outbox.add(slow, topics.listings, [event(1)])
            await add(pool, topics, 2)
            await emptied(pool)
            assert await published(kafka, topics) == [2]
        await emptied(pool)
    assert await published(kafka, topics) == [2, 1]


class CrashesAfterPublishing(Publisher):
    """A publisher whose process dies when Kafka has acknowledged."""

    async def publish_encoded(self, records: Sequence[Encoded]) -> None:
        await super().publish_encoded(records)
        raise SystemError


async def test_a_crash_between_publishing_and_removing_publishes_again(
    database: Database, pool: asyncpg.Pool, publisher: Publisher, kafka: str, topics: Topics
) -> None:
    await add(pool, topics, 1, 2)
    async with CrashesAfterPublishing.connected(kafka, "tests") as crashing:
        with pytest.raises(SystemError):
            await Relay(database.url("matcher"), crashing).run()
    async with running(Relay(database.url("matcher"), publisher)):
        await emptied(pool)
    records = await records_of(kafka, topics.listings)
    assert [dict(record.headers)["ce_id"].decode() for record in records] == 2 * [
        str(event(version).event_id) for version in (1, 2)
    ]


async def test_one_relay_works_and_another_takes_over_when_its_connection_is_killed(
    database: Database, pool: asyncpg.Pool, publisher: Publisher, kafka: str, topics: Topics
) -> None:
    relay = Relay(database.url("matcher"), publisher)
    async with running(relay, relay):
        for version in range(1, 4):
            await add(pool, topics, version)
            await emptied(pool)
            [holder] = await pool.fetch(LOCK_HOLDERS)
            await pool.execute("SELECT pg_terminate_backend($1)", holder["pid"])
        await add(pool, topics, 4)
        await emptied(pool)
        assert len(await pool.fetch(LOCK_HOLDERS)) == 1
    assert await published(kafka, topics) == [1, 2, 3, 4]


LOCK_HOLDERS = """
SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND granted AND datname = current_database()
"""
