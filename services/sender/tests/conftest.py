"""A sender over a real database and a simulated Twilio: without Kafka, events are handed to it as they were read."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from common.events import DirectMessageRequested, DirectPurpose, MatchedSearch, NotificationRequested, Recipient
from common.kafka import Received
from common.links import Links
from common.listing import Listing
from common.postgres import open_pool
from common.topics import Topics
from local_servers.ports import free_port
from sender.approvals import Approvals
from sender.contents import Contents
from sender.dispatch import Callback, Dispatcher, Limits
from sender.intake import Intake, Requested, Taken
from sender.ledger import Ledger
from sender.plan import Policy
from sender.reports import Reports
from sender.templates import MISSING, Purpose, Standings, templates
from sender.twilio import Twilio
from testkit.factories import make_listing, make_notification, make_recipient
from testkit.servers import Database
from testkit.waiting import eventually
from twilio_simulator import SimulatorClient, running_simulator

from .processes import VERIFY_TOKEN, Environment

TOPICS = Topics.within("sender-tests")
POLICY = Policy(
    enabled=True,
    interval=timedelta(),
    intervals_off=False,
    links=Links("https://bot.example", "a-signing-key-of-tests"),
    pace=timedelta(),
)
CALLBACK = Callback("http://127.0.0.1:9/twilio/status")
NOT_ASKED = (MatchedSearch(subscription_id=uuid4(), revision=1, name="Milano", alert=False),)
NO_TEMPLATES = Standings(dict.fromkeys(templates(), MISSING))


def received(event: Taken) -> Received[Taken]:
    record = ConsumerRecord(
        topic="notifications",
        partition=0,
        offset=0,
        timestamp=0,
        timestamp_type=0,
        key=event.key.encode(),
        value=event.model_dump_json().encode(),
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=(),
    )
    return Received(event.key, event, record)


_phones = itertools.count(3335550101)


def renter(**changes: Any) -> Recipient:
    """Somebody else each time, whom nothing holds back now."""
    defaults = {"user_id": uuid4(), "phone": f"+39{next(_phones)}", "window_opened_at": datetime.now(UTC)}
    return make_recipient(**(defaults | changes))


def flat_for(user: UUID, listing: Listing | None = None, **changes: Any) -> NotificationRequested:
    """A notification of another flat each time."""
    listing = listing or make_listing(listing_id=f"immobiliare.it:{uuid4().hex}")
    defaults: dict[str, Any] = {"flat_id": uuid4(), "requested_at": datetime.now(UTC)}
    return make_notification(listing, user_id=user, **(defaults | changes))


def direct_for(user: UUID, purpose: DirectPurpose = DirectPurpose.TEST, **fields: Any) -> DirectMessageRequested:
    return DirectMessageRequested(
        notification_id=uuid4(), user_id=user, purpose=purpose, requested_at=datetime.now(UTC), **fields
    )


@dataclass
class Sender:
    """The parts of one replica, and what tests ask of it."""

    pool: asyncpg.Pool
    simulator: SimulatorClient
    policy: Policy = POLICY
    per_second: float = 0
    lease: timedelta = timedelta(seconds=15)
    grace: timedelta = timedelta(seconds=0.2)
    timeout_s: float = 10.0  # who tests an answer that does not come takes less
    in_flight: int = 16
    name: str = "one"
    base_url: str = ""
    token: str = ""
    callback: Callback | None = CALLBACK
    approvals: Approvals | None = None
    intake: Intake = field(init=False)
    ledger: Ledger = field(init=False)
    reports: Reports = field(init=False)

    def __post_init__(self) -> None:
        self.intake = Intake(self.pool, TOPICS, self.policy)
        self.reports = Reports(
            self.pool,
            TOPICS,
            self.policy.prices,
            polls=self.policy.polls,
            grace=self.grace,
            on_template_unusable=self._on_template_unusable,
        )
        self.ledger = Ledger(
            self.pool,
            TOPICS,
            self.policy,
            name=self.name,
            per_second=self.per_second,
            lease=self.lease,
            standings=self._standings,
        )

    def _standings(self) -> Standings:
        return self.approvals.standings() if self.approvals else NO_TEMPLATES

    def _on_template_unusable(self, content_sid: str, code: int) -> None:
        assert self.approvals
        self.approvals.refuse(content_sid, code)

    def but(self, **changes: Any) -> "Sender":
        """Another replica over the same database and Twilio."""
        return replace(self, **changes)

    async def know(self, *recipients: Recipient) -> None:
        """Recipients are saved, and their phones have joined the sandbox."""
        await self.intake.save_recipients(recipients)
        for each in recipients:
            if each.phone:
                await self.simulator.join(each.phone)

    async def tell(self, *events: Taken) -> int:
        return await self.intake.take([received(event) for event in events])

    async def disposition(self, event: Requested) -> tuple[str, str]:
        row = await self.pool.fetchrow(
            "SELECT disposition, detail FROM notifications WHERE notification_id = $1", event.notification_id
        )
        assert row
        return row["disposition"], row["detail"]

    async def message(self, event: Requested) -> asyncpg.Record:
        row = await self.pool.fetchrow(
            "SELECT messages.* FROM messages JOIN notifications USING (message_id) WHERE notification_id = $1",
            event.notification_id,
        )
        assert row
        return row

    async def outbox(self) -> list[dict[str, Any]]:
        """The events that wait to be published, oldest first."""
        return [
            {"type": row["headers"]["ce_type"], **row["value"]}
            for row in await self.pool.fetch(
                "SELECT headers, convert_from(value, 'UTF8')::jsonb AS value FROM outbox ORDER BY id"
            )
        ]

    @contextlib.asynccontextmanager
    async def dispatching(self) -> AsyncIterator[Dispatcher]:
        """The dispatcher works while the body runs; events that are told wake it by its poll at the latest."""
        async with self.dispatcher() as dispatcher, _running(dispatcher):
            yield dispatcher

    @contextlib.asynccontextmanager
    async def dispatcher(self) -> AsyncIterator[Dispatcher]:
        async with self.twilio() as twilio:
            yield Dispatcher(
                self.ledger,
                self.reports,
                twilio,
                Limits(self.in_flight, self.lease, timedelta(seconds=self.timeout_s), poll=timedelta(seconds=0.05)),
                callback=self.callback,
            )

    def twilio(self) -> contextlib.AbstractAsyncContextManager[Twilio]:
        return Twilio.connected(
            self.base_url or self.simulator.base_url,
            self.simulator.account_sid,
            self.token or self.simulator.auth_token,
            self.simulator.sender,
            timeout_s=self.timeout_s,
            in_flight=self.in_flight,
        )

    @contextlib.asynccontextmanager
    async def with_templates(self, *purposes: Purpose) -> AsyncIterator["Sender"]:
        """The same, where Meta has approved the templates of these purposes."""
        async with self.twilio() as twilio:
            contents = Contents(twilio)
            for (purpose, _), template in templates().items():
                if purpose in purposes:
                    sid = await contents.create(template)
                    await self.simulator.judge_template(sid, "approved")
            approvals = Approvals(contents, self.pool)
            await approvals.check()
            yield self.but(approvals=approvals)

    async def until(self, event: Requested, **expected: Any) -> asyncpg.Record:
        """The message that tells the event, once it has these values."""

        async def reached() -> asyncpg.Record:
            message = await self.message(event)
            assert {name: message[name] for name in expected} == expected
            return message

        return await eventually(reached)


@contextlib.asynccontextmanager
async def _running(dispatcher: Dispatcher) -> AsyncIterator[None]:
    task = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorClient]:
    async with running_simulator() as simulator:
        yield simulator


@pytest.fixture
async def sender(database: Database, simulator: SimulatorClient) -> AsyncIterator[Sender]:
    async with open_pool(database.url("sender"), "sender-tests") as pool:
        yield Sender(pool, simulator)


@pytest.fixture
def environment(kafka: str, topics: Topics, database: Database, simulator: SimulatorClient) -> Environment:
    account = simulator.account_sid
    return {
        "PATH": os.environ["PATH"],
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "KAFKA_NAMESPACE": topics.listings.name.removesuffix(".listings.v1"),
        "DATABASE_URL": database.url("sender"),
        "HTTP_PORT": str(free_port()),
        "WHATSAPP_API_URL": f"{simulator.base_url}/2010-04-01/Accounts/{account}/Messages.json",
        "WHATSAPP_API_TOKEN": simulator.auth_token,
        "WHATSAPP_PHONE_NUMBER_ID": simulator.sender,
        "WHATSAPP_BUSINESS_ACCOUNT_ID": account,
        "WEBHOOK_PUBLIC_URL": "http://127.0.0.1:9",
        "WHATSAPP_WEBHOOK_VERIFY_TOKEN": VERIFY_TOKEN,
        "PUBLIC_URL": "https://bot.example",
        "LINK_SIGNING_KEY": "a-signing-key-of-tests",
        "SENDER_LEASE_SECONDS": "3",
        "SENDER_REQUEST_TIMEOUT_SECONDS": "1",
        "IN_DOUBT_GRACE_SECONDS": "1.1",
    }
