"""A running api on real servers, spoken to through a real socket."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from limits import RateLimitItem
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from api.dependencies import Services
from api.main import application, connected, running
from api.rates import PostgresCounters, RateLimits
from api.security import Passwords
from api.settings import ApiSettings
from common.events import Event, InboundMessageReceived
from common.kafka import Encoded, Publisher, Received, decode
from common.outbox import Relay
from common.service import in_background
from common.topics import Topic, Topics
from testkit.records import records_of
from testkit.servers import Database
from testkit.waiting import eventually

PRODUCER_KEY = "producer-key-of-the-tests"
OPERATOR_KEY = "operator-key-of-the-tests"
OUR_NUMBER = "+14155238886"
PHONE = "+393335550101"
PASSWORD = "a long password"
CHEAP = Passwords(PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)))
"""As in production, but for what each one costs: a fifth of a second, and nearly every test begins with one."""


def api_settings(kafka: str, topics: Topics, database: Database, **changes: Any) -> ApiSettings:
    values = {
        "kafka_bootstrap_servers": kafka,
        "kafka_namespace": topics.listings.name.removesuffix(".listings.v1"),
        "database_url": database.url("api"),
        "public_url": "http://127.0.0.1:8000",
        "jwt_secret": "jwt-secret-of-the-tests-with-32-letters",
        "link_signing_key": "link-signing-key-of-the-tests",
        "producer_key": PRODUCER_KEY,
        "operator_key": OPERATOR_KEY,
        "whatsapp_phone_number_id": f"whatsapp:{OUR_NUMBER}",
        "whatsapp_sandbox_join": "quiet-harbour",
        "webhook_public_url": "https://webhook.example",
    }
    return ApiSettings(_env_file=None, **{**values, **changes})


@dataclass
class Api:
    """A running api: its address, what it is made of, and what it publishes."""

    url: str
    services: Services
    kafka: str
    topics: Topics
    http: httpx.AsyncClient

    async def renter(self, password: str = PASSWORD) -> "Renter":
        """Somebody who has just registered."""
        email = f"renter-{uuid4().hex[:8]}@example.com"
        answer = await self.http.post("/api/v1/auth/register", json={"email": email, "password": password})
        assert answer.status_code == 201, answer.text
        return Renter(self, email, answer.json())

    async def events(self, topic: Topic) -> list[Event | None]:
        """Everything that was published to a topic, once the outbox is empty; None is a tombstone."""
        await eventually(self._outbox_is_empty)
        types = {each.type: each for each in topic.events}
        decoded = [decode(record, types) for record in await records_of(self.kafka, topic)]
        assert all(isinstance(each, Received) for each in decoded)
        return [each.event for each in decoded if isinstance(each, Received)]

    async def raw(self, topic: Topic) -> list[tuple[str, bytes | None]]:
        """Keys and values of everything that a topic holds, once the outbox is empty."""
        await eventually(self._outbox_is_empty)
        return [((record.key or b"").decode(), record.value) for record in await records_of(self.kafka, topic)]

    async def _outbox_is_empty(self) -> bool:
        return not await self.sql("SELECT count(*) FROM outbox")

    async def sql(self, query: str, *arguments: object) -> Any:
        return await self.services.pool.fetchval(query, *arguments)

    async def write_from(self, phone: str, body: str, **changes: Any) -> InboundMessageReceived:
        """Let a message from a phone take effect, as the consumer would."""
        event = inbound(phone, body, **changes)
        await self.services.phones.receive(event)
        return event


@dataclass
class Renter:
    api: Api
    email: str
    tokens: dict[str, Any] = field(repr=False)

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return await self.api.http.request(method, f"/api/v1{path}", headers=headers, **options)

    async def id(self) -> UUID:
        return UUID((await self.call("GET", "/me")).json()["user_id"])

    async def prove(self, phone: str = PHONE) -> InboundMessageReceived:
        """Link a phone: claim it, and write the code from it."""
        linked = await self.call("POST", "/whatsapp/link", json={"phone_number": phone})
        assert linked.status_code == 202, linked.text
        return await self.api.write_from(phone, f"ITARENT {linked.json()['claim']['code']}")


def inbound(phone: str, body: str, **changes: Any) -> InboundMessageReceived:
    values = {
        "message_sid": f"SM{uuid4().hex}",
        "sender_hash": "ab" * 32,
        "sender": phone,
        "recipient": OUR_NUMBER,
        "body": body,
        "received_at": dt.datetime.now(dt.UTC),
    }
    return InboundMessageReceived.model_validate({**values, **changes})


@contextlib.asynccontextmanager
async def serving(services: Services) -> AsyncIterator[str]:
    """The application on a free port."""
    app = application(services.settings)
    app.state.services = services
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def api(kafka: str, topics: Topics, database: Database) -> AsyncIterator[Api]:
    async with resting_api(api_settings(kafka, topics, database)) as api:
        yield api


@contextlib.asynccontextmanager
async def resting_api(settings: ApiSettings, passwords: Passwords = CHEAP) -> AsyncIterator[Api]:
    """The api as it answers over HTTP and publishes; its consumers rest."""
    async with (
        connected(settings, passwords) as services,
        in_background(Relay(settings.database_url, services.publisher).run()),
        _spoken_to(services) as api,
    ):
        yield api


@pytest.fixture
async def running_api(kafka: str, topics: Topics, database: Database) -> AsyncIterator[Api]:
    """The whole api, its consumers too."""
    async with running(api_settings(kafka, topics, database), CHEAP) as services, _spoken_to(services) as api:
        yield api


class Unlimited(RateLimits):
    """Refuses nothing: what is asked for too often is tested elsewhere, and a 429 would hide what lies behind it."""

    async def spend(self, limit: RateLimitItem, *who: str) -> None:
        """Count nothing."""


@pytest.fixture
async def unlimited_api(kafka: str, topics: Topics, database: Database) -> AsyncIterator[Api]:
    """The whole api for a test that asks it for more than anybody may."""
    async with running(api_settings(kafka, topics, database), CHEAP) as services:
        patient = dataclasses.replace(services, rates=Unlimited(PostgresCounters(services.pool)))
        async with _spoken_to(patient) as api:
            yield api


@contextlib.asynccontextmanager
async def _spoken_to(services: Services) -> AsyncIterator[Api]:
    async with serving(services) as url, httpx.AsyncClient(base_url=url, timeout=20) as http:
        yield Api(url, services, services.settings.kafka_bootstrap_servers, services.settings.topics, http)


@pytest.fixture
async def producer(kafka: str) -> AsyncIterator[Publisher]:
    async with Publisher.connected(kafka, "test") as publisher:
        yield publisher


async def publish_raw(producer: Publisher, topic: Topic, key: str, value: bytes) -> None:
    await producer.publish_encoded([Encoded(topic.name, key, value, {})])
