"""Somebody at a terminal who types what a guide says: commands with values of one's own, in a copy of the project."""

import asyncio
import os
import pty
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from testkit.waiting import eventually

STARTS_WITHIN_S: Final = 120
ENDS_WITHIN_S: Final = 60

COPIED: Final = (
    "Makefile",
    "libs",
    "requirements.lock",
    "run_whatsapp_worker.py",
    "services",
    "src",
    "test_twilio_whatsapp.py",
    "test_whatsapp_integration.py",
    "tools",
)
"""What a guide's commands call by name in the project's folder."""


def project_copied_to(folder: Path, project: Path) -> Path:
    """The folder, with what belongs to the project and is only read; `.env` and logs are its own."""
    for name in COPIED:
        (folder / name).symlink_to(project / name)
    (folder / ".env.example").write_bytes((project / ".env.example").read_bytes())
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    return folder


@dataclass
class Terminal:
    """A person with terminals in the project's folder. `values` are one's own, by what the guide writes for them."""

    folder: Path
    home: Path
    values: dict[str, str] = field(default_factory=dict)

    def filled_in(self, text: str) -> str:
        """The guide's text with values of one's own."""
        for example, own in self.values.items():
            text = text.replace(example, own)
        return text

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the caller's that could change what a command does."""
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": os.environ.get("HOME", "/"),
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "ITARENT_HOME": str(self.home),
        }

    async def start(self, command: str, *, output: int = PIPE) -> Process:
        """Start a command, in a group of its own so that a Ctrl-C can be sent to it as a terminal does."""
        return await create_subprocess_exec(
            "bash",  # which becomes the command itself, as long as it is a single one
            "-c",
            self.filled_in(command),
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            cwd=self.folder,
            env=self.environment,
            process_group=0,
        )

    async def run(self, command: str) -> str:
        """Run a command to its end, which must be a success; what it has printed."""
        process = await self.start(command)
        printed = (await process.communicate())[0].decode()
        assert process.returncode == 0, printed
        return printed

    @asynccontextmanager
    async def running(self, command: str, *, until: str, show: Path) -> AsyncIterator["Shown"]:
        """Run a command in the foreground until it has printed `until`; end it by Ctrl-C after the block."""
        with show.open("wb") as output:
            process = await self.start(command, output=output.fileno())
        shown = Shown(process, show)
        try:
            await shown.says(until)
            yield shown
        finally:
            await shown.interrupt()

    async def first_lines(self, command: str) -> str:
        """What a command that does not end prints first; a terminal shows each line as it comes."""
        terminal, its_end = pty.openpty()
        process = await self.start(command, output=its_end)
        os.close(its_end)
        try:
            return (await asyncio.wait_for(asyncio.to_thread(os.read, terminal, 4096), ENDS_WITHIN_S)).decode()
        finally:
            os.killpg(process.pid, signal.SIGINT)
            await process.wait()
            os.close(terminal)

    @asynccontextmanager
    async def shell(self) -> AsyncIterator["Shell"]:
        """One terminal: what a command sets is there for those that follow."""
        process = await create_subprocess_exec(
            *("bash", "--norc", "--noprofile"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            cwd=self.folder,
            env=self.environment,
            process_group=0,
        )
        try:
            yield Shell(self, process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


@dataclass
class Shown:
    """A command in the foreground of a terminal, and what it has printed there."""

    process: Process
    output: Path

    @property
    def printed(self) -> str:
        return self.output.read_text()

    async def says(self, text: str) -> None:
        def said() -> bool:
            assert self.process.returncode is None, self.printed
            return text in self.printed

        await eventually(said, within_seconds=STARTS_WITHIN_S)

    async def interrupt(self) -> None:
        """Ctrl-C, and its end; then it must have left nothing behind."""
        if self.process.returncode is not None:
            return
        family = psutil.Process(self.process.pid).children(recursive=True)
        os.killpg(self.process.pid, signal.SIGINT)
        await asyncio.wait_for(self.process.wait(), ENDS_WITHIN_S)
        await eventually(lambda: not any(map(_is_alive, family)))


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@dataclass
class Shell:
    """A shell that takes one command after the other."""

    terminal: Terminal
    process: Process

    async def run(self, commands: str, *, may_fail: bool = False) -> str:
        """Run some commands, each of which must succeed unless they may fail; what they have printed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        typed = self.terminal.filled_in(commands)
        script = f"failed=0; set -o pipefail; trap 'failed=$?' ERR\n{{\n{typed}\n}} </dev/null\n"
        self.process.stdin.write(f'{script}printf "\\n%s %s\\n" {END} "$failed"\n'.encode())
        printed = ""
        while f"\n{END} " not in printed:
            line = await asyncio.wait_for(self.process.stdout.readline(), STARTS_WITHIN_S)
            assert line, f"The shell has ended: {printed}"
            printed += line.decode()
        printed, _, failed = printed.rpartition(f"\n{END} ")
        assert may_fail or int(failed) == 0, f"{typed}\n{printed}"
        return printed


END: Final = "END-OF-THE-COMMANDS"
