"""What the matcher does with listings that are published."""

import asyncio
import datetime as dt
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import structlog
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from prometheus_client import Counter as Metric
from prometheus_client import Histogram

from common.batches import Written, read
from common.events import AdvertisementParted, ListingPublished, NotificationRequested
from common.kafka import Publisher, Reader, Received, Records, at_once, gathered
from common.shards import Shard
from common.topics import Topics
from matcher.appraisals import Appraisals
from matcher.difference import Change, Origin, Published
from matcher.encoding import Encoder, Slice, Subject
from matcher.index import Index
from matcher.parting import Partings
from matcher.progress import Progress
from matcher.searches import Searches
from matcher.store import Store
from matcher.turns import in_turn

log = structlog.get_logger()

listings_matched = Metric("itarent_matcher_listings_total", "Versions of listings that took effect and were matched")
notifications_requested = Metric(
    "itarent_matcher_notifications_total", "Notifications requested, by reason", ["reason"]
)
batch_seconds = Histogram("itarent_matcher_batch_seconds", "From taking a batch of listings to making it known")

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

    async def announce(changes: Sequence[Change], index: Index) -> None:
        topic = topics.notifications
        encoder = Encoder(index.register, topic, await publisher.partitions_of(topic), publisher.source)
        slices = encoder.slices(await in_turn(changes, index), clock())
        told: Counter[Subject] = Counter()
        await publisher.publish_slices(topic, _counted(slices, told), each_within_s=ACKNOWLEDGED_WITHIN_S)
        _tell(told)

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


def _counted(slices: Iterable[Slice], told: Counter[Subject]) -> Iterator[Sequence[Sequence[Written]]]:
    """The batches of each slice, and in `told` how many notifications were in them."""
    for each in slices:
        told.update(each.told)
        if log.is_enabled_for(logging.DEBUG):
            _trace(each)
        yield each.batches


def _tell(told: Counter[Subject]) -> None:
    """A line for each listing that somebody is told of; the sender's lines name it too."""
    for (listing_id, flat_id, reason), notifications in told.items():
        notifications_requested.labels(reason).inc(notifications)
        log.info(
            "a listing matched",
            listing_id=listing_id,
            flat_id=str(flat_id),
            reason=reason.value,
            notifications=notifications,
        )


def _trace(slice_: Slice) -> None:
    for batch in chain.from_iterable(slice_.batches):
        for _, value, _ in read(batch):
            event = NotificationRequested.model_validate_json(value)
            log.debug(
                "a notification is requested",
                notification_id=str(event.notification_id),
                flat_id=str(event.flat_id),
                listing_id=event.card.listing_id,
                reason=event.reason.value,
            )
