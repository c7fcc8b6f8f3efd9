"""Consumer groups read again what has come since a backup: whatever they know already changes nothing."""

import datetime as dt
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from common.topics import Topic, Topics
from itarent.backlog import readers
from itarent.restoring.heard import beginnings


async def rewind(bootstrap_servers: str, topics: Topics, shards: int, since: dt.datetime) -> None:
    """Set the groups back to a moment, of recipients to the beginning. No member may be left.

    What people wrote is not read again: what it changed is in the recipients' topic, and answers would come twice.
    """
    for group, read in readers(topics, shards).items():
        again = [topic for topic in read if topic is not topics.inbound_messages]
        await _set(bootstrap_servers, group, {topic: None if topic is topics.recipients else since for topic in again})


async def _set(bootstrap_servers: str, group: str, to: Mapping[Topic, dt.datetime | None]) -> None:
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, group_id=group, enable_auto_commit=False
    ) as consumer:
        offsets: dict[TopicPartition, int] = {}
        for topic, since in to.items():
            partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            consumer.assign(partitions)
            offsets |= await beginnings(consumer, partitions, since)
        consumer.assign(list(offsets))
        await consumer.commit(offsets)
