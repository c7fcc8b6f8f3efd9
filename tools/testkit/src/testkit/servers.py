"""Pytest fixtures for real servers: addresses from the environment, else containers, else started locally.

`kafka` and `postgres` live for the session; `topics` and `database` are fresh for each test.
"""

import asyncio
import gc
import multiprocessing
import os
import uuid
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, LiteralString

import docker
import psycopg
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from docker.errors import DockerException
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from common.kafka import create_topics
from common.topics import Topics
from local_servers.home import home_of, private_directory, scratch_home
from local_servers.kafka import running_kafka
from local_servers.ports import free_port
from local_servers.postgres import running_postgres
from provisioning.database import admit_auditor, prepare_database

Role = Literal["api", "matcher", "sender", "audit"]
ROLES: tuple[Role, ...] = ("api", "matcher", "sender")
"""Those that have a schema; `audit` reads."""
PASSWORD = "test"  # noqa: S105 - of roles in a server that lives as long as the tests


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> Iterator[str]:
    """The bootstrap address of a Kafka broker."""
    if address := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield address
        return
    with _contained_kafka() if _docker_answers() else _local_kafka(pytestconfig.rootpath) as address:
        yield address


class _TopicSets:
    """Topics under one namespace after the other. The next are made, and old ones deleted, while a test runs.

    In a process of its own: a client of Kafka draws random numbers, and Hypothesis refuses tests during which somebody
    else does.
    """

    def __init__(self, kafka: str, beside: Executor) -> None:
        self._kafka = kafka
        self._beside = beside
        self._next = beside.submit(_create_topics, kafka)

    def take(self) -> Topics:
        made, self._next = self._next, self._beside.submit(_create_topics, self._kafka)
        return made.result()

    def delete(self, topics: Topics) -> None:
        self._beside.submit(_delete_topics, self._kafka, topics)

    def delete_spare(self) -> None:
        self.delete(self._next.result())


def _create_topics(kafka: str) -> Topics:
    fresh = Topics.within(f"test-{uuid.uuid4().hex[:12]}")
    asyncio.run(create_topics(kafka, fresh))
    return fresh


def _delete_topics(kafka: str, topics: Topics) -> None:
    async def delete() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            await admin.delete_topics([topic.name for topic in topics.all()])
        finally:
            await admin.close()

    asyncio.run(delete())


@pytest.fixture(scope="session")
def topic_sets(kafka: str) -> Iterator[_TopicSets]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as beside:
        topic_sets = _TopicSets(kafka, beside)
        yield topic_sets
        topic_sets.delete_spare()


@pytest.fixture
def topics(topic_sets: _TopicSets) -> Iterator[Topics]:
    """All topics, existing and empty, under a namespace that no other test has."""
    taken = topic_sets.take()
    yield taken
    topic_sets.delete(taken)


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[str]:
    """The administrator's URL of a PostgreSQL server."""
    if url := os.environ.get("POSTGRES_ADMIN_URL"):
        yield url
        return
    with _contained_postgres() if _docker_answers() else _local_postgres(pytestconfig.rootpath) as url:
        yield url


@dataclass(frozen=True)
class Database:
    """A database with every service's role, schema and migrations."""

    admin_url: str

    def url(self, role: Role) -> str:
        """The URL by which a service connects: as its own role, whose search path is its own schema."""
        server = conninfo_to_dict(self.admin_url)
        return f"postgresql://{role}:{PASSWORD}@{server['host']}:{server.get('port', 5432)}/{server['dbname']}"


