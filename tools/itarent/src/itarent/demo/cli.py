"""`itarent demo`: the whole system with renters and listings, to look at."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.live import Live

from common.kafka import Publisher
from common.service import in_background
from itarent.commands import until_stopped
from itarent.demo.cast import bring_in
from itarent.demo.film import Film
from itarent.demo.flats import Market
from itarent.demo.renters import RENTERS
from itarent.demo.view import line, view
from itarent.demo.watching import Seen
from itarent.environment import API, SENDER, SIMULATOR
from itarent.local import alone_in
from itarent.project import PROJECT
from itarent.system import System
from itarent.up import started_system, tell, to_look_at
from local_servers.home import home_of
from twilio_simulator.client import SimulatorClient, connected

IN_A_HURRY = {SENDER: {"WHATSAPP_NOTIFICATION_INTERVAL_SECONDS": "15"}}
"""Half an hour between two messages is right for renters and long for those who watch."""

LINE_EVERY_S = 5.0


def demo(
    *,
    fresh: Annotated[bool, typer.Option(help="Forget what earlier starts have stored.")] = False,
    pace: Annotated[float, typer.Option(min=0.01, max=200, help="Listings a second.")] = 2.0,
    seed: Annotated[int | None, typer.Option(help="Of the listings; a new one each time by default.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="End by itself after so long.")] = None,
) -> None:
    """Start everything with renters and listings, and show what happens; Ctrl-C stops it and keeps its data."""
    console = Console()
    home = home_of(PROJECT) / "demo"
    market = Market(int(time.time()) if seed is None else seed)
    until_stopped(_demo(home, console, market, fresh=fresh, pace=pace, seconds=seconds), console)


async def _demo(
    home: Path, console: Console, market: Market, *, fresh: bool, pace: float, seconds: float | None
) -> None:
    if fresh:
        _forget(home)
    async with started_system(home, console, overrides=IN_A_HURRY) as system, _actors(system) as (api, simulator):
        with console.status("The renters come in"):
            password = system.credentials.renters_password
            await asyncio.gather(*(bring_in(renter, password, api, simulator) for renter in RENTERS))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _show(system, console, api, market, pace)


def _forget(home: Path) -> None:
    with alone_in(home):
        for each in home.iterdir():
            if each.is_dir():
                shutil.rmtree(each)
            elif each.name != "running":
                each.unlink()


@contextlib.asynccontextmanager
async def _actors(system: System) -> AsyncIterator[tuple[httpx.AsyncClient, SimulatorClient]]:
    """The api as its users and producers see it, and the phones."""
    headers = {"X-Api-Key": system.credentials.producer_key}
    base_url = f"{system.url(API)}/api/v1"
    async with (
        httpx.AsyncClient(base_url=base_url, headers=headers, timeout=30) as api,
        connected(system.url(SIMULATOR), system.credentials.auth_token) as simulator,
    ):
        yield api, simulator


async def _show(system: System, console: Console, api: httpx.AsyncClient, market: Market, pace: float) -> None:
    film, seen = Film(), Seen()
    tell(console, to_look_at(system.local))
    async with (
        Publisher.connected(system.addresses.kafka, "demo") as publisher,
        in_background(
            film.play(market, pace, api, publisher, system.topics),
            seen.follow_flow(system.url(API), system.credentials.operator_key),
            seen.follow_phones(system.url(SIMULATOR)),
        ),
    ):
        await (_show_live(film, seen, console) if console.is_terminal else _show_lines(film, seen, console))


async def _show_live(film: Film, seen: Seen, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(view(film, seen, console.height), refresh=True)
            await asyncio.sleep(0.5)


async def _show_lines(film: Film, seen: Seen, console: Console) -> None:
    while True:
        await asyncio.sleep(LINE_EVERY_S)
        console.print(line(film, seen), soft_wrap=True, highlight=False)
