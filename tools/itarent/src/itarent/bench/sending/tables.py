"""The sender's tables alone: PostgreSQL, and the sender's own code over it, without Kafka and Twilio."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiokafka import ConsumerRecord

from common.events import NotificationRequested
from common.kafka import Received
from common.links import Links
from common.postgres import open_pool
from common.prices import prices
from common.topics import Topics
from itarent.credentials import Credentials
from itarent.project import PROJECT
from itarent.system import downloads
from local_servers.home import home_of, scratch_home
from local_servers.postgres import running_postgres
from provisioning.database import prepare_database
from sender.intake import Intake, Taken
from sender.ledger import Ledger
from sender.plan import Policy
from sender.reports import Reports

TOPICS: Final = Topics.within("bench")
POLICY: Final = Policy(
    enabled=True,
    interval=timedelta(),
    intervals_off=True,
    links=Links("https://bot.example", "a-key-of-benchmarks"),
    pace=timedelta(),
)


@dataclass(frozen=True)
class Tables:
    """The sender's tables in a server of their own."""

    admin_url: str
    log: Path  # the server's

    @contextlib.asynccontextmanager
    async def pool(self, settings: Mapping[str, str] = {}) -> AsyncIterator[asyncpg.Pool]:
        """An administrator's pool in the sender's schema, whose sessions have these settings of PostgreSQL."""
        query = "&".join(f"{name}={value}" for name, value in settings.items())
        async with open_pool(f"{self.admin_url}?{query}", "bench", schema="sender") as pool:
            yield pool

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator["asyncpg.Connection[Any]"]:
        """An administrator's connection, whose statements may take as long as they do."""
        connection = await asyncpg.connect(self.admin_url, server_settings={"search_path": "sender"})
        try:
            yield connection
        finally:
            await connection.close()


@dataclass(frozen=True)
class Replica:
    """The parts of a sender that speak to the tables."""

    intake: Intake
    ledger: Ledger
    reports: Reports

    @classmethod
    def over(cls, pool: asyncpg.Pool) -> "Replica":
        """Without a limit and without intervals."""
        return cls(
            Intake(pool, TOPICS, POLICY),
            Ledger(pool, TOPICS, POLICY, name="bench", per_second=0, lease=timedelta(minutes=1)),
            Reports(pool, TOPICS, prices(), grace=timedelta(seconds=30)),
        )


@contextlib.asynccontextmanager
async def tables_alone() -> AsyncIterator[Tables]:
    """Every service's tables, empty, as durable as in production."""
    with scratch_home(home_of(PROJECT)) as home, running_postgres(home, downloads=downloads()) as admin_url:
        passwords = Credentials.kept_in(home).database_passwords
        await prepare_database(admin_url, passwords)
        yield Tables(admin_url, home / "postgres.log")


def received(events: Sequence[NotificationRequested]) -> list[Received[Taken]]:
    """Events as the sender has them from Kafka."""
    return [Received(each.key, each, _record(each)) for each in events]


def _record(event: NotificationRequested) -> ConsumerRecord[bytes, bytes]:
    value = event.model_dump_json().encode()
    return ConsumerRecord(TOPICS.notifications.name, 0, 0, 0, 0, event.key.encode(), value, None, 0, len(value), ())
