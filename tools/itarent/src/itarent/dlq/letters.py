"""The dead letters of one system: what lies there, and what is made of it."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from common.kafka import Publisher
from common.records import Exact, Origin, original, reason_of
from common.topics import LARGEST_DEAD_LETTER, Topic, Topics

SOURCE: Final = "itarent-dlq"

Record: TypeAlias = ConsumerRecord[bytes, bytes]


@dataclass(frozen=True)
class Letter:
    """A dead letter, without what it holds."""

    origin: Origin
    topic: Topic  # where it came from
    at: TopicPartition
    offset: int
    since: dt.datetime
    reason: str
    size: int  # bytes of its value


class Lost(Exception):  # noqa: N818 - named by what is the case
    """The dead letter is gone: it was replayed or dropped, or its time was over."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(
            f"{origin}: there is no such dead letter (any more); `itarent dlq list` shows those there are."
        )


class Unplayable(Exception):  # noqa: N818 - named by what is the case
    """The record had neither a key nor a value: nothing can be made of it."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(f"{origin} has neither a key nor a value: nothing can be made of it, so drop it.")


class DeadLetters:
    """Reads and removes dead letters; a letter whose tombstone came is none any more."""

    def __init__(self, consumer: AIOKafkaConsumer, publisher: Publisher, topics: Topics) -> None:
        self._consumer = consumer
        self._publisher = publisher
        self._origins = {topic.dead_letters.name: topic for topic in topics.own()}

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, bootstrap_servers: str, topics: Topics) -> AsyncIterator[Self]:
        async with (
            AIOKafkaConsumer(
                bootstrap_servers=bootstrap_servers,
                enable_auto_commit=False,
                max_partition_fetch_bytes=LARGEST_DEAD_LETTER,
            ) as consumer,
            Publisher.connected(bootstrap_servers, SOURCE) as publisher,
        ):
            yield cls(consumer, publisher, topics)

    async def all(self) -> list[Letter]:
        """Every dead letter, in the order of their origins; topics that do not exist have none."""
        existing = await self._consumer.topics()
        partitions = [
            TopicPartition(name, number)
            for name in sorted(self._origins.keys() & existing)
            for number in range(self._origins[name].dead_letters.partitions)
        ]
        letters: dict[tuple[str, bytes | None], Letter | None] = {}
        async for record in self._records(partitions):
            letters[record.topic, record.key] = self._letter(record)
        return sorted((letter for letter in letters.values() if letter), key=lambda letter: letter.origin)

    async def record(self, letter: Letter) -> Record:
        """All that a letter holds.

        Raises:
            Lost: it was removed meanwhile.
        """
        self._consumer.assign([letter.at])
        self._consumer.seek(letter.at, letter.offset)
        ends = await self._consumer.end_offsets([letter.at])
        if letter.offset < ends[letter.at]:
            # A fetch begins at the next record where the one that was asked for is compacted away.
            record: Record = await self._consumer.getone(letter.at)
            if record.offset == letter.offset:
                return record
        raise Lost(letter.origin)

    async def replay(self, letter: Letter) -> None:
        """Publish what it was to where it was, then remove it.

        An interruption between the two leaves it to be replayed once more, with the same id, which readers know.

        Raises:
            Lost: it was removed meanwhile.
            Unplayable: there is nothing to publish.
        """
        record = original(await self.record(letter))
        if record.key is None and record.value is None:
            raise Unplayable(letter.origin)
        await self._publisher.publish_exact([record])
        await self.drop([letter])

    async def drop(self, letters: Iterable[Letter]) -> None:
        """Remove letters: a tombstone each."""
        await self._publisher.publish_exact(
            [
                Exact(letter.at.topic, str(letter.origin).encode(), None, partition=letter.at.partition)
                for letter in letters
            ]
        )

    def _letter(self, record: Record) -> Letter | None:
        origin = Origin.parse((record.key or b"").decode(errors="replace"))
        if record.value is None or origin is None:  # a tombstone; or somebody else's record, which is left alone
            return None
        return Letter(
            origin,
            self._origins[record.topic],
            TopicPartition(record.topic, record.partition),
            record.offset,
            dt.datetime.fromtimestamp(record.timestamp / 1000, dt.UTC),
            reason_of(record),
            len(record.value),
        )

    async def _records(self, partitions: list[TopicPartition]) -> AsyncIterator[Record]:
        """What the partitions hold now."""
        if not partitions:
            return
        self._consumer.assign(partitions)
        await self._consumer.seek_to_beginning(*partitions)
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(partitions)
        while unread := [at for at in partitions if await self._consumer.position(at) < ends[at]]:
            for batch in (await self._consumer.getmany(*unread, timeout_ms=1000)).values():
                for record in batch:
                    yield record
