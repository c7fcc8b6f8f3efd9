"""The matcher alone: its process, Kafka and PostgreSQL, and nobody else who would take a share of the machine."""

import asyncio
import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import httpx
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from common.batches import Written
from common.events import ListingPublished, SubscriptionSaved
from common.kafka import Publisher
from common.listing import Listing
from common.search import Subscription
from common.topics import Topic
from itarent.environment import MATCHER, matchers, service_of
from itarent.project import PROJECT
from itarent.system import ANY_PORTS, System, running_system
from local_servers.home import home_of, scratch_home

SAVED_AT_ONCE: Final = 5_000
WITHIN_S: Final = 1_800.0

Record: TypeAlias = ConsumerRecord[bytes, bytes]


class StuckError(Exception):
    """The matcher did not get there in time: its log says why."""


@dataclass(frozen=True)
class Bench:
    """The running matcher, and connections to the Kafka that it uses."""

    system: System
    publisher: Publisher
    consumer: AIOKafkaConsumer
    admin: AIOKafkaAdminClient

    async def save(self, subscriptions: Iterable[Subscription]) -> None:
        """Publish searches, and wait until the matcher holds them too."""
        held = await self.searches_held()
        events = (SubscriptionSaved(subscription=each) for each in subscriptions)
        while chunk := list(itertools.islice(events, SAVED_AT_ONCE)):
            await self.publisher.publish(self.system.topics.subscriptions, chunk)
            held += len(chunk)
        await self.until_held(held)

    async def until_held(self, count: int) -> None:
        """Wait until every matcher holds so many searches."""
        deadline = time.monotonic() + WITHIN_S
        while await self.searches_held() < count:
            _refuse_after(deadline)
            await asyncio.sleep(0.1)

    async def publish_searches(self, slices: Iterable[Sequence[Sequence[Written]]]) -> None:
        """Records that are ready: no matcher needs to run."""
        await self.publisher.publish_slices(self.system.topics.subscriptions, slices, each_within_s=WITHIN_S)

    async def searches_held(self) -> int:
        """By the matcher that holds the fewest."""
        services = self.system.services.items()
        return min([await _searches_held(each.program.url) for name, each in services if service_of(name) == MATCHER])

    async def offer(self, *listings: Listing) -> None:
        await self.publisher.publish(self.system.topics.listings, [ListingPublished(listing=each) for each in listings])

    async def end(self, topic: Topic) -> dict[TopicPartition, int]:
        """Where each partition ends now."""
        ends: dict[TopicPartition, int] = await self.consumer.end_offsets(_partitions(topic))
        return ends

    async def until(self, topic: Topic, begin: dict[TopicPartition, int], count: int) -> None:
        """Wait for so many records."""
        deadline = time.monotonic() + WITHIN_S
        wanted = sum(begin.values()) + count
        while sum((await self.end(topic)).values()) < wanted:
            _refuse_after(deadline)
            await asyncio.sleep(0.005)

    async def until_all_is_handled(self) -> None:
        """Wait until the matcher has committed every listing."""
        deadline = time.monotonic() + WITHIN_S
        topics = self.system.topics
        while True:
            committed = await self.admin.list_consumer_group_offsets(topics.group("matcher"))
            ends = await self.end(topics.listings)
            if all(not end or (each in committed and committed[each].offset >= end) for each, end in ends.items()):
                return
            _refuse_after(deadline)
            await asyncio.sleep(0.05)

    async def records(self, topic: Topic, begin: dict[TopicPartition, int]) -> dict[int, list[Record]]:
        """What has come since, by partition."""
        ends = await self.end(topic)
        self.consumer.assign(list(begin))
        for partition, offset in begin.items():
            self.consumer.seek(partition, offset)
        read: dict[int, list[Record]] = {each.partition: [] for each in begin}
        while any(begin[each] + len(read[each.partition]) < end for each, end in ends.items()):
            for partition, records in (await self.consumer.getmany(timeout_ms=1_000)).items():
                read[partition.partition] += records
        return read


async def _searches_held(url: str) -> int:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        metrics = (await client.get("/metrics/")).text
    found = re.search(r"^itarent_matcher_searches (\S+)", metrics, re.MULTILINE)
    return int(float(found[1])) if found else 0


@contextlib.asynccontextmanager
async def matcher_alone(count: int = 1) -> AsyncIterator[Bench]:
    """Start so many matchers, from nothing.

    Kafka writes down when it appends a notification, so that nobody needs to watch.
    """
    with scratch_home(home_of(PROJECT)) as home:
        overrides = {name: {"LOG_LEVEL": "WARNING"} for name in matchers(count)}
        async with (
            running_system(
                home, names=[MATCHER], ports=ANY_PORTS, matchers_of_each_shard=count, overrides=overrides
            ) as system,
            Publisher.connected(system.addresses.kafka, "bench", compression="zstd") as publisher,
            AIOKafkaConsumer(bootstrap_servers=system.addresses.kafka, enable_auto_commit=False) as consumer,
        ):
            admin = AIOKafkaAdminClient(bootstrap_servers=system.addresses.kafka)
            await admin.start()
            try:
                await _stamped_by_kafka(admin, system.topics.notifications)
                yield Bench(system, publisher, consumer, admin)
            finally:
                await admin.close()


async def _stamped_by_kafka(admin: AIOKafkaAdminClient, topic: Topic) -> None:
    config = {**topic.config, "message.timestamp.type": "LogAppendTime"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, config)])


def _partitions(topic: Topic) -> list[TopicPartition]:
    return [TopicPartition(topic.name, number) for number in range(topic.partitions)]


def _refuse_after(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise StuckError
