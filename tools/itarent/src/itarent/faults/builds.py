"""An earlier build of the services, from the history of this repository."""

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from typing import Final

from itarent.project import PROJECT
from itarent.system import downloads
from local_servers.home import one_at_a_time

BASE: Final = "de9c7ac0feb4"
"""The build that is replaced: the newest whose migrations today's are compatible with. It moves on when there is one
that is not, which is then an upgrade in two steps: first the version that can do with both, then the migration.
"""

SOURCES: Final = (
    "libs/common/src",
    *(f"services/{name}/src" for name in ("api", "matcher", "sender", "status-webhook")),
)


def missing() -> str:
    """Why there is no earlier build here; empty if there is one."""
    try:
        known = _git("cat-file", "-t", BASE).strip() == b"commit"
    except (OSError, subprocess.CalledProcessError):
        known = False
    return "" if known else f"the history of this repository does not reach back to {BASE}: a shallow clone has none"


def earlier_build() -> dict[str, str]:
    """The environment variables by which Python runs the earlier build, which is unpacked and compiled once."""
    folder = downloads() / f"build-{BASE}"
    variables = {"PYTHONPATH": ":".join(str(folder / source) for source in SOURCES)}
    with one_at_a_time(downloads()):
        if not (folder / "ready").exists():
            with tarfile.open(fileobj=BytesIO(_git("archive", BASE, *SOURCES))) as archive:
                archive.extractall(folder, filter="data")
            # Else its matchers would compile their kernels at once, and none would be healthy in time.
            subprocess.run([sys.executable, "-m", "matcher.compiling"], check=True, env=os.environ | variables)
            (folder / "ready").touch()
    return variables


def _git(*arguments: str) -> bytes:
    return subprocess.run(  # noqa: S603 - our own arguments
        ["git", "-C", str(PROJECT), *arguments],  # noqa: S607 - the developer's git
        check=True,
        capture_output=True,
    ).stdout
