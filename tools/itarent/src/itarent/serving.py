"""`itarent api`: the api in the foreground, beside the system that runs on this machine."""

import os
import shutil
from pathlib import Path
from typing import Annotated, Final

import typer
import uvicorn
from rich.console import Console

from itarent.credentials import Credentials
from itarent.environment import API, LOOPBACK, Addresses, environments
from itarent.given import Given, given_in
from itarent.local import running_in
from itarent.project import PROJECT
from itarent.refusal import Refusal
from itarent.system import PREFERRED_PORTS
from itarent.up import tell
from local_servers.home import home_of, private_directory

SOURCES: Final = ("services/api/src", "libs/common/src")


class NothingToServe(Refusal):
    """The api needs Kafka and PostgreSQL, and nothing runs here."""

    def __init__(self) -> None:
        super().__init__(
            "No system runs here that the api could belong to. Start the worker first: `python run_whatsapp_worker.py` "
            "(or set KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL to servers of yours)."
        )


class AlreadyServing(Refusal):
    """An api already runs here."""

    def __init__(self, url: str) -> None:
        super().__init__(f"The api already runs here: {url}. `itarent up --without api` starts everything else.")


class AnothersRole(Refusal):
    """The api would make its tables where it does not find them again."""

    def __init__(self) -> None:
        super().__init__(
            "DATABASE_URL must name the api's own role (postgresql://api:…) where no worker runs here. "
            "With the administrator's URL start `itarent worker` first: it gives each service its role."
        )


def api(
    *,
    reload: Annotated[bool, typer.Option("--reload", help="Development: start again when a source changes.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Production: so many processes serve one port.")] = 1,
    host: Annotated[str, typer.Option(help="0.0.0.0 serves other machines too.")] = LOOPBACK,
    port: Annotated[int | None, typer.Option(help="That of the running system by default, usually 8000.")] = None,
) -> None:
    """Serve the api until Ctrl-C, beside the system that `itarent worker` or `itarent up --without api` runs."""
    if reload and workers > 1:
        raise typer.BadParameter("--reload is for one process: leave --workers out")
    console = Console()
    home = home_of(PROJECT)
    try:
        environment = environment_beside(home, given_in(Path.cwd()))
    except Refusal as refusal:
        console.print(str(refusal), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None
    tell(console, {"API": f"{environment['PUBLIC_URL']}/api/v1/openapi.json"})
    if workers > 1:
        _gather_metrics(home)
    uvicorn.run(
        "itarent.attached:attached_app",
        factory=True,
        host=host,
        port=port or int(environment["HTTP_PORT"]),
        reload=reload,
        reload_dirs=[str(PROJECT / source) for source in SOURCES] if reload else None,
        workers=workers,
        timeout_worker_healthcheck=30,
    )


def environment_beside(home: Path, given: Given) -> dict[str, str]:
    """The environment of an api that joins the system that runs in `home`, or works on servers of the operator's.

    Raises:
        NothingToServe, AlreadyServing, AnothersRole: it cannot join.
    """
    if local := running_in(home):
        if API in local.runs:
            raise AlreadyServing(local.api_url)
        environment = environments(local.addresses, local.credentials, {**local.given, **given.settings})[API]
    elif given.servers:
        if not given.servers.database_url.startswith("postgresql://api:"):
            raise AnothersRole
        addresses = Addresses(given.servers.kafka, given.servers.database_url, PREFERRED_PORTS)
        environment = environments(addresses, Credentials.kept_in(home), given.settings)[API]
        environment["DATABASE_URL"] = given.servers.database_url
    else:
        raise NothingToServe
    # Several processes, of --workers or while one is reloaded, must not be one static member of the consumer group.
    del environment["KAFKA_INSTANCE_ID"]
    return environment


def _gather_metrics(home: Path) -> None:
    """Let /metrics tell of all processes, whichever of them is asked."""
    directory = home / "metrics"
    shutil.rmtree(directory, ignore_errors=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(private_directory(directory))
