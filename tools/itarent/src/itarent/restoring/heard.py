"""What the topics say of the time since a backup."""

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from common.events import (
    DirectMessageRequested,
    Event,
    ListingPublished,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
    Recipient,
    RecipientSaved,
    SubscriptionSaved,
)
from common.kafka import Received, decode
from common.listing import Listing, ListingId
from common.search import Subscription
from common.topics import Topic, Topics

EventT = TypeVar("EventT", bound=Event)
Requested = NotificationRequested | DirectMessageRequested

TAKEN: Final = frozenset(
    {
        MessageStatus.ACCEPTED,
        MessageStatus.SCHEDULED,
        MessageStatus.QUEUED,
        MessageStatus.SENDING,
        MessageStatus.SENT,
        MessageStatus.DELIVERED,
        MessageStatus.READ,
        MessageStatus.IN_DOUBT,
    }
)
"""Statuses of messages that Twilio has, or may have: rather one message less than one twice."""


@dataclass
class Heard:
    """Recipients and searches as they are now (None: deleted); what was published, requested, sent, settled since."""

    recipients: dict[UUID, Recipient | None] = field(default_factory=dict)
    subscriptions: dict[UUID, Subscription | None] = field(default_factory=dict)
    listings: dict[ListingId, Listing] = field(default_factory=dict)
    requested: dict[UUID, Requested] = field(default_factory=dict)
    sent: dict[UUID, MessageStatusReported] = field(default_factory=dict)
    """By message, the sender's last report of one that Twilio has."""

    settled: dict[UUID, NotificationSettled] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)
    """The ids of all events that were read."""


async def listen(bootstrap_servers: str, topics: Topics, since: dt.datetime) -> Heard:
    """Read recipients and searches from their beginning, and the rest from a moment on."""
    heard = Heard()
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False) as consumer:
        async for key, recipient in _latest(consumer, topics.recipients, RecipientSaved, heard):
            heard.recipients[key] = recipient.recipient if recipient else None
        async for key, saved in _latest(consumer, topics.subscriptions, SubscriptionSaved, heard):
            heard.subscriptions[key] = saved.subscription if saved else None
        async for published in _since(consumer, topics.listings, (ListingPublished,), since, heard):
            heard.listings[published.key] = published.listing
        kinds: tuple[type[Requested], ...] = (NotificationRequested, DirectMessageRequested)
        async for requested in _since(consumer, topics.notifications, kinds, since, heard):
            heard.requested[requested.notification_id] = requested
        async for said in _since(consumer, topics.message_statuses, _SAID, since, heard):
            _hear(heard, said)
    return heard


_SAID: Final[tuple[type[MessageStatusReported] | type[NotificationSettled], ...]] = (
    MessageStatusReported,
    NotificationSettled,
)


def _hear(heard: Heard, said: MessageStatusReported | NotificationSettled) -> None:
    if isinstance(said, NotificationSettled):
        heard.settled[said.notification_id] = said
        return
    if said.message_id is None or said.reported_by != "sender":
        return
    before = heard.sent.pop(said.message_id, None)
    if said.status in TAKEN and said.user_id:  # else it is to be sent again, or was refused
        told = said.notification_ids or (before.notification_ids if before else ())
        sid = said.message_sid or (before.message_sid if before else None)
        heard.sent[said.message_id] = said.model_copy(update={"notification_ids": told, "message_sid": sid})


async def _latest(
    consumer: AIOKafkaConsumer, topic: Topic, kind: type[EventT], heard: Heard
) -> AsyncIterator[tuple[UUID, EventT | None]]:
    async for record in _records(consumer, topic, since=None):
        match decode(record, {kind.type: kind}):
            case Received(key, event) if (identity := _uuid(key)) is not None:
                heard.published.add(_id_of(record))
                yield identity, event
            case _:
                pass


async def _since(
    consumer: AIOKafkaConsumer, topic: Topic, kinds: Iterable[type[EventT]], since: dt.datetime, heard: Heard
) -> AsyncIterator[EventT]:
    types: Mapping[str, type[EventT]] = {kind.type: kind for kind in kinds}
    async for record in _records(consumer, topic, since):
        heard.published.add(_id_of(record))
        match decode(record, types):
            case Received(_, event) if event is not None:
                yield event
            case _:
                pass


async def _records(
    consumer: AIOKafkaConsumer, topic: Topic, since: dt.datetime | None
) -> AsyncIterator["ConsumerRecord[bytes, bytes]"]:
    """What a topic holds now, in order within each partition."""
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    for partition, offset in (await beginnings(consumer, partitions, since)).items():
        consumer.seek(partition, offset)
    while unread := [each for each in partitions if await consumer.position(each) < ends[each]]:
        for batch in (await consumer.getmany(*unread, timeout_ms=1000)).values():
            for record in batch:
                yield record


async def beginnings(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], since: dt.datetime | None
) -> dict[TopicPartition, int]:
    """The offset of the first record of each partition from a moment on; None: of all."""
    if since is None:
        return dict(await consumer.beginning_offsets(partitions))
    ends = await consumer.end_offsets(partitions)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, int(since.timestamp() * 1000)))
    return {each: at.offset if (at := found.get(each)) else ends[each] for each in partitions}


def _id_of(record: "ConsumerRecord[bytes, bytes]") -> str:
    return (dict(record.headers).get("ce_id") or b"").decode(errors="replace")


def _uuid(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        return None
