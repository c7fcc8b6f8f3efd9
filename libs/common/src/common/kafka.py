"""Kafka: events to records and back (CloudEvents 1.0, binary mode), publishing, dead letters, topics."""

import asyncio
import collections
import contextlib
import copy
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Generic, TypedDict, TypeVar

import structlog
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from faststream import BaseMiddleware, Context
from faststream.kafka import KafkaBroker, KafkaMessage
from prometheus_client import Counter
from pydantic import ValidationError

from common.events import Event
from common.topics import Topic, Topics

log = structlog.get_logger()

CONTENT_TYPE: Final = "application/json"

events_published = Counter("itarent_events_published_total", "Events acknowledged by Kafka", ["topic"])
events_consumed = Counter("itarent_events_consumed_total", "Records read, whatever became of them", ["topic"])
events_dead_lettered = Counter("itarent_dead_letters_total", "Records that can never be handled", ["topic"])


# --- publishing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    """A record that is ready to be published; `value` None is a tombstone."""

    topic: str
    key: str
    value: bytes | None
    headers: Mapping[str, str]


def encode(topic: Topic, event: Event, source: str) -> Encoded:
    """An event as a record: its fields are the value, its CloudEvents attributes are headers."""
    return Encoded(
        topic=topic.name,
        key=event.key,
        value=event.model_dump_json().encode(),
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
    """Publishes, and returns when Kafka has acknowledged everything on all in-sync replicas."""

    def __init__(self, producer: AIOKafkaProducer, source: str) -> None:
        self._producer = producer
        self.source = source

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, bootstrap_servers: str, source: str) -> AsyncIterator["Publisher"]:
        """A publisher for the life of a process; `source` names the service in `ce_source`."""
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers,
            client_id=source,
            acks="all",
            enable_idempotence=True,
            max_batch_size=256 * 1024,
            max_request_size=4 * 1024 * 1024,
        )
        await producer.start()
        try:
            yield cls(producer, source)
        finally:
            await producer.stop()

    async def publish(self, topic: Topic, events: Iterable[Event]) -> None:
        """Publish events to one topic; those of one key stay in their order."""
        await self.publish_encoded([encode(topic, event, self.source) for event in events])

    async def publish_encoded(self, records: Sequence[Encoded]) -> None:
        """Publish records. After an error any of them may have been published or not: publish all of them again."""
        # Acknowledgements are awaited together: one by one, each record would be a batch of its own, 50 times slower.
        acknowledgements = [
            await self._producer.send(
                record.topic,
                value=record.value,
                key=record.key.encode(),
                headers=[(name, value.encode()) for name, value in record.headers.items()],
            )
            for record in records
        ]
        await asyncio.gather(*acknowledgements)
        for topic, count in collections.Counter(record.topic for record in records).items():
            events_published.labels(topic).inc(count)


# --- reading --------------------------------------------------------------------------------------------------------

EventT = TypeVar("EventT", bound=Event)


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
        headers = {name: (value or b"").decode() for name, value in record.headers}
    except UnicodeDecodeError:
        return Invalid(record, "the key or a header is not UTF-8")
    if not key:
        return Invalid(record, "the record has no key: it says which entity the event is about")
    if record.value is None:
        return Received(key, None, record)
    event_type = _type_of(headers, types)
    return _decode_value(record, key, event_type) if event_type else Foreign(record)


def _decode_value(
    record: ConsumerRecord[bytes, bytes], key: str, event_type: type[EventT]
) -> Received[EventT] | Invalid:
    try:
        event = event_type.model_validate_json(record.value)
    except ValidationError as error:
        return Invalid(record, _reason(error))
    if event.key != key:
        return Invalid(record, "the record's key is not the key of the event that it holds")
    return Received(key, event, record)


def _type_of(headers: Mapping[str, str], types: Mapping[str, type[EventT]]) -> type[EventT] | None:
    """A producer that sends no `ce_type` is understood where only one type is possible."""
    if "ce_type" not in headers and len(types) == 1:
        return next(iter(types.values()))
    return types.get(headers.get("ce_type", ""))


