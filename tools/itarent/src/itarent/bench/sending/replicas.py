"""Several senders under one limit: how much of it they use under a backlog, and whether any window holds too many."""

import contextlib
import dataclasses
import datetime as dt
import random
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Final

from rich.console import Console

from itarent.bench.results import percentile
from itarent.bench.sending.load import listings, notification
from itarent.bench.sending.stage import UNLIMITED, Row, Stage, sender_alone
from itarent.environment import SENDER
from itarent.supervision import Program, running_services
from local_servers.ports import LOOPBACK, free_port

WINDOWS_S: Final = (1.0, 10.0)


async def replicas(counts: Sequence[int], per_second: float, seconds: int, seed: int, console: Console) -> list[Row]:
    """So many senders have a backlog for so many seconds, each number of them from nothing."""
    rows = []
    for senders in counts:
        console.print(f"{senders} senders, {per_second:g} messages a second, for {seconds} s")
        rows.append(await _measured(senders, per_second, seconds, random.Random(seed)))  # noqa: S311 - seeded
    return rows


async def _measured(senders: int, per_second: float, seconds: int, chance: random.Random) -> Row:
    count = int(per_second * seconds)
    settings = {**UNLIMITED, "WHATSAPP_MESSAGES_PER_SECOND": f"{per_second:g}"}
    async with sender_alone(settings) as stage, _others(stage, senders - 1):
        await stage.know(count)
        [flat], now = listings(1, chance), dt.datetime.now(dt.UTC)
        await stage.fill([notification(flat, each, now) for each in range(count)])
        await stage.release()
        await stage.until("SELECT count(*) FROM messages WHERE stage = 'taken'", count, every_s=0.5)
        taken = sorted(each.date_created.timestamp() for each in await stage.simulator.messages())
    return _row(senders, per_second, taken)


@contextlib.asynccontextmanager
async def _others(stage: Stage, count: int) -> AsyncIterator[None]:
    """So many senders beside the one that runs."""
    programs = [_replica(stage.sender.program, number) for number in range(2, count + 2)]
    async with running_services(programs, stage.system.home):
        yield


def _replica(program: Program, number: int) -> Program:
    name, port = f"{SENDER}-{number}", free_port()
    env = {**program.env, "HTTP_PORT": str(port), "KAFKA_INSTANCE_ID": name}
    return dataclasses.replace(program, name=name, url=f"http://{LOOPBACK}:{port}", env=env)


def _row(senders: int, per_second: float, taken: Sequence[float]) -> Row:
    """Of when Twilio took each message, in order. The first and the last second are no backlog."""
    steady = [each for each in taken if taken[0] + 1 <= each < taken[-1] - 1]
    return {
        "senders": senders,
        "messages": len(taken),
        "limit/s": per_second,
        "of the limit in use %": 100 * (len(steady) - 1) / (steady[-1] - steady[0]) / per_second,
        **{
            f"most in any {window:g} s": f"{most_within(taken, window)} of {per_second * window:g}"
            for window in WINDOWS_S
        },
        "most ahead of the limit, in any window": most_ahead(taken, per_second),
        "between two, p50 ms": percentile([1000 * (later - earlier) for earlier, later in pairwise(steady)], 50),
        "between two, p99 ms": percentile([1000 * (later - earlier) for earlier, later in pairwise(steady)], 99),
    }


def most_within(moments: Sequence[float], window_s: float) -> int:
    """The most of the moments, which are in order, that any window of so many seconds holds, its end not included."""
    most, first = 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def most_ahead(moments: Sequence[float], per_second: float) -> float:
    """By how many messages a window of any length, with both its ends, holds more than the limit lets through in it.

    It is the least bucket of tokens that would have let all of them pass; 1 is what a limit without a bucket has.
    """
    ahead = most = 0.0
    before = moments[0]
    for moment in moments:
        ahead = max(0.0, ahead - (moment - before) * per_second) + 1
        most, before = max(most, ahead), moment
    return most
