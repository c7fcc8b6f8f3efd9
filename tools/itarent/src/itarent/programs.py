"""Others' programs that checks run: those of this environment, and a few that are had when they are first needed.

The latter are pinned as well. A Python program has a lock with hashes and an environment of its own, since what
it needs may contradict requirements.lock. A Go program is compiled, and Go compares what it downloads with its public
database of checksums; where Go is missing, a Python package brings it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import typer

from itarent.project import PROJECT
from local_servers.home import home_of, one_at_a_time, private_directory

LOCKS: Final = PROJECT / "deploy" / "locks"
PLATFORM_CERTIFICATES: Final = {"UV_SYSTEM_CERTS": "1"}


class ProgramNotInstalled(Exception):  # noqa: N818 - named by what is the case
    """A program cannot be had: a registry does not answer, say."""


def own(name: str) -> Path:
    """A program of this environment."""
    return Path(sysconfig.get_path("scripts")) / name


def packaged(name: str) -> Path:
    """A program of a Python package, as its lock says; the environment's name changes with the lock.

    Raises:
        ProgramNotInstalled: it could not be had.
    """
    lock = LOCKS / f"{name}.lock"
    with one_at_a_time(_programs()):
        home = _programs() / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
        if not (home / "installed").exists():
            typer.echo(f"Installing {name}, once")
            _install(lock, home)
            (home / "installed").touch()
    return home / "bin" / name


def compiled(name: str, module: str) -> Path:
    """A Go program.

    Raises:
        ProgramNotInstalled: it could not be had.
    """
    home = _programs() / f"{name}-{module.rpartition('@')[2]}"
    if not (home / name).exists():
        go = shutil.which("go") or packaged("go")
        with one_at_a_time(_programs()):
            typer.echo(f"Compiling {name}, once: a minute or two")
            _compile(module, go, home)
    return home / name


def _install(lock: Path, home: Path) -> None:
    """By uv, or by pip where the index is known to pip alone."""
    _done([own("uv"), "venv", "--quiet", "--clear", "--python", sys.executable, home])
    hashed = ("--require-hashes", "-r", lock)
    try:
        _done([own("uv"), "pip", "install", "--quiet", "--python", home, *hashed])
    except ProgramNotInstalled:
        _done([own("python"), "-m", "pip", "--python", home, "install", "--quiet", *hashed])


def _compile(module: str, go: str | Path, home: Path) -> None:
    """Without C, which not every machine has a compiler for; sources and half-done work go afterwards."""
    work = _programs() / "go-work"
    folders = {"GOPATH": work, "GOCACHE": work / "cache", "GOBIN": home}
    settings = {"CGO_ENABLED": "0", "GOFLAGS": "-modcacherw"}
    try:
        _done([go, "install", module], settings | {name: str(folder) for name, folder in folders.items()})
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _done(command: list[str | Path], environment: Mapping[str, str] = PLATFORM_CERTIFICATES) -> None:
    """Run it to its end; what it says is told only when it fails."""
    env = {**os.environ, **environment}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - pinned above
    if result.returncode:
        said = result.stderr.strip().splitlines() or ["no reason is given"]
        raise ProgramNotInstalled(f"`{' '.join(map(str, command))}` failed: {said[-1]}")


def _programs() -> Path:
    return private_directory(home_of(PROJECT) / "downloads" / "programs")
