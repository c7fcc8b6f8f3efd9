"""Locks that end when their holder hangs: it must show the server, and itself, again and again that it is alive."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, Self

import asyncpg

from common.postgres import CONNECTION_LOST

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection = asyncpg.Connection[Any] | PoolConnectionProxy[Any]

SERVER_WAITS_S: Final = 10.0
"""After so long without a word within a transaction the server ends it and frees its locks. As long as a session with
Kafka: when others take over what a frozen instance is at, they need not wait for its locks too."""

LEASE_S: Final = 8.0
"""When an instance itself gives up: before the server does, so that it publishes nothing that is another's by then."""

RENEWED_EVERY_S: Final = 2.0


class Lease:
    """The connection of a transaction, and how long its locks may be believed in."""

    def __init__(self, connection: "Connection", limit: asyncio.Timeout) -> None:
        self._connection = connection
        self._limit = limit
        self._busy = asyncio.Lock()

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, connection: "Connection") -> AsyncIterator[Self]:
        """A lease on what the transaction has locked, renewed within the block.

        An instance that was frozen, and that the server has therefore given up, leaves it with a TimeoutError.
        """
        async with asyncio.timeout(LEASE_S) as limit:
            lease = cls(connection, limit)
            renewing = asyncio.create_task(lease._renew())
            try:
                yield lease
            finally:
                async with lease._busy:  # a statement that is cancelled takes its transaction with it
                    renewing.cancel()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEWED_EVERY_S)
            async with self._busy:
                try:
                    await self._connection.execute("SELECT")
                except CONNECTION_LOST:
                    self._limit.reschedule(asyncio.get_running_loop().time())
                    return
                if self._limit.when() is not None:
                    self._limit.reschedule(asyncio.get_running_loop().time() + LEASE_S)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator["Connection"]:
        """The connection, to end the transaction with: whether it still holds its locks is the server's word now."""
        async with self._busy:
            self._limit.reschedule(None)
            yield self._connection
