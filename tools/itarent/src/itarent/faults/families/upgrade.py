"""A rolling upgrade: services of an earlier build run beside those of today and are replaced one by one, and producers
send events of v1 beside v1.1, which has a field more.
"""

import asyncio
import contextlib
import datetime as dt
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, Final

import orjson
from aiokafka import AIOKafkaProducer

from common.events import ListingPublished
from common.kafka import encode
from itarent.demo.flats import Market
from itarent.environment import API, MATCHER, SENDER, SIMULATOR, WEBHOOK, replicas
from itarent.faults import builds
from itarent.faults.scene import Family, Scene, Way
from itarent.faults.servers import RunningServers
from itarent.given import Servers

COUNT: Final = 2
PROCESSES: Final = (*replicas(MATCHER, COUNT), *replicas(SENDER, COUNT), API, WEBHOOK)
LATER_LISTINGS: Final = 15
"""Of version 1.1, before each replacement."""

ADDED: Final = {"added_in_v1_1": {"by": ["a", "later", "version"]}}


@contextlib.asynccontextmanager
async def an_earlier_build(_: RunningServers, at: Servers) -> AsyncIterator[Way]:
    """All services are of the earlier build, on tables of today: the first thing that an upgrade does is to migrate."""
    older = await asyncio.to_thread(builds.earlier_build)
    yield Way(at, overrides=dict.fromkeys(PROCESSES, older))


async def strike(scene: Scene) -> None:
    """In an order that is drawn: nothing may depend on who is replaced first."""
    names = [name for name in scene.system.services if name != SIMULATOR]
    scene.chance.shuffle(names)
    later = _listings_of_v1_1(scene)
    async with AIOKafkaProducer(bootstrap_servers=scene.system.addresses.kafka, acks="all") as producer:
        for name in names:
            await asyncio.sleep(scene.chance.uniform(0.3, 1.2))
            for record in itertools.islice(later, LATER_LISTINGS):
                await producer.send(scene.system.topics.listings.name, **record)
            await producer.flush()
            with scene.striking(f"replace {name}"):
                service = scene.system.services[name]
                _check_that_it_is_older(scene, name)
                variables = {each: value for each, value in service.program.env.items() if each != "PYTHONPATH"}
                service.program = replace(service.program, env=variables)
                await service.restart()


def _check_that_it_is_older(scene: Scene, name: str) -> None:
    if "PYTHONPATH" not in scene.system.services[name].program.env:
        raise RuntimeError(f"{name} is of today already: nothing would be replaced")


def _listings_of_v1_1(scene: Scene) -> Iterator[dict[str, Any]]:
    market, topic = Market(scene.chance.randrange(1000, 10**6)), scene.system.topics.listings
    for played in market.play(dt.datetime.now(dt.UTC)):
        if played.listing:
            record = encode(topic, ListingPublished(listing=played.listing), "producers")
            fields = orjson.loads(record.value or b"")
            value = orjson.dumps({**fields, **ADDED, "listing": {**fields["listing"], **ADDED}})
            headers = [(header, text.encode()) for header, text in record.headers.items()]
            yield {"key": record.key.encode(), "value": value, "headers": headers}


FAMILY: Final = Family(
    "upgrade",
    "services of an earlier build are replaced one by one beside those of today; events of v1 and v1.1",
    strike,
    matchers=COUNT,
    senders=COUNT,
    between=an_earlier_build,
    why_not=builds.missing,
)
