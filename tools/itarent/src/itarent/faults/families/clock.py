"""The whole system lives through a night in which Italy's clocks are changed, or through the leap day; meanwhile the
clocks of the sender, of its database and of Twilio are set forward and back by an hour.
"""

import asyncio
import contextlib
import datetime as dt
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from common.events import QuietHours
from common.kafka import create_topics
from common.topics import Topics
from itarent.faults.clocks import MODULES, Clocks, clocked
from itarent.faults.scene import Family, Scene, Way
from itarent.faults.servers import RunningServers
from itarent.given import Servers
from provisioning.database import prepare_database

ROME: Final = ZoneInfo("Europe/Rome")
HOUR: Final = dt.timedelta(hours=1)
NIGHTS: Final = (
    dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC),  # 2:00 is 3:00
    dt.datetime(2026, 10, 25, 1, tzinfo=dt.UTC),  # 3:00 is 2:00
    dt.datetime(2028, 2, 28, 23, tzinfo=dt.UTC),  # 29 February begins
)
"""What happens at these moments is what the run is about."""
BEFORE: Final = 3 * HOUR
"""How long before it the run begins."""

AROUND_THE_CHANGE: Final = ((22, 0, 2, 0), (1, 30, 2, 30), (2, 30, 3, 30), (2, 15, 7, 0))
AROUND_MIDNIGHT: Final = ((22, 0, 0, 0), (23, 30, 0, 30), (0, 0, 1, 0), (0, 30, 7, 0))
"""Quiet hours, by wall clock: from and until, hour and minute."""

SLOTS_AGAIN: Final = 6 * 8.0
"""Each time that the clock is set, the slots of the second ahead are handed out anew, and those of before are used."""

TOLD_WITHIN_S: Final = 30.0
LEAST_S: Final = 4.0
LOOK_S: Final = 0.2


@contextlib.asynccontextmanager
async def at_night(_: RunningServers, at: Servers) -> AsyncIterator[Way]:
    """Prepare topics and database so that all live in the night that the seed stands for."""
    name = urlsplit(at.database_url).path.removeprefix("/")
    await _prepare(at, name)
    with tempfile.TemporaryDirectory() as folder:
        clocks = Clocks(Path(folder), at.database_url)
        begun = await clocks.install(_night_of(name) - BEFORE - dt.datetime.now(dt.UTC))
        yield Way(at, overrides=clocked(clocks.folder), clocks=clocks, jumps=(begun,))


def _night_of(name: str) -> dt.datetime:
    """The runs are called `run1`, `run2`, … by their seeds."""
    return NIGHTS[(int(name.removeprefix("run")) - 1) % len(NIGHTS)]


async def _prepare(at: Servers, name: str) -> None:
    server = await asyncpg.connect(urlsplit(at.database_url)._replace(path="/postgres").geturl())
    try:
        await server.execute(f'CREATE DATABASE "{name}"')
    finally:
        await server.close()
    await prepare_database(at.database_url, dict.fromkeys(("api", "matcher", "sender"), "until-the-system-starts"))
    topics = Topics.within(name)
    await create_topics(at.kafka, topics)
    await _by_the_brokers_clock(at.kafka, topics)


async def _by_the_brokers_clock(kafka: str, topics: Topics) -> None:
    """Kafka's own clock is right: by it nothing of today is too old to be kept, or too far ahead to be taken."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.alter_configs(
            [
                ConfigResource(
                    ConfigResourceType.TOPIC, each.name, {**each.config, "message.timestamp.type": "LogAppendTime"}
                )
                for each in topics.all()
            ]
        )
    finally:
        await admin.close()


async def strike(scene: Scene) -> None:
    scene.jumps += scene.way.jumps
    night = _night_of(scene.system.topics.namespace)
    await _rest(scene, AROUND_MIDNIGHT if night.astimezone(ROME).hour == 0 else AROUND_THE_CHANGE)
    early, late = (dt.timedelta(minutes=scene.chance.randint(20, 40)) for _ in range(2))
    await _live_at(scene, night - early)
    await _live_at(scene, night - dt.timedelta(seconds=LEAST_S / 2))
    await _live_at(scene, night + late)
    await _live_at(scene, night + late + HOUR)
    await _live_at(scene, night + late + dt.timedelta(seconds=LEAST_S), tells=False)  # they were told an hour later
    morning = (night + BEFORE).astimezone(ROME).replace(hour=7, minute=0, second=0)
    await _live_at(scene, morning - dt.timedelta(seconds=LEAST_S / 2))


async def _live_at(scene: Scene, moment: dt.datetime, *, tells: bool = True) -> None:
    """Set the clocks, and let a few seconds go by, until somebody was told."""
    assert scene.way.clocks
    wall = moment.astimezone(ROME)
    with scene.striking(f"it is {wall:%H:%M:%S} on {wall:%d %B %Y} in Italy"):
        before = len(await scene.simulator.messages())
        scene.jumps.append(await scene.way.clocks.set(moment - dt.datetime.now(dt.UTC)))
        await asyncio.sleep(LEAST_S)
        deadline = asyncio.get_running_loop().time() + TOLD_WITHIN_S
        while tells and len(await scene.simulator.messages()) == before:
            if asyncio.get_running_loop().time() > deadline:
                scene.breached("L8", f"nobody is told at {wall:%H:%M} of {wall:%d %B %Y}")
                return
            await asyncio.sleep(LOOK_S)


async def _rest(scene: Scene, hours: Sequence[tuple[int, int, int, int]]) -> None:
    for person, (from_hour, from_minute, to_hour, to_minute) in zip(scene.traffic.bystanders, hours, strict=True):
        quiet = QuietHours(start=dt.time(from_hour, from_minute), end=dt.time(to_hour, to_minute))
        await scene.traffic.rest_at(person, quiet, ROME.key)


FAMILY: Final = Family(
    "clock",
    "the nights of 29 March and 25 October 2026, the leap day of 2028; clocks are set forward and back by an hour",
    strike,
    modules=MODULES,
    between=at_night,
    burst=SLOTS_AGAIN,
)
