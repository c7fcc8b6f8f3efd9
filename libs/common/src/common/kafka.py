"""Kafka: events to records and back (CloudEvents 1.0, binary mode), publishing, dead letters, topics."""

import asyncio
import collections
import contextlib
import copy
import datetime as dt
import itertools
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, NamedTuple, TypedDict, TypeVar, cast

import structlog
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.structs import RecordMetadata
from faststream import BaseMiddleware, Context
from faststream._internal.types import CustomCallable  # with a looser type every subscriber would count as untyped
from faststream.kafka import KafkaBroker, KafkaMessage
from prometheus_client import Counter, Gauge
from pydantic import ValidationError

from common.batches import LARGEST_BATCH, PLAIN, ZSTD, Written, WrittenBatch
from common.connections import break_as_expected
from common.events import Event
from common.records import Exact, dead_letter
from common.telemetry import mask
from common.topics import LARGEST_DEAD_LETTER, Topic, Topics

log = structlog.get_logger()

break_as_expected()

CONTENT_TYPE: Final = "application/json"
LARGEST_EVENT: Final = 1_000_000  # bytes; the topics' limit, 1 MiB, counts keys and headers too
FLUSHED_WITHIN_S: Final = 5.0

SLICES_IN_FLIGHT: Final = 2
"""While Kafka takes them, the next is made."""

events_published = Counter("itarent_events_published_total", "Events acknowledged by Kafka", ["topic"])
events_consumed = Counter("itarent_events_consumed_total", "Records read, whatever became of them", ["topic"])
events_dead_lettered = Counter(
    "itarent_dead_letters_total", "Records that could not be handled and lie among the dead letters", ["topic"]
)
lines_stopped = Gauge("itarent_line_stopped", "1: too many records in a row could not be read", ["topic"])


# --- publishing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """A record that is ready to be published; `value` None is a tombstone."""

    topic: str
    key: str
    value: bytes | None
    headers: Mapping[str, str]


