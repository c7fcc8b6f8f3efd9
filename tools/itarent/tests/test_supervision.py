"""Supervision, with small programs in place of the services."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from itarent.supervision import LONGEST_PAUSE_SECONDS, Ended, Program, pause_before_start, running_services
from local_servers.ports import LOOPBACK, free_port
from local_servers.processes import DidNotStart
from testkit.waiting import eventually

HEALTHY = """
import http.server, os, pathlib, signal, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args):
        pass
def stop(*_):
    with open("stopped", "a") as order:
        order.write(os.environ["NAME"] + " ")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Health).serve_forever()
"""
BROKEN = "raise SystemExit('DATABASE_URL: missing')"

MakeProgram = Callable[[str, str], Program]


@pytest.fixture
def make_program(tmp_path: Path) -> MakeProgram:
    def make(name: str, source: str) -> Program:
        (tmp_path / f"{name}.py").write_text(source)
        port = free_port()
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "NAME": name, "PORT": str(port)}
        return Program(name=name, module=name, url=f"http://{LOOPBACK}:{port}", env=env)

    return make


async def test_a_killed_service_comes_back_and_is_reported(tmp_path: Path, make_program: MakeProgram) -> None:
    ended: list[Ended] = []
    async with running_services([make_program("first", HEALTHY)], tmp_path, on_ended=ended.append) as services:
        first = services["first"]
        killed = first.pid
        first.kill()
        await eventually(lambda: first.pid not in {killed, None})
        await first.until_healthy()
        assert [(each.name, each.status) for each in ended] == [("first", -signal.SIGKILL)]


async def test_a_stopped_service_stays_stopped_until_it_is_started(tmp_path: Path, make_program: MakeProgram) -> None:
    ended: list[Ended] = []
    async with running_services([make_program("first", HEALTHY)], tmp_path, on_ended=ended.append) as services:
        first = services["first"]
        await first.stop()
        assert first.rss_bytes() == 0
        await first.start()
        assert first.rss_bytes() > 1_000_000
        started = first.pid
        await first.restart()
        assert first.pid not in {started, None}
    assert ended == []


async def test_services_stop_in_reverse_order_and_none_is_left(tmp_path: Path, make_program: MakeProgram) -> None:
    programs = [make_program(name, HEALTHY) for name in ("first", "second", "third")]
    async with running_services(programs, tmp_path) as services:
        pids = [service.pid for service in services.values()]
    assert (tmp_path / "stopped").read_text().split() == ["third", "second", "first"]
    assert not any(pid and psutil.pid_exists(pid) for pid in pids)


async def test_a_service_that_ends_at_once_is_shown_with_its_log_and_the_others_are_stopped(
    tmp_path: Path, make_program: MakeProgram
) -> None:
    programs = [make_program("first", HEALTHY), make_program("second", BROKEN)]
    before = {*psutil.Process().children()}
    with pytest.raises(DidNotStart, match=r"(?s)second ended with status 1.*DATABASE_URL: missing"):
        async with running_services(programs, tmp_path):
            pass
    assert {*psutil.Process().children()} <= before


async def test_services_end_with_a_supervisor_that_was_killed(tmp_path: Path, make_program: MakeProgram) -> None:
    program = make_program("first", HEALTHY)
    arguments = (program.name, program.url, tmp_path, program.env["PORT"])
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", SUPERVISE_FOR_EVER, *arguments)
    service = (await eventually(lambda: psutil.Process(supervisor.pid).children()))[0]
    supervisor.kill()
    await supervisor.wait()
    await eventually(lambda: not service.is_running() or service.status() == psutil.STATUS_ZOMBIE)


SUPERVISE_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from itarent.supervision import Program, running_services
async def supervise(name, url, home, port):
    program = Program(name, name, url, {"PYTHONPATH": home, "NAME": name, "PORT": port})
    async with running_services([program], Path(home)):
        await asyncio.Event().wait()
asyncio.run(supervise(*sys.argv[1:]))
"""


def test_pauses_double_up_to_a_longest() -> None:
    assert [pause_before_start(n) for n in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert pause_before_start(50) == LONGEST_PAUSE_SECONDS


async def test_a_service_whose_port_another_has_taken_did_not_start(tmp_path: Path, make_program: MakeProgram) -> None:
    first = make_program("first", HEALTHY)
    second = make_program("second", HEALTHY)
    second = Program(second.name, second.module, first.url, {**second.env, "PORT": first.env["PORT"]})
    with pytest.raises(DidNotStart, match="ended with status 1"):
        async with running_services([first, second], tmp_path):
            pass
