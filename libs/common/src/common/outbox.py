"""The outbox: events are written in the transaction of the change they tell, and published from there.

Each service that uses it has the table in its own schema::

    CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        topic text NOT NULL,
        key text NOT NULL,
        value bytea,
        headers jsonb NOT NULL
    );
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import structlog
from aiokafka.errors import KafkaError

from common.events import Event
from common.kafka import Encoded, Publisher, encode, tombstone
from common.postgres import CONNECTION_LOST, connect
from common.topics import Topic

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[Any] | PoolConnectionProxy[Any]

log = structlog.get_logger()

RELAY_LOCK: Final = 0x0B0C5
RETRY_S: Final = 1.0
POLL_S: Final = 5.0  # a net only: the writer's notification wakes the relay
BATCH: Final = 500
ANSWER_WITHIN_S: Final = 30.0  # a server that is gone without a word


class Outbox:
    """Writes events beside the change that they tell; `source` names the service in `ce_source`."""

    def __init__(self, source: str) -> None:
        self._source = source

    async def add(self, connection: "Connection", topic: Topic, events: Iterable[Event]) -> None:
        """Add events to the caller's transaction."""
        await self._insert(connection, [encode(topic, event, self._source) for event in events])

    async def add_tombstone(self, connection: "Connection", topic: Topic, key: str) -> None:
        """Add the deletion of a key to the caller's transaction."""
        await self._insert(connection, [tombstone(topic, key)])

    async def _insert(self, connection: "Connection", records: list[Encoded]) -> None:
        if not records:
            return
        await connection.execute(
            _INSERT,
            [record.topic for record in records],
            [record.key for record in records],
            [record.value for record in records],
            [dict(record.headers) for record in records],
        )
        await connection.execute(_WAKE)


_INSERT = """
INSERT INTO outbox (topic, key, value, headers)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::jsonb[])
"""

_WAKE = "SELECT pg_notify(current_schema() || '_outbox', '')"


class Relay:
    """Publishes what the outbox holds, in order of id, and removes it when Kafka has acknowledged it.

    One relay works at a time, held by an advisory lock; the others wait to take over. It looks for what is there, not
    for what is newer than the last: ids of slower transactions appear late.
    """

    def __init__(self, database_url: str, publisher: Publisher) -> None:
        self._database_url = database_url
        self._publisher = publisher

    async def run(self) -> None:
        """Relay until cancelled; a lost database or broker is tried again."""
        while True:
            try:
                await self._relay_while_connected()
            except (*CONNECTION_LOST, KafkaError) as error:
                log.warning("outbox relay interrupted, trying again", error=type(error).__name__)
                await asyncio.sleep(RETRY_S)

    async def _relay_while_connected(self) -> None:
        connection = await connect(self._database_url, "outbox-relay")
        woken = asyncio.Event()
        try:
            await connection.execute("SELECT pg_advisory_lock($1, hashtext(current_schema()))", RELAY_LOCK)
            channel = await connection.fetchval("SELECT current_schema() || '_outbox'")
            await connection.add_listener(channel, lambda *_: woken.set())
            connection.add_termination_listener(lambda _: woken.set())  # to notice now, not at the next look
            while True:
                woken.clear()
                if not await self._relay_batch(connection):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), POLL_S)
        finally:
            connection.terminate()

    async def _relay_batch(self, connection: "Connection") -> int:
        rows = await connection.fetch(_UNSENT, BATCH, timeout=ANSWER_WITHIN_S)
        records = [Encoded(row["topic"], row["key"], row["value"], row["headers"]) for row in rows]
        if records:
            await self._publisher.publish_encoded(records)
            await connection.execute(_SENT, [row["id"] for row in rows], timeout=ANSWER_WITHIN_S)
        return len(records)


_UNSENT = "SELECT id, topic, key, value, headers FROM outbox ORDER BY id LIMIT $1"

_SENT = "DELETE FROM outbox WHERE id = ANY($1::bigint[])"
