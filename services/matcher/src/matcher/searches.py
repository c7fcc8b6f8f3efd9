"""The searches of all users, in memory: the compacted topic of subscriptions, read from its beginning and followed."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import Gauge

from common.service import in_background
from common.topics import Topic
from matcher.asking import Asking
from matcher.index import Index
from matcher.snapshot import Mark, Snapshot, Snapshots, UnusableError
from matcher.table import Holds, Table

log = structlog.get_logger()

searches_held = Gauge("itarent_matcher_searches", "Active searches that listings are matched against")

LOAD_RECORDS = 500
"""Read at once: applying them holds up everything else for about 20 ms."""

SAVED_EVERY_S: Final = 3600.0
"""What came since is read from Kafka in seconds, and a million searches stand still for two while they are written."""

PROVEN_WITHIN_S: Final = 10.0

CAUGHT_UP_WITHIN_S = 30.0
"""Where changes cannot be read, a batch rather comes again."""


class TopicMissingError(Exception):
    """The topic of the subscriptions does not exist: create the topics before the matcher starts."""

    def __str__(self) -> str:
        return str(self.__doc__)


@dataclass(frozen=True)
class HeldSearches:
    """The searches as they are while a batch is matched, and up to where their topic was read."""

    index: Index
    asking: Asking
    """Those of them that ask how long the way to work is: an engine's answers are wanted before they can be matched."""
    position: list[int]
    """Per partition, the offset of the next record."""


