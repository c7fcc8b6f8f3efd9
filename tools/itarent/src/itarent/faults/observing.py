"""Reading the history: Kafka's topics, the sender's schema, Twilio's journal, logs and metrics. Everything once."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from common.events import EVENTS
from common.kafka import Received, decode
from common.topics import Topic, Topics
from itarent.audit.facts import ListingVersion
from itarent.audit.run import audit
from itarent.audit.sources import Kafka
from itarent.environment import SIMULATOR
from itarent.faults.history import (
    Accepted,
    Attempt,
    Clock,
    Drained,
    History,
    Journalled,
    Ledger,
    Message,
    Notification,
    Published,
    Rate,
)
from itarent.faults.scene import Scene
from itarent.faults.traffic import CHATTER
from itarent.system import System
from twilio_simulator.client import AcceptedMessage

LOUD: Final = 30
"""From so many characters on a line of a text is no other text's."""


async def history_of(scene: Scene, *, rate: Rate, drained: Drained) -> History:
    """Everything that has happened in a run."""
    system, noted = scene.system, scene.traffic.noted
    topics = {name: await _records(system, topic) for name, topic in _own(system.topics).items()}
    dead_letters = {
        name: len(_left(await _records(system, topic.dead_letters))) for name, topic in _own(system.topics).items()
    }
    accepted = await scene.simulator.messages()
    clock = Clock(tuple(scene.jumps))
    return History(
        taken=frozenset(noted.taken),
        topics={name: tuple(map(_published, records)) for name, records in topics.items()},
        dead_letters=dead_letters,
        malformed=scene.malformed_records,
        clock=clock,
        seen=tuple(scene.seen),
        ledger=await _ledger(system.addresses.postgres),
        balance=await audit(Kafka(system.addresses.kafka, system.topics), system.addresses.postgres),
        accepted=tuple(_accepted(message, clock) for message in accepted),
        acknowledged=tuple(noted.acknowledged),
        quiet=tuple(noted.quiet),
        spacings=tuple(noted.spacings),
        rate=rate,
        strikes=tuple(scene.strikes),
        recovered_at=scene.recovered_at,
        drained=drained,
        secrets=dict(_secrets(scene, accepted)),
        texts={
            **_logs(system.home / "logs"),
            **await _metrics(system),
            **{
                f"the topic {name}": _text(topics[name])
                for name, topic in _own(system.topics).items()
                if not topic.restricted
            },
        },
    )


def _own(topics: Topics) -> Mapping[str, Topic]:
    return {name: value for name in vars(topics) if isinstance(value := getattr(topics, name), Topic)}


# --- Kafka ------------------------------------------------------------------------------------------------------------


if TYPE_CHECKING:
    Record: TypeAlias = ConsumerRecord[bytes, bytes]


async def _records(system: System, topic: Topic) -> "list[Record]":
    """What a topic holds now, in order within each partition."""
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    records: list[Record] = []
    async with AIOKafkaConsumer(bootstrap_servers=system.addresses.kafka, enable_auto_commit=False) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        while [each for each in partitions if await consumer.position(each) < ends[each]]:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                records += batch
    return records


_TYPES: Final = {each.type: each for each in EVENTS}


def _left(records: "Iterable[Record]") -> set[bytes | None]:
    """The keys that no tombstone has taken away."""
    return {key for key, value in {each.key: each.value for each in records}.items() if value is not None}


def _published(record: "Record") -> Published:
    read = decode(record, _TYPES)
    event = read.event if isinstance(read, Received) else None
    key = (record.key or b"").decode(errors="replace")
    return Published(key, record.partition, record.offset, event, record.value)


def _text(records: "list[Record]") -> str:
    """Keys, values and headers."""
    parts = (
        b" ".join((each.key or b"", each.value or b"", *(value or b"" for _, value in each.headers)))
        for each in records
    )
    return b"\n".join(parts).decode(errors="replace")


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


