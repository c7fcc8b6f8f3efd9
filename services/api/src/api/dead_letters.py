"""Dead letters that tell of somebody: those of restricted topics may hold a phone or a text."""

from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from common.topics import Topic, Topics

READ_AT_ONCE = 500


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter, by what deletes it."""

    topic: Topic
    key: str


class DeadLetters:
    def __init__(self, bootstrap_servers: str, topics: Topics) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topics = [topic for topic in topics.all() if topic.restricted and not topic.events]

    async def mentioning(self, marks: Sequence[str]) -> list[DeadLetter]:
        """Those that hold any of these texts, anywhere."""
        wanted = [mark.encode() for mark in marks]
        found: list[DeadLetter] = []
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap_servers, enable_auto_commit=False)
        async with consumer:
            for topic in self._topics:
                found += [
                    DeadLetter(topic, record.key.decode(errors="replace"))
                    for record in await _records(consumer, topic)
                    if record.key and record.value and any(mark in _whole(record) for mark in wanted)
                ]
        return found


def _whole(record: ConsumerRecord[bytes, bytes]) -> bytes:
    return b" ".join([record.key or b"", record.value or b"", *(value or b"" for _, value in record.headers)])


async def _records(consumer: AIOKafkaConsumer, topic: Topic) -> list[ConsumerRecord[bytes, bytes]]:
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    ends = await consumer.end_offsets(partitions)
    records: list[ConsumerRecord[bytes, bytes]] = []
    while [at for at in partitions if await consumer.position(at) < ends[at]]:
        for read in (await consumer.getmany(timeout_ms=1000, max_records=READ_AT_ONCE)).values():
            records += read
    return records