class Searches:
    """The table; a change waits until the batch that is being matched is done, so that a batch sees one state."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        asker: AIOKafkaConsumer,
        partitions: list[TopicPartition],
        holds: Holds,
    ) -> None:
        self._consumer = consumer
        self._asker = asker
        self._holds = holds
        self._partitions = partitions
        self._marks = [Mark(0, 0)] * len(partitions)
        self._table = Table()
        self._unchanging = asyncio.Lock()
        self._read_up_to: dict[TopicPartition, int] = {}
        self._has_read = asyncio.Condition()

    @classmethod
    @contextlib.asynccontextmanager
    async def loaded(
        cls,
        bootstrap_servers: str,
        topic: Topic,
        holds: Holds = lambda _user_id: True,
        snapshots: Snapshots | None = None,
    ) -> AsyncIterator["Searches"]:
        """The searches, complete up to what the topic held at the start; only of users that this shard `holds`.

        With `snapshots`, only what came since the last one is read, and another one is left at the end.
        """
        partitions = await _partitions_of(bootstrap_servers, topic)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers, client_id="matcher-searches", auto_offset_reset="earliest"
        )
        # Kafka answers a connection in turn: behind a fetch that waits for records, every batch would wait 400 ms.
        asker = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, client_id="matcher-searches-ends")
        async with consumer, asker:
            consumer.assign(partitions)
            searches = cls(consumer, asker, partitions, holds)
            if snapshots is None:
                await searches._load()
                yield searches
                return
            await searches._restore(bootstrap_servers, snapshots)
            await searches._load()
            async with in_background(searches._save_again_and_again(snapshots)):
                yield searches
            await searches._save(snapshots)

    async def _load(self) -> None:
        ends = await self._consumer.end_offsets(self._partitions)
        gc.disable()  # hardly anything of it is garbage, and looking for some takes a fifth of the time
        try:
            while any([await self._consumer.position(each) < end for each, end in ends.items()]):
                await self._read()
        finally:
            gc.enable()
        gc.freeze()  # they stay: a collector that walks through all of them again and again takes half of the time
        log.info("searches loaded", searches=len(self._table.index), position=[mark.offset for mark in self._marks])

    async def follow(self) -> None:
        """Take in changes, for as long as the matcher runs."""
        while True:
            await self._read()

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[HeldSearches]:
        """The searches as they are at this moment or later, which do not change within the block."""
        await self._catch_up()
        async with self._unchanging:
            yield HeldSearches(self._table.index, self._table.asking, [mark.offset for mark in self._marks])

    async def _catch_up(self) -> None:
        """Wait until everything is read that was published.

        Who was frozen has old searches when it goes on. And who repeats a batch of another instance, which published it
        and could not record it, must not record it with fewer searches than that one had.
        """
        async with asyncio.timeout(CAUGHT_UP_WITHIN_S):
            ends = await self._asker.end_offsets(self._partitions)
            async with self._has_read:
                await self._has_read.wait_for(lambda: all(self._read_up_to.get(at, 0) >= ends[at] for at in ends))

    async def _read(self) -> None:
        read = await self._consumer.getmany(timeout_ms=1000, max_records=LOAD_RECORDS)
        async with self._unchanging:
            self._apply(record for records in read.values() for record in records)
        async with self._has_read:
            # Not by the records: the last ones before the end may have been compacted away.
            self._read_up_to = {each: await self._consumer.position(each) for each in self._partitions}
            self._has_read.notify_all()

    def _apply(self, records: Iterable[ConsumerRecord[bytes, bytes]]) -> None:
        for record in records:
            self._table.apply(record, self._holds)
            self._marks[record.partition] = Mark(record.offset + 1, record.timestamp)
        searches_held.set(len(self._table.index))

    # Snapshots

    async def _restore(self, bootstrap_servers: str, snapshots: Snapshots) -> None:
        """Begin with the snapshot, if there is one that is of use."""
        try:
            snapshot = snapshots.load()
            if snapshot is None:
                return
            await self._prove(bootstrap_servers, snapshot.marks)
        except UnusableError as error:
            log.warning(
                "snapshot ignored, every search is read from Kafka", file=str(snapshots.path), reason=str(error)
            )
            return
        self._table, self._marks = snapshot.table, list(snapshot.marks)
        for partition, mark in zip(self._partitions, snapshot.marks, strict=True):
            self._consumer.seek(partition, mark.offset)

    async def _prove(self, bootstrap_servers: str, marks: Sequence[Mark]) -> None:
        """The topic must still hold the last record of each partition that the snapshot knows: else it is another one.

        Raises:
            UnusableError: it does not.
        """
        ends = await self._asker.end_offsets(self._partitions)
        if len(marks) != len(self._partitions):
            raise UnusableError("its topic had another number of partitions")
        if any(mark.offset > ends[partition] for partition, mark in zip(self._partitions, marks, strict=True)):
            raise UnusableError("its topic was made anew")
        known = [(partition, mark) for partition, mark in zip(self._partitions, marks, strict=True) if mark.offset]
        if not known:
            return  # and no consumer is started: one that is stopped before it did anything cancels whoever stops it
        async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, client_id="matcher-snapshot") as witness:
            for partition, mark in known:
                witness.assign([partition])
                witness.seek(partition, mark.offset - 1)
                record = await asyncio.wait_for(witness.getone(partition), PROVEN_WITHIN_S)
                if Mark(record.offset + 1, record.timestamp) != mark:
                    raise UnusableError("its topic holds other records")

    async def _save_again_and_again(self, snapshots: Snapshots) -> None:
        saved: list[Mark] = []
        while True:
            await asyncio.sleep(SAVED_EVERY_S)
            if saved != self._marks:
                saved = list(self._marks)
                await self._save(snapshots)

    async def _save(self, snapshots: Snapshots) -> None:
        async with self._unchanging:
            written = snapshots.written(Snapshot(self._table, tuple(self._marks)))
        try:
            await asyncio.to_thread(written.save, snapshots.path)
        except OSError as error:
            log.warning("snapshot not saved, the next start takes longer", file=str(snapshots.path), reason=str(error))


async def _partitions_of(bootstrap_servers: str, topic: Topic) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic.name])
    finally:
        await admin.close()
    if not described["partitions"]:
        raise TopicMissingError
    return [TopicPartition(topic.name, number) for number in range(len(described["partitions"]))]
