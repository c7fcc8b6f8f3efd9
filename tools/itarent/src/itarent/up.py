"""`itarent up`: the whole system, until Ctrl-C."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from itarent.commands import until_stopped
from itarent.environment import API, SERVICES, SIMULATOR
from itarent.project import PROJECT
from itarent.supervision import Ended
from itarent.system import NO_OVERRIDES, System, running_system
from local_servers.home import home_of
from local_servers.progress import Progress


def up() -> None:
    """Start the whole system, empty, with Twilio simulated; Ctrl-C stops it and keeps its data."""
    console = Console()
    until_stopped(_up(home_of(PROJECT), console), console)


async def _up(home: Path, console: Console) -> None:
    async with started_system(home, console) as system:
        tell(console, addresses(system))
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def started_system(
    home: Path, console: Console, *, overrides: Mapping[str, Mapping[str, str]] = NO_OVERRIDES
) -> AsyncIterator[System]:
    """A running system whose start, mishaps and end are told on the console."""

    def tell_end(ended: Ended) -> None:
        console.print(sentence(ended), style="yellow", highlight=False)

    async with contextlib.AsyncExitStack() as stack:
        with shown_progress(console) as progress:
            running = running_system(home, overrides=overrides, progress=progress, on_ended=tell_end)
            system = await stack.enter_async_context(running)
        try:
            yield system
        finally:
            console.print("Stopping. The data is kept.")


@contextlib.contextmanager
def shown_progress(console: Console) -> Iterator[Progress]:
    """A bar for each thing that is being done."""
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield show


def to_look_at(system: System) -> dict[str, str]:
    """What a person wants to see first."""
    return {
        "Watch the flow": f"{system.url(API)}/watch?key={system.credentials.operator_key}",
        "See the phones": system.url(SIMULATOR),
        "Read the logs": str(system.home / "logs"),
    }


def addresses(system: System) -> dict[str, str]:
    """Where everything is."""
    return {
        **to_look_at(system),
        "API": f"{system.url(API)}/api/v1/openapi.json",
        **{name: f"{system.url(name)}/healthz" for name in SERVICES},
        "Kafka": system.addresses.kafka,
        "PostgreSQL": system.addresses.postgres.rpartition("@")[2],
        "Secrets": str(system.home / "credentials.json"),
    }


def tell(console: Console, named: Mapping[str, str]) -> None:
    """A line each, whole: addresses are copied and clicked."""
    for name, address in named.items():
        console.print(f"{name}: {address}", soft_wrap=True, highlight=False, markup=False)


def sentence(ended: Ended) -> str:
    """What a person needs to know of a service that ended."""
    how = f"was killed by signal {-ended.status}" if ended.status < 0 else f"ended with status {ended.status}"
    return f"{ended.name} {how}; it starts again in {ended.starts_again_in_seconds:.1f} s. Log: {ended.log}"
