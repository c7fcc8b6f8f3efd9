"""The database is lost and comes back from a backup, while Kafka has gone on; then the topic of recipients is lost,
while the database has gone on.

Services are stopped in order before the database is lost, and what their outboxes hold is published: what Twilio has
taken in the last moment before a loss nobody else can know.
"""

import asyncio
import contextlib
import datetime as dt
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from common.kafka import Publisher, create_topics
from common.outbox import Relay
from common.postgres import connect
from itarent.environment import API, SENDER, SIMULATOR
from itarent.faults.scene import Family, Scene
from itarent.restoring.cli import catch_up, publish_again
from local_servers.postgres import client_program

BEFORE_S: Final = (2.0, 4.0)
SINCE_S: Final = (4.0, 8.0)
BETWEEN_S: Final = (2.0, 4.0)
PUBLISHED_WITHIN_S: Final = 20.0
LOOK_S: Final = 0.1


async def strike(scene: Scene) -> None:
    database_url, backup = scene.system.addresses.postgres, scene.system.home / "backup.dump"
    await asyncio.sleep(scene.chance.uniform(*BEFORE_S))
    began = dt.datetime.now(dt.UTC)
    await asyncio.to_thread(_run, "pg_dump", "--format=custom", f"--file={backup}", f"--dbname={database_url}")
    scene.struck("a backup is made")
    await asyncio.sleep(scene.chance.uniform(*SINCE_S))
    with scene.striking("the database is lost, and comes back from the backup"):
        async with _standing_still(scene):
            await _lose_and_restore(database_url, backup)
            await catch_up(scene.system.addresses.kafka, scene.system.topics, database_url, began)
    await asyncio.sleep(scene.chance.uniform(*BETWEEN_S))
    with scene.striking("the topic of recipients is lost, and published again"):
        async with _standing_still(scene):
            await _lose_recipients(scene)
        await publish_again(database_url, scene.system.topics)


@contextlib.asynccontextmanager
async def _standing_still(scene: Scene) -> AsyncIterator[None]:
    services = [service for name, service in scene.system.services.items() if name != SIMULATOR]
    for service in services:
        await service.stop()
    await _publish_what_is_left(scene)
    try:
        yield
    finally:
        for service in services:
            service.launch()
        for service in services:
            await service.until_healthy(bears_ends=False)
            service.watch()


async def _publish_what_is_left(scene: Scene) -> None:
    async with Publisher.connected(scene.system.addresses.kafka, "restore") as publisher:
        for role in (API, SENDER):
            url = scene.system.database_url(role)
            relaying = asyncio.create_task(Relay(url, publisher).run())
            try:
                async with asyncio.timeout(PUBLISHED_WITHIN_S):
                    while await _has_events(url):  # noqa: ASYNC110 - it sends no event
                        await asyncio.sleep(LOOK_S)
            finally:
                relaying.cancel()
                await asyncio.gather(relaying, return_exceptions=True)


async def _has_events(url: str) -> bool:
    connection = await connect(url, "restore")
    try:
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)"))
    finally:
        await connection.close()


async def _lose_and_restore(database_url: str, backup: Path) -> None:
    parts = urlsplit(database_url)
    name = parts.path.removeprefix("/")
    server = await asyncpg.connect(parts._replace(path="/postgres").geturl())
    try:
        await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await server.execute(f'CREATE DATABASE "{name}"')
    finally:
        await server.close()
    await asyncio.to_thread(_run, "pg_restore", "--exit-on-error", f"--dbname={database_url}", str(backup))


async def _lose_recipients(scene: Scene) -> None:
    topic = scene.system.topics.recipients
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.system.addresses.kafka)
    await admin.start()
    try:
        await admin.delete_topics([topic.name])
        async with asyncio.timeout(PUBLISHED_WITHIN_S):
            while topic.name in await admin.list_topics():  # noqa: ASYNC110 - nor does Kafka
                await asyncio.sleep(LOOK_S)
    finally:
        await admin.close()
    await create_topics(scene.system.addresses.kafka, [topic])


def _run(program: str, *arguments: str) -> None:
    subprocess.run([client_program(program), *arguments], check=True, capture_output=True)  # noqa: S603 - our own


FAMILY: Final = Family(
    "restore",
    "the database comes back from a backup while Kafka has gone on; recipients' topic is lost while the database has",
    strike,
)
