"""What the matcher does with listings that are published."""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

import structlog
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from prometheus_client import Counter as Metric
from prometheus_client import Histogram

from common.events import AdvertisementParted, ListingPublished, NotificationRequested
from common.kafka import Publisher, Reader, Received, Records, at_once, gathered
from common.shards import Shard
from common.topics import Topics
from matcher.announcements import announcements
from matcher.appraisals import Appraisals
from matcher.difference import Change, Origin, Published
from matcher.index import Index
from matcher.parting import Partings
from matcher.progress import Progress
from matcher.searches import Searches
from matcher.store import Store

log = structlog.get_logger()

listings_matched = Metric("itarent_matcher_listings_total", "Versions of listings that took effect and were matched")
batch_seconds = Histogram("itarent_matcher_batch_seconds", "From taking a batch of listings to making it known")

PUBLISHED_AT_ONCE: Final = 500
"""Notifications that are held in memory: one listing may have tens of thousands."""

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
    searches: Searches,
    store: Store,
    appraisals: Appraisals,
    partings: Partings,
    progress: Progress,
    clock: Clock,
) -> None:
    """Match the listings' topic, and part flats that were joined wrongly.

    A batch that fails anywhere comes again, and tells the same under the same ids.
    """
    reader = Reader(publisher, topics.listings, ListingPublished)
    decisions = Reader(publisher, topics.partings, AdvertisementParted)

    async def announce(changes: Iterable[Change], index: Index) -> None:
        async for notifications in _chunks(changes, index, clock()):
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                await publisher.publish(topics.notifications, notifications)
            _tell(notifications)

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
                asking = held.asking
                appraised = await appraisals.made(
                    published, flats.known, lambda listing: (each.search for each in asking.candidates(listing))
                )
                changes = flats.take(appraised)
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


def _tell(notifications: Sequence[NotificationRequested]) -> None:
    """A line for each listing that somebody is told of; the sender's lines name it too."""
    for (listing_id, flat_id), count in Counter((each.card.listing_id, each.flat_id) for each in notifications).items():
        log.info("a listing matched", listing_id=listing_id, flat_id=str(flat_id), notifications=count)
    for each in notifications:
        log.debug(
            "a notification is requested",
            notification_id=str(each.notification_id),
            flat_id=str(each.flat_id),
            listing_id=each.card.listing_id,
            reason=each.reason.value,
        )


async def _chunks(
    changes: Iterable[Change], index: Index, now: dt.datetime
) -> AsyncIterator[list[NotificationRequested]]:
    chunk: list[NotificationRequested] = []
    for change in changes:
        async for notification in announcements(change, index, now):
            chunk.append(notification)
            if len(chunk) == PUBLISHED_AT_ONCE:
                yield chunk
                chunk = []
    if chunk:
        yield chunk
