"""The matcher's tables: which flat an advertisement is of, and what is known of each flat.

A batch takes the same number of round trips to the database, however many listings it holds.
"""

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

import asyncpg

from common.listing import Listing, ListingId, SpeseTerm
from common.shards import EVERYBODY, Shard
from matcher.difference import Change, Flat, Known, Origin, Published
from matcher.drops import Asked
from matcher.flats import NEAR_DEGREES, Advertisement, Apart, Joined, advertisement_of, assign
from matcher.lease import SERVER_WAITS_S, Lease

if TYPE_CHECKING:
    from matcher.lease import Connection

SERVER_WAITS: Final = f"{SERVER_WAITS_S:g}s"

ASSIGNING: Final = 0x666C617473
"""The advisory lock that everybody shares who gives advertisements their flats, and that a parting has alone."""


class PartedMeanwhileError(Exception):
    """A flat was parted between finding it and holding it: the batch comes again and finds the flats of now."""

    def __str__(self) -> str:
        return str(self.__doc__)


class SupersededError(Exception):
    """The matcher has been divided into another number of shards since this one was started: stop it."""

    def __str__(self) -> str:
        return str(self.__doc__)


class Store:
    """Which flat an advertisement is of is the same for all shards; what is known of it is each one's own."""

    def __init__(self, pool: asyncpg.Pool, shard: Shard = EVERYBODY) -> None:
        self._pool = pool
        self._shard = shard

    async def flats_of(self, published: Sequence[Published]) -> dict[ListingId, UUID]:
        """The flat of every advertisement, joined or created and committed; a tombstone of an unknown one has none.

        The locks of the blocks are held meanwhile: two advertisements of one flat that reach two instances at the
        same moment meet.
        """
        latest = _latest_versions(published)
        seen = {listing_id: advertisement_of(listing) for listing_id, listing in latest.items()}
        async with self._pool.acquire() as connection, connection.transaction():
            blocks = {each.block for each in seen.values() if each.block}
            await connection.execute(LOCK, locks(blocks), SERVER_WAITS, ASSIGNING)
            related = await connection.fetch(
                _RELATED, list({each.listing_id for each in published}), *_marks(seen.values()), NEAR_DEGREES
            )
            known = {row["listing_id"]: _Assigned.of(row) for row in related}
            new = [each for key, each in seen.items() if key not in known]
            joined = assign(new, _flats(known.values()), await _apart(connection, new))
            joined |= {listing_id: Joined(each.flat_id) for listing_id, each in known.items()}
            changed = [
                each
                for key, each in sorted(seen.items())
                if key not in known or known[key].is_changed_by(each, latest[key].version)
            ]
            assigned = await connection.fetch(
                _ASSIGN,
                [each.listing_id for each in changed],
                [joined[each.listing_id].flat_id for each in changed],
                [latest[each.listing_id].version for each in changed],
                [each.model_dump(mode="json") for each in changed],
                [joined[each.listing_id].reason for each in changed],
                [joined[each.listing_id].like for each in changed],
            )
        flat_ids = {listing_id: each.flat_id for listing_id, each in joined.items()}
        flat_ids |= {row["listing_id"]: row["flat_id"] for row in assigned}
        return {each.listing_id: flat_ids[each.listing_id] for each in published if each.listing_id in flat_ids}

    @contextlib.asynccontextmanager
    async def holding(self, flat_ids: Mapping[ListingId, UUID]) -> AsyncIterator["HeldFlats"]:
        """The flats of advertisements as they are known; nobody else changes them before the block ends.

        What is recorded within the block is committed at its end. Without the locks, two withdrawals of one flat's
        last two advertisements, at two instances at once, would each believe that the other one is still there.

        Raises:
            SupersededError: the matcher is divided in another way by now.
            PartedMeanwhileError: an advertisement is of another flat by now.
            TimeoutError: within the block, when this instance was frozen and the flats may be another's.
        """
        flats = {flat_id: Flat(flat_id) for flat_id in flat_ids.values()}
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(LOCK, locks((self._shard, each) for each in flats), SERVER_WAITS, None)
            if await connection.fetchval(LAYOUT) != self._shard.of:
                raise SupersededError
            if await connection.fetchval(_MOVED, list(flat_ids), list(flat_ids.values())):
                raise PartedMeanwhileError
            for row in await connection.fetch(KNOWN, list(flats), self._shard.number):
                flats[row["flat_id"]].known[row["listing_id"]] = known_of(row)
            async with Lease.of(connection) as lease:
                held = {listing_id: flats[flat_id] for listing_id, flat_id in flat_ids.items()}
                yield HeldFlats(held, self._shard, lease)


