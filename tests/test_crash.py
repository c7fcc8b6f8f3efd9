"""Listings flow while matchers come and go: nothing is lost, nobody is told twice.

`CRASH_SEEDS=10` runs ten different ones, longer (`make crash SEEDS=10`); CI runs one. A seed fixes the listings, and
who is killed, stopped or frozen after how long.
"""

import asyncio
import dataclasses
import datetime as dt
import functools
import itertools
import os
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import httpx
import pytest

from itarent.audit.run import audit
from itarent.audit.sources import Kafka
from itarent.backlog import drain
from itarent.demo.cast import bring_in
from itarent.demo.flats import Market
from itarent.demo.renters import RENTERS, Renter
from itarent.environment import API, SENDER, SIMULATOR, matchers
from itarent.project import PROJECT
from itarent.supervision import Service
from itarent.system import ANY_PORTS, System, running_system
from local_servers.home import home_of, scratch_home
from testkit.waiting import eventually
from twilio_simulator.client import connected

AT_ONCE = 20
KILLS_EACH = 3
SEEDS = range(1, 1 + int(os.environ.get("CRASH_SEEDS", "1")))
ROUNDS, SHARDS = (3, [1, 2]) if "CRASH_SEEDS" in os.environ else (1, [1])
MATCHERS = matchers(4)
FROZEN_S = 12.0  # longer than the session with Kafka, 10 s: others take over what a frozen one is at
LONGEST_ABSENCE_S = 12.0  # for the same reason
PASSWORD = "only-for-this-test"
IMPATIENT = {
    SENDER: {
        "DEBUG_NOTIFICATIONS": "true",
        "WHATSAPP_MESSAGES_PER_SECOND": "0",
        "WHATSAPP_SECONDS_PER_RECIPIENT": "0",
        "SENDER_REQUEST_TIMEOUT_SECONDS": "1.5",
        "SENDER_LEASE_SECONDS": "2",
        "IN_DOUBT_GRACE_SECONDS": "2",
        "LOG_LEVEL": "WARNING",
    },
    SIMULATOR: {"MESSAGES_PER_SECOND": "0", "REQUESTS_PER_SECOND": "0", "STATUS_PACE_SECONDS": "0.05"},
}


@pytest.fixture
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        yield scratch


@pytest.fixture(params=SHARDS, ids="{} shards".format)
async def scaled_system(home: Path, request: pytest.FixtureRequest) -> AsyncIterator[System]:
    """Four matchers, of one shard or of several."""
    shards: int = request.param
    async with running_system(
        home,
        ports=ANY_PORTS,
        given={"MATCHER_SHARDS": str(shards)},
        matchers_of_each_shard=len(MATCHERS) // shards,
        overrides=IMPATIENT,
        durable=False,
    ) as system:
        yield system


@pytest.mark.timeout(200 + 100 * ROUNDS)
@pytest.mark.parametrize("seed", SEEDS)
async def test_matchers_that_come_and_go_lose_no_match_and_tell_nobody_twice(scaled_system: System, seed: int) -> None:
    """One freezes and goes on with what others have taken over, two die, one leaves and joins again: at once."""
    system, over = scaled_system, asyncio.Event()
    await _bring_in(system, [*_renters(24)])
    async with asyncio.TaskGroup() as going_on:
        publishing = going_on.create_task(_publish(system, Market(seed), _until(over), every_seconds=0.1))
        await _come_and_go(system, random.Random(seed))
        over.set()
    await _check_that_nothing_is_lost_or_repeated(system, listings=await publishing)


async def _check_that_nothing_is_lost_or_repeated(system: System, *, listings: int) -> None:
    await drain(system, within_seconds=120)
    balance = await audit(Kafka(system.addresses.kafka, system.topics), system.addresses.postgres)
    assert balance.balanced, balance.problems
    assert balance.pending == 0
    assert balance.listing_versions > listings * 0.9, "nearly all listings were versions that took effect"
    assert balance.matches > listings * 0.5, "there was something to lose"
    await _check_that_twilio_took_each_message_once(system)
    await _check_that_each_match_was_told_once(system)


def _renters(count: int) -> Iterator[Renter]:
    """The renters of the demonstration over and over, each time with other phones."""
    for number, renter in zip(range(count), itertools.cycle(RENTERS), strict=False):
        yield dataclasses.replace(renter, email=f"{number}@renters.example", phone=f"+3933355502{number:02}")


