"""The ledger with millions of rows: how long each step of a message's life takes, and what PostgreSQL does for it."""

import datetime as dt
import random
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final
from uuid import uuid4

import asyncpg
from rich.console import Console

from common import outbox
from common.events import MessageStatus
from itarent.bench.results import percentile
from itarent.bench.sending.filling import CROWD, OF_A_MESSAGE, Filled, fill, id_of
from itarent.bench.sending.load import listings, notification
from itarent.bench.sending.plans import EXPLAINS, Explained, explained, names_of
from itarent.bench.sending.stage import Row
from itarent.bench.sending.tables import Replica, Tables, received, tables_alone
from itarent.ledger import story
from sender.ledger import Call
from sender.outcomes import Accepted
from sender.reports import Reported, Source, reported_status

ROUNDS: Final = 20
EXPLAINED_ROUNDS: Final = 7
"""After the fifth PostgreSQL may take a plan that is for all parameters alike."""
TAKEN_IN: Final = 500
BEGUN: Final = 64
CHECKED: Final = 16
BIG: Final = 1_000
"""Rows of a table that is read from end to end, from which on that is a finding."""

STATEMENTS: Final = names_of(
    *(module for name, module in sorted(sys.modules.items()) if name.startswith("sender.")), outbox, story
)

Step = Callable[[], Awaitable[object]]


async def ledger_at(rows: int, seed: int, console: Console) -> list[Row]:
    """Of so many notifications."""
    async with tables_alone() as tables:
        console.print(f"{rows:,} notifications are filled in")
        async with tables.connection() as connection:
            filled = await fill(connection, rows, seed)
            size = await connection.fetchval("SELECT pg_database_size(current_database())")
        console.print(f"{size >> 20:,} MiB; each step {ROUNDS} times")
        timed = await _timed(tables, filled, seed)
        console.print("and again, explained")
        plans = await _plans(tables, filled, seed + 1)
    return [_row(name, rows, timed[name], plans[name]) for name in timed]


async def _timed(tables: Tables, filled: Filled, seed: int) -> dict[str, list[float]]:
    """Milliseconds of each step."""
    taken: defaultdict[str, list[float]] = defaultdict(list)
    async with tables.pool() as pool:
        steps = _Steps(pool, filled, random.Random(seed))  # noqa: S311 - seeded
        for _ in range(ROUNDS):
            for name, step in steps.round():
                began = time.perf_counter()
                await step()
                taken[name].append(1000 * (time.perf_counter() - began))
    return taken


async def _plans(tables: Tables, filled: Filled, seed: int) -> dict[str, list[Explained]]:
    """What each step's statements did."""
    plans: defaultdict[str, list[Explained]] = defaultdict(list)
    async with tables.pool(EXPLAINS) as pool:
        steps = _Steps(pool, filled, random.Random(seed))  # noqa: S311 - seeded
        for _ in range(EXPLAINED_ROUNDS):
            for name, step in steps.round():
                begin = tables.log.stat().st_size
                await step()
                plans[name] += explained(tables.log, begin, STATEMENTS)
    return plans


class _Steps:
    """A round is what happens to some messages from intake to delivery, and the questions of an operator."""

    def __init__(self, pool: asyncpg.Pool, filled: Filled, chance: random.Random) -> None:
        self._pool = pool
        self._filled = filled
        self._chance = chance
        self._replica = Replica.over(pool)
        self._calls: Sequence[Call] = ()

    def round(self) -> Iterator[tuple[str, Step]]:
        filled, chance, replica = self._filled, self._chance, self._replica
        events = self._events()
        yield f"take in {TAKEN_IN} notifications", lambda: replica.intake.take(events)
        yield f"begin {BEGUN} messages", self._begin
        yield f"record {BEGUN} answers", lambda: replica.reports.record([*self._answers()])
        yield f"record {BEGUN} callbacks", lambda: replica.reports.record([*self._callbacks()])
        yield f"claim {CHECKED} to ask Twilio about", lambda: replica.reports.claim_checks(CHECKED)
        yield "look for lapsed leases", replica.reports.doubt_lapsed_leases
        message = chance.randrange(filled.closed)
        shown = {
            "a message": str(id_of("message", message)),
            "a MessageSid": f"SM{id_of('sid', message).hex}",
            "a user": str(id_of("user", chance.randrange(filled.users))),
            "a listing": f"bench:{chance.randrange(filled.messages // OF_A_MESSAGE)}",
            "a crowd's listing": CROWD,
        }
        for what, name in shown.items():
            yield f"ledger show: {what}", partial(self._show, name)

    def _events(self) -> list[Any]:
        """A new flat for users at random."""
        now, [flat] = dt.datetime.now(dt.UTC), listings(1, self._chance)
        flat = flat.model_copy(update={"listing_id": f"new:{self._chance.getrandbits(48)}"})
        asked = notification(flat, 0, now)
        users = self._chance.sample(range(self._filled.users), TAKEN_IN)
        return received(
            [asked.model_copy(update={"notification_id": uuid4(), "user_id": id_of("user", each)}) for each in users]
        )

    async def _begin(self) -> None:
        self._calls = (await self._replica.ledger.begin(BEGUN)).calls

    def _answers(self) -> Iterator[Reported]:
        for call in self._calls:
            accepted = Accepted(f"SM{call.message_id.hex}", MessageStatus.QUEUED)
            yield Reported(call.message_id, call.attempt, accepted, Source.ANSWER)

    def _callbacks(self) -> Iterator[Reported]:
        for call in self._calls:
            yield reported_status(
                call.message_id,
                call.attempt,
                Source.CALLBACK,
                status=MessageStatus.DELIVERED,
                sid=f"SM{call.message_id.hex}",
                code=None,
            )

    async def _show(self, name: str) -> None:
        async with self._pool.acquire() as connection, connection.transaction(readonly=True):
            await story.Ledger(connection).of(name)


def _row(name: str, rows: int, taken: Sequence[float], plans: Sequence[Explained]) -> Row:
    slowest = max(plans, key=lambda each: each.milliseconds)
    scans = {table: read for each in plans for table, read in each.scanned.items() if read >= BIG}
    return {
        "step": name,
        "notifications": rows,
        "p50 ms": percentile(taken, 50),
        "p99 ms": percentile(taken, 99),
        "statements": len(plans) // EXPLAINED_ROUNDS,
        "pages each": sum(each.pages for each in plans) // EXPLAINED_ROUNDS,
        "slowest statement": slowest.statement,
        "its ms": slowest.milliseconds,
        "read from end to end": ", ".join(f"{table} ({read:,} rows)" for table, read in scans.items()),
    }
