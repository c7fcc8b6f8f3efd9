"""The whole system as local processes: PostgreSQL, Kafka, the Twilio simulator, the four services."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    NotCoordinatorForGroupError,
)

from common.kafka import create_topics
from common.settings import SettingFault, faults_of
from common.topics import Topics
from itarent.credentials import Credentials
from itarent.environment import (
    API,
    MATCHER,
    NOTHING,
    SENDER,
    SERVICES,
    SETTINGS,
    SIMULATOR,
    WEBHOOK,
    Addresses,
    environments,
    ports_named_by,
    replicas,
    service_of,
    shards_in,
    simulates_twilio,
)
from itarent.given import Servers
from itarent.local import Local, alone_in, announced
from itarent.project import PROJECT
from itarent.refusal import Refusal
from itarent.supervision import Ended, Program, Service, running_services
from local_servers.home import home_of, private_directory
from local_servers.kafka import running_kafka
from local_servers.ports import LOOPBACK, free_ports
from local_servers.postgres import running_postgres
from local_servers.progress import Progress, no_progress
from provisioning.database import prepare_database

DATABASE = "itarent"
NAMESPACE: Final = "itarent"
KAFKA, POSTGRES = "kafka", "postgres"
PREFERRED_PORTS: Mapping[str, int] = MappingProxyType(
    {POSTGRES: 5432, KAFKA: 9092, SIMULATOR: 4010, API: 8000, MATCHER: 8001, SENDER: 8002, WEBHOOK: 8003}
)
ANY_PORTS: Mapping[str, int] = MappingProxyType(dict.fromkeys(PREFERRED_PORTS, 0))
NO_OVERRIDES: Mapping[str, Mapping[str, str]] = MappingProxyType({})
WITH_GROUPS: Final = (API, MATCHER, SENDER)
"""Services whose processes are members of consumer groups."""

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class System:
    """A running system: where everything is, and its services to look at, kill, stop and start."""

    local: Local
    credentials: Credentials
    topics: Topics
    services: Mapping[str, Service]  # by name: `matcher-2` is another matcher; the simulator where Twilio is simulated

    @property
    def home(self) -> Path:
        return self.local.home

    @property
    def addresses(self) -> Addresses:
        return self.local.addresses

    @property
    def shards(self) -> int:
        """How many shards of the matcher there are."""
        return self.local.shards

    def url(self, name: str) -> str:
        """The base URL of the simulator or a service."""
        return self.addresses.url(name)

    def database_url(self, role: str) -> str:
        """The database, as the role of a service."""
        return self.addresses.database_url(role, self.credentials)


class FaultySettings(Refusal):
    """Settings that a service would refuse; a line for each fault."""

    def __init__(self, faults: Collection[SettingFault]) -> None:
        super().__init__("\n".join(dict.fromkeys(map(str, faults))))


class PortTaken(Refusal):
    """A setting names a port of this machine, and somebody else listens there."""

    def __init__(self, setting: str, port: int) -> None:
        super().__init__(f"{setting} names port {port} of this machine, which is taken: stop what listens there.")


class ServerAway(Refusal):
    """A server of the operator's cannot be used."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"{setting}: {problem}. Start that server, or unset the setting to have one started here.")


class NoAdministrator(Refusal):
    """The role of DATABASE_URL cannot give each service a role and a schema of its own."""

    def __init__(self, error: asyncpg.InsufficientPrivilegeError) -> None:
        super().__init__(
            f"DATABASE_URL: {error}. Give the URL of the database's administrator: each service gets a role of its "
            "own. Where the roles exist already, start each service by itself: `.venv/bin/python -m sender`."
        )


def downloads() -> Path:
    """What was downloaded, shared by every home of this project."""
    return private_directory(home_of(PROJECT) / "downloads")


@contextlib.asynccontextmanager
async def running_system(
    home: Path,
    *,
    given: Mapping[str, str] = NOTHING,
    servers: Servers | None = None,
    names: Collection[str] = SERVICES,
    ports: Mapping[str, int] = PREFERRED_PORTS,
    matchers_of_each_shard: int = 1,
    senders: int = 1,
    overrides: Mapping[str, Mapping[str, str]] = NO_OVERRIDES,
    modules: Mapping[str, str] = NOTHING,
    durable: bool = True,
    progress: Progress = no_progress,
    on_ended: Callable[[Ended], None] = lambda _: None,
) -> AsyncIterator[System]:
    """Start everything in `home` and stop it in reverse order; data of an earlier start is found again.

    `given` are settings that go before those drawn here; `servers` are used in place of own ones; of the services
    only those in `names` are started, the matcher once or more often for each of its shards. `ports` that are taken
    give way to the next free ones, 0 is any. `overrides` are environment variables, `modules` what is run in the place
    of a service; both by the service or one of its processes (`sender-2`).

    Raises:
        AlreadyRunning: another process runs a system in this home.
        FaultySettings, PortTaken: what is given cannot be used.
        DidNotStart: a server or a service did not; the message shows its log.
    """
    processes = _processes({MATCHER: shards_in(given) * matchers_of_each_shard, SENDER: senders})
    with alone_in(home), contextlib.ExitStack() as started:
        credentials = Credentials.kept_in(home)
        free = _free_ports(dict.fromkeys(processes, 0) | dict(ports), given, names)
        _refuse_faults(environments(_unstarted(free), credentials, given), names)
        with _interruptible():
            servers = servers or started.enter_context(_own_servers(home, free, durable=durable, progress=progress))
        namespace = given.get("KAFKA_NAMESPACE", NAMESPACE)
        topics = Topics.within(namespace)
        await _prepare(servers, credentials, topics)
        services = [name for name in processes if service_of(name) in names]
        runs = [*([SIMULATOR] if simulates_twilio(given) else []), *services]
        local = Local(
            home=home,
            kafka=servers.kafka,
            postgres=servers.database_url,
            namespace=namespace,
            ports={name: free[name] for name in (SIMULATOR, *processes)},
            runs=frozenset(runs),
            given=dict(given),
        )
        programs = _programs(local, environments(local.addresses, credentials, given), runs, overrides, modules)
        async with running_services(programs, home, on_ended=on_ended, progress=progress) as running:
            with announced(local):
                yield System(local, credentials, topics, running)


