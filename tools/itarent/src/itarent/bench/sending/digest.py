"""Digests of many flats: how long the words take, and the transaction that begins to send one."""

import datetime as dt
import random
import time
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

import asyncpg
from rich.console import Console

from common.events import Language
from common.listing import Listing
from itarent.bench.demand import recipient
from itarent.bench.results import percentile
from itarent.bench.sending.load import listings, notification
from itarent.bench.sending.stage import Row
from itarent.bench.sending.tables import POLICY, Replica, received, tables_alone
from sender.digest import digest_text, ranked
from sender.fold import fold

ROUNDS: Final = 20
TAKEN_AT_ONCE: Final = 500


class NotBegunError(Exception):
    """A digest that was due was not begun."""


async def digest(counts: Sequence[int], seed: int, console: Console) -> list[Row]:
    """For each number of flats, digests of as many, one after the other."""
    chance = random.Random(seed)  # noqa: S311 - seeded
    async with tables_alone() as tables, tables.pool() as pool:
        rows = []
        for turn, count in enumerate(counts):
            console.print(f"{count:,} flats in a digest")
            users = range(turn * ROUNDS, (turn + 1) * ROUNDS)
            rows.append(await _measured(pool, listings(count, chance), users))
    return rows


async def _measured(pool: asyncpg.Pool, flats: Sequence[Listing], users: Sequence[int]) -> Row:
    replica, now = Replica.over(pool), dt.datetime.now(dt.UTC)
    await replica.intake.save_recipients([recipient(each, now) for each in users])
    words, begun = [], []
    for user in users:
        events = [notification(flat, user, now) for flat in flats]
        for first in range(0, len(events), TAKEN_AT_ONCE):
            await replica.intake.take(received(events[first : first + TAKEN_AT_ONCE]))
        began = time.perf_counter()
        digest_text(ranked(fold(events, frozenset()).entries), Language.ITALIAN, POLICY.links.to_message(uuid4()))
        words.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        if len((await replica.ledger.begin(1)).calls) != 1:
            raise NotBegunError
        begun.append(1000 * (time.perf_counter() - began))
    return {
        "flats": len(flats),
        "digests": len(users),
        "words, p50 ms": percentile(words, 50),
        "begun, p50 ms": percentile(begun, 50),
        "begun, longest ms": max(begun),
        "begun, µs a flat": 1000 * percentile(begun, 50) / len(flats),
    }
