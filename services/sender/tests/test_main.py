"""The whole sender: over real Kafka, a real database and a simulated Twilio."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from sender.main import sender
from sender.settings import Settings

from common.events import (
    MessageStatus,
    MessageStatusReported,
    NotificationSettled,
    RecipientSaved,
)
from common.kafka import Publisher, tombstone
from common.topics import Topics
from local_servers.ports import free_port
from testkit.factories import NOW
from testkit.records import records_of
from testkit.servers import Database
from testkit.waiting import eventually
from twilio_simulator import SimulatorClient

from .conftest import direct_for, flat_for, renter

Make = Callable[..., Settings]


@pytest.fixture
def make_settings(kafka: str, topics: Topics, database: Database, simulator: SimulatorClient) -> Make:
    def make(**changes: Any) -> Settings:
        account = simulator.account_sid
        defaults = {
            "kafka_bootstrap_servers": kafka,
            "kafka_namespace": topics.listings.name.partition(".")[0],
            "database_url": database.url("sender"),
            "http_port": free_port(),
            "whatsapp_api_url": f"{simulator.base_url}/2010-04-01/Accounts/{account}/Messages.json",
            "whatsapp_api_token": simulator.auth_token,
            "whatsapp_phone_number_id": simulator.sender,
            "whatsapp_business_account_id": account,
            "whatsapp_messages_per_second": 0,
            "webhook_public_url": "http://127.0.0.1:9",
            "public_url": "https://bot.example",
            "link_signing_key": "a-signing-key-of-tests",
        }
        return Settings(_env_file=None, **(defaults | changes))

    return make


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """The sender at work; its HTTP address."""
    task = asyncio.create_task(sender(settings))
    try:
        yield f"http://127.0.0.1:{settings.http_port}"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_notification_on_kafka_is_texted_reported_and_its_callback_recorded(
    kafka: str, topics: Topics, simulator: SimulatorClient, make_settings: Make
) -> None:
    anna = renter()
    flat, test, unwanted = flat_for(anna.user_id), direct_for(anna.user_id), flat_for(uuid4())
    await simulator.join(anna.phone or "")
    async with Publisher.connected(kafka, "tests") as publisher, running(make_settings()) as address:
        await publisher.publish(topics.recipients, [RecipientSaved(recipient=anna)])
        await publisher.publish(topics.notifications, [flat, test, unwanted, flat])
        messages = await simulator.messages_when(2)
        assert {message.to for message in messages} == {anna.phone}

        async def told() -> list[dict[str, Any]]:
            records = await records_of(kafka, topics.message_statuses)
            types = [dict(record.headers)["ce_type"].decode() for record in records]
            assert types.count(MessageStatusReported.type) == 2
            assert types.count(NotificationSettled.type) == 1
            return [MessageStatusReported.model_validate_json(r.value).model_dump() for r in records if b"attempt" in r.value]

        reports = await eventually(told)
        told_flat = next(each for each in reports if flat.notification_id in each["notification_ids"])
        callback = MessageStatusReported(
            message_id=told_flat["message_id"],
            attempt=1,
            status=MessageStatus.DELIVERED,
            reported_by="callback",
            reported_at=NOW,
            message_sid=told_flat["message_sid"],
        )
        await publisher.publish(topics.message_statuses, [callback])
        async with aiohttp.ClientSession() as http:
            assert (await http.get(f"{address}/healthz")).status == 200
            metrics = await (await http.get(f"{address}/metrics/")).text()
        assert "itarent_sender_calls_total" in metrics


async def test_an_idle_sender_acts_at_once_on_what_kafka_brings(
    kafka: str, topics: Topics, simulator: SimulatorClient, make_settings: Make
) -> None:
    renters = [renter() for _ in range(20)]
    for each in renters:
        await simulator.join(each.phone or "")
    async with Publisher.connected(kafka, "tests") as publisher, running(make_settings(whatsapp_messages_per_second=80)):
        await publisher.publish(topics.recipients, [RecipientSaved(recipient=each) for each in renters])
        await publisher.publish(topics.notifications, [flat_for(renters[0].user_id)])
        await simulator.messages_when(1)
        seconds = []
        for count, each in enumerate(renters[1:], start=2):
            started = time.monotonic()
            await publisher.publish(topics.notifications, [flat_for(each.user_id)])
            await simulator.messages_when(count)
            seconds.append(time.monotonic() - started)
    print(sorted(round(each * 1000) for each in seconds))
    assert sorted(seconds)[len(seconds) // 2] < 0.3


async def test_an_erasure_on_kafka_reaches_the_sender(
    kafka: str, topics: Topics, database: Database, make_settings: Make
) -> None:
    import asyncpg

    anna = renter()
    connection = await asyncpg.connect(database.url("sender"))
    async with Publisher.connected(kafka, "tests") as publisher, running(make_settings()):
        await publisher.publish(topics.recipients, [RecipientSaved(recipient=anna)])
        await eventually(lambda: connection.fetchval("SELECT count(*) = 1 FROM recipients"))
        await publisher.publish_encoded([tombstone(topics.recipients, str(anna.user_id)), tombstone(topics.recipients, "x")])
        await eventually(lambda: connection.fetchval("SELECT count(*) = 0 FROM recipients"))
    await connection.close()
