"""PostgreSQL: roles and schemas, migrations, pools."""

import contextlib
import importlib.resources
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import asyncpg
import orjson
import psycopg
import yoyo

MIGRATION_LOCK: Final = 0x17A8E27
"""Key of the advisory lock that one migration of a database holds."""

CONNECTION_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    OSError,
)
"""What clients of a killed, restarting, full or unreachable server see: try again later, on another connection."""


async def provision(admin_url: str, passwords: Mapping[str, str]) -> None:
    """Give each service (a key of `passwords`) a role and a schema of its own, which nobody else can read.

    Can be repeated; a changed password takes effect.
    """
    connection = await asyncpg.connect(admin_url)
    try:
        for service, password in passwords.items():
            await connection.execute(await connection.fetchval(_CREATE_ROLE, service, password))
            # A managed server's administrator is no superuser, and gives a schema only to roles that it may become.
            await connection.execute(f'GRANT "{service}" TO CURRENT_USER')
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{service}" AUTHORIZATION "{service}"')
    finally:
        await connection.close()


_CREATE_ROLE = """
-- The statement that creates a role or sets its password: utility statements take no parameters.
SELECT format(
    CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text)
         THEN 'ALTER ROLE %1$I PASSWORD %2$L; ALTER ROLE %1$I SET search_path = %1$I'
         ELSE 'CREATE ROLE %1$I LOGIN PASSWORD %2$L; ALTER ROLE %1$I SET search_path = %1$I' END,
    $1::text, $2::text)
"""


def migrate(url: str, package: str) -> None:
    """Apply the SQL files of `<package>/migrations` that the schema of the URL's role has not seen.

    Blocks; several processes may call it at once.
    """
    with importlib.resources.as_file(importlib.resources.files(package) / "migrations") as folder:
        migrations = yoyo.read_migrations(str(folder))
        with psycopg.connect(url, autocommit=True) as guard:
            # Yoyo's own lock is a row that a killed process leaves behind. This one ends with its connection, and
            # whoever holds it may remove that row.
            guard.execute("SELECT pg_advisory_lock(%s, hashtext(current_schema()))", (MIGRATION_LOCK,))
            backend = yoyo.get_backend(url.replace("postgresql://", "postgresql+psycopg://", 1))
            try:
                backend.break_lock()
                with backend.lock():
                    backend.apply_migrations(backend.to_apply(migrations))
            finally:
                backend.connection.close()


def migrations_of(package: str) -> list[str]:
    """The names of the migrations that `migrate` applies, in their order."""
    files = (importlib.resources.files(package) / "migrations").iterdir()
    return sorted(each.name.removesuffix(".sql") for each in files if each.name.endswith(".sql"))


@contextlib.asynccontextmanager
async def open_pool(url: str, service: str, *, size: int = 10) -> AsyncIterator[asyncpg.Pool]:
    """A pool for the life of a process; JSON columns are read and written as Python values."""
    async with asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        init=_speak_json,
        command_timeout=60,
        server_settings={"application_name": service},
    ) as pool:
        yield pool


async def connect(url: str, name: str) -> "asyncpg.Connection[Any]":
    """One connection outside a pool, for what must not share one: LISTEN, session locks.

    The server takes 25 s to notice that the client's machine is gone, and then frees its locks.
    """
    keepalives = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
    connection = await asyncpg.connect(url, server_settings={"application_name": name, **keepalives})
    await _speak_json(connection)
    return connection


async def _speak_json(connection: "asyncpg.Connection[Any]") -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=lambda value: orjson.dumps(value).decode(), decoder=orjson.loads
        )
