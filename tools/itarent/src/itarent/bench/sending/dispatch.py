"""Dispatch: a backlog sent without a limit, all that the ledger writes of it included, beside others who just send."""

import asyncio
import datetime as dt
import random
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from rich.console import Console

from itarent.bench.sending.ceiling import ceiling
from itarent.bench.sending.load import listings, notification
from itarent.bench.sending.peers import PEERS, Account, Form, rate_of
from itarent.bench.sending.stage import UNLIMITED, Row, Stage, sender_alone
from itarent.bench.sending.usage import used
from itarent.environment import SIMULATOR

FLATS: Final = 2
"""In each message."""
ROUNDS: Final = 3
WARM_UP: Final = 0.1
SLOW: Final = {"Apprise": 10}
"""Whoever is slow sends a part of the messages: one of so many."""

OURS, CEILING = "ours", "simulator's ceiling"


async def dispatch(count: int, in_flight: int, seed: int, console: Console) -> list[Row]:
    """In each round we send so many messages to as many users, and then the others send the same."""
    chance = random.Random(seed)  # noqa: S311 - seeded
    rates: defaultdict[str, list[float]] = defaultdict(list)
    cpu: defaultdict[str, list[float]] = defaultdict(list)
    settings = {**UNLIMITED, "SENDER_IN_FLIGHT": str(in_flight)}
    async with sender_alone(settings) as stage:
        console.print(f"{count:,} recipients are saved")
        await stage.know(count)
        account = _account(stage)
        for turn in range(ROUNDS):
            console.print(f"round {turn + 1}: {count:,} messages")
            flats = listings(FLATS * (turn + 1), chance)[-FLATS:]
            now = dt.datetime.now(dt.UTC)
            await stage.fill([notification(flat, each, now) for each in range(count) for flat in flats])
            with used(stage.sender) as sender_s, used(stage.system.services[SIMULATOR]) as simulator_s:
                rates[OURS].append(await _sent(stage, turn * count, count))
            cpu[OURS].append(1e6 * sender_s() / count)
            forms = await _forms(stage, count)
            for name, peer in PEERS.items():
                some = forms[:: SLOW.get(name, 1)]
                rates[name].append(await asyncio.to_thread(rate_of, peer, account, some, in_flight))
            with used(stage.system.services[SIMULATOR]) as simulator_s:
                rates[CEILING].append(await asyncio.to_thread(ceiling, account, forms, in_flight))
            cpu[CEILING].append(1e6 * simulator_s() / count)
    return [_row(name, count, in_flight, rates) for name in (OURS, *PEERS, CEILING)]


async def _sent(stage: Stage, before: int, count: int) -> float:
    """Messages a second from the first that is recorded as taken to the last, its events published as well."""
    warm = int(count * WARM_UP)
    await stage.release()
    began = await stage.until(_TAKEN, before + warm)
    await stage.until(_TAKEN, before + count)
    ended = await stage.until("SELECT (NOT EXISTS (SELECT FROM outbox))::int", 1)
    return (count - warm) / (ended - began)


def _account(stage: Stage) -> Account:
    simulator = stage.simulator
    return Account(simulator.base_url, simulator.account_sid, simulator.auth_token, simulator.sender)


async def _forms(stage: Stage, count: int) -> Sequence[Form]:
    """What we have just sent, for others to send."""
    callback = f"{stage.sender.program.env['WEBHOOK_PUBLIC_URL']}/twilio/status"
    rows = await stage.pool.fetch(_LAST, count)
    return [
        Form(row["recipient"], row["body"], f"{callback}?n={row['message_id']}&a={row['attempt']}#rc=3&rp=all")
        for row in rows
    ]


def _row(name: str, count: int, in_flight: int, rates: "dict[str, list[float]]") -> Row:
    rate = statistics.median(rates[name])
    return {
        "": name,
        "messages": count // SLOW.get(name, 1),
        "in flight": in_flight,
        "messages/s": rate,
        "of the bare client %": 100 * rate / statistics.median(rates["bare twilio client"]),
    }


_TAKEN: Final = "SELECT count(*) FROM messages WHERE stage = 'taken'"
_LAST: Final = "SELECT message_id, attempt, recipient, body FROM attempts ORDER BY started_at DESC LIMIT $1"
