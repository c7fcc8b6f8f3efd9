"""One service's process: started, watched, started again when it ends by itself, stopped when it is told to."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from local_servers import processes
from local_servers.processes import DidNotStart
from local_servers.progress import Progress, no_progress

HEALTHY_WITHIN_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05
STEADY_SECONDS = 30.0  # who ran that long starts with the shortest pause again
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True)
class Program:
    """What is run: a Python module with its environment, its health read at `url`."""

    name: str
    module: str
    url: str
    env: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """A process that ended by itself, or was killed, and when it comes back."""

    name: str
    status: int
    starts_again_in_seconds: float
    log: Path


def pause_before_start(ended_in_a_row: int) -> float:
    """Seconds to wait before a process is started again: doubled each time it has ended soon."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (ended_in_a_row - 1), LONGEST_PAUSE_SECONDS)


class Service:
    """A supervised process."""

    def __init__(self, program: Program, home: Path, on_ended: Callable[[Ended], None]) -> None:
        self.program = program
        self.log = home / "logs" / f"{program.name}.log"
        self._home = home
        self._on_ended = on_ended
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The running process; None while there is none."""
        running = self._process is not None and self._process.poll() is None
        return self._process.pid if self._process and running else None

    def rss_bytes(self) -> int:
        """Resident memory now; 0 while there is no process."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return int(psutil.Process(self.pid).memory_info().rss) if self.pid else 0
        return 0

    def launch(self) -> None:
        """Start the process; `until_healthy` says when it works."""
        self._process = self._spawn()

    def watch(self) -> None:
        """From now on the process is started again when it ends by itself."""
        self._watch = asyncio.create_task(self._keep_running())

    async def start(self) -> None:
        """Start it, watch it, and return when it is healthy.

        Raises:
            DidNotStart: it ended, or was not healthy in time.
        """
        self.launch()
        await self.until_healthy(bears_ends=False)
        self.watch()

    async def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and leave it stopped."""
        if self._watch:
            self._watch.cancel()
            self._watch = None
        if self._process:
            await asyncio.to_thread(processes.stop, self._process, with_signal, within_seconds=STOP_SECONDS)

    async def restart(self) -> None:
        """Stop it in order and start it again."""
        await self.stop()
        await self.start()

    def kill(self) -> None:
        """SIGKILL, as a lost machine would: it comes back by itself, `until_healthy` waits for that."""
        if self._process:
            self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP, as a machine that hangs would: it says nothing, and after `thaw` it goes on where it was."""
        if self._process:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)

    async def until_healthy(self, *, within_seconds: float = HEALTHY_WITHIN_SECONDS, bears_ends: bool = True) -> None:
        """Return when its `/healthz` answers 200; with `bears_ends` the process may end and come back meanwhile.

        Raises:
            DidNotStart: it ended, or was not healthy in time.
        """
        deadline = time.monotonic() + within_seconds
        async with httpx.AsyncClient(base_url=self.program.url, timeout=2) as client:
            while not (self._listens() and await _is_healthy(client)):
                status = self._process.poll() if self._process else None
                if status is not None and not bears_ends:
                    raise DidNotStart(f"ended with status {status}", self.log)
                if time.monotonic() > deadline:
                    raise DidNotStart(f"was not healthy after {within_seconds:.0f} s", self.log)
                await asyncio.sleep(POLL_SECONDS)

    def _listens(self) -> bool:
        """Whether it is this process that answers: another system that started just now may have its port."""
        port = urlsplit(self.program.url).port
        with contextlib.suppress(psutil.NoSuchProcess):
            own = psutil.Process(self.pid).net_connections("tcp") if self.pid else []
            return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in own)
        return False

    async def _keep_running(self) -> None:
        ended_in_a_row = 0
        while self._process:
            started = time.monotonic()
            while (status := self._process.poll()) is None:  # noqa: ASYNC110 - a process sends no event
                await asyncio.sleep(POLL_SECONDS)
            steady = time.monotonic() - started > STEADY_SECONDS
            ended_in_a_row = 1 if steady else ended_in_a_row + 1
            pause = pause_before_start(ended_in_a_row)
            self._on_ended(Ended(self.program.name, status, pause, self.log))
            await asyncio.sleep(pause)
            self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return processes.start(
            [sys.executable, "-m", self.program.module], log=self.log, env=self.program.env, cwd=self._home
        )


async def _is_healthy(client: httpx.AsyncClient) -> bool:
    try:
        answer = await client.get("/healthz")
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK


@contextlib.asynccontextmanager
async def running_services(
    programs: list[Program],
    home: Path,
    *,
    on_ended: Callable[[Ended], None] = lambda _: None,
    progress: Progress = no_progress,
) -> AsyncIterator[dict[str, Service]]:
    """Run the programs, healthy, by name; stop them in reverse order at the end.

    Raises:
        DidNotStart: one of them did not; the others are stopped.
    """
    services = {program.name: Service(program, home, on_ended) for program in programs}
    try:
        for service in services.values():
            service.launch()
        for healthy, service in enumerate(services.values(), start=1):
            await service.until_healthy(bears_ends=False)
            service.watch()
            progress("Starting the services", healthy, len(services))
        yield services
    finally:
        for service in reversed(services.values()):
            await service.stop()