async def _ledger(database_url: str) -> Ledger:
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            messages = [Message(**row) for row in await connection.fetch(_MESSAGES)]
            notifications = [_notification(row) for row in await connection.fetch(_NOTIFICATIONS)]
            return Ledger(
                messages={each.message_id: each for each in messages},
                attempts=tuple(Attempt(**row) for row in await connection.fetch(_ATTEMPTS)),
                notifications={each.notification_id: each for each in notifications},
                journal=tuple(Journalled(**row) for row in await connection.fetch(_JOURNAL)),
                recipients={row["user_id"]: row["revision"] for row in await connection.fetch(_RECIPIENTS)},
                unpublished=await connection.fetchval(_UNPUBLISHED),
            )
    finally:
        await connection.close()


def _notification(row: asyncpg.Record) -> Notification:
    fields = dict(row)
    return Notification(of=ListingVersion(fields.pop("listing_id"), fields.pop("version")), **fields)


_MESSAGES = """
SELECT message_id, user_id, kind, purpose, stage, status, attempt, sid, lease_until IS NOT NULL AS leased
  FROM sender.messages
"""
_ATTEMPTS = "SELECT message_id, attempt, state, sid FROM sender.attempts"
_NOTIFICATIONS = """
SELECT notification_id, user_id, flat_id, reason, coalesce(listing_id, '') AS listing_id,
       coalesce(version, 0) AS version, disposition, message_id
  FROM sender.notifications
"""
_JOURNAL = "SELECT message_id, what, detail FROM sender.journal ORDER BY position"
_RECIPIENTS = "SELECT user_id, revision FROM sender.recipients"
_UNPUBLISHED = "SELECT (SELECT count(*) FROM sender.outbox) + (SELECT count(*) FROM api.outbox)"


# --- Twilio -----------------------------------------------------------------------------------------------------------


def _accepted(message: AcceptedMessage, clock: Clock) -> Accepted:
    query = parse_qs(urlsplit(message.status_callback or "").query)
    message_id = UUID(query["n"][0]) if "n" in query else None
    attempt = int(query["a"][0]) if "a" in query else None
    return Accepted(
        message.sid, clock.moment(message.date_created), message.to, message_id, attempt, message.body, message.status
    )


# --- what must not be read --------------------------------------------------------------------------------------------


def _secrets(scene: Scene, accepted: list[AcceptedMessage]) -> Iterator[tuple[str, str]]:
    """Names that a breach may show, and what they stand for; in logs and topics texts stand as JSON has them."""
    for number, person in enumerate(scene.traffic.people, start=1):
        yield f"the phone of renter {number}", person.phone.removeprefix("+39")
        yield f"the token of renter {number}", person.headers["Authorization"].removeprefix("Bearer ")
    for name, secret in scene.system.credentials.model_dump().items():
        if name != "account_sid":
            yield f"the secret {name}", secret
    for number, text in enumerate(CHATTER, start=1):
        if " " in text and not text.isupper():
            yield f"text {number} of a renter", text
    for message in accepted:
        first, *_ = message.body.splitlines() or [""]
        if len(message.body) >= LOUD:
            yield f"the text of {message.sid}", orjson.dumps(message.body).decode()[1:-1]
        if len(first) >= LOUD:
            yield f"the beginning of {message.sid}", first


def _logs(folder: Path) -> dict[str, str]:
    """What the services say; the simulator plays Twilio and may know everything."""
    files = (file for file in folder.glob("*.log") if file.stem != SIMULATOR)
    return {f"the log of {file.stem}": file.read_text(errors="replace") for file in files}


async def _metrics(system: System) -> dict[str, str]:
    pages = {}
    async with httpx.AsyncClient(timeout=5, follow_redirects=True) as client:
        for name, service in system.services.items():
            with contextlib.suppress(httpx.TransportError):
                pages[f"the metrics of {name}"] = (await client.get(f"{service.program.url}/metrics")).text
    return pages
