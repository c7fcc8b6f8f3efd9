"""The simulator as a process of its own: its start, its end, its memory and its speed."""

import asyncio
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from testkit.waiting import PATIENCE_S
from twilio_simulator.client import connected

ANNA = "+393335550101"
ACCOUNT_SID = "AC" + "0123456789abcdef" * 2
AUTH_TOKEN = "a-token-of-tests-only"
ENVIRONMENT = {
    "HTTP_PORT": "0",
    "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
    "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
    "MESSAGES_PER_SECOND": "0",
    "REQUESTS_PER_SECOND": "0",
}


async def start(**changes: str) -> Process:
    environment = os.environ | ENVIRONMENT | changes
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "twilio_simulator", env=environment, stderr=PIPE)


@asynccontextmanager
async def started(**changes: str) -> AsyncIterator[tuple[Process, str]]:
    """A process and the address that it says it listens on."""
    process = await start(**changes)
    assert process.stderr
    try:
        async with asyncio.timeout(PATIENCE_S):
            said = await process.stderr.readline()
        found = re.search(rb"http://\S+", said)
        assert found, said
        yield process, found[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def request_for(text: str) -> bytes:
    """A request to create a message, as it goes over the wire."""
    form = urlencode({"To": f"whatsapp:{ANNA}", "From": "whatsapp:+14155238886", "Body": text})
    return (
        f"POST /2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: {aiohttp.encode_basic_auth(ACCOUNT_SID, AUTH_TOKEN)}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n{form}"
    ).encode()


async def create(base_url: str, count: int) -> int:
    """Create so many messages one after the other over one kept connection; how many were taken."""
    host, port = base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    taken = 0
    for number in range(count):
        writer.write(request_for(f"{number} " + "x" * 700))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length, head
        await reader.readexactly(int(length[1]))
        taken += head.startswith(b"HTTP/1.1 201")
    writer.close()
    await writer.wait_closed()
    return taken


async def test_a_killed_simulator_still_knows_what_it_answered(tmp_path: Path) -> None:
    state_file = str(tmp_path / "twilio.jsonl")
    async with started(STATE_FILE=state_file) as (process, base_url):
        async with connected(base_url, AUTH_TOKEN) as simulator:
            await simulator.join(ANNA)
            assert await create(base_url, 50) == 50
        process.kill()
        await process.wait()
    async with started(STATE_FILE=state_file) as (_, base_url), connected(base_url, AUTH_TOKEN) as simulator:
        texts = [message.body.split()[0] for message in await simulator.messages()]
        assert texts == [str(number) for number in range(50)]


@pytest.mark.parametrize("wish", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_cleanly_even_while_a_page_is_open(wish: signal.Signals) -> None:
    async with (
        started() as (process, base_url),
        aiohttp.ClientSession(base_url) as session,
        session.get("/simulator/events") as events,
    ):
        await events.content.readline()
        process.send_signal(wish)
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"TWILIO_ACCOUNT_SID": "mine"}, b"TWILIO_ACCOUNT_SID"),
        ({"HTTP_HOST": "192.0.2.1"}, b"HTTP_HOST"),
    ],
)
async def test_a_setting_that_cannot_work_is_named_at_the_start(changes: dict[str, str], named: bytes) -> None:
    process = await start(**changes)
    _, said = await process.communicate()
    assert process.returncode == 1
    assert named in said
    assert AUTH_TOKEN.encode() not in said
    assert b"Traceback" not in said


async def test_it_takes_messages_fast(record_property: Callable[[str, object], None]) -> None:
    async with started() as (_, base_url), connected(base_url, AUTH_TOKEN) as simulator:
        await simulator.join(ANNA)
        begun = time.perf_counter()
        taken = await asyncio.gather(*(create(base_url, 125) for _ in range(16)))
        rate = sum(taken) / (time.perf_counter() - begun)
    record_property("messages_per_second", round(rate))
    print(f"{rate:.0f} messages/s")  # noqa: T201 - the figure is the point; -s shows it
    assert sum(taken) == 2000
    assert rate > 300  # a slip such as Nagle's 40 ms would show; a busy machine does not
