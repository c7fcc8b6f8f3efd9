"""Where the demonstration is played: a system that runs, here or elsewhere, and who acts on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings
from rich.console import Console
from rich.live import Live

from common.kafka import Publisher
from common.service import in_background
from common.topics import Topics
from itarent.demo.cast import bring_in
from itarent.demo.film import Film
from itarent.demo.flats import Market
from itarent.demo.renters import RENTERS
from itarent.demo.view import line, view
from itarent.demo.watching import Seen
from twilio_simulator.client import SimulatorClient, connected

LINE_EVERY_S = 5.0


class Stage(BaseSettings):
    """The running system, by its settings' names; whoever started it says the same in arguments."""

    api_url: str = Field(description="base URL of the api")
    simulator_url: str = Field(description="base URL of the Twilio simulator")
    kafka_bootstrap_servers: str
    kafka_namespace: str = "itarent"
    whatsapp_api_token: SecretStr = Field(description="the simulator's auth token")
    producer_key: SecretStr
    operator_key: SecretStr
    renters_password: SecretStr = Field(description="of the renters' accounts")


async def play(stage: Stage, console: Console, market: Market, *, pace: float = 2.0) -> None:
    """Bring the renters in and publish listings, and show what happens, until cancelled."""
    async with _actors(stage) as (api, simulator):
        with console.status("The renters come in"):
            password = stage.renters_password.get_secret_value()
            await asyncio.gather(*(bring_in(renter, password, api, simulator) for renter in RENTERS))
        console.print(f"{len(RENTERS)} renters are in.", highlight=False)
        await _show(stage, console, api, market, pace)


@contextlib.asynccontextmanager
async def _actors(stage: Stage) -> AsyncIterator[tuple[httpx.AsyncClient, SimulatorClient]]:
    """The api as its users and producers see it, and the phones."""
    headers = {"X-Api-Key": stage.producer_key.get_secret_value()}
    async with (
        httpx.AsyncClient(base_url=f"{stage.api_url}/api/v1", headers=headers, timeout=30) as api,
        connected(stage.simulator_url, stage.whatsapp_api_token.get_secret_value()) as simulator,
    ):
        yield api, simulator


async def _show(stage: Stage, console: Console, api: httpx.AsyncClient, market: Market, pace: float) -> None:
    film, seen = Film(), Seen()
    async with (
        Publisher.connected(stage.kafka_bootstrap_servers, "demo") as publisher,
        in_background(
            film.play(market, pace, api, publisher, Topics.within(stage.kafka_namespace)),
            seen.follow_flow(stage.api_url, stage.operator_key.get_secret_value()),
            seen.follow_phones(stage.simulator_url),
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
