"""Flats that were joined wrongly: both sides get new ids, in all shards at once, and each shard tells its users.

Who comes first moves the advertisements, and what every shard knows of them. A shard that comes later finds them moved;
what happened to the new flats meanwhile was told on top of what was known.
"""

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from common.events import AdvertisementParted, Parted
from common.listing import ListingId
from common.shards import EVERYBODY, Shard
from matcher.difference import Change, Known, parted_changes
from matcher.flats import parted_flats
from matcher.lease import Lease
from matcher.store import ASSIGNING, KNOWN, LAYOUT, LOCK, SERVER_WAITS, SupersededError, known_of, locks

if TYPE_CHECKING:
    from matcher.lease import Connection


class Partings:
    def __init__(self, pool: asyncpg.Pool, shard: Shard = EVERYBODY) -> None:
        self._pool = pool
        self._shard = shard

    @contextlib.asynccontextmanager
    async def parting(self, parted: AdvertisementParted) -> AsyncIterator["HeldParting"]:
        """An advertisement parted from the others of its flat; both sides are held until the block ends.

        That they are apart is kept, also where there is nothing to part: they may be of one flat by what is published
        later. No advertisement is given a flat meanwhile, so that none joins the flat that ends. What is recorded
        within the block is committed at its end, and the moves with it.

        Raises:
            SupersededError: the matcher is divided in another way by now.
            TimeoutError: within the block, when this instance was frozen.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_LOCK_ASSIGNING, ASSIGNING, SERVER_WAITS)
            if await connection.fetchval(LAYOUT) != self._shard.of:
                raise SupersededError
            await connection.execute(_KEEP_APART, parted.listing_id, list(parted.apart_from))
            moves = await self._moves(connection, parted)
            await connection.execute(_RECORD_MOVES, *moves)
            untold = await connection.fetch(_UNTOLD, parted.listing_id, self._shard.number, self._shard.of)
            sides = [_Side(row["flat_id"], row["parted_from"], row["listing_ids"]) for row in untold]
            await self._lock(connection, sides)
            for statement in (_MOVE, _MOVE_KNOWN):
                await connection.execute(statement, *moves)
            changes = await self._changes(connection, sides)
            async with Lease.of(connection) as lease:
                yield HeldParting(changes, sides, self._shard, lease)

    @staticmethod
    async def _moves(connection: "Connection", parted: AdvertisementParted) -> tuple[list[ListingId], list[UUID]]:
        """Which advertisements move, and to which flats: none, if those that are to be apart are not together."""
        members = {row["listing_id"]: row["flat_id"] for row in await connection.fetch(_FLAT_OF, parted.listing_id)}
        if members.keys().isdisjoint({*parted.apart_from} - {parted.listing_id}):
            return [], []
        own, others = parted_flats(members[parted.listing_id], parted.listing_id)
        return list(members), [own if each == parted.listing_id else others for each in members]

    async def _lock(self, connection: "Connection", sides: Iterable["_Side"]) -> None:
        """Lock the flats, before and after, in every shard: nobody is told of them meanwhile."""
        flat_ids = {flat_id for side in sides for flat_id in (side.flat_id, side.parted_from)}
        names = ((shard, flat_id) for shard in Shard.all(self._shard.of) for flat_id in flat_ids)
        await connection.execute(LOCK, locks(names), SERVER_WAITS, None)

    async def _changes(self, connection: "Connection", sides: Sequence["_Side"]) -> list[Change]:
        known: defaultdict[UUID, list[Known]] = defaultdict(list)
        for row in await connection.fetch(KNOWN, [side.flat_id for side in sides], self._shard.number):
            known[row["flat_id"]].append(known_of(row))
        return [change for side in sides for change in side.changes(known[side.flat_id])]


@dataclass(frozen=True)
class _Side:
    """The flat that advertisements moved to."""

    flat_id: UUID
    parted_from: UUID
    listing_ids: Sequence[ListingId]

    def changes(self, known: Iterable[Known]) -> Iterator[Change]:
        parted = Parted(flat_id=self.parted_from, listing_ids=tuple(self.listing_ids))
        return parted_changes(self.flat_id, sorted(known, key=lambda each: each.listing_id), parted)


@dataclass(frozen=True)
class HeldParting:
    """What a shard's users are to be told of the two sides of a flat; nothing, where they were told already."""

    changes: Sequence[Change]
    _sides: Sequence[_Side]
    _shard: Shard
    _lease: Lease

    async def record(self, subscriptions_position: Sequence[int]) -> None:
        """Note that the users were told, and against which searches the sides were matched."""
        async with self._lease.connection() as connection:
            await connection.execute(
                _RECORD_TOLD,
                sorted({side.parted_from for side in self._sides}),
                list(subscriptions_position),
                self._shard.number,
                self._shard.of,
            )


_LOCK_ASSIGNING = """
SELECT set_config('idle_in_transaction_session_timeout', $2, true), pg_advisory_xact_lock($1::bigint)
"""

_KEEP_APART = """
INSERT INTO apart (listing_id, other_id)
SELECT pair.* FROM unnest($2::text[]) AS other (id),
       LATERAL (VALUES ($1::text, other.id), (other.id, $1::text)) AS pair (listing_id, other_id)
 WHERE other.id <> $1
ON CONFLICT DO NOTHING
"""

_FLAT_OF = """
SELECT listing_id, flat_id FROM advertisements
 WHERE flat_id = (SELECT flat_id FROM advertisements WHERE listing_id = $1)
"""

_RECORD_MOVES = """
INSERT INTO partings (flat_id, listing_id, parted_from)
SELECT moved.flat_id, listing_id, before.flat_id
  FROM unnest($1::text[], $2::uuid[]) AS moved (listing_id, flat_id) JOIN advertisements AS before USING (listing_id)
"""

_MOVE = """
-- What joined by being like an advertisement of the other side has no reason left.
WITH moved AS (SELECT * FROM unnest($1::text[], $2::uuid[]) AS moved (listing_id, flat_id))
UPDATE advertisements AS each
   SET flat_id = moved.flat_id,
       (joined_by, joined_like) = (SELECT each.joined_by, each.joined_like FROM moved AS near
                                    WHERE near.listing_id = each.joined_like AND near.flat_id = moved.flat_id)
  FROM moved WHERE each.listing_id = moved.listing_id
"""

_MOVE_KNOWN = """
UPDATE known SET flat_id = moved.flat_id FROM unnest($1::text[], $2::uuid[]) AS moved (listing_id, flat_id)
 WHERE known.listing_id = moved.listing_id
"""

_UNTOLD = """
-- The sides of every flat that the advertisement was parted in, unless these users were told of them: by this shard, or
-- by one that had them in another layout.
SELECT flat_id, parted_from, array_agg(listing_id ORDER BY listing_id) AS listing_ids FROM partings
 WHERE parted_from IN (SELECT parted_from FROM partings WHERE listing_id = $1)
   AND parted_from NOT IN (SELECT parted_from FROM partings_told
                            WHERE (shard - $2::int) % least(shards, $3::int) = 0)
 GROUP BY flat_id, parted_from ORDER BY flat_id
"""

_RECORD_TOLD = """
INSERT INTO partings_told (parted_from, effect, subscriptions_position, shard, shards)
SELECT parted_from, nextval(pg_get_serial_sequence('versions', 'effect')), $2::bigint[], $3::int, $4::int
  FROM unnest($1::uuid[]) AS parted_from
"""
