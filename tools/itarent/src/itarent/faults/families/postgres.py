"""PostgreSQL is killed and restarted, all connections are cut, and its disk is full for a while."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

import asyncpg

from itarent.faults.scene import Family, Scene

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

CUTS: Final = 4
FULL: Final = 2


async def strike_server(scene: Scene) -> None:
    """Both, in any order."""
    for way in scene.chance.sample((_kill, _restart), 2):
        await asyncio.sleep(scene.chance.uniform(1, 3))
        await way(scene)


async def _kill(scene: Scene) -> None:
    with scene.striking("kill postgres"):
        scene.servers.postgres.kill()
        await asyncio.sleep(scene.chance.uniform(0, 2))
        await scene.servers.postgres.start()


async def _restart(scene: Scene) -> None:
    with scene.striking("restart postgres"):
        await scene.servers.postgres.stop()
        await asyncio.sleep(scene.chance.uniform(0, 2))
        await scene.servers.postgres.start()


async def strike_connections(scene: Scene) -> None:
    for _ in range(CUTS):
        await asyncio.sleep(scene.chance.uniform(0.5, 2))
        async with _administrator(scene) as connection:
            await connection.execute(_CUT)
        scene.struck("cut all connections")


async def strike_disk(scene: Scene) -> None:
    """Writes are refused as PostgreSQL refuses them when the disk is full.

    With error 53100, at the statement, in the middle of a transaction. A disk that is full for the write-ahead log ends
    the server, which is the family `postgres`.
    """
    async with _administrator(scene) as connection:
        await connection.execute(_PREPARE)
        for _ in range(FULL):
            await asyncio.sleep(scene.chance.uniform(1, 2))
            with scene.striking("disk full"):
                await connection.execute("UPDATE faults.disk SET is_full = true")
                try:
                    await asyncio.sleep(scene.chance.uniform(2, 4))
                finally:
                    await connection.execute("UPDATE faults.disk SET is_full = false")


@contextlib.asynccontextmanager
async def _administrator(scene: Scene) -> "AsyncIterator[Connection]":
    connection = await asyncpg.connect(scene.system.addresses.postgres)
    try:
        yield connection
    finally:
        await connection.close()


_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

_PREPARE = """
CREATE SCHEMA faults;
CREATE TABLE faults.disk (is_full boolean NOT NULL);
INSERT INTO faults.disk VALUES (false);
CREATE FUNCTION faults.write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF (SELECT is_full FROM faults.disk) THEN
        RAISE EXCEPTION 'could not extend file "base/%": No space left on device', TG_RELID
            USING ERRCODE = 'disk_full', HINT = 'Check free disk space.';
    END IF;
    RETURN NULL;
END
$$;
DO $$
DECLARE of regclass;
BEGIN
    FOR of IN SELECT oid FROM pg_class
        WHERE relkind = 'r' AND relnamespace IN ('api'::regnamespace, 'matcher'::regnamespace, 'sender'::regnamespace)
    LOOP
        EXECUTE format('CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON %s EXECUTE FUNCTION faults.write()', of);
    END LOOP;
END
$$;
"""

SERVER: Final = Family("postgres", "PostgreSQL is killed and restarted", strike_server)
CONNECTIONS: Final = Family("connections", "all connections to PostgreSQL are cut", strike_connections)
DISK: Final = Family("disk", "PostgreSQL's disk is full for a while", strike_disk)
