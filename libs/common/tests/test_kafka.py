"""Events on real Kafka: what is published can be read by others, and what cannot be read stops nobody."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeAlias
from uuid import uuid4

import httpx
import pytest
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from aiokafka.protocol.admin import ApiVersionRequest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from faststream import AckPolicy
from prometheus_client import REGISTRY
from starlette.applications import Starlette

from common.batches import Ready, Written, written
from common.events import (
    DirectMessageRequested,
    FlatDeclined,
    ListingPublished,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    RecipientSaved,
)
from common.kafka import (
    LARGEST_EVENT,
    SLICES_IN_FLIGHT,
    BackOff,
    Compression,
    Encoded,
    EventTooLargeError,
    Foreign,
    Invalid,
    LineStoppedError,
    Publisher,
    Reader,
    Received,
    Records,
    at_once,
    create_topics,
    decode,
    encode,
    holds_nul,
    make_broker,
    tombstone,
)
from common.service import health_routes
from common.topics import Topic, Topics
from testkit.factories import NOW, make_listing, make_notification, make_recipient
from testkit.records import records_of
from testkit.waiting import PATIENCE_S, eventually

LISTINGS = {ListingPublished.type: ListingPublished}
GOOD = ListingPublished(listing=make_listing())
GOOD_VALUE = GOOD.model_dump_json().encode()
TYPED = (("ce_type", ListingPublished.type.encode()),)

Record: TypeAlias = ConsumerRecord[bytes, bytes]
Headers = Sequence[tuple[str, bytes]]


@pytest.fixture
async def publisher(kafka: str) -> AsyncIterator[Publisher]:
    async with Publisher.connected(kafka, "tests") as publisher:
        yield publisher


def listing(number: int, **changes: Any) -> ListingPublished:
    return ListingPublished(listing=make_listing(listing_id=f"portal:{number}", **changes))


def offset_of(letter: Record) -> int:
    return int(dict(letter.headers)["dlq_offset"])


def record(value: bytes | None, key: bytes | None = GOOD.key.encode(), headers: Headers = TYPED, at: int = 0) -> Record:
    return ConsumerRecord("listings", 0, at, 0, 0, key, value, None, -1, -1, tuple(headers))


async def put(kafka: str, topic: Topic, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
    """Publish what a careless producer would."""
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(topic.name, value, key, headers=list(headers))


# --- publishing -----------------------------------------------------------------------------------------------------


async def test_a_published_event_is_read_by_another_implementation_of_cloudevents(
    publisher: Publisher, kafka: str, topics: Topics
) -> None:
    await publisher.publish(topics.listings, [GOOD])
    [published] = await records_of(kafka, topics.listings)
    event = from_binary(
        KafkaMessage(headers=dict(published.headers), key=published.key, value=published.value or b""), JSONFormat()
    )
    assert (event.get_id(), event.get_type()) == (str(GOOD.event_id), ListingPublished.type)
    assert (event.get_source(), event.get_subject()) == ("/itarent/tests", GOOD.key)
    assert event.get_time() is not None
    assert event.get_data() == json.loads(GOOD_VALUE)


async def test_a_published_event_is_received_as_it_was(publisher: Publisher, kafka: str, topics: Topics) -> None:
    events = [make_notification(), make_notification(user_id=GOOD.event_id)]
    await publisher.publish(topics.notifications, events)
    reader = Reader(publisher, topics.notifications, NotificationRequested, DirectMessageRequested)
    received = await reader.read(await records_of(kafka, topics.notifications))
    assert sorted((each.key, each.event) for each in received if each.event) == sorted(
        (event.key, event) for event in events
    )


async def test_events_of_one_key_keep_their_order(publisher: Publisher, kafka: str, topics: Topics) -> None:
    await publisher.publish(topics.listings, [listing(n % 7, version=n + 1) for n in range(700)])
    versions: dict[str, list[int]] = {}
    for published in await records_of(kafka, topics.listings):
        event = ListingPublished.model_validate_json(published.value or b"")
        versions.setdefault(event.key, []).append(event.listing.version)
    assert len(versions) == 7
    assert all(each == sorted(each) for each in versions.values())
    assert sum(map(len, versions.values())) == 700


async def test_a_tombstone_is_received_as_the_deletion_of_its_key(
    publisher: Publisher, kafka: str, topics: Topics
) -> None:
    await publisher.publish_encoded([tombstone(topics.recipients, "a-user")])
    [received] = await Reader(publisher, topics.recipients, RecipientSaved).read(
        await records_of(kafka, topics.recipients)
    )
    assert (received.key, received.event) == ("a-user", None)


def test_an_event_that_kafka_would_refuse_is_refused_before_it_is_sent() -> None:
    topics = Topics.within("x")
    encode(topics.listings, GOOD, "tests")
    status = MessageStatusReported(
        message_id=None,
        status=MessageStatus.SENT,
        reported_by="callback",
        reported_at=NOW,
        message_sid="SM1",
        parameters={"x": "x" * LARGEST_EVENT},
    )
    with pytest.raises(EventTooLargeError):
        encode(topics.message_statuses, status, "tests")


async def test_a_refused_record_does_not_spoil_the_publisher(publisher: Publisher, kafka: str, topics: Topics) -> None:
    await publisher.publish(topics.listings, [listing(1)])
    too_large = Encoded(topics.listings.name, "portal:1", b"x" * 1_200_000, {})
    with pytest.raises(MessageSizeTooLargeError):
        await publisher.publish_encoded([too_large])
    await asyncio.gather(*(publisher.publish(topics.listings, [listing(1)]) for _ in range(5)))
    assert len(await records_of(kafka, topics.listings)) == 6


def ready(number: int, size: int = 100) -> Ready:
    return f"key {number}".encode(), number.to_bytes(4) + bytes(size), {"ce_id": str(number).encode()}


@pytest.mark.parametrize("compression", [None, "zstd"])
async def test_slices_arrive_in_their_partitions_and_in_their_order(
    kafka: str, topics: Topics, compression: Compression
) -> None:
    """Also where a slice is more than one batch of a partition."""
    topic, numbers = topics.notifications, itertools.count()
    sizes: list[list[list[int]]] = [[[25, 3], [], [1], [], [3, 1, 2], [12]], [[]] * 6, [[1], [], [], [], [], [20]]]
    slices = [
        [[[ready(next(numbers)) for _ in range(size)] for size in of_partition] for of_partition in of_slice]
        for of_slice in sizes
    ]
    async with Publisher.connected(kafka, "tests", compression=compression) as publisher:
        assert await publisher.partitions_of(topic) == len(slices[0])
        batches = [[list(map(written, of_partition)) for of_partition in slice_] for slice_ in slices]
        await publisher.publish_slices(topic, batches, each_within_s=PATIENCE_S)
    records = await records_of(kafka, topic)
    for partition in range(topic.partitions):
        arrived = [(each.key, each.value, dict(each.headers)) for each in records if each.partition == partition]
        assert arrived == [each for slice_ in slices for batch in slice_[partition] for each in batch]


async def test_a_slice_is_made_when_nearly_all_before_it_are_acknowledged(publisher: Publisher, topics: Topics) -> None:
    topic, per_slice = topics.notifications, 50
    outstanding = []

    def acknowledged() -> float:
        return REGISTRY.get_sample_value("itarent_events_published_total", {"topic": topic.name}) or 0

    def slices() -> Iterator[list[list[Written]]]:
        for made in range(10):
            outstanding.append(made - acknowledged() / per_slice)
            yield [[written([ready(number) for number in range(per_slice)])]]

    await publisher.publish_slices(topic, slices(), each_within_s=PATIENCE_S)
    assert acknowledged() == 10 * per_slice
    assert max(outstanding) == SLICES_IN_FLIGHT


async def test_a_refused_slice_does_not_spoil_the_publisher(publisher: Publisher, kafka: str, topics: Topics) -> None:
    topic = topics.notifications
    good, too_large = ([[written([ready(1, size)])]] for size in (100, 1_200_000))
    with pytest.raises(MessageSizeTooLargeError):
        await publisher.publish_slices(topic, [good, too_large, good], each_within_s=PATIENCE_S)
    before = len(await records_of(kafka, topic))
    await publisher.publish_slices(topic, [good, good], each_within_s=PATIENCE_S)
    assert len(await records_of(kafka, topic)) == before + 2


async def test_who_publishes_slices_does_not_wait_for_ever(publisher: Publisher, topics: Topics) -> None:
    nowhere = dataclasses.replace(topics.notifications, name=f"{topics.namespace}.nowhere")
    with pytest.raises(TimeoutError):
        await publisher.publish_slices(nowhere, [[[written([ready(1)])]]], each_within_s=0.2)


async def test_topics_may_be_created_again(kafka: str, topics: Topics) -> None:
    await create_topics(kafka, topics)


async def test_a_topic_of_an_older_version_is_configured_as_today(kafka: str, topics: Topics) -> None:
    """What an operator has set beside our configuration stays."""
    topic = topics.inbound_messages
    old = {"cleanup.policy": "delete", "retention.ms": "1000", "segment.bytes": "2000000"}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:

        async def has(wanted: dict[str, str]) -> bool:
            described: Any = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
            return wanted.items() <= {entry[0]: entry[1] for entry in described[0].resources[0][4]}.items()

        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, old)])
        await eventually(lambda: has(old))
        await create_topics(kafka, topics)
        await eventually(lambda: has({**topic.config, "segment.bytes": "2000000"}))
    finally:
        await admin.close()


# --- decoding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [TYPED, (), (*TYPED, ("trace", b"\xff\xfe")), (("x", b"1"), *TYPED)])
def test_what_a_producer_adds_or_leaves_out_is_no_obstacle(headers: Headers) -> None:
    assert decode(record(GOOD_VALUE, headers=headers), LISTINGS) == Received(
        GOOD.key, GOOD, record(GOOD_VALUE, headers=headers)
    )


def test_fields_of_a_later_version_are_passed_over() -> None:
    later = json.dumps(json.loads(GOOD_VALUE) | {"colour": {"deep": [1]}}).encode()
    assert isinstance(decode(record(later), LISTINGS), Received)


@pytest.mark.parametrize("ce_type", [b"itarent.listing.published.v2", b"", b"\xff"])
def test_an_event_of_another_type_is_passed_over(ce_type: bytes) -> None:
    assert isinstance(decode(record(GOOD_VALUE, headers=(("ce_type", ce_type),)), LISTINGS), Foreign)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        pytest.param(b"", GOOD.key.encode(), id="empty"),
        pytest.param(b"{", GOOD.key.encode(), id="cut JSON"),
        pytest.param(b"\xff\xfe", GOOD.key.encode(), id="not UTF-8"),
        pytest.param(b"[" * 100_000, GOOD.key.encode(), id="deep JSON"),
        pytest.param(b'{"listing": NaN}', GOOD.key.encode(), id="NaN"),
        pytest.param(b'"text"', GOOD.key.encode(), id="not an object"),
        pytest.param(GOOD_VALUE.replace(b"Bilocale", b"Bi\\u0000"), GOOD.key.encode(), id="NUL"),
        pytest.param(GOOD_VALUE.replace(b"Bilocale", b"Bi\\ud800"), GOOD.key.encode(), id="half a character"),
        pytest.param(GOOD_VALUE, b"another:1", id="another key"),
        pytest.param(GOOD_VALUE, b"\xff", id="key not UTF-8"),
        pytest.param(GOOD_VALUE, None, id="no key"),
        pytest.param(None, None, id="tombstone without key"),
        pytest.param(None, b"immobiliare:1\x00", id="tombstone whose key holds NUL"),
    ],
)
def test_what_cannot_be_understood_is_invalid(value: bytes | None, key: bytes | None) -> None:
    assert isinstance(decode(record(value, key), LISTINGS), Invalid)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_moment_that_cannot_be_said_in_utc_is_invalid(moment: str) -> None:
    said = FlatDeclined(user_id=uuid4(), flat_id=uuid4(), listing_id="portal:1", declined_at=dt.datetime.now(dt.UTC))
    value = json.dumps(json.loads(said.model_dump_json()) | {"declined_at": moment}).encode()
    types = {FlatDeclined.type: FlatDeclined}
    assert isinstance(decode(record(value, said.key.encode(), headers=()), types), Invalid)


@pytest.mark.parametrize("status", ['"teleported"', '{"a": 1}', "[]", "null", "1e999"])
def test_a_status_of_another_kind_is_read_as_one_that_is_not_known(status: str) -> None:
    value = f"""{{"message_id": "{uuid4()}", "status": {status}, "reported_by": "callback",
        "reported_at": "2026-03-29T02:30:00Z"}}"""
    assert MessageStatusReported.model_validate_json(value).status is MessageStatus.UNKNOWN


@pytest.mark.parametrize(("json", "holds"), [(rb'"\u0000"', True), (rb'"\\\u0000"', True), (rb'"\\u0000"', False)])
def test_a_backslash_that_is_escaped_begins_no_nul(json: bytes, holds: bool) -> None:
    assert holds_nul(json) is holds


# --- connections ----------------------------------------------------------------------------------------------------


async def test_a_write_to_a_connection_that_was_just_reset_is_a_broken_connection(kafka: str) -> None:
    """Under uvloop, as services run: whoever fetches then connects again, and does not end."""
    host, port = kafka.split(":")

    async def write() -> None:
        connection = await create_conn(host, int(port))
        connection._writer.transport.abort()
        with pytest.raises(KafkaConnectionError):
            await connection.send(ApiVersionRequest())
        assert not connection.connected()

    await asyncio.to_thread(uvloop.run, write())


# --- dead letters ---------------------------------------------------------------------------------------------------


async def test_a_dead_letter_tells_its_origin_and_reason_and_nothing_private(
    publisher: Publisher, kafka: str, topics: Topics
) -> None:
    event = RecipientSaved(recipient=make_recipient())
    value = event.model_dump_json().replace('"+393335550101"', '"+39 333 555 0101 chiamami"').encode()
    await put(kafka, topics.recipients, event.key.encode(), value, [("trace", b"\xff")])
    [bad] = await records_of(kafka, topics.recipients)

    assert await Reader(publisher, topics.recipients, RecipientSaved).read([bad]) == []

    [letter] = await records_of(kafka, topics.recipients.dead_letters)
    headers = dict(letter.headers)
    assert letter.key == f"{topics.recipients.name}/{bad.partition}/{bad.offset}".encode()
    assert (headers["dlq_key"], letter.value) == (bad.key, value)
    assert headers["dlq_topic"].decode() == topics.recipients.name
    assert (int(headers["dlq_partition"]), int(headers["dlq_offset"])) == (bad.partition, bad.offset)
    assert headers["dlq_reason"].startswith(b"recipient.phone: ")
    told = [text for name, text in headers.items() if name != "dlq_timestamp_ms"]
    assert b"555" not in b"".join(told)


async def test_the_largest_record_that_kafka_takes_can_become_a_dead_letter(
    publisher: Publisher, kafka: str, topics: Topics
) -> None:
    await publisher.publish_encoded([Encoded(topics.listings.name, "k", b"x" * 1_048_400, {})])
    assert (
        await Reader(publisher, topics.listings, ListingPublished).read(await records_of(kafka, topics.listings)) == []
    )
    assert len(await records_of(kafka, topics.listings.dead_letters)) == 1


async def test_a_batch_that_comes_again_writes_no_second_dead_letter(
    publisher: Publisher, kafka: str, topics: Topics
) -> None:
    reader = Reader(publisher, topics.listings, ListingPublished)
    first, second = record(b"{", at=5), record(b"{", at=6)
    for batch in ([first], [first, second], [first, second]):
        await reader.read(batch)
    letters = await records_of(kafka, topics.listings.dead_letters)
    assert [offset_of(letter) for letter in letters] == [5, 6]


async def test_of_two_readers_of_a_topic_one_keeps_its_dead_letters(
    publisher: Publisher, kafka: str, topics: Topics
) -> None:
    keeper = Reader(publisher, topics.listings, ListingPublished)
    other = Reader(publisher, topics.listings, ListingPublished, keeps_dead_letters=False)
    for reader in (keeper, other):
        assert await reader.read([record(b"{")]) == []
    assert len(await records_of(kafka, topics.listings.dead_letters)) == 1


async def test_too_many_dead_letters_in_a_row_stop_the_line(publisher: Publisher, kafka: str, topics: Topics) -> None:
    reader = Reader(publisher, topics.listings, ListingPublished)
    reader.most_in_a_row = 3
    await reader.read([record(b"{", at=0), record(b"{", at=1), record(GOOD_VALUE, at=2), record(b"{", at=3)])
    for _ in range(5):
        with pytest.raises(LineStoppedError):
            await reader.read([record(b"{", at=4), record(b"{", at=5)])
    with pytest.raises(LineStoppedError):
        await reader.read([record(GOOD_VALUE, at=6)])  # of another partition
    assert len(await records_of(kafka, topics.listings.dead_letters)) == 3


# --- subscribing ----------------------------------------------------------------------------------------------------

Handler = Callable[[Records], Awaitable[None]]


@contextlib.asynccontextmanager
async def subscribed(kafka: str, topic: Topic, handler: Handler) -> AsyncIterator[None]:
    """Run a subscriber of the group `tests` as every service declares its own."""
    broker = make_broker(kafka, "tests")

    async def on_records(records: Records) -> None:
        await handler(records)

    broker.subscriber(topic.name, group_id="tests", ack_policy=AckPolicy.NACK_ON_ERROR, **at_once(None))(on_records)
    async with broker:
        await broker.start()
        yield


async def committed(kafka: str, topic: Topic) -> int:
    """How many records the group has committed."""
    async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id="tests", enable_auto_commit=False) as consumer:
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        return sum([await consumer.committed(partition) or 0 for partition in partitions])


async def test_a_batch_comes_again_until_it_is_handled_and_only_then_is_committed(
    publisher: Publisher, kafka: str, topics: Topics
) -> None:
    await publisher.publish(topics.listings, [listing(n) for n in range(40)])
    seen: list[int] = []
    handled: set[tuple[int, int]] = set()
    committed_before_success: list[int] = []

    async def fail_twice(records: Records) -> None:
        seen.append(len(records))
        if len(seen) <= 2:
            committed_before_success.append(await committed(kafka, topics.listings))
            raise RuntimeError("the database is away")
        handled.update((each.partition, each.offset) for each in records)

    async with subscribed(kafka, topics.listings, fail_twice):
        await eventually(lambda: len(handled) == 40)

        async def all_committed() -> bool:
            return await committed(kafka, topics.listings) == 40

        await eventually(all_committed)
    assert committed_before_success == [0, 0]


async def test_a_line_that_is_stopped_is_told_by_the_health_and_a_metric_until_it_moves(
    publisher: Publisher, kafka: str, topics: Topics
) -> None:
    name = topics.listings.name
    for _ in range(3):
        await put(kafka, topics.listings, GOOD.key.encode(), b"{")
    reader = Reader(publisher, topics.listings, ListingPublished)
    reader.most_in_a_row = 3

    async def on_records(records: Records) -> None:
        await reader.read(records)

    transport = httpx.ASGITransport(Starlette(routes=health_routes()))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://service") as service,
        subscribed(kafka, topics.listings, on_records),
    ):

        async def stopped() -> bool:
            return name in (await service.get("/healthz")).json()["stopped_lines"]

        await eventually(stopped)
        health = await service.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "stopped")
        assert f'itarent_line_stopped{{topic="{name}"}} 1.0' in (await service.get("/metrics/")).text
        reader = Reader(publisher, topics.listings, ListingPublished)  # what starting the service anew does

        async def moves() -> bool:
            return not await stopped()

        await eventually(moves)


async def test_records_that_cannot_be_read_do_not_block_those_behind_them(
    publisher: Publisher, kafka: str, topics: Topics
) -> None:
    key = GOOD.key.encode()
    await put(kafka, topics.listings, key, b"not JSON")
    await put(kafka, topics.listings, key, GOOD_VALUE, [("correlation_id", b"\xff\xfe"), ("content-type", b"\xff")])
    await put(kafka, topics.listings, key, None)
    received: list[Received[ListingPublished]] = []
    reader = Reader(publisher, topics.listings, ListingPublished)

    async def on_records(records: Records) -> None:
        received.extend(await reader.read(records))

    async with subscribed(kafka, topics.listings, on_records):
        await eventually(lambda: len(received) == 2)
    assert [each.event for each in received] == [GOOD, None]


async def test_a_failing_handler_waits_longer_each_time(kafka: str, publisher: Publisher, topics: Topics) -> None:
    await publisher.publish(topics.listings, [GOOD])
    clock = asyncio.get_running_loop().time
    tried_at: list[float] = []

    async def fail(_records: Records) -> None:
        tried_at.append(clock())
        raise RuntimeError("still away")

    async with subscribed(kafka, topics.listings, fail):
        await eventually(lambda: len(tried_at) == 4)
    waits = [later - earlier for earlier, later in itertools.pairwise(tried_at)]
    assert all(wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True)), waits


async def test_a_long_outage_does_not_break_the_waiting_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackOff, "longest_s", 0.01)
    monkeypatch.setitem(BackOff._failures, "listings", 5000)

    class Message:
        raw_message = (record(GOOD_VALUE),)

    async def fail(_message: object) -> None:
        raise RuntimeError("still away")

    with pytest.raises(RuntimeError, match="still away"):
        await BackOff(None, context=None).consume_scope(fail, Message())  # type: ignore[arg-type]  # needs no context
