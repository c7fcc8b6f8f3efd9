"""A TCP proxy between a client and its server that does what networks do: delay, hang, reset, cut."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Final

from local_servers.ports import LOOPBACK

CHUNK: Final = 64 * 1024
RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER without time to linger: a close is a RST, and what was not sent is lost."""


class Mishap(StrEnum):
    """What the network does until it is mended."""

    LATENCY = "latency"  # everything arrives late, both ways
    SILENCE = "silence"  # nothing arrives, nobody is told; it arrives when the network is mended
    HALF_OPEN = "half-open"  # the server's side is gone and the client's seems well; mended, the client gets a RST
    RESET = "reset"  # every connection ends with a RST, and so does every new one
    CUT = "cut"  # every connection ends in order, and new ones are refused


class Proxy:
    """One way from clients to a server. It works inside `open_proxy`."""

    def __init__(self, port: int, to_port: int) -> None:
        self.port = port
        self._to_port = to_port
        self._mishap: Mishap | None = None
        self._latency_s = 0.0
        self._mended = asyncio.Event()
        self._mended.set()
        self._links: set[_Link] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def strike(self, mishap: Mishap, *, latency_s: float = 0.0) -> None:
        """Let the network fail, open connections included, until `mend`."""
        await self.mend()
        self._mishap, self._latency_s = mishap, latency_s
        match mishap:
            case Mishap.SILENCE:
                self._mended.clear()
            case Mishap.HALF_OPEN:
                self._mended.clear()
                for link in self._links:
                    link.lose_server()
            case Mishap.RESET:
                self._end_links(reset=True)
            case Mishap.CUT:
                self._refuse()
                self._end_links(reset=False)
            case Mishap.LATENCY:
                pass

    async def mend(self) -> None:
        """The network is well: what was held up arrives, what has lost its server is reset."""
        mishap, self._mishap, self._latency_s = self._mishap, None, 0.0
        if mishap is Mishap.HALF_OPEN:
            self._end_links(reset=True)
        self._mended.set()
        await self._listen()

    def _end_links(self, *, reset: bool) -> None:
        for link in list(self._links):
            link.end(reset=reset)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._take, LOOPBACK, self.port)

    def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """End everything."""
        self._refuse()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying = asyncio.create_task(self._carry(_Side(reader, writer)))
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)

    async def _carry(self, client: "_Side") -> None:
        try:
            if self._mishap is not Mishap.RESET:
                await self._mended.wait()  # the connection is made, as by a machine whose process hangs, and no more
                await self._carry_on(client, _Side(*await asyncio.open_connection(LOOPBACK, self._to_port)))
        except OSError:  # the server does not listen
            pass
        finally:
            client.end(reset=True)  # unless it has ended in order

    async def _carry_on(self, client: "_Side", server: "_Side") -> None:
        link = _Link(self, client, server)
        self._links.add(link)
        try:
            await link.carry()
        finally:
            self._links.discard(link)
            server.end(reset=True)

    async def passage(self) -> None:
        """What is carried waits here for as long as the network makes it wait."""
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        await self._mended.wait()


class _Side:
    """One of a link's two connections."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def end(self, *, reset: bool) -> None:
        """Close it; what has ended already stays as it ended."""
        if self.writer.transport.is_closing():
            return
        if reset:
            connection: socket.socket = self.writer.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has ended by itself
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            self.writer.transport.abort()
        else:
            self.writer.close()


class _Link:
    """A client's connection and the one that goes on to the server for it."""

    def __init__(self, proxy: Proxy, client: _Side, server: _Side) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._server_is_lost = False

    async def carry(self) -> None:
        """Both ways, until one side has ended and the other has been told."""
        async with asyncio.TaskGroup() as ways:
            ways.create_task(self._carry(self._client, self._server))
            ways.create_task(self._carry(self._server, self._client))

    def lose_server(self) -> None:
        self._server_is_lost = True
        self._server.end(reset=True)

    def end(self, *, reset: bool) -> None:
        self._client.end(reset=reset)
        self._server.end(reset=reset)

    async def _carry(self, source: _Side, target: _Side) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.reader.read(CHUNK):
                await self._proxy.passage()
                target.writer.write(chunk)
                await target.writer.drain()
        if not (source is self._server and self._server_is_lost):
            await self._proxy.passage()  # an end is not heard of either while nothing is
            target.end(reset=False)


@contextlib.asynccontextmanager
async def open_proxy(port: int, to_port: int) -> AsyncIterator[Proxy]:
    """Carry what comes to `port` of this machine on to `to_port`, whether somebody listens there yet or not."""
    proxy = Proxy(port, to_port)
    await proxy.mend()
    try:
        yield proxy
    finally:
        await proxy.close()
