"""What a system has not finished yet: records not handled, messages not ended, events not published."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from common.topics import Topic
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
    while still < STILL_FOR:
        left = await backlog(system)
        still = still + 1 if left.is_empty else 0
        if time.monotonic() - began > within_seconds:
            raise NotDrainedError(left)
        await asyncio.sleep(0.2)
    return time.monotonic() - began


async def backlog(system: System) -> Backlog:
    """What is left at this moment."""
    topics = system.topics
    readers = {
        "matcher": (topics.listings,),
        "sender": (topics.notifications, topics.recipients, topics.message_statuses),
        "api": (topics.listings, topics.notifications, topics.message_statuses, topics.inbound_messages),
    }
    connection = await asyncpg.connect(system.addresses.postgres)
    try:
        ((messages, events),) = await connection.fetch(_UNFINISHED)
    finally:
        await connection.close()
    lags = await asyncio.gather(*(_lag(system.addresses.kafka, group, read) for group, read in readers.items()))
    return Backlog(lags=dict(zip(readers, lags, strict=True)), messages=messages, events=events)


_UNFINISHED = """
SELECT (SELECT count(*) FROM sender.messages WHERE stage IN ('waiting', 'retrying', 'sending', 'in_doubt')),
       (SELECT count(*) FROM sender.outbox) + (SELECT count(*) FROM api.outbox)
"""


async def _lag(bootstrap_servers: str, group: str, topics: tuple[Topic, ...]) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    await asyncio.gather(admin.start(), consumer.start())
    try:
        partitions = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
        ends = await consumer.end_offsets(partitions)
        committed = await admin.list_consumer_group_offsets(group)
    finally:
        await asyncio.gather(admin.close(), consumer.stop())
    handled = {partition: max(0, found.offset) for partition, found in committed.items()}
    return sum(end - handled.get(partition, 0) for partition, end in ends.items())
