"""Packets are late, held up or lost between the services and Kafka, PostgreSQL and Twilio."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

from itarent.environment import SENDER, SIMULATOR
from itarent.faults.proxy import Mishap, Proxy, open_proxy
from itarent.faults.scene import Family, Scene, Way
from itarent.faults.servers import KAFKA, POSTGRES, RunningServers
from itarent.given import Servers
from itarent.system import ANY_PORTS
from local_servers.ports import LOOPBACK, free_ports

TWILIO: Final = "Twilio"
ACCOUNT: Final = f"AC{1:032}"
API_URL: Final = f"http://{LOOPBACK}:{{port}}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
MISHAPS_OF_EACH: Final = 3
LONGEST_S: Final = 3.0
"""Longer than a call to Twilio may take, and than the grace after one that is in doubt."""

HELD_BACK: Final = 50.0
"""Calls of so many seconds reach Twilio at once when a silence ends: they were made evenly."""


@contextlib.asynccontextmanager
async def proxies_between(servers: RunningServers, at: Servers) -> AsyncIterator[Way]:
    """A proxy before each server. Kafka tells who comes through its own to stay with it."""
    ports = free_ports({POSTGRES: 0, SIMULATOR: 0, TWILIO: 0})
    database = urlsplit(at.database_url)
    async with (
        open_proxy(servers.detour.advertised_port, servers.detour.port) as kafka,
        open_proxy(ports[POSTGRES], database.port or 0) as postgres,
        open_proxy(ports[TWILIO], ports[SIMULATOR]) as twilio,
    ):
        yield Way(
            Servers(f"{LOOPBACK}:{kafka.port}", at.database_url.replace(f":{database.port}/", f":{postgres.port}/")),
            ports={**ANY_PORTS, SIMULATOR: ports[SIMULATOR]},
            overrides={SENDER: {"WHATSAPP_API_URL": API_URL.format(port=twilio.port)}},
            proxies={KAFKA: kafka, POSTGRES: postgres, TWILIO: twilio},
        )


async def strike(scene: Scene) -> None:
    proxies = scene.way.proxies
    drawn = [(name, mishap) for name in proxies for mishap in scene.chance.sample([*Mishap], MISHAPS_OF_EACH)]
    scene.chance.shuffle(drawn)
    for name, mishap in drawn:
        await asyncio.sleep(scene.chance.uniform(0.2, 1.0))
        with scene.striking(f"{mishap} between services and {name}"):
            await _fail(proxies[name], mishap, scene)


async def _fail(proxy: Proxy, mishap: Mishap, scene: Scene) -> None:
    try:
        await proxy.strike(mishap, latency_s=scene.chance.uniform(0.05, 0.4))
        await asyncio.sleep(scene.chance.uniform(0.3, LONGEST_S))
    finally:
        await proxy.mend()


FAMILY: Final = Family(
    "network",
    "latency, silence, half-open connections, resets and cuts between services and Kafka, PostgreSQL, Twilio",
    strike,
    given={"WHATSAPP_BUSINESS_ACCOUNT_ID": ACCOUNT},
    between=proxies_between,
    burst=HELD_BACK,
)
