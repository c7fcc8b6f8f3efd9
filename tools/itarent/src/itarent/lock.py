"""requirements.lock: every third-party package of every member and tool, with hashes and without an address."""

import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import typer
from uv import find_uv_bin

from itarent.project import PROJECT

LOCK = PROJECT / "requirements.lock"
OLDEST_PYTHON = "3.11"
MEMBERS = ("libs/*", "services/*", "tools/*")
NO_ANSWER = ("Failed to fetch", "error sending request", "dns error", "offline")


class RegistryDoesNotAnswer(Exception):  # noqa: N818 - named by what is the case
    """The package registry does not answer."""


class CannotBeResolved(Exception):  # noqa: N818 - named by what is the case
    """The members' requirements cannot be met together."""


def lock(*, upgrade: bool = False) -> None:
    """Write requirements.lock anew: pins stay, except for what changed, or with --upgrade."""
    _compile(LOCK, upgrade=upgrade)
    typer.echo(f"{LOCK.name} is up to date.")


def is_current() -> bool:
    """Whether compiling again would leave the lock as it is.

    Raises:
        RegistryDoesNotAnswer: nobody can tell now.
        CannotBeResolved: the requirements contradict each other.
    """
    with tempfile.TemporaryDirectory() as scratch:
        # Compiled over a copy, so that pins stay as they are whatever has been published since.
        copy = Path(scratch) / LOCK.name
        shutil.copy(LOCK, copy)
        _compile(copy, upgrade=False)
        return copy.read_text() == LOCK.read_text()


def _compile(target: Path, *, upgrade: bool) -> None:
    command = [
        *(find_uv_bin(), "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
        *("--python-version", OLDEST_PYTHON, "--no-header", "--no-annotate", "--no-emit-index-url"),
        *(["--upgrade"] if upgrade else []),
        *(part for member in member_names() for part in ("--no-emit-package", member)),
        *("--group", "dev", "--output-file", str(target), "pyproject.toml"),
    ]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603 - uv itself
    if result.returncode == 0:
        return
    if any(sign in result.stderr for sign in NO_ANSWER):
        raise RegistryDoesNotAnswer(result.stderr.strip())
    raise CannotBeResolved(result.stderr.strip())


def member_names() -> list[str]:
    """The distribution names of the workspace's members, which are installed from here and never locked."""
    files = sorted(file for pattern in MEMBERS for file in PROJECT.glob(f"{pattern}/pyproject.toml"))
    return [tomllib.loads(file.read_text())["project"]["name"] for file in files]