Ready = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""Key, value and headers of a record whose partition is known, as the client takes them."""

Compression = Literal["zstd"] | None


class EventTooLargeError(Exception):
    """The event is larger than Kafka takes: bound what goes into it."""


def encode(topic: Topic, event: Event, source: str) -> Encoded:
    """An event as a record: its fields are the value, its CloudEvents attributes are headers.

    Raises:
        EventTooLargeError: here, and not when it is already in an outbox and blocks everything behind it.
    """
    value = event.model_dump_json().encode()
    if len(value) > LARGEST_EVENT:
        raise EventTooLargeError(f"{event.type} {event.event_id} has {len(value)} bytes.")
    return Encoded(
        topic=topic.name,
        key=event.key,
        value=value,
        headers={
            "ce_specversion": "1.0",
            "ce_id": str(event.event_id),
            "ce_type": event.type,
            "ce_source": f"/itarent/{source}",
            "ce_subject": event.key,
            "ce_time": dt.datetime.now(dt.UTC).isoformat(),
            "ce_dataschema": f"urn:itarent:schema:{event.type}",
            "content-type": CONTENT_TYPE,
        },
    )


def tombstone(topic: Topic, key: str) -> Encoded:
    """The record that deletes a key from a compacted topic."""
    return Encoded(topic=topic.name, key=key, value=None, headers={})


class Publisher:
    """Publishes, and returns when Kafka has acknowledged everything on all in-sync replicas.

    While Kafka is away it waits, for ever: who cannot wait sets a timeout.
    """

    def __init__(
        self, producer: AIOKafkaProducer, bootstrap_servers: str, source: str, compression: Compression = None
    ) -> None:
        self._producer = producer
        self._bootstrap_servers = bootstrap_servers
        self._compression = compression
        self._renewal = asyncio.Lock()
        self.source = source

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(
        cls, bootstrap_servers: str, source: str, *, compression: Compression = None
    ) -> AsyncIterator["Publisher"]:
        """A publisher for the life of a process; `source` names the service in `ce_source`."""
        producer = await _started_producer(bootstrap_servers, source, compression)
        publisher = cls(producer, bootstrap_servers, source, compression)
        try:
            yield publisher
        finally:
            await _stop(publisher._producer)

    async def publish(self, topic: Topic, events: Iterable[Event]) -> None:
        """Publish events to one topic; those of one key stay in their order."""
        await self.publish_encoded([encode(topic, event, self.source) for event in events])

    async def publish_encoded(self, records: Sequence[Encoded]) -> None:
        """Publish records. After an error any of them may have been published or not: publish all of them again."""
        await self.publish_exact([_exact(record) for record in records])

    async def publish_exact(self, records: Sequence[Exact]) -> None:
        """Publish records to the byte; as `publish_encoded` otherwise."""
        # Acknowledgements are awaited together: one by one, each record would be a batch of its own, 50 times slower.
        producer = self._producer
        acknowledgements = [
            await producer.send(
                record.topic,
                value=record.value,
                key=record.key,
                partition=record.partition,
                headers=list(record.headers),
            )
            for record in records
        ]
        try:
            await asyncio.gather(*acknowledgements)
        except KafkaError:
            await self._renew(producer)
            raise
        for topic, count in collections.Counter(record.topic for record in records).items():
            events_published.labels(topic).inc(count)

    @property
    def _codec(self) -> int:
        return ZSTD if self._compression == "zstd" else PLAIN

    async def partitions_of(self, topic: Topic) -> int:
        """How many partitions a topic has."""
        return len(await self._producer.partitions_for(topic.name))

    async def publish_slices(
        self, topic: Topic, slices: Iterable[Sequence[Sequence[Written]]], *, each_within_s: float
    ) -> None:
        """Publish batches, slice by slice; in each they stand by their partition.

        A slice is asked for when Kafka has acknowledged all but the latest ones, so no more than a few are held in
        memory, and the event loop has its turn between two. After an error as `publish_encoded`.

        Raises:
            TimeoutError: Kafka took longer than `each_within_s` seconds for one.
        """
        producer = self._producer
        sent: collections.deque[_Sent] = collections.deque()
        try:
            for batches in slices:
                async with asyncio.timeout(each_within_s):
                    if len(sent) == SLICES_IN_FLIGHT:
                        await _acknowledged(topic, sent)
                    sent.append(await _send(producer, topic, batches, self._codec))
                await asyncio.sleep(0)
            while sent:
                async with asyncio.timeout(each_within_s):
                    await _acknowledged(topic, sent)
        except KafkaError:
            await self._renew(producer)
            raise
        finally:
            _give_up(sent)

    async def _renew(self, refused: AIOKafkaProducer) -> None:
        """Replace a producer that Kafka refused a batch: it counts the batch's sequence numbers as used, and Kafka
        would therefore refuse everything that it sends to that partition from now on.
        """
        async with self._renewal:
            if self._producer is refused:
                self._producer = await _started_producer(self._bootstrap_servers, self.source, self._compression)
                await _stop(refused)


class _Sent(NamedTuple):
    """A slice that Kafka may not have acknowledged yet."""

    records: int
    acknowledgement: asyncio.Future[list[RecordMetadata]]


async def _send(producer: AIOKafkaProducer, topic: Topic, batches: Sequence[Sequence[Written]], codec: int) -> _Sent:
    # The client takes one batch of a partition at a time: the first of each go together, then the second of each.
    now_ms = int(time.time() * 1000)
    acknowledgements = [
        await producer.send_batch(WrittenBatch(batch, codec, now_ms), topic.name, partition=partition)
        for in_turn in itertools.zip_longest(*batches)
        for partition, batch in enumerate(in_turn)
        if batch
    ]
    records = sum(batch.count for of_partition in batches for batch in of_partition)
    return _Sent(records, asyncio.gather(*acknowledgements))


async def _acknowledged(topic: Topic, sent: collections.deque[_Sent]) -> None:
    """Wait for the first of them, which leaves the queue when Kafka has it."""
    await sent[0].acknowledgement
    events_published.labels(topic.name).inc(sent.popleft().records)


def _give_up(sent: Iterable[_Sent]) -> None:
    for each in sent:
        if each.acknowledgement.done() and not each.acknowledgement.cancelled():
            each.acknowledgement.exception()  # looked at, or asyncio would complain that nobody has
        each.acknowledgement.cancel()


def _exact(record: Encoded) -> Exact:
    headers = tuple((name, value.encode()) for name, value in record.headers.items())
    return Exact(record.topic, record.key.encode(), record.value, headers)


async def _started_producer(bootstrap_servers: str, client_id: str, compression: Compression) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        compression_type=compression,
        max_batch_size=LARGEST_BATCH,
        max_request_size=LARGEST_DEAD_LETTER,
    )
    try:
        await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop when everything is acknowledged, or soon: without Kafka an idempotent producer would flush for ever."""
    stopping = asyncio.create_task(producer.stop())
    done, _ = await asyncio.wait([stopping], timeout=FLUSHED_WITHIN_S)
    if done:
        stopping.result()
    else:
        log.warning("kafka is away, records that it has not acknowledged are given up")
        stopping.cancel()
        await producer._sender.close()  # noqa: SLF001 - there is no public way to give up
        await producer.client.close()


