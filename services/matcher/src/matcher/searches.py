"""The searches of all users, in memory: the compacted topic of subscriptions, read from its beginning and followed."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import Counter, Gauge

from common.events import SubscriptionSaved
from common.kafka import Foreign, Invalid, Received, decode, holds_nul, is_of_type
from common.search import Criterion
from common.topics import Topic
from matcher.asking import Asking
from matcher.index import Index
from matcher.question import COLUMNS
from matcher.reading import SearchReader
from matcher.register import Filed

log = structlog.get_logger()

searches_held = Gauge("itarent_matcher_searches", "Active searches that listings are matched against")
records_skipped = Counter("itarent_matcher_subscriptions_skipped_total", "Records of subscriptions that make no sense")

COMMUTE: Final = [rule.criterion for rule in COLUMNS].index(Criterion.COMMUTE)

LOAD_RECORDS = 500
"""Read at once: applying them holds up everything else for about 20 ms."""

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
        holds: Callable[[UUID], bool],
    ) -> None:
        self._consumer = consumer
        self._asker = asker
        self._holds = holds
        self._partitions = partitions
        self._position = [0] * len(partitions)
        self._index = Index()
        self._asking = Asking()
        self._reader = SearchReader(self._index.criteria)
        self._unchanging = asyncio.Lock()
        self._read_up_to: dict[TopicPartition, int] = {}
        self._has_read = asyncio.Condition()

    @classmethod
    @contextlib.asynccontextmanager
    async def loaded(
        cls, bootstrap_servers: str, topic: Topic, holds: Callable[[UUID], bool] = lambda _user_id: True
    ) -> AsyncIterator["Searches"]:
        """The searches, complete up to what the topic held at the start; only of users that this shard `holds`."""
        partitions = await _partitions_of(bootstrap_servers, topic)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers, client_id="matcher-searches", auto_offset_reset="earliest"
        )
        # Kafka answers a connection in turn: behind a fetch that waits for records, every batch would wait 400 ms.
        asker = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, client_id="matcher-searches-ends")
        async with consumer, asker:
            consumer.assign(partitions)
            searches = cls(consumer, asker, partitions, holds)
            await searches._load()
            yield searches

    async def _load(self) -> None:
        ends = await self._consumer.end_offsets(self._partitions)
        while any([await self._consumer.position(each) < end for each, end in ends.items()]):
            await self._read()
        gc.freeze()  # they stay: a collector that walks through all of them again and again takes half of the time
        log.info("searches loaded", searches=len(self._index), position=self._position)

    async def follow(self) -> None:
        """Take in changes, for as long as the matcher runs."""
        while True:
            await self._read()

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[HeldSearches]:
        """The searches as they are at this moment or later, which do not change within the block."""
        await self._catch_up()
        async with self._unchanging:
            yield HeldSearches(self._index, self._asking, list(self._position))

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
            search = self._read_at_once(record)
            if search is None:
                self._apply_by_model(record)
            elif self._holds(UUID(bytes=search.user_id)) and self._index.put(search):
                self._asking.remove(search.subscription_id)
            self._position[record.partition] = record.offset + 1
        searches_held.set(len(self._index))

    def _read_at_once(self, record: ConsumerRecord[bytes, bytes]) -> Filed | None:
        """A search that is written as we write it, and asks for no way to work: nearly all."""
        if record.key is None or record.value is None or not is_of_type(record, SubscriptionSaved):
            return None
        search = None if holds_nul(record.value) else self._reader.read(record.value, record.key)
        return None if search and search.wishes[COMMUTE] else search

    def _apply_by_model(self, record: ConsumerRecord[bytes, bytes]) -> None:
        match decode(record, {SubscriptionSaved.type: SubscriptionSaved}):
            case Received(_, SubscriptionSaved(subscription=subscription)):
                if self._holds(subscription.user_id) and self._index.put(self._reader.filed(subscription)):
                    self._asking.put(subscription)
            case Received(key, _):
                with contextlib.suppress(ValueError):  # what is no id of ours was never here
                    self._index.remove(UUID(key).bytes)
                    self._asking.remove(UUID(key).bytes)
            case Foreign():
                pass
            case Invalid(_, reason):
                # Every instance reads every record: the dead letters would hold it as often as there are instances.
                records_skipped.inc()
                log.error("subscription skipped", partition=record.partition, offset=record.offset, reason=reason)


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
