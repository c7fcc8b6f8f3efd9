"""The system that runs on this machine, if one does: commands find it without being told where it is."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import BaseModel, ValidationError

from itarent.credentials import Credentials
from itarent.environment import API, SIMULATOR, Addresses, environments, shards_in
from itarent.project import PROJECT
from itarent.refusal import Refusal
from local_servers.home import home_of, private_directory, write_secret

FILE: Final = "system.json"
HOLDER: Final = "running"


class Local(BaseModel, frozen=True):
    """A running system: where everything is. Its file holds a password, so that only its user can read it."""

    home: Path
    """Its secrets (`credentials.json`), its data, and `logs/<service>.log`."""

    kafka: str
    postgres: str
    """The administrator's URL of the system's database."""

    namespace: str
    """The prefix of all topics."""

    ports: dict[str, int]
    """Of each process of a service, whether it runs or is to be started beside the others, and of the simulator."""

    runs: frozenset[str]
    """What this system has started itself and keeps running: services, and the simulator where Twilio is simulated."""

    given: dict[str, str] = {}
    """Settings of the operator's that went before those drawn for it."""

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.kafka, self.postgres, self.ports)

    @property
    def credentials(self) -> Credentials:
        return Credentials.kept_in(self.home)

    @property
    def twilio_is_simulated(self) -> bool:
        return SIMULATOR in self.runs

    @property
    def api_url(self) -> str:
        return self.url(API)

    def url(self, name: str) -> str:
        """The base URL of a service, or of the simulator."""
        return self.addresses.url(name)

    def environment_of(self, name: str) -> dict[str, str]:
        """What this system tells a service, or would tell it."""
        return environments(self.addresses, self.credentials, self.given)[name]

    @property
    def shards(self) -> int:
        """How many shards of the matcher there are."""
        return shards_in(self.given)

    def log(self, name: str) -> Path:
        """What a service says."""
        return self.home / "logs" / f"{name}.log"


class AlreadyRunning(Refusal):
    """A system already runs in this home."""

    def __init__(self, home: Path, pid: str) -> None:
        super().__init__(f"A system already runs in {home} (process {pid}): stop it, or set ITARENT_HOME to another.")


@contextlib.contextmanager
def alone_in(home: Path) -> Iterator[None]:
    """Hold `home` for this process; the file names it to whoever comes second.

    Raises:
        AlreadyRunning: another process holds it.
    """
    with (private_directory(home) / HOLDER).open("a+") as holder:
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder.seek(0)
            raise AlreadyRunning(home, holder.read().strip()) from None
        holder.truncate(0)
        holder.write(str(os.getpid()))
        holder.flush()
        yield
        holder.truncate(0)


@contextlib.contextmanager
def announced(local: Local) -> Iterator[None]:
    """Let commands find the system within the block."""
    file = local.home / FILE
    write_secret(file, local.model_dump_json(indent=2))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def running_in(home: Path) -> Local | None:
    """The system of one home, once it has started."""
    try:
        local = Local.model_validate_json((home / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return local if _is_held(home) else None


def running() -> Local | None:
    """The system of `itarent up` or `itarent worker`, else that of `itarent demo`."""
    home = home_of(PROJECT)
    return running_in(home) or running_in(home / "demo")


def kafka() -> str:
    """The bootstrap address of the system that runs here; empty if none does."""
    return found.kafka if (found := running()) else ""


def postgres() -> str:
    """The administrator's URL of the database of the system that runs here; empty if none does."""
    return found.postgres if (found := running()) else ""


def _is_held(home: Path) -> bool:
    """Whether the process still lives: one that was killed leaves its announcement behind."""
    with contextlib.suppress(OSError), (home / HOLDER).open() as holder:
        try:
            fcntl.flock(holder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


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
