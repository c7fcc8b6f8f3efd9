"""The network of the fault suite fails as networks do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from itarent.faults.proxy import Mishap, Proxy, open_proxy
from local_servers.ports import LOOPBACK, free_ports
from testkit.waiting import PATIENCE_S, eventually

NOT_YET_S = 0.1


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that repeats each line."""

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        writer.close()

    ports = free_ports({"proxy": 0, "server": 0})
    async with (
        await asyncio.start_server(repeat, LOOPBACK, ports["server"]),
        open_proxy(ports["proxy"], ports["server"]) as proxy,
    ):
        yield proxy


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, proxy: Proxy) -> AsyncIterator["Client"]:
        reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
        yield cls(reader, writer)
        writer.close()

    def say(self, line: bytes) -> None:
        self._writer.write(line + b"\n")

    async def hear(self, within_s: float = PATIENCE_S) -> bytes:
        async with asyncio.timeout(within_s):
            return await self._reader.readline()

    async def echo(self, line: bytes) -> bytes:
        self.say(line)
        return await self.hear()


async def test_what_is_sent_arrives_and_is_answered(proxy: Proxy) -> None:
    async with Client.of(proxy) as client:
        assert await client.echo(b"ciao") == b"ciao\n"


async def test_latency_counts_on_both_ways(proxy: Proxy) -> None:
    async with Client.of(proxy) as client:
        assert await client.echo(b"before") == b"before\n"
        await proxy.strike(Mishap.LATENCY, latency_s=0.1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await client.echo(b"late") == b"late\n"
        assert loop.time() - began >= 0.2


async def test_silence_holds_everything_up_and_loses_nothing(proxy: Proxy) -> None:
    async with Client.of(proxy) as client:
        await proxy.strike(Mishap.SILENCE)
        client.say(b"held up")
        with pytest.raises(TimeoutError):
            await client.hear(NOT_YET_S)
        await proxy.mend()
        assert await client.hear() == b"held up\n"


async def test_a_connection_that_is_made_in_silence_is_made_and_no_more(proxy: Proxy) -> None:
    await proxy.strike(Mishap.SILENCE)
    async with Client.of(proxy) as client:
        client.say(b"anybody?")
        with pytest.raises(TimeoutError):
            await client.hear(NOT_YET_S)
        await proxy.mend()
        assert await client.hear() == b"anybody?\n"


async def test_a_half_open_connection_seems_well_until_the_network_is_mended(proxy: Proxy) -> None:
    async with Client.of(proxy) as client:
        assert await client.echo(b"before") == b"before\n"
        await proxy.strike(Mishap.HALF_OPEN)
        client.say(b"lost")
        with pytest.raises(TimeoutError):
            await client.hear(NOT_YET_S)
        await proxy.mend()
        with pytest.raises(ConnectionResetError):
            await client.hear()


async def test_a_reset_ends_what_is_open_and_what_is_opened(proxy: Proxy) -> None:
    async with Client.of(proxy) as client:
        assert await client.echo(b"before") == b"before\n"
        await proxy.strike(Mishap.RESET)
        with pytest.raises(ConnectionResetError):
            await client.hear()
    with pytest.raises(ConnectionResetError):
        async with Client.of(proxy) as late:
            await late.hear()


async def test_a_cut_ends_in_order_and_refuses_until_it_is_mended(proxy: Proxy) -> None:
    async with Client.of(proxy) as client:
        assert await client.echo(b"before") == b"before\n"
        await proxy.strike(Mishap.CUT)
        assert not await client.hear()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(LOOPBACK, proxy.port)

    async def goes_through() -> bool:
        async with Client.of(proxy) as again:
            return await again.echo(b"again") == b"again\n"

    await proxy.mend()
    assert await eventually(goes_through)