def _reason(error: ValidationError) -> str:
    """The first faults of an event by field, without what the fields hold: it may be private."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    named = [f"{'.'.join(map(str, fault['loc'])) or 'value'}: {fault['msg']}" for fault in faults[:3]]
    return "; ".join(named)


class LineStoppedError(Exception):
    """Too many records in a row could not be read: look at the dead letters and at what was deployed last."""


class Reader(Generic[EventT]):
    """Reads batches of a topic: what cannot be understood goes to the dead letters, with its origin and the reason.

    When `most_in_a_row` records in a row are invalid, reading stops (LineStoppedError, and the batch comes again),
    since then more likely the reader is broken than all of the writers.
    """

    most_in_a_row = 1000

    def __init__(self, publisher: Publisher, topic: Topic, *types: type[EventT]) -> None:
        self._publisher = publisher
        self._topic = topic
        self._types = {each.type: each for each in types}
        self._in_a_row = 0

    async def read(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> list[Received[EventT]]:
        """What a batch holds, in its order; returns when its dead letters are acknowledged."""
        received: list[Received[EventT]] = []
        invalid: list[Invalid] = []
        events_consumed.labels(self._topic.name).inc(len(records))
        for record in records:
            match decode(record, self._types):
                case Received() as good:
                    received.append(good)
                    self._in_a_row = 0
                case Invalid() as bad:
                    invalid.append(bad)
                    self._in_a_row += 1
                case Foreign():
                    pass
        if self._in_a_row >= self.most_in_a_row:
            self._in_a_row = 0
            raise LineStoppedError
        if invalid:
            await self._dead_letter(invalid)
        return received

    async def _dead_letter(self, invalid: Sequence[Invalid]) -> None:
        await self._publisher.publish_encoded([_dead_letter(self._topic, bad) for bad in invalid])
        events_dead_lettered.labels(self._topic.name).inc(len(invalid))
        for bad in invalid:
            log.error(
                "dead letter",
                topic=bad.record.topic,
                partition=bad.record.partition,
                offset=bad.record.offset,
                reason=bad.reason,
            )


def _dead_letter(topic: Topic, bad: Invalid) -> Encoded:
    record = bad.record
    return Encoded(
        topic=topic.dead_letters.name,
        key=(record.key or b"").decode(errors="replace"),
        value=record.value,
        headers={
            **{name: (value or b"").decode(errors="replace") for name, value in record.headers},
            "dlq_reason": bad.reason,
            "dlq_topic": record.topic,
            "dlq_partition": str(record.partition),
            "dlq_offset": str(record.offset),
            "dlq_timestamp_ms": str(record.timestamp),
        },
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


class Subscription(TypedDict):
    """Options that every subscriber shares; its `ack_policy` stands at the subscriber itself."""

    batch: bool
    max_records: int
    batch_timeout_ms: int
    auto_offset_reset: Any
    group_instance_id: str | None
    parser: Any
    decoder: Any


def in_batches(instance_id: str | None, *, max_records: int = 500) -> Subscription:
    """Options of a subscriber that takes records as they are, up to `max_records` at once.

    With an `instance_id` (static membership) a process that was killed gets its partitions back as soon as it is
    back, instead of after the session's timeout.
    """
    return Subscription(
        batch=True,
        max_records=max_records,
        batch_timeout_ms=20,  # 200 by default: an empty poll sleeps that long before it looks again
        auto_offset_reset="earliest",
        group_instance_id=instance_id,
        parser=_parse_without_headers,
        decoder=_leave_undecoded,
    )


Records = Annotated[tuple[ConsumerRecord[bytes, bytes], ...], Context("message.raw_message")]
"""The type of a handler's argument: the batch of records as aiokafka read it."""


class BackOff(BaseMiddleware):
    """Waits after a failure before the batch comes again, longer each time: a failing handler must not spin."""

    longest_s = 10.0
    _failures: ClassVar[collections.Counter[str]] = collections.Counter()

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:  # noqa: ANN401 - as above
        topic = msg.raw_message[0].topic
        try:
            result = await call_next(msg)
        except Exception as error:
            self._failures[topic] += 1
            log.exception("handler failed, the batch comes again", topic=topic, error=type(error).__name__)
            await asyncio.sleep(min(0.05 * 2 ** self._failures[topic], self.longest_s))
            raise
        self._failures[topic] = 0
        return result


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
    """Create the topics that do not exist yet, for one broker or a cluster's default replication."""
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
    finally:
        await admin.close()
    for name, code, *details in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"topic {name} cannot be created: {details}")
