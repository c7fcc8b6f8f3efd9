"""Others' programs that checks run: those of this environment, and a few that are had when they are first needed.

The latter are pinned as well. A Python program has a lock with hashes and an environment of its own, since what it
needs may contradict requirements.lock. A Go program is compiled, and Go compares what it downloads with its public
database of checksums; where Go is missing, a Python package brings it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import typer

from itarent.project import PROJECT
from local_servers.home import home_of, one_at_a_time, private_directory

LOCKS: Final = PROJECT / "deploy" / "locks"


class ProgramNotInstalled(Exception):  # noqa: N818 - named by what is the case
    """A program cannot be had: a registry does not answer, say."""


def own(name: str) -> str:
    """A program of this environment."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def packaged(name: str) -> str:
    """A program of a Python package, as its lock says; the environment's name changes with the lock.

    Raises:
        ProgramNotInstalled: it could not be had.
    """
    lock = LOCKS / f"{name}.lock"
    with one_at_a_time(_programs()):
        home = _programs() / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
        if not (home / "installed").exists():
            typer.echo(f"Installing {name}, once")
            _install(name, lock, home)
            (home / "installed").touch()
    return str(home / "bin" / name)


def compiled(name: str, module: str) -> str:
    """A Go program.

    Raises:
        ProgramNotInstalled: it could not be had.
    """
    home = _programs() / f"{name}-{module.rpartition('@')[2]}"
    if not (home / name).exists():
        _compile(name, module, home)
    return str(home / name)


def _install(name: str, lock: Path, home: Path) -> None:
    """By uv, or by pip where the index is known to pip alone."""
    python, locked = str(home / "bin" / "python"), ("--quiet", "--require-hashes", "-r", str(lock))
    _run(name, own("uv"), "venv", "--quiet", "--clear", "--python", sys.executable, str(home))
    try:
        _run(name, own("uv"), "pip", "install", "--python", python, *locked, UV_SYSTEM_CERTS="1")
    except ProgramNotInstalled:
        _run(name, sys.executable, "-m", "pip", "--python", python, "install", *locked)


def _compile(name: str, module: str, home: Path) -> None:
    """Without C, which not every machine has a compiler for. The sources go afterwards."""
    go = shutil.which("go") or packaged("go")
    sources = _programs() / "sources"
    folders = {"GOPATH": str(sources), "GOBIN": str(home)}
    with one_at_a_time(_programs()):
        typer.echo(f"Compiling {name}, once: a minute or two")
        try:
            _run(name, go, "install", module, CGO_ENABLED="0", GOFLAGS="-modcacherw", **folders)
        finally:
            shutil.rmtree(sources, ignore_errors=True)


def _run(name: str, *command: str, **settings: str) -> None:
    """One step of installing `name`; what it says is told only when it fails."""
    result = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)  # noqa: S603 - pinned above
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason is given"])[-1]
        raise ProgramNotInstalled(f"{name} cannot be installed. Do the package registries answer? {reason}")


def _programs() -> Path:
    return private_directory(home_of(PROJECT) / "downloads" / "programs")
