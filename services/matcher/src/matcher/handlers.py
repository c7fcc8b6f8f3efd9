"""What the matcher does with listings that are published."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from prometheus_client import Counter, Histogram

from common.events import ListingPublished, NotificationRequested
from common.kafka import Publisher, Reader, Received, Records, at_once
from common.topics import Topics
from matcher.announcements import announcements
from matcher.difference import Change, Origin, Published
from matcher.index import Index
from matcher.progress import Progress
from matcher.searches import Searches
from matcher.store import Store

listings_matched = Counter("itarent_matcher_listings_total", "Versions of listings that took effect and were matched")
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
    instance_id: str | None,
    publisher: Publisher,
    searches: Searches,
    store: Store,
    progress: Progress,
    clock: Clock,
) -> None:
    """Match the listings' topic. A batch that fails anywhere comes again, and tells the same under the same ids."""
    reader = Reader(publisher, topics.listings, ListingPublished)

    async def announce(changes: Iterable[Change], index: Index) -> None:
        async for notifications in _chunks(changes, index, clock()):
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                await publisher.publish(topics.notifications, notifications)

    @broker.subscriber(
        topics.listings.name,
        group_id="matcher",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **at_once(instance_id),
    )
    async def on_listings_published(records: Records) -> None:
        with progress.batch(), batch_seconds.time():
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):  # of dead letters
                published = [_published(received) for received in await reader.read(records)]
            flat_ids = await store.flats_of(published)
            async with store.holding(flat_ids) as flats, searches.held() as held:
                changes = flats.take(published)
                await announce(changes, held.index)
                await flats.record(changes, held.position)
        listings_matched.inc(len(changes))


def _published(received: Received[ListingPublished]) -> Published:
    return Published(
        listing_id=received.key,
        listing=received.event.listing if received.event else None,
        origin=Origin(received.record.partition, received.record.offset),
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