# --- reading --------------------------------------------------------------------------------------------------------

EventT = TypeVar("EventT", bound=Event)

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def holds_nul(json: bytes) -> bool:
    """Whether JSON holds U+0000, which PostgreSQL cannot store; a backslash that is escaped begins no escape."""
    return b"\\u0000" in json and _NUL.search(json) is not None


@dataclass(frozen=True)
class Received(Generic[EventT]):
    """A record that was understood; `event` None is a tombstone of `key`."""

    key: str
    event: EventT | None
    record: ConsumerRecord[bytes, bytes]


@dataclass(frozen=True)
class Invalid:
    """A record that can never be handled. The reason names fields, never their content."""

    record: ConsumerRecord[bytes, bytes]
    reason: str


@dataclass(frozen=True)
class Foreign:
    """A record of an event type that this reader does not know: a newer writer's, to be passed over."""

    record: ConsumerRecord[bytes, bytes]


def decode(
    record: ConsumerRecord[bytes, bytes], types: Mapping[str, type[EventT]]
) -> Received[EventT] | Invalid | Foreign:
    """A record as one of the event types, which are given by their CloudEvents type."""
    try:
        key = (record.key or b"").decode()
    except UnicodeDecodeError:
        return Invalid(record, "the key is not UTF-8")
    if not key:
        return Invalid(record, "the record has no key: it says which entity the event is about")
    if "\0" in key:  # of a tombstone: no event has such a key
        return Invalid(record, "the key holds U+0000, which PostgreSQL cannot store")
    if record.value is None:
        return Received(key, None, record)
    event_type = _type_of(record, types)
    return _decode_value(record, key, event_type) if event_type else Foreign(record)


def _decode_value(
    record: ConsumerRecord[bytes, bytes], key: str, event_type: type[EventT]
) -> Received[EventT] | Invalid:
    if holds_nul(record.value):
        return Invalid(record, "a text holds U+0000, which PostgreSQL cannot store")
    try:
        event = event_type.model_validate_json(record.value)
    except ValidationError as error:
        return Invalid(record, _reason(error))
    if event.key != key:
        return Invalid(record, "the record's key is not the key of the event that it holds")
    return Received(key, event, record)


def is_of_type(record: ConsumerRecord[bytes, bytes], event_type: type[Event]) -> bool:
    """Whether a record holds such an event; one that does not say is taken for what its topic holds."""
    return dict(record.headers).get("ce_type") in (None, event_type.type.encode())


def _type_of(record: ConsumerRecord[bytes, bytes], types: Mapping[str, type[EventT]]) -> type[EventT] | None:
    """A producer that sends no `ce_type` is understood where only one type is possible."""
    ce_type = dict(record.headers).get("ce_type")
    if ce_type is None and len(types) == 1:
        return next(iter(types.values()))
    return types.get((ce_type or b"").decode(errors="replace"))


def _reason(error: ValidationError) -> str:
    """The first faults of an event by field, without what the fields hold: it may be private."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    named = [f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['msg']}" for fault in faults[:3]]
    return mask("; ".join(named))


class LineStoppedError(Exception):
    """Too many records in a row could not be read: the line is stopped before all of them become dead letters."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"Too many records of {topic} in a row could not be read. Look at the dead letters (itarent dlq list) "
            "and at what was deployed last; when that is mended, start this service anew."
        )


