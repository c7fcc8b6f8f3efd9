"""The system that runs on this machine, if one does: commands find it without being told where it is."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel, ValidationError

from itarent.project import PROJECT
from local_servers.home import home_of, write_secret

FILE: Final = "system.json"


class Local(BaseModel, frozen=True):
    """Where a running system's servers are. `postgres` is the administrator's URL, password included."""

    kafka: str
    postgres: str


@contextlib.contextmanager
def announced(home: Path, local: Local) -> Iterator[None]:
    """Let commands find the system of `home` within the block."""
    write_secret(home / FILE, local.model_dump_json())
    try:
        yield
    finally:
        (home / FILE).unlink(missing_ok=True)


def kafka() -> str:
    """The bootstrap address of the system that runs here; empty if none does."""
    return found.kafka if (found := _running()) else ""


def postgres() -> str:
    """The administrator's URL of the database of the system that runs here; empty if none does."""
    return found.postgres if (found := _running()) else ""


def _running() -> Local | None:
    """Of `itarent up`, else of `itarent demo`."""
    home = home_of(PROJECT)
    for file in (home / FILE, home / "demo" / FILE):
        with contextlib.suppress(OSError, ValidationError):
            return Local.model_validate_json(file.read_bytes())
    return None


BootstrapServers = Annotated[
    str, typer.Option(envvar="KAFKA_BOOTSTRAP_SERVERS", default_factory=kafka, show_default="the local system")
]
"""A command's option: which Kafka."""

DatabaseUrl = Annotated[
    str,
    typer.Option(
        envvar="AUDIT_DATABASE_URL",
        default_factory=postgres,
        show_default="the local system",
        help="as a role that reads the schemas matcher and sender",
    ),
]
"""A command's option: which database."""
