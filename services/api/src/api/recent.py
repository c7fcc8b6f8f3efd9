"""The listings of the last days in memory, read from PostgreSQL: whichever process heard of them, each has all."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

import asyncpg
import structlog

from api.columns import Columns, Offer
from common.listing import Listing, ListingStatus
from common.postgres import CONNECTION_LOST

log = structlog.get_logger()

RECENT: Final = dt.timedelta(days=14)
MOST: Final = 150_000
"""Listings in memory, so that it stays bounded; where more come, the newest are recent."""
AT_ONCE: Final = 1_000
EVERY_S: Final = 30.0
PATIENCE_S: Final = 10.0

_T = TypeVar("_T")


class RecentListings:
    """Follows `recent_listings`. Everything that takes long is done in one thread, so that requests are not held up."""

    def __init__(self, pool: asyncpg.Pool, thread: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._thread = thread
        self._turn = asyncio.Lock()
        self._columns = Columns()
        self._last_arrival = 0
        self.is_ready = False  # all have been read once: after the start that takes a while

    @classmethod
    @contextlib.asynccontextmanager
    async def following(cls, pool: asyncpg.Pool) -> AsyncIterator["RecentListings"]:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="recent-listings") as thread:
            yield cls(pool, thread)

    async def ask(self, question: Callable[[Columns], _T]) -> _T:
        """The answer of a pure question to the listings as they are now, those that were just recorded included.

        Raises:
            TimeoutError: the listings are still being read after a start.
        """
        async with asyncio.timeout(PATIENCE_S):
            await self._turn.acquire()
        try:
            await self._follow()
            return await self._aside(lambda: question(self._columns))
        finally:
            self._turn.release()

    async def keep_up(self) -> None:
        """Read what is new every now and then, until cancelled, so that nobody who asks has to wait for all of it."""
        while True:
            try:
                async with self._turn:
                    await self._follow()
            except CONNECTION_LOST as error:
                log.warning("recent listings cannot be read, trying again later", error=type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def one(self, listing_id: str) -> Listing | None:
        """A listing as it was last offered, withdrawn if it has gone since; None where none is known in full."""
        return (await self.several([listing_id])).get(listing_id)

    async def several(self, listing_ids: Sequence[str]) -> dict[str, Listing]:
        """Those of the listings that are known in full, each as `one` gives it."""
        rows = await self._pool.fetch(_SEVERAL, listing_ids)
        return {row["listing_id"]: _as_it_is(row) for row in rows}

    async def numbered(self, numbers: list[int]) -> dict[int, Listing]:
        """Listings by their numbers, as they were last offered."""
        rows = await self._pool.fetch(_NUMBERED, numbers)
        return {row["number"]: Listing.model_validate_json(row["listing"]) for row in rows}

    async def _follow(self) -> None:
        since = dt.datetime.now(dt.UTC) - RECENT
        while rows := await self._pool.fetch(_NEXT, self._last_arrival, since, AT_ONCE):
            await self._aside(partial(_add, self._columns, rows))
            self._last_arrival = rows[-1]["arrival"]
        self.is_ready = True
        self._columns = await self._aside(partial(_tidied, self._columns, since.timestamp()))

    async def _aside(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _as_it_is(row: asyncpg.Record) -> Listing:
    listing = Listing.model_validate_json(row["listing"])
    return listing if row["active"] else listing.model_copy(update={"status": ListingStatus.WITHDRAWN})


def _add(columns: Columns, rows: Sequence[asyncpg.Record]) -> None:
    columns.add([_offer(row) for row in rows])


def _offer(row: asyncpg.Record) -> Offer:
    return Offer(row["number"], row["offered_at"].timestamp(), Listing.model_validate_json(row["listing"]))


def _tidied(columns: Columns, since: float) -> Columns:
    """Without what is not recent any more, once that is a fifth of all."""
    recent = columns.offered_since(since)[-MOST:]
    return columns.only(recent) if len(columns) > 1.25 * len(recent) else columns


_NEXT = """
-- Writers take turns until they have committed (see _TAKE_TURN), so that no arrival is passed over.
SELECT number, arrival, offered_at, listing::text FROM recent_listings
WHERE arrival > $1 AND offered_at > $2 AND listing IS NOT NULL ORDER BY arrival LIMIT $3
"""

_SEVERAL = """
SELECT listing_id, active, listing::text FROM recent_listings
WHERE listing_id = ANY($1::text[]) AND listing IS NOT NULL
"""

_NUMBERED = "SELECT number, listing::text FROM recent_listings WHERE number = ANY($1::bigint[])"