@dataclass(frozen=True)
class HeldFlats:
    """The flats that one batch holds, by their advertisements."""

    _flats: Mapping[ListingId, Flat]
    _shard: Shard
    _lease: Lease

    @property
    def known(self) -> dict[ListingId, Known]:
        """The batch's advertisements as they are known."""
        flats = self._flats.items()
        return {listing_id: flat.known[listing_id] for listing_id, flat in flats if listing_id in flat.known}

    def take(self, published: Iterable[Published]) -> list[Change]:
        """What versions change, one after the other. A tombstone of what was never seen changes nothing."""
        known = ((self._flats[each.listing_id], each) for each in published if each.listing_id in self._flats)
        return [change for flat, each in known if (change := flat.take(each))]

    async def record(self, changes: Sequence[Change], subscriptions_position: Sequence[int]) -> None:
        """Make the changes known, and note against which searches they were matched."""
        latest = {change.after.listing_id: change for change in changes}
        after = [latest[listing_id].after for listing_id in sorted(latest)]
        async with self._lease.connection() as connection:
            await connection.execute(
                _RECORD,
                [each.listing_id for each in after],
                [latest[each.listing_id].flat_id for each in after],
                [each.version for each in after],
                [each.active for each in after],
                [_compact(each.content) for each in after],
                [_by_turn(each.asked) for each in after],
                [each.origin.partition for each in after],
                [each.origin.offset for each in after],
                self._shard.number,
            )
            await connection.execute(
                _RECORD_VERSIONS,
                [change.after.listing_id for change in changes],
                [change.after.version for change in changes],
                [change.tombstone for change in changes],
                [change.flat_id for change in changes],
                [change.after.origin.partition for change in changes],
                [change.after.origin.offset for change in changes],
                list(subscriptions_position),
                self._shard.number,
                self._shard.of,
            )


@dataclass(frozen=True)
class _Assigned:
    """An advertisement as it is in the table."""

    flat_id: UUID
    version: int
    advertisement: Advertisement

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        return cls(row["flat_id"], row["version"], Advertisement.model_validate(row["traits"]))

    def is_changed_by(self, advertisement: Advertisement, version: int) -> bool:
        return self.version < version and self.advertisement != advertisement


async def _apart(connection: "Connection", new: Sequence[Advertisement]) -> Apart:
    apart: defaultdict[ListingId, set[ListingId]] = defaultdict(set)
    if new:
        for row in await connection.fetch(_APART, [each.listing_id for each in new]):
            apart[row["listing_id"]].add(row["other_id"])
    return apart


def _latest_versions(published: Iterable[Published]) -> dict[ListingId, Listing]:
    latest: dict[ListingId, Listing] = {}
    for each in published:
        if each.listing and (each.listing_id not in latest or latest[each.listing_id].version < each.listing.version):
            latest[each.listing_id] = each.listing
    return latest


def locks(names: Iterable[object]) -> list[int]:
    """Keys of advisory locks in ascending order, so that two batches never wait for each other."""
    return sorted({int.from_bytes(blake2b(str(name).encode(), digest_size=8).digest(), signed=True) for name in names})


def _marks(advertisements: Collection[Advertisement]) -> tuple[list[str | float | None], ...]:
    """By what related advertisements are found, as columns."""
    positions = [each.position for each in advertisements]
    return (
        [each.block for each in advertisements],
        [each.reference for each in advertisements],
        [position.latitude if position else None for position in positions],
        [position.longitude if position else None for position in positions],
    )


def _flats(known: Iterable[_Assigned]) -> dict[UUID, list[Advertisement]]:
    flats: defaultdict[UUID, list[Advertisement]] = defaultdict(list)
    for each in known:
        flats[each.flat_id].append(each.advertisement)
    return flats


def known_of(row: asyncpg.Record) -> Known:
    return Known(
        listing_id=row["listing_id"],
        version=row["version"],
        active=row["active"],
        content=Listing.model_validate(row["content"]) if row["content"] else None,
        asked=tuple(Asked(int(turn), SpeseTerm(spese), cents) for turn, (spese, cents) in row["asked"].items()),
        origin=Origin(row["partition"], row["offset"]),
    )


