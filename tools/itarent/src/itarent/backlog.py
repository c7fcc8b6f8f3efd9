"""What a system has not finished yet: records not handled, messages not ended, events not published."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from common.shards import Shard
from common.topics import Topic, Topics
from itarent.system import System

STILL_FOR: Final = 3
"""Looks in a row that must find nothing: what one service has finished is the next one's work."""


@dataclass(frozen=True)
class Backlog:
    lags: Mapping[str, int]  # records that were published and not handled yet, by consumer group
    messages: int  # waiting, being sent or in doubt
    events: int  # in an outbox

    @property
    def is_empty(self) -> bool:
        return not (any(self.lags.values()) or self.messages or self.events)


class NotDrainedError(Exception):
    """The system has work left when the time is over; the backlog says which."""


async def drain(system: System, *, within_seconds: float) -> float:
    """Wait until nothing is left to do; returns the seconds that it took.

    Raises:
        NotDrainedError: it still has work then.
    """
    began = time.monotonic()
    still = 0
    async with watching(system) as watch:
        while still < STILL_FOR:
            left = await watch.backlog()
            still = still + 1 if left.is_empty else 0
            if time.monotonic() - began > within_seconds:
                raise NotDrainedError(left)
            await asyncio.sleep(0.1)
    return time.monotonic() - began


@dataclass(frozen=True)
class Watch:
    """Looks at a system's backlog, over connections of its own."""

    _admin: AIOKafkaAdminClient
    _consumer: AIOKafkaConsumer
    _database: "asyncpg.Connection[Any]"
    _read_by: Mapping[str, list[TopicPartition]]

    async def backlog(self) -> Backlog:
        """What is left at this moment."""
        ((messages, events),) = await self._database.fetch(_UNFINISHED)
        ends = await self._consumer.end_offsets([each for read in self._read_by.values() for each in read])
        return Backlog({group: await self._lag(group, ends) for group in self._read_by}, messages, events)

    async def _lag(self, group: str, ends: Mapping[TopicPartition, int]) -> int:
        committed = await self._admin.list_consumer_group_offsets(group)
        handled = {partition: max(0, found.offset) for partition, found in committed.items()}
        return sum(ends[partition] - handled.get(partition, 0) for partition in self._read_by[group])


@contextlib.asynccontextmanager
async def watching(system: System) -> AsyncIterator[Watch]:
    admin = AIOKafkaAdminClient(bootstrap_servers=system.addresses.kafka)
    consumer = AIOKafkaConsumer(bootstrap_servers=system.addresses.kafka)
    database = await asyncpg.connect(system.addresses.postgres)
    try:
        await asyncio.gather(admin.start(), consumer.start())
        read_by = {group: _partitions(read) for group, read in readers(system.topics, system.shards).items()}
        yield Watch(admin, consumer, database, read_by)
    finally:
        await asyncio.gather(admin.close(), consumer.stop(), database.close())


def readers(topics: Topics, shards: int) -> Mapping[str, tuple[Topic, ...]]:
    """What each consumer group reads, with so many shards of the matcher."""
    return {
        **{topics.group(shard.service): (topics.listings, topics.partings) for shard in Shard.all(shards)},
        topics.group("sender"): (topics.notifications, topics.recipients, topics.message_statuses),
        topics.group("api"): (
            topics.listings,
            topics.notifications,
            topics.message_statuses,
            topics.inbound_messages,
            topics.forecasts,
        ),
    }


def _partitions(topics: tuple[Topic, ...]) -> list[TopicPartition]:
    return [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]


_UNFINISHED = """
SELECT (SELECT count(*) FROM sender.messages WHERE stage IN ('waiting', 'retrying', 'sending', 'in_doubt', 'parked')),
       (SELECT count(*) FROM sender.outbox) + (SELECT count(*) FROM api.outbox)
"""
