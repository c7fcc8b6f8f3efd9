"""Where the facts come from: Kafka's topics, and the tables of the matcher and the sender."""

import contextlib
import datetime as dt
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Final, TypeVar
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from common.events import (
    Event,
    ListingPublished,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
    SubscriptionSaved,
)
from common.kafka import Received, decode
from common.listing import Appraisal, Listing
from common.shards import Shard
from common.topics import Topic, Topics
from itarent.audit.facts import Effect, ListingVersion, Origin, Requested, Row, Side, SidesTold, Told
from itarent.audit.searches import Saved
from sender.rescan import unfinished

EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True)
class Published:
    """A record of the listings' topic, kept as it came: it is read again when its flat is balanced."""

    of: ListingVersion
    active: bool
    json: bytes | None  # None: a tombstone

    @property
    def listing(self) -> Listing | None:
        return ListingPublished.model_validate_json(self.json).listing if self.json else None


@dataclass(frozen=True)
class Progress:
    """The offsets that are read next, per partition: of listings by each shard of the matcher, of notifications by the
    sender.
    """

    listings: Mapping[Shard, Mapping[int, int]]
    notifications: Mapping[int, int]

    def has_reached(self, origin: Origin, shard: Shard) -> bool:
        return origin.offset < self.listings[shard].get(origin.partition, 0)


class Kafka:
    """The topics of one system, read without a group: nothing is committed."""

    def __init__(self, bootstrap_servers: str, topics: Topics) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topics = topics

    async def progress(self, shards: Iterable[Shard]) -> Progress:
        """How far the shards of the matcher and the sender have read."""
        return Progress(
            listings={
                shard: await self._next_offsets(self._topics.group(shard.service), self._topics.listings)
                for shard in shards
            },
            notifications=await self._next_offsets(self._topics.group("sender"), self._topics.notifications),
        )

    async def requested(self, progress: Progress) -> Requested:
        """What the matcher has asked for: when it first did, and what of it the sender had not read."""
        requested = Requested()
        async for each in self._received(self._topics.notifications, NotificationRequested):
            if each.event:
                notification_id, record = each.event.notification_id, each.record
                at = dt.datetime.fromtimestamp(record.timestamp / 1000, dt.UTC)
                requested.at[notification_id] = min(at, requested.at.get(notification_id, at))
                if record.offset >= progress.notifications.get(record.partition, 0):
                    requested.unread.add(notification_id)
        return requested

    async def _next_offsets(self, group: str, topic: Topic) -> dict[int, int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap_servers)
        await admin.start()
        try:
            committed = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
        return {at.partition: committed[at].offset for at in committed if at.topic == topic.name}

    async def listings(self) -> dict[Origin, Published]:
        """Every record that is a version of a listing or a tombstone."""
        published = {}
        async for each in self._received(self._topics.listings, ListingPublished):
            listing = each.event.listing if each.event else None
            of = ListingVersion(each.key, listing.version if listing else 0)
            origin = Origin(each.record.partition, each.record.offset)
            published[origin] = Published(of, bool(listing and listing.active), each.record.value)
        return published

    async def subscriptions(self) -> list[Saved]:
        """Every record of a search, those of one search in their order."""
        saved = []
        async for each in self._received(self._topics.subscriptions, SubscriptionSaved):
            with contextlib.suppress(ValueError):  # a key that is no id of ours never was a search
                subscription = each.event.subscription if each.event else None
                saved.append(Saved(UUID(each.key), subscription, each.record.partition, each.record.offset))
        return saved

    async def add_told(self, told: Told) -> None:
        """Add what the sender has told on its topic."""
        async for each in self._received(self._topics.message_statuses, *SENDERS_EVENTS):
            if each.event:
                note(told, each.event)

    async def _received(self, topic: Topic, *types: type[EventT]) -> AsyncIterator[Received[EventT]]:
        """What a topic holds now, without what cannot be read."""
        by_type = {each.type: each for each in types}
        async with AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers, enable_auto_commit=False) as consumer:
            partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            while [at for at in partitions if await consumer.position(at) < ends[at]]:
                batches = await consumer.getmany(timeout_ms=1000, max_records=5000)
                for record in chain.from_iterable(batches.values()):
                    if isinstance(received := decode(record, by_type), Received):
                        yield received


SENDERS_EVENTS: Final[tuple[type[Event], ...]] = (NotificationSettled, MessageStatusReported)


def note(told: Told, event: Event) -> None:
    """Note what one event of the sender tells."""
    match event:
        case NotificationSettled():
            told.settled[event.notification_id].add(event.disposition)
        case MessageStatusReported(reported_by="sender"):
            told.in_messages.update(event.notification_ids)
            told.shown.update(event.shown_notification_ids)
        case _:
            pass


async def shards_now(database_url: str) -> int:
    """How many shards the matcher has."""
    connection = await asyncpg.connect(database_url)
    try:
        shards: int = await connection.fetchval("SELECT shards FROM matcher.layout")
    finally:
        await connection.close()
    return shards


