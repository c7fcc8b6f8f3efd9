"""The whole system as local processes: PostgreSQL, Kafka, the Twilio simulator, the four services."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import asyncpg

from common.kafka import create_topics
from common.topics import Topics
from itarent.credentials import Credentials
from itarent.environment import API, MATCHER, SENDER, SERVICES, SIMULATOR, WEBHOOK, Addresses, environments
from itarent.local import Local, alone_in, announced
from itarent.project import PROJECT
from itarent.supervision import Ended, Program, Service, running_services
from local_servers.home import home_of, private_directory
from local_servers.kafka import running_kafka
from local_servers.ports import free_ports
from local_servers.postgres import running_postgres
from local_servers.progress import Progress, no_progress
from provisioning.database import prepare_database

DATABASE = "itarent"
KAFKA, POSTGRES = "kafka", "postgres"
PREFERRED_PORTS: Mapping[str, int] = MappingProxyType(
    {POSTGRES: 5432, KAFKA: 9092, SIMULATOR: 4010, API: 8000, MATCHER: 8001, SENDER: 8002, WEBHOOK: 8003}
)
ANY_PORTS: Mapping[str, int] = MappingProxyType(dict.fromkeys(PREFERRED_PORTS, 0))
NO_OVERRIDES: Mapping[str, Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class System:
    """A running system: where everything is, and its services to look at, kill, stop and start."""

    home: Path
    addresses: Addresses
    credentials: Credentials
    topics: Topics
    services: Mapping[str, Service]  # the simulator and the four services, by name

    def url(self, name: str) -> str:
        """The base URL of the simulator or a service."""
        return self.addresses.url(name)

    def database_url(self, role: str) -> str:
        """The database, as the role of a service."""
        return self.addresses.database_url(role, self.credentials)


def downloads() -> Path:
    """What was downloaded, shared by every home of this project."""
    return private_directory(home_of(PROJECT) / "downloads")


@contextlib.asynccontextmanager
async def running_system(
    home: Path,
    *,
    namespace: str = "itarent",
    ports: Mapping[str, int] = PREFERRED_PORTS,
    overrides: Mapping[str, Mapping[str, str]] = NO_OVERRIDES,
    durable: bool = True,
    progress: Progress = no_progress,
    on_ended: Callable[[Ended], None] = lambda _: None,
) -> AsyncIterator[System]:
    """Start everything in `home` and stop it in reverse order; data of an earlier start is found again.

    `ports` that are taken give way to the next free ones, 0 is any. `overrides` are environment variables by the
    name of the process that gets them.

    Raises:
        AlreadyRunning: another process runs a system in this home.
        DidNotStart: a server or a service did not; the message shows its log.
    """
    with alone_in(home), contextlib.ExitStack() as servers:
        credentials = Credentials.kept_in(home)
        free = free_ports(ports)
        admin_url = servers.enter_context(
            running_postgres(
                home / POSTGRES, downloads=downloads(), port=free[POSTGRES], durable=durable, progress=progress
            )
        )
        database_url = await _prepare_database(admin_url, credentials)
        bootstrap = servers.enter_context(
            running_kafka(home / KAFKA, downloads=downloads(), port=free[KAFKA], progress=progress)
        )
        topics = Topics.within(namespace)
        await create_topics(bootstrap, topics)
        addresses = Addresses(bootstrap, database_url, {name: free[name] for name in (SIMULATOR, *SERVICES)})
        programs = _programs(addresses, environments(addresses, credentials, namespace), overrides)
        progress("Starting the services", 0, len(programs))
        async with running_services(programs, home, on_ended=on_ended, progress=progress) as services:
            local = Local(
                home=home,
                kafka=addresses.kafka,
                postgres=addresses.postgres,
                namespace=namespace,
                ports=dict(addresses.ports),
                runs=frozenset(services),
            )
            with announced(local):
                yield System(home, addresses, credentials, topics, services)


def _programs(
    addresses: Addresses, environment: Mapping[str, Mapping[str, str]], overrides: Mapping[str, Mapping[str, str]]
) -> list[Program]:
    return [
        Program(
            name=name,
            module=name.replace("-", "_"),
            url=addresses.url(name),
            env={**environment[name], **overrides.get(name, {})},
        )
        for name in (SIMULATOR, *SERVICES)
    ]


async def _prepare_database(admin_url: str, credentials: Credentials) -> str:
    """Create the database, roles, schemas and tables that are missing; returns the administrator's URL of it."""
    connection = await asyncpg.connect(admin_url)
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        await connection.close()
    database_url = f"{admin_url.rpartition('/')[0]}/{DATABASE}"
    await prepare_database(database_url, credentials.database_passwords)
    return database_url