async def _bring_in(system: System, renters: list[Renter]) -> None:
    async with (
        httpx.AsyncClient(base_url=f"{system.url(API)}/api/v1", timeout=120) as api,
        connected(system.url(SIMULATOR), system.credentials.auth_token) as simulator,
    ):
        await asyncio.gather(*(bring_in(renter, PASSWORD, api, simulator) for renter in renters))


async def _publish(system: System, market: Market, times: Iterable[bool], *, every_seconds: float = 0.0) -> int:
    """Publish as a producer does: what was not acknowledged is published again. Returns how many listings it were."""
    listings = (played.listing for played in market.play(dt.datetime.now(dt.UTC)) if played.listing)
    headers = {"X-Api-Key": system.credentials.producer_key}
    async with httpx.AsyncClient(base_url=f"{system.url(API)}/api/v1", headers=headers, timeout=5) as api:
        for number, _ in enumerate(times, start=1):  # noqa: B007 - what it was last is returned
            batch = [listing.model_dump(mode="json") for listing in itertools.islice(listings, AT_ONCE)]
            await eventually(functools.partial(_is_taken, api, batch), within_seconds=60)
            await asyncio.sleep(every_seconds)
    return number * AT_ONCE


def _until(over: asyncio.Event) -> Iterator[bool]:
    while not over.is_set():
        yield True


async def _is_taken(api: httpx.AsyncClient, batch: list[dict[str, Any]]) -> bool:
    try:
        return (await api.post("/listings", json=batch)).is_success
    except httpx.TransportError:
        return False


async def _come_and_go(system: System, chance: random.Random) -> None:
    for _ in range(ROUNDS):
        drawn = chance.sample(MATCHERS, len(MATCHERS))
        freezing, dying, also_dying, leaving = (system.services[name] for name in drawn)
        async with asyncio.TaskGroup() as going_on:
            going_on.create_task(_freeze(freezing, after=chance.uniform(0, 2)))
            for each in (dying, also_dying):
                going_on.create_task(_die(each, [chance.uniform(0.5, 5) for _ in range(KILLS_EACH)]))
            going_on.create_task(_leave_and_join(leaving, chance.uniform(0, 3), chance.uniform(0, LONGEST_ABSENCE_S)))


async def _freeze(matcher: Service, *, after: float) -> None:
    await asyncio.sleep(after)
    matcher.freeze()
    try:
        await asyncio.sleep(FROZEN_S)
    finally:
        matcher.thaw()


async def _die(matcher: Service, pauses: Iterable[float]) -> None:
    for pause in pauses:
        await asyncio.sleep(pause)
        matcher.kill()


async def _leave_and_join(matcher: Service, after: float, absent_for: float) -> None:
    await asyncio.sleep(after)
    await matcher.stop()
    await asyncio.sleep(absent_for)
    await matcher.start()


async def _check_that_each_match_was_told_once(system: System) -> None:
    """Whoever is told that a flat is new is told so in one message that Twilio has taken, and never again."""
    connection = await asyncpg.connect(system.addresses.postgres)
    try:
        told = await connection.fetch(_TOLD)
    finally:
        await connection.close()
    assert len(told) == len({(row["user_id"], row["flat_id"], row["reason"], row["of"]) for row in told})
    assert {row["reason"] for row in told} > {"new", "price_drop"}


async def _check_that_twilio_took_each_message_once(system: System) -> None:
    """What the ledger holds for sent is what the simulator has accepted, each message once."""
    connection = await asyncpg.connect(system.addresses.postgres)
    try:
        sent = [str(row["message_id"]) for row in await connection.fetch(_SENT)]
    finally:
        await connection.close()
    async with connected(system.url(SIMULATOR), system.credentials.auth_token) as simulator:
        accepted = [_message_id(message.status_callback or "") for message in await simulator.messages()]
    assert sorted(accepted) == sorted(sent)
    assert accepted, "messages were sent at all"


def _message_id(status_callback: str) -> str:
    return parse_qs(urlsplit(status_callback).query)["n"][0]


_SENT = """
SELECT message_id FROM sender.messages WHERE sid IS NOT NULL
"""

_TOLD = """
-- Each notification with the message that it is in; what may recur is told of a version.
SELECT user_id, flat_id, reason,
       CASE reason WHEN 'new' THEN '' ELSE listing_id || '/' || version END AS of
  FROM sender.notifications JOIN sender.messages USING (message_id, user_id)
 WHERE sid IS NOT NULL AND flat_id IS NOT NULL
"""