class Tables:
    """The matcher's and the sender's tables at one moment."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    @classmethod
    @contextlib.asynccontextmanager
    async def at_one_moment(cls, database_url: str) -> AsyncIterator["Tables"]:
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield cls(connection)
        finally:
            await connection.close()

    async def effects(self) -> dict[UUID, list[Effect]]:
        """The versions that took effect, by flat, each flat's in their order."""
        effects = [_effect(row) for row in await self._connection.fetch(_EFFECTS)]
        return {flat_id: list(of_flat) for flat_id, of_flat in groupby(effects, key=lambda each: each.flat_id)}

    async def sides(self) -> dict[UUID, Side]:
        """The flats that began as a side of another one."""
        told: defaultdict[UUID, list[SidesTold]] = defaultdict(list)
        for row in await self._connection.fetch(_SIDES_TOLD):
            shard = Shard(row["shard"], row["shards"])
            told[row["parted_from"]].append(SidesTold(row["effect"], tuple(row["subscriptions_position"]), shard))
        return {
            row["flat_id"]: Side(
                row["flat_id"], row["parted_from"], frozenset(row["listing_ids"]), tuple(told[row["parted_from"]])
            )
            for row in await self._connection.fetch(_SIDES)
        }

    async def rows_by_flat(self) -> AsyncIterator[tuple[UUID, list[Row]]]:
        """The ledger's rows, a flat at a time, in the order of the flats' ids."""
        of_flat: list[Row] = []
        async for record in self._connection.cursor(_ROWS, prefetch=5000):
            row = _row(record)
            if of_flat and of_flat[0].flat_id != row.flat_id:
                yield of_flat[0].flat_id, of_flat
                of_flat = []
            of_flat.append(row)
        if of_flat:
            yield of_flat[0].flat_id, of_flat

    async def told(self) -> Told:
        """What the sender is about to tell: it lies in its outbox."""
        told = Told()
        types = {each.type: each for each in SENDERS_EVENTS}
        for row in await self._connection.fetch(_OUTBOX, list(types)):
            note(told, types[row["type"]].model_validate_json(row["value"]))
        return told

    async def unfinished(self) -> dict[str, int]:
        """How many of the sender's rows should have ended and did not, by kind."""
        await self._connection.execute("SET LOCAL search_path = sender")
        return {each.kind.value: each.count for each in await unfinished(self._connection) if each.count}


def _effect(row: asyncpg.Record) -> Effect:
    return Effect(
        number=row["effect"],
        of=ListingVersion(row["listing_id"], row["version"]),
        tombstone=row["tombstone"],
        flat_id=row["flat_id"],
        origin=Origin(row["partition"], row["offset"]),
        shard=Shard(row["shard"], row["shards"]),
        position=tuple(row["subscriptions_position"]),
        appraisal=Appraisal.model_validate_json(row["appraisal"]) if row["appraisal"] else Appraisal(),
        began_at=row["effective_at"],
    )


def _row(row: asyncpg.Record) -> Row:
    return Row(
        notification_id=row["notification_id"],
        user_id=row["user_id"],
        flat_id=row["flat_id"],
        reason=row["reason"],
        of=ListingVersion(row["listing_id"], row["version"]),
        disposition=row["disposition"],
        stage=row["stage"],
        status=row["status"],
        as_template=row["as_template"],
        recent=row["recent"],
        erased=row["erased"],
        received_at=row["received_at"],
    )


_EFFECTS = """
SELECT effect, listing_id, version, tombstone, flat_id, partition, "offset", subscriptions_position, shard, shards,
       appraisal, effective_at
  FROM matcher.versions LEFT JOIN matcher.appraisals USING (shards, shard, listing_id, version)
 ORDER BY flat_id, effect
"""

_SIDES = """
SELECT flat_id, parted_from, array_agg(listing_id) AS listing_ids FROM matcher.partings GROUP BY flat_id, parted_from
"""

_SIDES_TOLD = "SELECT parted_from, effect, subscriptions_position, shard, shards FROM matcher.partings_told"

_ROWS = """
-- What was told longer ago than the topic of message statuses reaches back cannot be compared with it.
SELECT notification_id, notifications.user_id, flat_id, reason, coalesce(listing_id, '') AS listing_id,
       coalesce(version, 0) AS version, disposition, stage, status, coalesce(as_template, false) AS as_template,
       coalesce(settled_at > now() - interval '29 days', true) AS recent, erased_at IS NOT NULL AS erased,
       received_at
  FROM sender.notifications LEFT JOIN sender.messages USING (message_id)
       LEFT JOIN sender.contacts ON contacts.user_id = notifications.user_id
 WHERE flat_id IS NOT NULL
 ORDER BY flat_id
"""

_OUTBOX = """
SELECT headers ->> 'ce_type' AS type, value FROM sender.outbox
 WHERE value IS NOT NULL AND headers ->> 'ce_type' = ANY ($1::text[])
"""
