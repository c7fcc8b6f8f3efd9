"""`itarent demo` as somebody at a terminal has it: started, looked at, ended, started again, killed."""

import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import STDOUT, Popen
from typing import Any

import httpx
import orjson
import psutil
import pytest
import pytest_asyncio

from itarent.demo.renters import RENTERS
from itarent.project import PROJECT
from local_servers.home import home_of, scratch_home
from testkit.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

GIULIA = RENTERS[0]
PREFERRED_PORT = 8000
STARTS_WITHIN_S = 150
ENDS_WITHIN_S = 60


@dataclass(frozen=True)
class Demo:
    """A running `itarent demo`, and what it has printed."""

    home: Path
    process: Popen[bytes]
    output: Path

    @classmethod
    def start(cls, home: Path, output: Path, *options: str) -> "Demo":
        itarent = Path(sys.executable).with_name("itarent")
        with output.open("wb") as file:
            # A group of its own, so that a Ctrl-C can be sent to it as a terminal does.
            process = Popen(
                [itarent, "demo", *options],
                stdout=file,
                stderr=STDOUT,
                env={**os.environ, "ITARENT_HOME": str(home)},
                process_group=0,
            )
        return cls(home, process, output)

    @property
    def printed(self) -> str:
        return self.output.read_text()

    async def address(self, label: str) -> str:
        """Wait until the address is printed; it begins a line that is not wrapped."""

        def found() -> str:
            assert self.process.poll() is None, self.printed
            match = re.search(rf"^{label}: (\S+)\n", self.printed, re.MULTILINE)
            return match[1] if match else ""

        return await eventually(found, within_seconds=STARTS_WITHIN_S)

    async def delivered(self) -> int:
        """Wait until the messages that were delivered are more than none; how many."""

        def found() -> int:
            counts = re.findall(r"delivered=(\d+)", self.printed)
            return int(counts[-1]) if counts else 0

        return await eventually(found, within_seconds=60)

    def with_children(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    async def ends(self) -> int:
        """Wait for its end; the exit status."""
        return await asyncio.to_thread(self.process.wait, ENDS_WITHIN_S)


@dataclass(frozen=True)
class Ended:
    """How a demo came to its end, which of its processes outlived it, and what Giulia had saved."""

    home: Path
    status: int
    seconds: float
    survivors: list[psutil.Process]
    printed: str
    searches: list[str]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        (scratch / "downloads").symlink_to(home_of(PROJECT) / "downloads")
        yield scratch


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def first(home: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """A demo that starts from nothing, where somebody else has the port that the api would like."""
    with _taken(PREFERRED_PORT):
        demo = Demo.start(home, tmp_path_factory.mktemp("demo") / "first", "--fresh", "--seconds", "300")
        yield demo
        demo.process.kill()
        await demo.ends()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ended(first: Demo) -> Ended:
    """The first demo after Ctrl-C."""
    searches = await _searches_of_giulia(first)
    family = first.with_children()
    began = time.monotonic()
    first.process.send_signal(signal.SIGINT)
    status = await first.ends()
    return Ended(first.home, status, time.monotonic() - began, _alive(family), first.printed, searches)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def second(ended: Ended, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """A demo that starts where the first one has ended, and in which next to nothing is published."""
    demo = Demo.start(ended.home, tmp_path_factory.mktemp("demo") / "second", "--pace", "0.01")
    yield demo
    demo.process.kill()
    await demo.ends()


async def test_ctrl_c_takes_effect_while_servers_start(tmp_path: Path) -> None:
    with scratch_home(home_of(PROJECT)) as scratch:
        (scratch / "downloads").symlink_to(home_of(PROJECT) / "downloads")
        demo = Demo.start(scratch, tmp_path / "interrupted")
        family = await eventually(lambda: _with_java(demo), within_seconds=STARTS_WITHIN_S)
        demo.process.send_signal(signal.SIGINT)
        assert await demo.ends() == 0
        assert _alive(family) == []
        assert "Traceback" not in demo.printed
        assert not (scratch / "demo" / "system.json").exists()


def _with_java(demo: Demo) -> list[psutil.Process]:
    """All processes of a demo that is starting Kafka; none before."""
    family = demo.with_children()
    try:
        return family if any(each.name() == "java" for each in family) else []
    except psutil.NoSuchProcess:
        return []  # one that prepares something and ends meanwhile


async def test_a_demo_prints_where_to_look_and_both_pages_answer(first: Demo) -> None:
    async with httpx.AsyncClient(follow_redirects=True, timeout=PATIENCE_S) as browser:
        watch = await browser.get(await first.address("Watch the flow"))
        phones = await browser.get(await first.address("See the phones"))
    assert (watch.status_code, phones.status_code) == (200, 200)
    assert "From listing to phone" in watch.text


async def test_a_port_that_is_taken_gives_way_to_the_next_free_one(first: Demo) -> None:
    address = httpx.URL(await first.address("Watch the flow"))
    assert address.port is not None
    assert address.port > PREFERRED_PORT


async def test_messages_are_delivered(first: Demo) -> None:
    assert await first.delivered() > 0


async def test_a_second_demo_in_the_same_home_says_so_and_ends(first: Demo, tmp_path: Path) -> None:
    await first.address("Watch the flow")
    for options in ([], ["--fresh"]):
        refused = Demo.start(first.home, tmp_path / "refused", *options)
        assert await refused.ends() == 1
        assert f"A system already runs in {first.home}" in refused.printed
        assert "Traceback" not in refused.printed


async def test_ctrl_c_ends_a_demo_in_order_and_leaves_no_process(ended: Ended) -> None:
    assert ended.status == 0
    assert ended.survivors == []
    assert ended.seconds < 20, "nobody had to be killed"
    assert ended.printed.endswith("Stopping. The data is kept.\n")
    assert "Traceback" not in ended.printed


async def test_the_next_start_finds_renters_and_data_again(ended: Ended, second: Demo) -> None:
    began = time.monotonic()
    await second.address("Watch the flow")
    seconds = time.monotonic() - began
    print(f"The second start took {seconds:.1f} s.")  # noqa: T201 - for whoever asks pytest for it
    assert seconds < 60
    assert await _searches_of_giulia(second) == ended.searches
    assert await second.delivered() > 0, "messages of the first demo, at this pace"


async def test_a_killed_demo_leaves_no_process(second: Demo) -> None:
    await second.address("Watch the flow")
    family = second.with_children()
    assert len(family) > 6
    second.process.kill()
    await second.ends()
    await eventually(lambda: not _alive(family))


@contextmanager
def _taken(port: int) -> Iterator[None]:
    """Have somebody listen at the port, unless somebody does."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            other.bind(("127.0.0.1", port))
            other.listen()
        yield


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if _runs(each)]


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def _searches_of_giulia(demo: Demo) -> list[str]:
    """The ids of her saved searches."""
    api = httpx.URL(await demo.address("Watch the flow")).copy_with(path="/api/v1", query=None)
    credentials = orjson.loads((demo.home / "demo" / "credentials.json").read_bytes())
    account = {"email": GIULIA.email, "password": credentials["renters_password"]}
    await eventually(lambda: "renters are in" in demo.printed, within_seconds=60)
    async with httpx.AsyncClient(base_url=api, timeout=PATIENCE_S) as giulia:
        token = (await giulia.post("/auth/token", json=account)).json()["access_token"]
        answer = await giulia.get("/subscriptions", headers={"Authorization": f"Bearer {token}"})
    items: list[dict[str, Any]] = answer.json()["items"]
    return [item["subscription_id"] for item in items]