@pytest.fixture(scope="session")
def database_template(postgres: str) -> Iterator[str]:
    """The name of a database that `database` copies: migrating once costs more than a hundred copies."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    _administer(postgres, "CREATE DATABASE {}", name)
    template = Database(_with_database(postgres, name))
    asyncio.run(_prepare(template.admin_url))
    yield name
    _administer(postgres, "DROP DATABASE {} WITH (FORCE)", name)


async def _prepare(admin_url: str) -> None:
    await prepare_database(admin_url, dict.fromkeys(ROLES, PASSWORD))
    await admit_auditor(admin_url, PASSWORD)


class _Databases:
    """Copies of the template. One is always made ahead, while a test runs: a copy can take longer than a test."""

    def __init__(self, admin_url: str, template: str, beside: Executor) -> None:
        self._admin_url = admin_url
        self._template = template
        self._beside = beside
        self._next = beside.submit(self._copy)

    def take(self) -> Database:
        made, self._next = self._next, self._beside.submit(self._copy)
        return Database(_with_database(self._admin_url, made.result()))

    def drop(self, database: Database) -> None:
        name = database.admin_url.rpartition("/")[2]
        self._beside.submit(_administer, self._admin_url, "DROP DATABASE {} WITH (FORCE)", name)

    def _copy(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        _administer(self._admin_url, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, self._template)
        return name

    def drop_spare(self) -> None:
        self.drop(Database(_with_database(self._admin_url, self._next.result())))


@pytest.fixture(scope="session")
def databases(postgres: str, database_template: str) -> Iterator[_Databases]:
    with ThreadPoolExecutor(max_workers=1) as beside:
        databases = _Databases(postgres, database_template, beside)
        yield databases
        databases.drop_spare()


@pytest.fixture
def database(databases: _Databases) -> Iterator[Database]:
    """A database of this test's own, with every service's tables."""
    taken = databases.take()
    yield taken
    databases.drop(taken)


def _administer(admin_url: str, statement: LiteralString, *names: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _with_database(url: str, name: str) -> str:
    return f"{url.rpartition('/')[0]}/{name}"


# --- where servers come from ----------------------------------------------------------------------------------------


@cache
def _docker_answers() -> bool:
    # A client that fails leaves its socket open: it is collected here, where its warning can be passed over.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        answer = _ping_docker()
        gc.collect()
    return answer


def _ping_docker() -> bool:
    try:
        return bool(docker.from_env(timeout=3).ping())
    except (DockerException, OSError):
        return False


@contextmanager
def _contained_kafka() -> Iterator[str]:
    port = free_port()
    container = (
        DockerContainer("apache/kafka:4.3.1")
        .with_bind_ports(9092, port)
        .with_env("KAFKA_PROCESS_ROLES", "broker,controller")
        .with_env("KAFKA_NODE_ID", "1")
        .with_env("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093")
        .with_env("KAFKA_LISTENERS", "PLAINTEXT://:9092,CONTROLLER://:9093")
        .with_env("KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://localhost:{port}")
        .with_env("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")
        .with_env("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER")
        .with_env("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1")
        .with_env("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "4")
        .with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
        .with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
        .with_env("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1")
        .with_env("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1")
        .with_env("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0")
        .with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
        .waiting_for(LogMessageWaitStrategy("Kafka Server started"))
    )
    with container:
        yield f"localhost:{port}"


@contextmanager
def _contained_postgres() -> Iterator[str]:
    # The image starts the server twice; the first one only initialises and does not listen on TCP.
    ready = LogMessageWaitStrategy(r"listening on IPv4 address.*[\s\S]*ready to accept connections")
    container = (
        DockerContainer("postgres:18")
        .with_exposed_ports(5432)
        .with_env("POSTGRES_PASSWORD", PASSWORD)
        .with_env("POSTGRES_INITDB_ARGS", "--locale-provider=builtin --builtin-locale=C.UTF-8 --no-sync")
        .with_command("postgres -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=250")
        .waiting_for(ready)
    )
    with container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
        yield f"postgresql://postgres:{PASSWORD}@{host}:{port}/postgres"


@contextmanager
def _local_kafka(project: Path) -> Iterator[str]:
    home = home_of(project)
    with scratch_home(home) as scratch, running_kafka(scratch, downloads=_downloads(home)) as address:
        yield address


@contextmanager
def _local_postgres(project: Path) -> Iterator[str]:
    home = home_of(project)
    with scratch_home(home) as scratch, running_postgres(scratch, downloads=_downloads(home), durable=False) as url:
        yield url


def _downloads(home: Path) -> Path:
    return private_directory(home / "downloads")
