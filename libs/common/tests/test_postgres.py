"""Roles, schemas and migrations on real PostgreSQL."""

import asyncio
import contextlib
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from common.postgres import CONNECTION_LOST, connect, migrate, open_pool, provision
from testkit.servers import Database, Role
from testkit.waiting import eventually


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package whose migrations a test writes; yields the folder for them."""
    name = f"migrated_{uuid.uuid4().hex[:8]}"
    folder = tmp_path / name / "migrations"
    folder.mkdir(parents=True)
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop(name, None)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(url, "tests")
    try:
        yield connection
    finally:
        await connection.close()


# --- roles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("owner", "other"), [("api", "sender"), ("sender", "matcher"), ("matcher", "api")])
async def test_a_service_cannot_touch_what_another_owns(database: Database, owner: Role, other: Role) -> None:
    async with connected(database.url(owner)) as connection:
        await connection.execute("CREATE TABLE secret AS SELECT 1 AS number")
    async with connected(database.url(other)) as connection:
        for statement in (
            f"TABLE {owner}.secret",
            f"DROP TABLE {owner}.secret",
            f"CREATE TABLE {owner}.mine (number int)",
            "CREATE TABLE public.mine (number int)",
            f"SET ROLE {owner}",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_provisioning_again_changes_the_password(database: Database) -> None:
    # Roles belong to the server, not to the database: one that no other test knows.
    role = f"role_{uuid.uuid4().hex[:8]}"
    server = database.admin_url.partition("@")[2]
    for password in ("first", "it's $2 \\ second"):
        await provision(database.admin_url, {role: password})
    try:
        host, _, port = server.partition("/")[0].rpartition(":")
        connection = await asyncpg.connect(
            host=host, port=int(port), user=role, password="it's $2 \\ second", database=server.rpartition("/")[2]
        )
        assert await connection.fetchval("SELECT current_schema()") == role
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://{role}:first@{server}")
    finally:
        async with connected(database.admin_url) as connection:
            await connection.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


async def test_an_administrator_needs_no_more_than_to_create_roles_and_to_own_the_database(database: Database) -> None:
    server = database.admin_url.partition("@")[2]
    admin, service = f"admin_{uuid.uuid4().hex[:8]}", f"role_{uuid.uuid4().hex[:8]}"
    async with connected(database.admin_url) as connection:
        await connection.execute(f"CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD 'admin'")
        await connection.execute(f'ALTER DATABASE "{server.rpartition("/")[2]}" OWNER TO {admin}')
    for _ in range(2):
        await provision(f"postgresql://{admin}:admin@{server}", {service: "first"})
    async with connected(f"postgresql://{service}:first@{server}") as connection:
        await connection.execute("CREATE TABLE mine (number int)")
        assert await connection.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'mine'") == service


# --- migrations -----------------------------------------------------------------------------------------------------


async def test_migrations_may_run_again_and_at_once(database: Database, package: Path) -> None:
    (package / "0001_first.sql").write_text("CREATE TABLE applied (number int); INSERT INTO applied VALUES (1);")
    name = package.parent.name
    await asyncio.gather(*(migrate(database.url("api"), name) for _ in range(4)))
    (package / "0002_second.sql").write_text("INSERT INTO applied VALUES (2);")
    await asyncio.gather(*(migrate(database.url("api"), name) for _ in range(4)))
    async with connected(database.url("api")) as connection:
        assert [row["number"] for row in await connection.fetch("SELECT number FROM applied ORDER BY number")] == [1, 2]


async def test_a_migration_that_fails_leaves_nothing_and_can_be_corrected(database: Database, package: Path) -> None:
    wrong = package / "0001_first.sql"
    wrong.write_text("CREATE TABLE half (number int);\nSELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(database.url("api"), package.parent.name)
    wrong.write_text("CREATE TABLE half (number int);")
    await migrate(database.url("api"), package.parent.name)


async def test_a_killed_migration_is_taken_over(database: Database, package: Path) -> None:
    (package / "0001_first.sql").write_text("CREATE TABLE applied (number int);\nSELECT pg_sleep(60);")
    name = package.parent.name
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(package.parent.parent)!r}); "
        f"import asyncio; from common.postgres import migrate; asyncio.run(migrate({database.url('api')!r}, {name!r}))",
    )
    async with connected(database.admin_url) as connection:
        sleeping = await eventually(lambda: connection.fetchval(SLEEPING))
        child.kill()
        await child.wait()
        # A server that is busy notices the end of its client only afterwards.
        await connection.execute("SELECT pg_terminate_backend($1)", sleeping)
    (package / "0001_first.sql").write_text("CREATE TABLE applied (number int);")
    await migrate(database.url("api"), name)
    async with connected(database.url("api")) as connection:
        assert await connection.fetchval("SELECT count(*) FROM applied") == 0


SLEEPING = """
SELECT pid FROM pg_stat_activity
WHERE query LIKE '%pg_sleep(60)%' AND datname = current_database() AND pid <> pg_backend_pid()
"""


# --- connections ----------------------------------------------------------------------------------------------------


async def test_json_is_read_and_written_as_values(database: Database) -> None:
    async with open_pool(database.url("api"), "tests") as pool:
        value = {"è": [1, None, {"deep": True}]}
        assert await pool.fetchval("SELECT $1::jsonb", value) == value


async def test_a_cut_connection_is_told_as_lost(database: Database) -> None:
    async with connected(database.url("api")) as cut, connected(database.admin_url) as administrator:
        await administrator.execute("SELECT pg_terminate_backend($1)", cut.get_server_pid())
        with pytest.raises(CONNECTION_LOST):
            await cut.execute("SELECT 1")


async def test_a_server_that_is_not_there_is_told_as_lost() -> None:
    with pytest.raises(CONNECTION_LOST):
        await connect("postgresql://x@127.0.0.1:1/x", "tests")
