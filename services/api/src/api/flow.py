"""How far everybody is on Kafka: what was published to each topic, and what each service has handled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from common.shards import Shard, is_matcher
from common.topics import Topics

ANSWER_WITHIN_S: Final = 3.0


@dataclass(frozen=True)
class Progress:
    """What a service has handled of a topic, and how many records are left. Each shard of the matcher is one."""

    service: str
    topic: str
    handled: int
    lag: int


@dataclass(frozen=True)
class Positions:
    """Offsets at one moment, summed over partitions. An offset counts also what was compacted away since."""

    published: Mapping[str, int]
    progress: tuple[Progress, ...]

    def matched(self, listings: str) -> int:
        """The listings that the slowest shard of the matcher has handled."""
        return self.published[listings] - self.left_to_match(listings)

    def left_to_match(self, listings: str) -> int:
        """What the slowest shard of the matcher has left."""
        return max(each.lag for each in self.progress if each.topic == listings and is_matcher(each.service))

    def handled(self, service: str, topic: str) -> int:
        return self.published[topic] - self.lag(service, topic)

    def lag(self, service: str, topic: str) -> int:
        """Where a service has never committed, everything is left."""
        lags = [each.lag for each in self.progress if (each.service, each.topic) == (service, topic)]
        return sum(lags) if lags else self.published[topic]


class KafkaFlow:
    """Asks a broker for positions."""

    def __init__(
        self,
        admin: AIOKafkaAdminClient,
        consumer: AIOKafkaConsumer,
        topics: Topics,
        partitions: Iterable[TopicPartition],
        services: Sequence[str],
    ) -> None:
        self._admin = admin
        self._consumer = consumer
        self._topics = topics
        self._partitions = tuple(partitions)
        self._services = services

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, bootstrap_servers: str, topics: Topics, matcher_shards: int = 1) -> AsyncIterator[Self]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, client_id="api-watch")
        await admin.start()
        try:
            await consumer.start()
            described = await admin.describe_topics([topic.name for topic in topics.all()])
            yield cls(
                admin,
                consumer,
                topics,
                [
                    TopicPartition(topic["topic"], partition["partition"])
                    for topic in described
                    for partition in topic["partitions"]
                ],
                [*(shard.service for shard in Shard.all(matcher_shards)), "sender", "api"],
            )
        finally:
            await consumer.stop()
            await admin.close()

    async def positions(self) -> Positions:
        """Where everybody is now.

        Raises:
            TimeoutError, KafkaError: the broker does not answer.
        """
        async with asyncio.timeout(ANSWER_WITHIN_S):
            ends, *committed = await asyncio.gather(
                self._consumer.end_offsets(self._partitions), *map(self._committed, self._services)
            )
        published: dict[str, int] = {}
        for partition, end in ends.items():
            published[partition.topic] = published.get(partition.topic, 0) + end
        progress = [
            _progress(service, topic, offsets, ends)
            for service, offsets in zip(self._services, committed, strict=True)
            for topic in sorted(self._read_by(service, offsets) & published.keys())
        ]
        return Positions(published, tuple(progress))

    def _read_by(self, service: str, offsets: Iterable[TopicPartition]) -> set[str]:
        """What a service has committed, and listings where it is a shard of the matcher that never has."""
        committed = {partition.topic for partition in offsets}
        return committed | {self._topics.listings.name} if is_matcher(service) else committed

    async def _committed(self, service: str) -> Mapping[TopicPartition, int]:
        offsets = await self._admin.list_consumer_group_offsets(self._topics.group(service))
        return {partition: found.offset for partition, found in offsets.items() if found.offset >= 0}


def _progress(
    service: str, topic: str, offsets: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> Progress:
    """Partitions without a committed offset have been left whole until now."""
    own = {partition: end for partition, end in ends.items() if partition.topic == topic}
    handled = sum(min(offsets.get(partition, 0), end) for partition, end in own.items())
    return Progress(service, topic, handled, sum(own.values()) - handled)
