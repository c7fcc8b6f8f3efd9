"""Kafka and PostgreSQL as one can break them: killed, frozen, started again where they were with what they had."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil

from itarent.system import downloads
from local_servers.kafka import Detour, running_kafka
from local_servers.ports import free_ports
from local_servers.postgres import running_postgres

Runs = Callable[[], AbstractContextManager[str]]
KAFKA, POSTGRES = "kafka", "postgres"
SIGNS: Final = {KAFKA: "kafka.Kafka", POSTGRES: "-D"}
"""What stands in the command line of a server's first process, and of no other's."""


class Server:
    """A server process. All of its starts come from one thread, since Linux ends it with the thread that began it."""

    def __init__(self, name: str, home: Path, runs: Runs) -> None:
        self.name = name
        self._home = home
        self._runs = runs
        self._running = ExitStack()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.address = ""

    async def start(self) -> None:
        """Start it, at its old address and with its old data if it ran before; return when it can be used."""

        def enter() -> str:
            self._running.close()
            return self._running.enter_context(self._runs())

        self.address = await asyncio.get_running_loop().run_in_executor(self._thread, enter)

    async def stop(self) -> None:
        """Stop it in order."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._running.close)

    async def close(self) -> None:
        self.thaw()
        await self.stop()
        self._thread.shutdown()

    def kill(self) -> None:
        """SIGKILL to its first process, as a lost machine would; `start` brings it back."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP to all of its processes."""
        self._signal(signal.SIGSTOP, whole=True)

    def thaw(self) -> None:
        """SIGCONT to all of its processes."""
        self._signal(signal.SIGCONT, whole=True)

    @property
    def process(self) -> psutil.Process | None:
        """Its first process; None while there is none."""
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                command = child.cmdline()
                if SIGNS[self.name] in command and any(str(self._home) in part for part in command):
                    return child
        return None

    def _signal(self, number: signal.Signals, *, whole: bool = False) -> None:
        if process := self.process:
            for each in (process, *(process.children(recursive=True) if whole else ())):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.send_signal(number)


@dataclass(frozen=True)
class RunningServers:
    """The two servers of a family's runs."""

    kafka: Server
    postgres: Server
    detour: Detour
    """The way to Kafka for those who are to stay behind a proxy."""

    def database_url(self, name: str) -> str:
        """The administrator's URL of one of its databases."""
        return urlsplit(self.postgres.address)._replace(path=f"/{name}").geturl()


@contextlib.asynccontextmanager
async def running_servers(home: Path) -> AsyncIterator[RunningServers]:
    """Run both with their data in `home`. PostgreSQL is told to be durable: it is going to be killed."""
    kafka_at, postgres_at = home / KAFKA, home / POSTGRES
    ports = free_ports({"detour": 0, "advertised": 0, KAFKA: 0, POSTGRES: 0})
    detour = Detour(ports["detour"], ports["advertised"])
    kafka = partial(running_kafka, kafka_at, downloads=downloads(), port=ports[KAFKA], detour=detour)
    postgres = partial(running_postgres, postgres_at, downloads=downloads(), port=ports[POSTGRES])
    servers = RunningServers(Server(KAFKA, kafka_at, kafka), Server(POSTGRES, postgres_at, postgres), detour)
    try:
        await asyncio.gather(servers.kafka.start(), servers.postgres.start())
        yield servers
    finally:
        await asyncio.gather(servers.kafka.close(), servers.postgres.close())
