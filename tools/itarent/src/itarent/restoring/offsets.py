"""Consumer groups read again what has come since a backup: whatever they know already changes nothing."""

import asyncio
import datetime as dt
import time
from collections.abc import Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError

from common.topics import Topic, Topics
from itarent.backlog import readers
from itarent.refusal import Refusal
from itarent.restoring.heard import beginnings

LEFT_WITHIN_S: Final = 60.0
"""A member that died is one of its group until its session with Kafka has run out."""


class StillRead(Refusal):
    """The services of a group have not been stopped."""

    def __init__(self, group: str) -> None:
        super().__init__(f"The consumer group {group} still has members. Stop its service, and give the command again.")


async def rewind(
    bootstrap_servers: str, topics: Topics, shards: int, since: dt.datetime, *, left_within_s: float = LEFT_WITHIN_S
) -> None:
    """Set the groups back to a moment, of recipients to the beginning.

    What people wrote is not read again: what it changed is in the recipients' topic, and answers would come twice.

    Raises:
        StillRead: a group still has members.
    """
    for group, read in readers(topics, shards).items():
        again = [topic for topic in read if topic is not topics.inbound_messages]
        to = {topic: None if topic is topics.recipients else since for topic in again}
        await _set(bootstrap_servers, group, to, time.monotonic() + left_within_s)


async def _set(bootstrap_servers: str, group: str, to: Mapping[Topic, dt.datetime | None], deadline: float) -> None:
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, group_id=group, enable_auto_commit=False
    ) as consumer:
        offsets: dict[TopicPartition, int] = {}
        for topic, since in to.items():
            partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            consumer.assign(partitions)
            offsets |= await beginnings(consumer, partitions, since)
        consumer.assign(list(offsets))
        while True:
            try:
                await consumer.commit(offsets)
                break
            except CommitFailedError as error:
                if time.monotonic() > deadline:
                    raise StillRead(group) from error
            await asyncio.sleep(0.5)
