"""The sender: intake, dispatch beside others who send, replicas under one limit, a large ledger, latency, digests."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from itarent.bench.results import keep_part, write_table
from itarent.bench.sending.digest import digest
from itarent.bench.sending.dispatch import dispatch
from itarent.bench.sending.intake import intake
from itarent.bench.sending.latency import latency
from itarent.bench.sending.ledger import ledger_at
from itarent.bench.sending.replicas import replicas
from itarent.bench.sending.stage import Row
from itarent.commands import until_stopped


class Part(StrEnum):
    INTAKE = "intake"
    DISPATCH = "dispatch"
    REPLICAS = "replicas"
    LEDGER = "ledger"
    LATENCY = "latency"
    DIGEST = "digest"


def sender(
    file: Annotated[Path, typer.Argument(help="italy_rentals_2023.csv.gz", exists=True, dir_okay=False)],
    *,
    parts: Annotated[list[Part] | None, typer.Option("--part", help="all unless named; may be repeated")] = None,
    notifications: Annotated[int, typer.Option(help="that are taken in")] = 200_000,
    users: Annotated[int, typer.Option(help="of them")] = 20_000,
    messages: Annotated[int, typer.Option(help="that are sent in each of three rounds")] = 10_000,
    in_flight: Annotated[int, typer.Option(help="calls to Twilio at once, by everybody")] = 32,
    senders: Annotated[list[int] | None, typer.Option(help="replicas under one limit; may be repeated")] = None,
    per_second: Annotated[float, typer.Option(help="the limit of all replicas together")] = 80,
    seconds: Annotated[int, typer.Option(help="of a backlog under the limit, and of listings")] = 60,
    rows: Annotated[int, typer.Option(help="notifications in the large ledger")] = 10_000_000,
    searches: Annotated[int, typer.Option(help="while listings come")] = 20_000,
    flats: Annotated[list[int] | None, typer.Option(help="in a digest; may be repeated")] = None,
    seed: int = 1,
) -> None:
    """Measure the sender; writes benchmarks/results/sender.json."""
    console = Console()
    measure: Mapping[Part, Callable[[], Awaitable[list[Row]]]] = {
        Part.INTAKE: lambda: intake(notifications, users, seed, console),
        Part.DISPATCH: lambda: dispatch(messages, in_flight, seed, console),
        Part.REPLICAS: lambda: replicas(senders or [1, 2, 4], per_second, seconds, seed, console),
        Part.LEDGER: lambda: ledger_at(rows, seed, console),
        Part.LATENCY: lambda: latency(file, searches, seconds, seed, console),
        Part.DIGEST: lambda: digest(flats or [10, 100, 1_000], seed, console),
    }
    until_stopped(_sender(parts or list(Part), measure, seed, console), console)


async def _sender(
    parts: Sequence[Part], measure: Mapping[Part, Callable[[], Awaitable[list[Row]]]], seed: int, console: Console
) -> None:
    for part in parts:
        console.rule(part)
        console.print(f"Written: {keep_part('sender', part.value, seed, await measure[part]())}")
        write_table()
