"""The sender alone: its processes, Kafka, PostgreSQL and a simulated Twilio, and nobody else who takes a share."""

import asyncio
import contextlib
import datetime as dt
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from common.events import Event, NotificationRequested, RecipientSaved
from common.kafka import Publisher
from common.postgres import open_pool
from common.topics import Topic
from itarent.bench.alone import StuckError
from itarent.bench.demand import phone
from itarent.bench.sending.load import recipients
from itarent.environment import SENDER, SIMULATOR
from itarent.project import PROJECT
from itarent.supervision import Service
from itarent.system import ANY_PORTS, System, running_system
from local_servers.home import home_of, scratch_home
from sender.intake import DUE_CHANNEL
from twilio_simulator.client import SimulatorClient, connected

WITHIN_S: Final = 1_800.0
PUBLISHED_AT_ONCE: Final = 5_000
JOINED_AT_ONCE: Final = 5_000

UNHURRIED: Final = {"MESSAGES_PER_SECOND": "0", "REQUESTS_PER_SECOND": "0", "STATUS_PACE_SECONDS": "86400"}
"""A Twilio that takes everything. No message goes on after that: callbacks would be a benchmark of their own."""
UNLIMITED: Final = {
    "DEBUG_NOTIFICATIONS": "true",
    "WHATSAPP_MESSAGES_PER_SECOND": "0",
    "WHATSAPP_SECONDS_PER_RECIPIENT": "0",
    "LOG_LEVEL": "WARNING",
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """A running sender. `pool` is an administrator's, in the sender's schema."""

    system: System
    publisher: Publisher
    pool: asyncpg.Pool
    simulator: SimulatorClient

    @property
    def sender(self) -> Service:
        return self.system.services[SENDER]

    async def know(self, count: int) -> None:
        """So many recipients are saved, and their phones have joined."""
        now = dt.datetime.now(dt.UTC)
        saved = [RecipientSaved(recipient=each) for each in recipients(count, now)]
        await self.publish(self.system.topics.recipients, saved)
        for first in range(0, count, JOINED_AT_ONCE):
            await self.simulator.join_all([phone(each) for each in range(first, min(first + JOINED_AT_ONCE, count))])
        await self.until("SELECT count(*) FROM recipients", count)

    async def publish(self, topic: Topic, events: Sequence[Event]) -> None:
        for first in range(0, len(events), PUBLISHED_AT_ONCE):
            await self.publisher.publish(topic, events[first : first + PUBLISHED_AT_ONCE])

    async def fill(self, events: Sequence[NotificationRequested]) -> None:
        """A backlog: all of it is in open digests, and nothing goes out until `release`."""
        await self.hold()
        before = await self.pool.fetchval(_TAKEN)
        await self.publish(self.system.topics.notifications, events)
        await self.until(_TAKEN, before + len(events))

    async def hold(self) -> None:
        """Nothing goes out any more, as when an operator pauses sending."""
        await self.pool.execute("UPDATE channel SET held = '{bench}'")

    async def release(self) -> None:
        await self.pool.execute("UPDATE channel SET held = '{}'")
        await self.pool.execute(f"SELECT pg_notify('{DUE_CHANNEL}', '')")

    async def until(self, query: str, count: int, *, every_s: float = 0.05) -> float:
        """Wait until a query counts so many; returns when that was, by `time.perf_counter`.

        Raises:
            StuckError: it did not get there in time.
        """
        deadline = time.perf_counter() + WITHIN_S
        while (found := await self.pool.fetchval(query)) < count:
            if time.perf_counter() > deadline:
                raise StuckError(f"{found} of {count}: {query}")
            await asyncio.sleep(every_s)
        return time.perf_counter()


@contextlib.asynccontextmanager
async def sender_alone(
    settings: Mapping[str, str] = UNLIMITED, twilio: Mapping[str, str] = UNHURRIED
) -> AsyncIterator[Stage]:
    """Start a sender with these settings, from nothing."""
    overrides = {SENDER: {"LOG_LEVEL": "WARNING", **settings}, SIMULATOR: twilio}
    with scratch_home(home_of(PROJECT)) as home:
        async with (
            running_system(home, names=[SENDER], ports=ANY_PORTS, overrides=overrides) as system,
            Publisher.connected(system.addresses.kafka, "bench", compression="zstd") as publisher,
            open_pool(system.addresses.postgres, "bench", schema="sender") as pool,
            connected(system.url(SIMULATOR), system.credentials.auth_token) as simulator,
        ):
            yield Stage(system, publisher, pool, simulator)


_TAKEN: Final = "SELECT count(*) FROM notifications WHERE message_id IS NOT NULL"