def _by_turn(asked: Iterable[Asked]) -> dict[str, tuple[str, int]]:
    return {str(each.turn): (each.spese.value, each.cents) for each in asked}


def _compact(content: Listing | None) -> dict[str, Any] | None:
    return content.model_dump(mode="json", exclude_defaults=True) if content else None


LOCK = """
-- Waits for the locks in the order given. An instance that hangs while it holds them loses them.
SELECT set_config('idle_in_transaction_session_timeout', $2, true),
       (SELECT pg_advisory_xact_lock_shared($3::bigint)),
       (SELECT count(pg_advisory_xact_lock(key)) FROM unnest($1::bigint[]) AS key)
"""

LAYOUT = """
-- How many shards there are, which nobody changes before the transaction ends.
SELECT shards FROM layout FOR SHARE
"""

_MOVED = """
SELECT count(*) FROM unnest($1::text[], $2::uuid[]) AS held (listing_id, flat_id)
  JOIN advertisements AS now USING (listing_id) WHERE now.flat_id <> held.flat_id
"""

_APART = "SELECT listing_id, other_id FROM apart WHERE listing_id = ANY ($1::text[])"

_RELATED = """
-- The advertisements themselves, and all of every flat that one of them may belong to.
WITH new AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::float8[], $5::float8[])
               AS new (block, reference, latitude, longitude)
), candidate AS (
    SELECT flat_id FROM advertisements WHERE listing_id = ANY ($1::text[])
    UNION
    SELECT known.flat_id FROM new JOIN advertisements AS known USING (block, reference)
    UNION
    SELECT known.flat_id
      FROM new JOIN advertisements AS known ON known.block = new.block
       AND known.latitude BETWEEN new.latitude - $6 AND new.latitude + $6
       AND known.longitude BETWEEN new.longitude - $6 AND new.longitude + $6
)
SELECT listing_id, flat_id, version, traits FROM advertisements WHERE flat_id IN (SELECT flat_id FROM candidate)
"""

_ASSIGN = """
-- What an advertisement looks like may change; which flat it is of was decided by whoever saw it first. A version that
-- was late, at an instance that was frozen, may lie in another block than the later one, so that no lock kept it back.
INSERT INTO advertisements AS known (listing_id, flat_id, version, traits, joined_by, joined_like)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::jsonb[], $5::text[], $6::text[])
ON CONFLICT (listing_id) DO UPDATE
   SET version = greatest(known.version, excluded.version),
       traits = CASE WHEN known.version < excluded.version THEN excluded.traits ELSE known.traits END
RETURNING listing_id, flat_id
"""

KNOWN = """
SELECT listing_id, flat_id, version, active, content, asked, partition, "offset"
  FROM known WHERE flat_id = ANY ($1::uuid[]) AND shard = $2
"""

_RECORD = """
-- A tombstone keeps the version that it withdraws.
INSERT INTO known (listing_id, flat_id, version, active, content, asked, partition, "offset", shard)
SELECT *, $9::int FROM unnest(
    $1::text[], $2::uuid[], $3::bigint[], $4::boolean[], $5::json[], $6::json[], $7::int[], $8::bigint[])
ON CONFLICT (shard, listing_id) DO UPDATE
   SET version = excluded.version, active = excluded.active, content = excluded.content,
       asked = excluded.asked, partition = excluded.partition, "offset" = excluded."offset"
 WHERE known.version < excluded.version OR known.version = excluded.version AND known.active AND NOT excluded.active
"""

_RECORD_VERSIONS = """
INSERT INTO versions
    (listing_id, version, tombstone, flat_id, partition, "offset", subscriptions_position, shard, shards)
SELECT listing_id, version, tombstone, flat_id, partition, "offset", $7::bigint[], $8::int, $9::int
  FROM unnest($1::text[], $2::bigint[], $3::boolean[], $4::uuid[], $5::int[], $6::bigint[])
       WITH ORDINALITY AS change (listing_id, version, tombstone, flat_id, partition, "offset", ordinal)
 ORDER BY ordinal
ON CONFLICT (shards, shard, listing_id, version, tombstone) DO NOTHING
"""