@contextlib.asynccontextmanager
async def running_beside(
    local: Local,
    names: Collection[str],
    *,
    given: Mapping[str, str] = NOTHING,
    progress: Progress = no_progress,
    on_ended: Callable[[Ended], None] = lambda _: None,
) -> AsyncIterator[dict[str, Service]]:
    """Start services that a running system has left out.

    Raises:
        FaultySettings: what is given cannot be used.
        DidNotStart: a service did not; the message shows its log.
    """
    environment = environments(local.addresses, local.credentials, {**local.given, **given})
    _refuse_faults(environment, names)
    processes = [name for name in local.ports if service_of(name) in names]
    programs = _programs(local, environment, processes, NO_OVERRIDES)
    async with running_services(programs, local.home, on_ended=on_ended, progress=progress) as services:
        yield services


def _processes(counts: Mapping[str, int]) -> list[str]:
    return [name for service in SERVICES for name in replicas(service, counts.get(service, 1))]


def _free_ports(preferred: Mapping[str, int], given: Mapping[str, str], names: Collection[str]) -> dict[str, int]:
    """A port for each process. One that a setting names is that one or none."""
    named = ports_named_by(given)
    free = free_ports({**preferred, **{name: port for name, (_, port) in named.items()}})
    for name, (setting, port) in named.items():
        if free[name] != port:
            if name in (SIMULATOR, *names):
                raise PortTaken(setting, port)
            free[name] = port  # whoever listens there is what the setting means
    return free


def _unstarted(free: Mapping[str, int]) -> Addresses:
    """Where everything is going to be."""
    return Addresses(f"{LOOPBACK}:{free[KAFKA]}", f"postgresql://{LOOPBACK}:{free[POSTGRES]}/{DATABASE}", free)


def _refuse_faults(environment: Mapping[str, Mapping[str, str]], names: Collection[str]) -> None:
    services = {name: service_of(name) for name in environment if service_of(name) in names}
    faults = [fault for name, service in services.items() for fault in faults_of(SETTINGS[service], environment[name])]
    if faults:
        raise FaultySettings(faults)


@contextlib.contextmanager
def _own_servers(home: Path, ports: Mapping[str, int], *, durable: bool, progress: Progress) -> Iterator[Servers]:
    postgres, kafka = home / POSTGRES, home / KAFKA
    with (
        running_postgres(
            postgres, downloads=downloads(), port=ports[POSTGRES], durable=durable, progress=progress
        ) as admin_url,
        running_kafka(kafka, downloads=downloads(), port=ports[KAFKA], progress=progress) as bootstrap,
    ):
        yield Servers(bootstrap, f"{admin_url.rpartition('/')[0]}/{DATABASE}")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let a signal that stops the system take effect at once in a block that keeps the event loop waiting."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise asyncio.CancelledError

    before = {number: signal.signal(number, interrupt) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _programs(
    local: Local,
    environment: Mapping[str, Mapping[str, str]],
    names: Collection[str],
    overrides: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str] = NOTHING,
) -> list[Program]:
    return [
        Program(
            name=name,
            module=modules.get(name) or modules.get(service, service.replace("-", "_")),
            url=local.url(name),
            env={**environment[name], **overrides.get(service, {}), **overrides.get(name, {})},
        )
        for name in names
        if (service := service_of(name) or name)
    ]


async def _prepare(servers: Servers, credentials: Credentials, topics: Topics) -> None:
    """Create the topics, the database, its roles, schemas and tables, where they are missing."""
    try:
        await create_topics(servers.kafka, topics)
        await _coordinators_answer(servers.kafka, [topics.group(service) for service in WITH_GROUPS])
    except KafkaConnectionError:
        raise ServerAway("KAFKA_BOOTSTRAP_SERVERS", f"no Kafka answers at {servers.kafka}") from None
    try:
        await _create_database(servers.database_url)
        await prepare_database(servers.database_url, credentials.database_passwords)
    except asyncpg.InsufficientPrivilegeError as error:
        raise NoAdministrator(error) from None
    except (OSError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise ServerAway("DATABASE_URL", str(error)) from None


async def _coordinators_answer(bootstrap: str, groups: Collection[str]) -> None:
    """A new Kafka makes the coordinator of a consumer group when somebody asks: services would report that it is not
    there.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        for group in groups:
            while not await _is_coordinated(admin, group):  # noqa: ASYNC110 - Kafka sends no event
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def _is_coordinated(admin: AIOKafkaAdminClient, group: str) -> bool:
    try:
        await admin.list_consumer_group_offsets(group)
    except (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError):
        return False
    return True


async def _create_database(url: str) -> None:
    parts = urlsplit(url)
    try:
        await (await asyncpg.connect(url)).close()
    except asyncpg.InvalidCatalogNameError:
        connection = await asyncpg.connect(parts._replace(path="/postgres").geturl())
        try:
            await connection.execute(f'CREATE DATABASE "{parts.path.strip("/")}"')
        finally:
            await connection.close()
