"""A run: a system, traffic through it, something that is broken meanwhile, the drain, and the judgement."""

import asyncio
import contextlib
import datetime as dt
import pickle
import random
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import asyncpg
from aiokafka.errors import KafkaError

from itarent.backlog import NotDrainedError, drain
from itarent.demo.flats import Market
from itarent.environment import SENDER, SIMULATOR
from itarent.faults.history import Drained, History, Rate
from itarent.faults.laws import Breach, breaches
from itarent.faults.observing import history_of
from itarent.faults.scene import Family, Scene
from itarent.faults.servers import RunningServers, running_servers
from itarent.faults.traffic import Traffic, WentWrongError
from itarent.given import Servers
from itarent.project import PROJECT
from itarent.system import System, running_system
from local_servers.home import home_of
from local_servers.processes import DidNotStart
from sender.rate import AHEAD
from twilio_simulator.client import connected

PER_SECOND: Final = 8.0
"""Messages a second over all replicas: fewer than there would be, so that the limit is in use."""

BUNCHED_S: Final = 0.5
"""By how much calls that were made evenly may be taken unevenly where all processes share two cores."""

BURST: Final = 1 + PER_SECOND * (AHEAD.total_seconds() + BUNCHED_S)
"""B of law L5: slots are reserved for a second ahead, and see above."""

ACTING_S: Final = 8.0
RECOVERS_WITHIN_S: Final = 60.0
CALM_S: Final = 7.0
"""How long listings go on when nothing is broken any more: longer than what may be in flight."""

SUITES_OWN: Final[Mapping[str, Mapping[str, str]]] = {
    SENDER: {
        "WHATSAPP_NOTIFICATION_INTERVAL_SECONDS": "0",
        "WHATSAPP_MESSAGES_PER_SECOND": str(PER_SECOND),
        "WHATSAPP_SECONDS_PER_RECIPIENT": "0",
        "SENDER_REQUEST_TIMEOUT_SECONDS": "1.5",
        "SENDER_LEASE_SECONDS": "4",
        "IN_DOUBT_GRACE_SECONDS": "2",
    },
    SIMULATOR: {"MESSAGES_PER_SECOND": "0", "REQUESTS_PER_SECOND": "0", "STATUS_PACE_SECONDS": "0.05"},
}
"""Waits that are right for people and long for those who watch."""


@dataclass(frozen=True)
class Result:
    """What a run of a family with a seed has shown."""

    family: str
    seed: int
    listings: int
    notifications: int
    messages: int
    strikes: int
    drained_s: float
    took_s: float
    breaches: tuple[Breach, ...]


async def run(
    family: Family, seeds: Iterable[int], home: Path, tell: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Run a family with each seed, on servers of its own; each seed has topics and a database of its own.

    Raises:
        DidNotStart: a server or a service did not start.
    """
    results = []
    async with running_servers(home) as servers:
        for seed in seeds:
            began = time.monotonic()
            history, listings = await _play(family, seed, servers, home / f"seed-{seed}")
            result = _result(family, seed, history, listings, time.monotonic() - began)
            if result.breaches:
                _keep_evidence(result, history, home / f"seed-{seed}" / "logs")
            results.append(result)
            tell(result)
    return results


def evidence(family: str, seed: int) -> Path:
    """Where the logs and the history of a run are kept that has breached a law."""
    return home_of(PROJECT) / "faults" / f"{family}-{seed}"


def _keep_evidence(result: Result, history: History, logs: Path) -> None:
    folder = evidence(result.family, result.seed)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(logs, folder)
    (folder / "history.pickle").write_bytes(pickle.dumps(history))
    (folder / "breaches.txt").write_text("".join(f"{each}\n" for each in result.breaches))


def _result(family: Family, seed: int, history: History, listings: int, took_s: float) -> Result:
    return Result(
        family=family.name,
        seed=seed,
        listings=listings,
        notifications=sum(1 for each in history.ledger.notifications.values() if each.flat_id),
        messages=len(history.accepted),
        strikes=len(history.strikes),
        drained_s=history.drained.seconds,
        took_s=took_s,
        breaches=tuple(breaches(history)),
    )


async def _play(family: Family, seed: int, servers: RunningServers, home: Path) -> tuple[History, int]:
    async with _scene(family, seed, servers, home) as scene:
        await scene.traffic.bring_in_renters()
        went_wrong = ""
        try:
            await _strike_in_traffic(family, scene, Market(seed))
        except* (WentWrongError, DidNotStart) as wrong:
            went_wrong = "; ".join(_each_of(wrong))
        drained = await _drained(scene, family.drains_within_s)
        if went_wrong:
            drained = replace(drained, left=f"{went_wrong} {drained.left}".strip())
        rate = Rate(PER_SECOND, BURST + family.burst)
        return await history_of(scene, rate=rate, drained=drained), len(scene.traffic.noted.taken)


def _each_of(group: BaseExceptionGroup[BaseException]) -> Iterator[str]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _each_of(each)
        else:
            yield repr(each)


async def _strike_in_traffic(family: Family, scene: Scene, market: Market) -> None:
    over = asyncio.Event()
    async with asyncio.TaskGroup() as going_on:
        going_on.create_task(scene.traffic.publish(market, over))
        acting = going_on.create_task(scene.traffic.act(ACTING_S))
        await family.strike(scene)
        await scene.simulator.clear_faults()
        await _whole_again(scene.system)
        await acting
        await scene.traffic.until_changes_arrive(RECOVERS_WITHIN_S)
        scene.recovered_at = dt.datetime.now(dt.UTC)
        await scene.traffic.act_at_last()
        await asyncio.sleep(CALM_S)
        await scene.traffic.take_back()
        over.set()


@contextlib.asynccontextmanager
async def _scene(family: Family, seed: int, servers: RunningServers, home: Path) -> AsyncIterator[Scene]:
    given = {"KAFKA_NAMESPACE": f"run{seed}", **family.given}
    chance = random.Random(f"{family.name}/{seed}")  # noqa: S311 - chance that can be repeated, not a secret
    at = Servers(servers.kafka.address, servers.database_url(f"run{seed}"))
    async with (
        family.between(servers, at) as way,
        running_system(
            home,
            given=given,
            servers=way.servers,
            ports=way.ports,
            matchers_of_each_shard=family.matchers,
            senders=family.senders,
            overrides=_merged(SUITES_OWN, family.overrides, way.overrides),
            modules=family.modules,
        ) as system,
        connected(system.url(SIMULATOR), system.credentials.auth_token) as simulator,
        Traffic.of(system, simulator, f"{family.name}/{seed}/traffic") as traffic,
    ):
        yield Scene(system, servers, simulator, traffic, chance, way)


def _merged(*layers: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    merged: dict[str, dict[str, str]] = {}
    for layer in layers:
        for name, variables in layer.items():
            merged[name] = {**merged.get(name, {}), **variables}
    return merged


async def _whole_again(system: System) -> None:
    for service in system.services.values():
        await service.until_healthy()


async def _drained(scene: Scene, within_s: float) -> Drained:
    """Twilio's callbacks first: they are work that is still to come, and what the first drain sends has some, too."""
    began = time.monotonic()
    left = ""
    try:
        for _ in range(2):
            async with asyncio.timeout(within_s):
                await scene.simulator.callbacks_delivered()
            await drain(scene.system, within_seconds=within_s - (time.monotonic() - began))
    except NotDrainedError as not_drained:
        left = str(not_drained)
    except (TimeoutError, KafkaError, asyncpg.PostgresError, OSError) as error:
        left = repr(error)
    return Drained(time.monotonic() - began, within_s, left)
