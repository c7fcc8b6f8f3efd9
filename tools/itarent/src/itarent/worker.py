"""`itarent worker`: matcher and sender in the foreground, with what they need where nothing else provides it."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console

from itarent.commands import until_stopped
from itarent.environment import SIMULATOR, WEBHOOK, WORKER
from itarent.following import lines_of, size_of
from itarent.given import Given, given_in, is_true
from itarent.local import Local, running_in
from itarent.project import PROJECT
from itarent.refusal import Refusal
from itarent.system import running_beside
from itarent.up import shown_progress, started_system, tell, teller_of_ends, twilio
from local_servers.home import home_of

ERROR: Final = re.compile(r"[-\d]+ [:\d]+Z ERROR ")
"""How the line of an error begins in the readable log."""


class AlreadyWorking(Refusal):
    """A matcher or a sender already runs here."""

    def __init__(self, name: str, url: str) -> None:
        super().__init__(
            f"The {name} already runs here ({url}), started by `itarent up` or by another worker. Stop that, "
            "or have everything else run by `itarent up --without matcher --without sender`."
        )


def worker() -> None:
    """Run matcher and sender until Ctrl-C, and show errors as they come; DEBUG_NOTIFICATIONS=true shows everything.

    Beside a system that runs here without them, or on the servers that KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL name;
    else with Kafka, PostgreSQL and the status webhook started as well.
    """
    console = Console()
    until_stopped(_worker(home_of(PROJECT), console), console)


async def _worker(home: Path, console: Console) -> None:
    given = given_in(Path.cwd())
    log = Path(given.settings["LOG_FILE"])
    written_before = size_of(log)
    async with _working(home, console, given) as local:
        verbose = is_true(given.settings.get("DEBUG_NOTIFICATIONS"))
        tell(console, _what_runs(local, given, log, verbose=verbose))
        await _show(console, lines_of(log, after=written_before), verbose=verbose)


@contextlib.asynccontextmanager
async def _working(home: Path, console: Console, given: Given) -> AsyncIterator[Local]:
    """Matcher and sender at work, and where."""
    beside = running_in(home)
    if beside is None or (given.servers and given.servers.kafka != beside.kafka):
        names = (*WORKER, WEBHOOK)
        async with started_system(home, console, given=given.settings, servers=given.servers, names=names) as system:
            yield system.local
        return
    await _refuse_if_working(beside)
    async with contextlib.AsyncExitStack() as stack:
        with shown_progress(console) as progress:
            running = running_beside(
                beside, WORKER, given=given.settings, progress=progress, on_ended=teller_of_ends(console)
            )
            await stack.enter_async_context(running)
        try:
            yield beside
        finally:
            console.print("Stopping matcher and sender.")


async def _refuse_if_working(local: Local) -> None:
    async with httpx.AsyncClient(timeout=2) as client:
        for name in WORKER:
            with contextlib.suppress(httpx.TransportError):
                await client.get(f"{local.url(name)}/healthz")
                raise AlreadyWorking(name, local.url(name))


def _what_runs(local: Local, given: Given, log: Path, *, verbose: bool) -> dict[str, str]:
    return {
        "Matcher and sender run": "Ctrl-C stops them",
        "Mode": "DEBUG_NOTIFICATIONS=true: every line, no intervals" if verbose else "normal: errors are shown here",
        "Twilio": twilio(given),
        **({"See the phones": local.url(SIMULATOR)} if local.twilio_is_simulated else {}),
        "Kafka": local.kafka,
        "PostgreSQL": local.postgres.rpartition("@")[2],
        "Log": str(log),
    }


async def _show(console: Console, lines: AsyncIterator[str], *, verbose: bool) -> None:
    """Show errors with their tracebacks, which are indented; or everything."""
    is_error = False
    async for line in lines:
        is_error = bool(ERROR.match(line)) or (is_error and line.startswith(" "))
        if verbose or is_error:
            style = "red" if is_error else "dim"
            console.print(line, soft_wrap=True, highlight=False, markup=False, style=style)
