"""Child processes that end with their parent, however it ends, and that write one log file each."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.02
PASSING = ("Address already in use", "pre-existing shared memory block")
"""What a log says of troubles that pass: another process was quicker to bind the port; backends of a killed
PostgreSQL still end."""

T = TypeVar("T")


@dataclass(frozen=True)
class Account:
    """The system account that a process runs as."""

    uid: int
    gid: int


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    account: Account | None = None,
    inherits: Sequence[int] = (),
    when_parent_dies: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `command`, its output appended to `log`, in a process group of its own.

    A Ctrl-C in the terminal thus reaches the parent only, which stops its children in order. Where the parent dies
    without doing so, Linux sends `when_parent_dies`. Linux counts the starting *thread* as the parent: start from
    one that lives as long as the child is wanted.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the commands are our own
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            process_group=0,
            pass_fds=inherits,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            umask=0o077 if account else -1,
            # The only place where the signal can be asked for: after fork and setuid, before exec.
            preexec_fn=_dies_with(os.getpid(), when_parent_dies),  # noqa: PLW1509
        )


def run(command: Sequence[str | Path], *, log: Path, cwd: Path | None = None, account: Account | None = None) -> None:
    """Run `command` to its end.

    Raises:
        DidNotStart: it ended with an error.
    """
    process = start(command, log=log, cwd=cwd, account=account)
    try:
        status = process.wait()
    except BaseException:  # Ctrl-C: what runs is not left behind
        stop(process, signal.SIGKILL, within_seconds=1)
        raise
    if status != 0:
        raise DidNotStart(f"ended with status {status}", log)


def _dies_with(parent: int, death_signal: signal.Signals) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask_for_the_signal() -> None:
        prctl(PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:  # it died between fork and here
            os._exit(1)

    return ask_for_the_signal


def stop(process: subprocess.Popen[bytes], with_signal: signal.Signals, *, within_seconds: float) -> None:
    """Ask `process` to end; what still runs after `within_seconds` is killed."""
    if process.poll() is not None:
        return
    process.send_signal(with_signal)
    try:
        process.wait(within_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], *, log: Path, within_seconds: float
) -> None:
    """Wait until `ready()` while `process` runs.

    Raises:
        DidNotStart: it ended first, or the time is over.
    """
    deadline = time.monotonic() + within_seconds
    while not ready():
        if process.poll() is not None:
            raise DidNotStart(f"ended with status {process.returncode}", log)
        if time.monotonic() > deadline:
            raise DidNotStart(f"was not ready after {within_seconds:.0f} s", log)
        time.sleep(POLL_SECONDS)


def patiently(start_it: Callable[[], T], *, within_seconds: float) -> T:
    """`start_it()`, again while what keeps it from starting passes by itself."""
    deadline = time.monotonic() + within_seconds
    while True:
        try:
            return start_it()
        except DidNotStart as failure:
            if not failure.passes or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


class DidNotStart(Exception):  # noqa: N818 - named by what is the case
    """A process ended, or did not become ready in time; the message shows the end of its log, which bears its name."""

    def __init__(self, what: str, log: Path) -> None:
        tail = _tail(log)
        super().__init__(f"{log.stem} {what}. The end of {log}:\n{tail}")
        self.passes = any(sign in tail for sign in PASSING)


def _tail(log: Path, lines: int = 20) -> str:
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
