"""`itarent demo`: the whole system with renters and listings, to look at."""

import asyncio
import contextlib
import shutil
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.console import Console

from itarent.commands import until_stopped
from itarent.demo.flats import Market
from itarent.demo.stage import Stage, play
from itarent.environment import API, SENDER, SIMULATOR
from itarent.local import alone_in
from itarent.project import PROJECT
from itarent.system import System
from itarent.up import started_system, tell, to_look_at
from local_servers.home import home_of

IN_A_HURRY = {SENDER: {"WHATSAPP_NOTIFICATION_INTERVAL_SECONDS": "15"}}
"""Half an hour between two messages is right for renters and long for those who watch."""


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
    async with started_system(home, console, overrides=IN_A_HURRY) as system:
        tell(console, to_look_at(system.local))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await play(_stage_of(system), console, market, pace=pace)


def _forget(home: Path) -> None:
    with alone_in(home):
        for each in home.iterdir():
            if each.is_dir():
                shutil.rmtree(each)
            elif each.name != "running":
                each.unlink()


def _stage_of(system: System) -> Stage:
    credentials = system.credentials
    return Stage(
        api_url=system.url(API),
        simulator_url=system.url(SIMULATOR),
        kafka_bootstrap_servers=system.addresses.kafka,
        kafka_namespace="itarent",
        whatsapp_api_token=SecretStr(credentials.auth_token),
        producer_key=SecretStr(credentials.producer_key),
        operator_key=SecretStr(credentials.operator_key),
        renters_password=SecretStr(credentials.renters_password),
    )
