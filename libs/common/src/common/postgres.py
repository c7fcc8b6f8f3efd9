"""PostgreSQL: roles and schemas, migrations, pools."""

import contextlib
import importlib.resources
from collections.abc import AsyncIterator, Mapping
from importlib.resources.abc import Traversable
from typing import Any, Final

import asyncpg
import orjson

MIGRATION_LOCK: Final = 0x17A8E27
"""Key of the advisory lock that whoever migrates a schema holds."""

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
            await create_role(connection, service, password)
            # A managed server's administrator is no superuser, and gives a schema only to roles that it may become.
            await connection.execute(f'GRANT "{service}" TO CURRENT_USER')
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{service}" AUTHORIZATION "{service}"')
    finally:
        await connection.close()


async def create_role(connection: "asyncpg.Connection[Any]", role: str, password: str) -> None:
    """A role that can sign in, or its new password. It finds tables in the schema of its name."""
    await connection.execute(await connection.fetchval(_CREATE_ROLE, role, password))


_CREATE_ROLE = """
-- The statement that creates a role or sets its password: utility statements take no parameters.
SELECT format(
    CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text)
         THEN 'ALTER ROLE %1$I PASSWORD %2$L; ALTER ROLE %1$I SET search_path = %1$I'
         ELSE 'CREATE ROLE %1$I LOGIN PASSWORD %2$L; ALTER ROLE %1$I SET search_path = %1$I' END,
    $1::text, $2::text)
"""


async def migrate(url: str, package: str) -> None:
    """Apply the SQL files of `<package>/migrations` that the schema of the URL's role has not seen.

    All of them or none, in one transaction with the note of each, so that a process may be killed at any moment.
    Several processes may call it at once.
    """
    connection = await asyncpg.connect(url, server_settings={"application_name": f"{package}-migrations"})
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))", MIGRATION_LOCK)
            await connection.execute(_MIGRATIONS)
            applied = {row["name"] for row in await connection.fetch("SELECT name FROM migrations")}
            for name in migrations_of(package):
                if name not in applied:
                    await connection.execute(_file_of(package, name).read_text())
                    await connection.execute("INSERT INTO migrations (name) VALUES ($1)", name)
    finally:
        await connection.close()


_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())
"""


def _file_of(package: str, name: str) -> Traversable:
    return importlib.resources.files(package) / "migrations" / f"{name}.sql"


def migrations_of(package: str) -> list[str]:
    """The names of the migrations that `migrate` applies, in their order."""
    files = (importlib.resources.files(package) / "migrations").iterdir()
    return sorted(each.name.removesuffix(".sql") for each in files if each.name.endswith(".sql"))


@contextlib.asynccontextmanager
async def open_pool(
    url: str, service: str, *, size: int = 10, schema: str | None = None
) -> AsyncIterator[asyncpg.Pool]:
    """A pool for the life of a process; JSON columns are read and written as Python values.

    `schema` is for a role that is not the service's own, whose search path is another.
    """
    async with asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        init=_speak_json,
        command_timeout=60,
        server_settings={"application_name": service, **({"search_path": schema} if schema else {})},
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