class Reader(Generic[EventT]):
    """Reads batches of a topic: what cannot be understood goes to the dead letters, with its origin and the reason.

    When `most_in_a_row` records in a row are invalid, reading stops (LineStoppedError, and the batch comes again, until
    somebody starts the service anew), since then more likely the reader is broken than all of the writers.

    Of several services that read a topic one keeps its dead letters; the others pass them over.
    """

    most_in_a_row = 1000

    def __init__(
        self, publisher: Publisher, topic: Topic, *types: type[EventT], keeps_dead_letters: bool = True
    ) -> None:
        self._publisher = publisher
        self._topic = topic
        self._keeps_dead_letters = keeps_dead_letters
        self._types = {each.type: each for each in types}
        self._in_a_row = 0
        self._has_stopped = False  # what can be read in another partition is no reason to go on
        self._settled: dict[int, int] = {}  # per partition: the last offset whose dead letters are published

    async def read(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> list[Received[EventT]]:
        """What a batch holds, in its order; returns when its dead letters are acknowledged."""
        if self._has_stopped:
            raise LineStoppedError(self._topic.name)
        received: list[Received[EventT]] = []
        invalid: list[Invalid] = []
        in_a_row = self._in_a_row
        for record in records:
            match decode(record, self._types):
                case Received() as good:
                    received.append(good)
                    in_a_row = 0
                case Invalid() as bad if self._is_new(record):
                    invalid.append(bad)
                    in_a_row += 1
                    if in_a_row >= self.most_in_a_row:
                        self._has_stopped = True
                        raise LineStoppedError(self._topic.name)
                case Invalid() | Foreign():
                    pass
        await self._dead_letter(invalid)
        self._in_a_row = in_a_row
        events_consumed.labels(self._topic.name).inc(len(records))
        return received

    def _is_new(self, record: ConsumerRecord[bytes, bytes]) -> bool:
        """A batch whose handler fails comes again and again: its dead letters are written once."""
        return bool(record.offset > self._settled.get(record.partition, -1))

    async def _dead_letter(self, invalid: Sequence[Invalid]) -> None:
        if not invalid or not self._keeps_dead_letters:
            return
        await self._publisher.publish_exact([dead_letter(self._topic, bad.record, bad.reason) for bad in invalid])
        events_dead_lettered.labels(self._topic.name).inc(len(invalid))
        for bad in invalid:
            self._settled[bad.record.partition] = bad.record.offset
            log.error(
                "dead letter",
                topic=bad.record.topic,
                partition=bad.record.partition,
                offset=bad.record.offset,
                reason=bad.reason,
            )


# --- subscribing (FastStream) ---------------------------------------------------------------------------------------


async def _parse_without_headers(
    records: tuple[ConsumerRecord[bytes, bytes], ...],
    parse: Callable[[tuple[ConsumerRecord[bytes, bytes], ...]], Awaitable[KafkaMessage]],
) -> KafkaMessage:
    """FastStream decodes headers before any handler runs, and fails for ever on one that is not UTF-8."""
    bare = copy.copy(records[0])
    bare.headers = ()
    message = await parse((bare,))
    message.raw_message = records
    return message


async def _leave_undecoded(message: KafkaMessage) -> Any:  # noqa: ANN401 - FastStream's own type
    """Bodies are decoded by `Reader`, which knows what to do with those that cannot be."""
    return message.body


MOST_AT_ONCE: Final = 500


class SubscriberOptions(TypedDict):
    """Options that every subscriber shares; its `ack_policy` stands at the subscriber itself."""

    batch: Literal[True]
    max_records: int
    batch_timeout_ms: int
    fetch_max_wait_ms: int
    fetch_min_bytes: int
    heartbeat_interval_ms: int
    auto_offset_reset: Literal["earliest"]
    group_instance_id: str | None
    parser: CustomCallable
    decoder: CustomCallable


def at_once(instance_id: str | None, subscriber: str = "", *, most: int = MOST_AT_ONCE) -> SubscriberOptions:
    """Options of a subscriber that somebody waits for: records are taken as they come, up to `most` at once.

    With an `instance_id` (static membership) a process that was killed gets its partitions back as soon as it is
    back, instead of after the session's timeout. Each of several subscribers of a process is a member of the group
    of its own: `subscriber` names it.
    """
    # A partition whose records were still being handled when a fetch was sent is not in it: what comes there
    # meanwhile lies until the fetch returns, by default after 500 ms.
    return _in_batches(_member(instance_id, subscriber), most, fetch_max_wait_ms=20, fetch_min_bytes=1)


def gathered(instance_id: str | None, subscriber: str = "") -> SubscriberOptions:
    """Options of a subscriber that nobody waits for: records are gathered for a moment, since each batch has a price.

    As `at_once` otherwise.
    """
    member = _member(instance_id, subscriber)
    return _in_batches(member, MOST_AT_ONCE, fetch_max_wait_ms=200, fetch_min_bytes=32 * 1024)


def _member(instance_id: str | None, subscriber: str) -> str | None:
    return f"{instance_id}-{subscriber}" if instance_id and subscriber else instance_id


def _in_batches(
    instance_id: str | None, most: int, *, fetch_max_wait_ms: int, fetch_min_bytes: int
) -> SubscriberOptions:
    return SubscriberOptions(
        batch=True,
        max_records=most,
        batch_timeout_ms=20,  # 200 by default: an empty poll sleeps that long before it looks again
        fetch_max_wait_ms=fetch_max_wait_ms,
        fetch_min_bytes=fetch_min_bytes,
        # 3,000 by default, and a member learns of a newcomer with its heartbeat: four subscribers would start in 10 s.
        heartbeat_interval_ms=300,
        auto_offset_reset="earliest",
        group_instance_id=instance_id,
        parser=_parse_without_headers,
        decoder=_leave_undecoded,
    )


Records = Annotated[tuple[ConsumerRecord[bytes, bytes], ...], Context("message.raw_message")]
"""The type of a handler's argument: the batch of records as aiokafka read it."""


class BackOff(BaseMiddleware):
    """Waits after a failure before the batch comes again, longer each time: a failing handler must not spin."""

    longest_s: ClassVar[float] = 10.0
    _failures: ClassVar[collections.Counter[str]] = collections.Counter()
    _stopped: ClassVar[set[str]] = set()

    @classmethod
    def stopped(cls) -> list[str]:
        """The topics of this process whose line is stopped."""
        return sorted(cls._stopped)

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:  # noqa: ANN401 - as above
        topic = msg.raw_message[0].topic
        try:
            result = await call_next(msg)
        except Exception as error:
            self._tell(topic, error)
            # The exponent has a bound of its own: after a night's outage the power would be no float any more.
            await asyncio.sleep(min(0.1 * 2 ** min(self._failures[topic], 10), self.longest_s))
            self._failures[topic] += 1
            raise
        self._failures[topic] = 0
        self._stopped.discard(topic)
        lines_stopped.labels(topic).set(0)
        return result

    def _tell(self, topic: str, error: Exception) -> None:
        if isinstance(error, LineStoppedError):
            log.error("line stopped", topic=topic, cure=str(error))
            self._stopped.add(topic)
            lines_stopped.labels(topic).set(1)
        else:
            log.error("handler failed, the batch comes again", topic=topic, error=type(error).__name__, exc_info=error)


def make_broker(bootstrap_servers: str, service: str) -> KafkaBroker:
    """A broker for subscribers; topics are created by `create_topics`, never as a side effect."""
    return KafkaBroker(
        bootstrap_servers,
        client_id=service,
        allow_auto_create_topics=False,
        logger=None,
        middlewares=(BackOff,),
    )


# --- topics ---------------------------------------------------------------------------------------------------------


async def create_topics(bootstrap_servers: str, topics: Topics | Iterable[Topic]) -> None:
    """Create the topics that do not exist yet, for one broker or a cluster's default replication, and give those that
    exist the configuration of today. Returns when brokers know all of them.
    """
    wanted = topics.all() if isinstance(topics, Topics) else tuple(topics)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        response = await admin.create_topics(
            [
                NewTopic(
                    topic.name,
                    num_partitions=topic.partitions,
                    replication_factor=-1,
                    replica_assignments={},  # aiokafka takes -1, the cluster's own choice, only beside it
                    topic_configs=topic.config,
                )
                for topic in wanted
            ]
        )
        old = {name for name, code, *_ in response.topic_errors if for_code(code) is TopicAlreadyExistsError}
        for name, code, *details in response.topic_errors:
            if code and name not in old:
                raise for_code(code)(f"topic {name} cannot be created: {details}")
        await _configure(admin, [topic for topic in wanted if topic.name in old])
        async with asyncio.timeout(KNOWN_WITHIN_S):
            while not await _all_known(admin, wanted):  # noqa: ASYNC110 - a broker sends no event
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def _all_known(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> bool:
    """Whether every partition has a leader: a broker hears of a new topic a little after the controller has made it."""
    described = await admin.describe_topics([topic.name for topic in topics])
    return all(
        not topic["error_code"] and all(partition["leader"] >= 0 for partition in topic["partitions"])
        for topic in described
    )


KNOWN_WITHIN_S: Final = 30.0
SET_AT_THE_TOPIC: Final = 1  # Kafka's DYNAMIC_TOPIC_CONFIG


async def _configure(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> None:
    """Bring what differs up to date; what somebody has set beside it stays."""
    described = cast("list[Any]", await admin.describe_configs([_resource(topic.name) for topic in topics]))
    set_at = {
        name: {entry[0]: entry[1] for entry in entries if entry[3] == SET_AT_THE_TOPIC}
        for answer in described
        for _code, _message, _type, name, entries in answer.resources
    }
    # The request sets a topic's whole configuration: what is not in it would be reset.
    changed = [
        _resource(topic.name, {**set_at[topic.name], **topic.config})
        for topic in topics
        if not topic.config.items() <= set_at[topic.name].items()
    ]
    answers = cast("list[Any]", await admin.alter_configs(changed)) if changed else []
    for answer in answers:
        for code, message, _type, name in answer.resources:
            if code:
                raise for_code(code)(f"topic {name} cannot be configured: {message}")
            log.info("topic configured", topic=name)


def _resource(name: str, config: Mapping[str, str] | None = None) -> ConfigResource:
    return ConfigResource(ConfigResourceType.TOPIC, name, config)
