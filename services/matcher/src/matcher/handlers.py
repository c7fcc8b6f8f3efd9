"""What the matcher does with listings that are published."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final

import structlog
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from prometheus_client import Counter as Metric
from prometheus_client import Histogram

from common.events import AdvertisementParted, ListingPublished
from common.kafka import Publisher, Reader, Ready, Received, Records, at_once, gathered
from common.shards import Shard
from common.topics import Topics
from matcher.appraisals import Appraisals
from matcher.crowd import Told
from matcher.difference import Change, Origin, Published
from matcher.encoding import Encoder, Slice
from matcher.index import Index
from matcher.parting import Partings
from matcher.progress import Progress
from matcher.searches import Searches
from matcher.store import Store
from matcher.telling import told

log = structlog.get_logger()

listings_matched = Metric("itarent_matcher_listings_total", "Versions of listings that took effect and were matched")
notifications_requested = Metric(
    "itarent_matcher_notifications_total", "Notifications requested, by reason", ["reason"]
)
batch_seconds = Histogram("itarent_matcher_batch_seconds", "From taking a batch of listings to making it known")

TOLD_AT_ONCE: Final = 100_000
"""Searches to be told that are held in memory: one listing may have tens of thousands."""

MATCHED_AT_ONCE: Final = 16
"""Changes that are matched before the event loop has its turn: a flat that all of Milano wants takes a while."""

ACKNOWLEDGED_WITHIN_S: Final = 30.0
"""Without Kafka a publisher waits for ever, and the batch holds its flats meanwhile: it rather comes again."""

Clock = Callable[[], dt.datetime]


def subscribe(
    broker: KafkaBroker,
    *,
    topics: Topics,
    shard: Shard,
    instance_id: str | None,
    publisher: Publisher,
    partitions: int,
    searches: Searches,
    store: Store,
    appraisals: Appraisals,
    partings: Partings,
    progress: Progress,
    clock: Clock,
) -> None:
    """Match the listings' topic, and part flats that were joined wrongly.

    Who is told stands in the partitions of the notifications' topic, of which there are so many.

    A batch that fails anywhere comes again, and tells the same under the same ids.
    """
    reader = Reader(publisher, topics.listings, ListingPublished)
    decisions = Reader(publisher, topics.partings, AdvertisementParted)

    async def announce(changes: Iterable[Change], index: Index) -> None:
        encoder = Encoder(index.register, topics.notifications, partitions, publisher.source)
        async for group in _groups(changes, index):
            slices = _logged(encoder.slices(group, clock()))
            await publisher.publish_slices(topics.notifications, slices, each_within_s=ACKNOWLEDGED_WITHIN_S)

    @broker.subscriber(
        topics.listings.name,
        group_id=topics.group(shard.service),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **at_once(instance_id),
    )
    async def on_listings_published(records: Records) -> None:
        with progress.batch(), batch_seconds.time():
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):  # of dead letters
                published = [_published(received) for received in await reader.read(records)]
            flat_ids = await store.flats_of(published)
            async with store.holding(flat_ids) as flats, searches.held() as held:
                changes = flats.take(await appraisals.made(published, flats.known, held.asking.of))
                await announce(changes, held.index)
                await flats.record(changes, held.position)
        listings_matched.inc(len(changes))

    @broker.subscriber(
        topics.partings.name,
        group_id=topics.group(shard.service),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **gathered(instance_id, "partings"),
    )
    async def on_advertisements_parted(records: Records) -> None:
        for received in await decisions.read(records):
            if parted := received.event:
                async with partings.parting(parted) as flat, searches.held() as held:
                    await announce(flat.changes, held.index)
                    await flat.record(held.position)
                log.info("an advertisement was parted", listing_id=parted.listing_id, told=len(flat.changes))


def _published(received: Received[ListingPublished]) -> Published:
    return Published(
        listing_id=received.key,
        listing=received.event.listing if received.event else None,
        origin=Origin(received.record.partition, received.record.offset),
    )


async def _groups(changes: Iterable[Change], index: Index) -> AsyncIterator[list[Told]]:
    """Who is told of the changes, so many at a time; those of few are told before those of a crowd."""
    group: list[Told] = []
    for number, change in enumerate(changes):
        if number % MATCHED_AT_ONCE == 0:
            await asyncio.sleep(0)
        group += told(change, index)
        if sum(len(each.matches.numbers) for each in group) >= TOLD_AT_ONCE:
            yield sorted(group, key=_crowd)
            group = []
    yield sorted(group, key=_crowd)


def _crowd(told: Told) -> int:
    return len(told.matches.numbers)


def _logged(slices: Iterable[Slice]) -> Iterator[Sequence[Sequence[Ready]]]:
    """A line for each listing that somebody is told of; the sender's lines name it too."""
    for each in slices:
        yield each.records
        for listing_id, flat_id, reason, notifications in each.tallies:
            notifications_requested.labels(reason).inc(notifications)
            log.info(
                "a listing matched",
                listing_id=listing_id,
                flat_id=str(flat_id),
                reason=reason.value,
                notifications=notifications,
            )
