"""One request to Twilio, whatever network and server do: it is made once, and what is told of it is true."""

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from urllib.parse import parse_qs, parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.outcomes import Accepted, InDoubt, Misconfigured, Outcome, RateLimited, Rejected, Unavailable
from sender.twilio import Request, Twilio, encoded

from .conftest import Sender

ACCOUNT = "AC" + "0" * 32
SID = "SM" + "a" * 32
ANNA = "+393335550101"
CREATED = json.dumps({"sid": SID, "status": "queued"})

Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(serve: Connection) -> AsyncIterator[str]:
    """A server that does what it is told with each connection; its URL."""
    serving: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        serving.add(task)
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)


class Answering:
    """Answers every request the same way, and counts them."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.requests = 0
        self._answer = _answer(status, body, headers)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await _request(reader)
            self.requests += 1
            writer.write(self._answer)


async def _request(reader: asyncio.StreamReader) -> str:
    """The form of the next request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next((int(line.partition(":")[2]) for line in head.split("\r\n") if line.startswith("content-length")), 0)
    return (await reader.readexactly(length)).decode()


def _answer(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} As It Is\r\n{head}\r\n".encode("latin-1") + body


async def create(url: str, *, timeout_s: float = 5) -> Outcome:
    async with connected(url, timeout_s=timeout_s) as twilio:
        return await twilio.create(Request(ANNA, None, body="Ciao"))


def connected(url: str, *, timeout_s: float = 5) -> contextlib.AbstractAsyncContextManager[Twilio]:
    return Twilio.connected(url, ACCOUNT, "token", "whatsapp:+14155238886", timeout_s=timeout_s, in_flight=8)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (201, CREATED, Accepted),
        (200, CREATED, Accepted),
        (201, '{"sid": "SM1", "status": "queued"}', InDoubt),
        (201, '{"sid": 7}', InDoubt),
        (201, "{}", InDoubt),
        (201, "[]", InDoubt),
        (201, "null", InDoubt),
        (201, "", InDoubt),
        (201, "<html>", InDoubt),
        (201, '{"sid": "SM\\u0000"}', InDoubt),
        (204, "", InDoubt),
        (307, "", InDoubt),
        (400, '{"code": 63015}', Rejected),
        (400, '{"code": "63015"}', Rejected),
        (400, '{"code": 1e400}', Rejected),
        (400, '{"code": NaN}', Rejected),
        (400, '{"code": true}', Rejected),
        (400, '{"code": [1]}', Rejected),
        (400, '{"code": -1}', Rejected),
        (400, '{"code": 123456789012345678901234567890}', Rejected),
        (400, "[" * 100_000, Rejected),
        (400, "\udcff\udcfe", Rejected),
        (418, "short and stout", Rejected),
        (401, "", Misconfigured),
        (429, "", RateLimited),
        (500, "", InDoubt),
        (503, "<html>", InDoubt),
        (599, '{"code": 99999}', InDoubt),
    ],
)
async def test_whatever_twilio_answers_is_an_outcome_of_one_request(status: int, body: str, outcome: type) -> None:
    answering = Answering(status, body.encode(errors="surrogateescape"), {"Location": "/elsewhere"})
    async with listening(answering) as url:
        become = await create(url)
    assert isinstance(become, outcome), become
    assert answering.requests == 1
    code = getattr(become, "code", None)
    assert code is None or 0 < code < 2**31, "what a column of the ledger takes"


@pytest.mark.parametrize(
    ("header", "pause"),
    [("7", timedelta(seconds=7)), ("99999999999999", timedelta(minutes=5)), ("²", None), ("soon", None), ("", None)],
)
async def test_how_long_twilio_wants_us_to_wait_is_kept(header: str, pause: timedelta | None) -> None:
    async with listening(Answering(429, b"", {"Retry-After": header})) as url:
        assert await create(url) == RateLimited(None, pause)


async def test_a_connection_that_is_cut_after_the_request_is_a_doubt_and_not_tried_again() -> None:
    requests = 0

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += bool(await _request(reader))
        writer.transport.abort()

    async with listening(cut) as url:
        assert isinstance(await create(url), InDoubt)
    assert requests == 1


@pytest.mark.parametrize("half", [b"", b"HTTP/1.1 201 Created\r\nContent-Length: 900\r\n\r\n{"])
async def test_an_answer_that_does_not_end_is_a_doubt_when_the_time_is_over(half: bytes) -> None:
    asked = asyncio.Event()

    async def say_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _request(reader)
        asked.set()
        writer.write(half)
        await reader.read()

    async with listening(say_half) as url:
        assert await create(url, timeout_s=0.5) == InDoubt("TimeoutError")
    assert asked.is_set()


async def test_what_never_left_us_is_no_doubt() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert isinstance(await create(refused), Unavailable)
    assert isinstance(await create("http://no-such-host.invalid"), Unavailable)
    async with listening(Answering(201, CREATED.encode())) as url:
        assert isinstance(await create(url.replace("http://", "https://")), Unavailable), "no TLS, so nothing was said"


async def test_a_connection_that_does_not_come_about_is_no_doubt() -> None:
    with socket.socket() as full, contextlib.ExitStack() as queue:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # fill the queue of a server that takes nobody
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        host, port = full.getsockname()
        assert isinstance(await create(f"http://{host}:{port}", timeout_s=0.4), Unavailable)


async def test_answers_of_calls_at_once_are_never_mixed_up() -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            [number] = parse_qs(await _request(reader))["Body"]
            await asyncio.sleep(random.random() / 100)
            writer.write(_answer(201, json.dumps({"sid": f"SM{int(number):032x}", "status": "queued"}).encode()))

    async with listening(slow) as url, connected(url) as twilio:
        outcomes = await asyncio.gather(*(twilio.create(Request(ANNA, None, body=str(n))) for n in range(200)))
    assert [outcome.sid for outcome in outcomes if isinstance(outcome, Accepted)] == [f"SM{n:032x}" for n in range(200)]


async def test_an_environment_that_the_library_reads_does_not_change_the_host(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_EDGE", "dublin")
    monkeypatch.setenv("TWILIO_REGION", "ie1")
    await sender.simulator.join(ANNA)
    async with sender.twilio() as twilio:
        assert isinstance(await twilio.create(Request(ANNA, None, body="Ciao")), Accepted)
    [message] = await sender.simulator.messages()
    assert message.to == ANNA


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_a_form_arrives_as_it_was_written(form: dict[str, str]) -> None:
    assert dict(parse_qsl(encoded(form).decode("ascii"), keep_blank_values=True, strict_parsing=bool(form))) == form
