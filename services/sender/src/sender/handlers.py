"""What the sender does with events: each handler reads a batch and records it once."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias
from uuid import UUID

import structlog
from aiokafka import ConsumerRecord
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from common.events import (
    DirectMessageRequested,
    FlatDeclined,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    Recipient,
    RecipientSaved,
)
from common.kafka import MOST_AT_ONCE, Publisher, Reader, Received, Records, at_once, gathered
from common.topics import Topics
from sender.intake import Intake, Taken
from sender.reports import Reported, Reports, Source, reported_status

log = structlog.get_logger()

SHARES: Final = 4
"""So many transactions take a batch in side by side: while PostgreSQL works for some of them, the next is read."""
WORTH_A_SHARE: Final = 50
"""Records that cost more than the transaction of a share of their own."""

Record: TypeAlias = ConsumerRecord[bytes, bytes]


def subscribe(
    broker: KafkaBroker,
    *,
    topics: Topics,
    instance_id: str | None,
    publisher: Publisher,
    intake: Intake,
    reports: Reports,
) -> None:
    """Subscribe to what is to be told, to whom, and what became of it. A batch that fails comes again."""
    notifications: Reader[Taken] = Reader(
        publisher, topics.notifications, NotificationRequested, DirectMessageRequested, FlatDeclined
    )
    recipients = Reader(publisher, topics.recipients, RecipientSaved)
    statuses = Reader(publisher, topics.message_statuses, MessageStatusReported)

    @broker.subscriber(
        topics.notifications.name,
        group_id=topics.group("sender"),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **at_once(instance_id, "notifications", most=SHARES * MOST_AT_ONCE),
    )
    async def on_notifications_requested(records: Records) -> None:
        await side_by_side(take, shares_of(records))

    async def take(share: Sequence[Record]) -> None:
        await intake.take(await notifications.read(share))

    @broker.subscriber(
        topics.recipients.name,
        group_id=topics.group("sender"),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **at_once(instance_id, "recipients"),
    )
    async def on_recipients_saved(records: Records) -> None:
        saved, erased = _saved_and_erased(await recipients.read(records))
        await intake.save_recipients(saved)
        await intake.erase_recipients(erased)

    @broker.subscriber(
        topics.message_statuses.name,
        group_id=topics.group("sender"),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **gathered(instance_id, "statuses"),
    )
    async def on_message_statuses_reported(records: Records) -> None:
        await reports.record([*_callbacks(await statuses.read(records))])


def shares_of(records: Sequence[Record]) -> list[list[Record]]:
    """A batch in parts: what is of one user stays together, in its order."""
    count = max(1, min(SHARES, len(records) // WORTH_A_SHARE))
    shares: list[list[Record]] = [[] for _ in range(count)]
    for record in records:
        shares[zlib.crc32(record.key or b"") % count].append(record)
    return shares


async def side_by_side(take: Callable[[list[Record]], Awaitable[None]], shares: Iterable[list[Record]]) -> None:
    """While PostgreSQL works for one share, the next is read. All have ended when one of them has failed."""
    for failed in await asyncio.gather(*map(take, shares), return_exceptions=True):
        if failed is not None:
            raise failed


def _saved_and_erased(received: Iterable[Received[RecipientSaved]]) -> tuple[list[Recipient], list[UUID]]:
    """What a batch says of each user last."""
    latest = {each.key: each.event for each in received}
    saved = [event.recipient for event in latest.values() if event]
    erased = [user for key, event in latest.items() if event is None and (user := _uuid(key))]
    return saved, erased


def _uuid(key: str) -> UUID | None:
    try:
        return UUID(key)
    except ValueError:
        log.warning("tombstone of something that is no user")
        return None


def _callbacks(received: Iterable[Received[MessageStatusReported]]) -> Iterable[Reported]:
    """The callbacks of our messages; what the sender itself reported is known, unknown statuses are not acted on."""
    for each in received:
        event = each.event
        if event is None or event.reported_by != "callback" or event.status is MessageStatus.UNKNOWN:
            continue
        if event.message_id and event.attempt and event.message_sid:
            yield reported_status(
                event.message_id,
                event.attempt,
                Source.CALLBACK,
                status=event.status,
                sid=event.message_sid,
                code=event.error_code,
            )
