"""`itarent up`: the whole system, until Ctrl-C."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from itarent.commands import until_stopped
from itarent.environment import API, MATCHER, NOTHING, SENDER, SERVICES, SIMULATOR, WEBHOOK, simulates_twilio
from itarent.given import Given, Servers, given_in, is_true
from itarent.local import Local
from itarent.project import PROJECT
from itarent.supervision import Ended
from itarent.system import NO_OVERRIDES, System, running_system
from local_servers.home import home_of
from local_servers.progress import Progress


class ServiceName(StrEnum):
    """A service, as an option of a command."""

    api = API
    matcher = MATCHER
    sender = SENDER
    status_webhook = WEBHOOK


def up(
    *,
    without: Annotated[
        list[ServiceName] | None, typer.Option(help="A service that is started beside it; can be repeated.")
    ] = None,
) -> None:
    """Start the whole system, empty; Ctrl-C stops it and keeps its data.

    Settings of `.env` and the environment go before those drawn here. Twilio is simulated unless WHATSAPP_API_URL
    names it.
    """
    console = Console()
    names = [name for name in SERVICES if name not in (without or ())]
    until_stopped(_up(home_of(PROJECT), console, names), console)


async def _up(home: Path, console: Console, names: Collection[str]) -> None:
    given = given_in(Path.cwd())
    async with started_system(home, console, given=given.settings, names=names) as system:
        tell(console, addresses(system.local) | {"Twilio": twilio(given)})
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def started_system(
    home: Path,
    console: Console,
    *,
    given: Mapping[str, str] = NOTHING,
    servers: Servers | None = None,
    names: Collection[str] = SERVICES,
    overrides: Mapping[str, Mapping[str, str]] = NO_OVERRIDES,
) -> AsyncIterator[System]:
    """A running system whose start, mishaps and end are told on the console."""
    async with contextlib.AsyncExitStack() as stack:
        with shown_progress(console) as progress:
            running = running_system(
                home,
                given=given,
                servers=servers,
                names=names,
                overrides=overrides,
                progress=progress,
                on_ended=teller_of_ends(console),
            )
            system = await stack.enter_async_context(running)
        try:
            yield system
        finally:
            console.print("Stopping. The data is kept.")


def teller_of_ends(console: Console) -> Callable[[Ended], None]:
    """Tells on the console of each service that ended by itself."""
    return lambda ended: console.print(sentence(ended), style="yellow", highlight=False)


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


def to_look_at(local: Local) -> dict[str, str]:
    """What a person wants to see first."""
    watch = f"{local.api_url}/watch?key={local.credentials.operator_key}"
    return {
        **({"Watch the flow": watch} if API in local.runs else {}),
        **({"See the phones": local.url(SIMULATOR)} if local.twilio_is_simulated else {}),
        "Read the logs": str(local.home / "logs"),
    }


def addresses(local: Local) -> dict[str, str]:
    """Where everything is."""
    return {
        **to_look_at(local),
        **({"API": f"{local.api_url}/api/v1/openapi.json"} if API in local.runs else {}),
        **{name: f"{local.url(name)}/healthz" for name in local.ports if name in local.runs - {SIMULATOR}},
        "Kafka": local.kafka,
        "PostgreSQL": local.postgres.rpartition("@")[2],
        "Secrets": str(local.home / "credentials.json"),
    }


def twilio(given: Given) -> str:
    """Where messages go."""
    if not is_true(given.settings.get("WHATSAPP_ENABLED", "true")):
        return "off (WHATSAPP_ENABLED=false): everything runs and nothing is sent"
    if simulates_twilio(given.settings):
        return "simulated: nothing leaves this machine (WHATSAPP_API_URL would name a real account)"
    account = given.settings["WHATSAPP_BUSINESS_ACCOUNT_ID"]
    return f"{urlsplit(given.settings['WHATSAPP_API_URL']).netloc}, account {account[:6]}…{account[-4:]}"


def tell(console: Console, named: Mapping[str, str]) -> None:
    """A line each, whole: addresses are copied and clicked."""
    for name, address in named.items():
        console.print(f"{name}: {address}", soft_wrap=True, highlight=False, markup=False)


def sentence(ended: Ended) -> str:
    """What a person needs to know of a service that ended."""
    how = f"was killed by signal {-ended.status}" if ended.status < 0 else f"ended with status {ended.status}"
    return f"{ended.name} {how}; it starts again in {ended.starts_again_in_seconds:.1f} s. Log: {ended.log}"
