"""What the demonstration knows of the system: the api's event stream and the chats on the simulated phones."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from itarent.demo.renters import RENTERS

NAMES = {renter.phone: renter.name for renter in RENTERS}


@dataclass
class Seen:
    """The latest of everything, kept up to date by `follow_flow` and `follow_phones`."""

    stages: list[dict[str, Any]] = field(default_factory=list)
    messages_by_status: dict[str, int] = field(default_factory=dict)
    chats: list[dict[str, Any]] = field(default_factory=list)

    async def follow_flow(self, api_url: str, operator_key: str) -> None:
        """Listen to what the watch page listens to; a broken stream is opened again."""
        async with httpx.AsyncClient(base_url=api_url, timeout=None) as client:  # noqa: S113 - a stream has no end
            await client.get("/watch", params={"key": operator_key})
            while True:
                try:
                    async with client.stream("GET", "/watch/events") as stream:
                        await self._read(stream)
                except httpx.TransportError:
                    await asyncio.sleep(1)

    async def _read(self, stream: httpx.Response) -> None:
        event = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ").strip()
            elif line.startswith("data: ") and event == "flow":
                flow = orjson.loads(line.removeprefix("data: "))
                self.stages, self.messages_by_status = flow["stages"], flow["messages"]

    async def follow_phones(self, simulator_url: str) -> None:
        """Look at the phones once a second, the newest chat first."""
        async with httpx.AsyncClient(base_url=simulator_url) as client:
            while True:
                try:
                    phones = (await client.get("/simulator/phones")).json()
                except httpx.TransportError:
                    phones = self.chats
                self.chats = [phone for phone in phones if phone["last"]]
                await asyncio.sleep(1)
