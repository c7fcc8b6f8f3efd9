"""Where servers started here keep their state, and what they download.

`ITARENT_HOME`, else `.itarent` in the project. PostgreSQL refuses to run as root and then runs as `nobody`; a project
that `nobody` cannot reach (below /root, say) keeps its state under /var/tmp instead.
"""

import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

OTHERS_MAY_ENTER = 0o001


def home_of(project: Path) -> Path:
    """The state directory of `project`, created when it is missing; its `downloads` are shared by all that runs."""
    project = project.resolve()
    if chosen := os.environ.get("ITARENT_HOME"):
        home = Path(chosen).resolve()
    elif is_root() and not _others_may_enter(project):
        digest = hashlib.sha256(os.fsencode(project)).hexdigest()[:12]
        home = Path("/var/tmp") / f"itarent-{digest}"  # noqa: S108 - the owner is checked below
    else:
        home = project / ".itarent"
    return private_directory(home)


def private_directory(path: Path) -> Path:
    """`path` as a directory that others cannot list, though root lets `nobody` pass through it.

    Raises:
        PermissionError: it exists and belongs to somebody else.
    """
    path.mkdir(mode=0o711 if is_root() else 0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user: set ITARENT_HOME to a directory of your own.")
    return path


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read; it is there whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


@contextmanager
def scratch_home(home: Path) -> Iterator[Path]:
    """A directory in `home` for servers that nobody needs afterwards; also removes those that a killed process left."""
    parent = private_directory(home / "scratch")
    for left in parent.iterdir():
        if not psutil.pid_exists(int(left.name.partition("-")[0])):
            shutil.rmtree(left, ignore_errors=True)
    scratch = private_directory(parent / f"{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def is_root() -> bool:
    return os.geteuid() == 0


@contextmanager
def one_at_a_time(directory: Path) -> Iterator[None]:
    """Let one process at a time fill `directory`; others wait."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class InUse(Exception):  # noqa: N818 - named by what is the case
    """A server already runs on this directory."""


@contextmanager
def in_use(home: Path, *, within_seconds: float) -> Iterator[int]:
    """Hold `home` for one server and yield the lock's file descriptor.

    A server that inherits it holds the lock as long as it lives, so that one whose starter was killed has ended
    before the next one begins.

    Raises:
        InUse: the server before still runs when the time is over.
    """
    deadline = time.monotonic() + within_seconds
    with (private_directory(home) / "in-use").open("w") as lock:
        while not _try_to_lock(lock):
            if time.monotonic() > deadline:
                raise InUse(f"A server already runs on {home}.")
            time.sleep(0.05)
        yield lock.fileno()


def _try_to_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _others_may_enter(path: Path) -> bool:
    return all(each.stat().st_mode & OTHERS_MAY_ENTER for each in (path, *path.parents))
