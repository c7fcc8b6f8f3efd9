"""`itarent check`: does it work, and if not, what is to be done?"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console

from itarent import local
from itarent.check import system as systems
from itarent.check.report import Report, Step, run
from itarent.check.where import TWILIO, Where
from itarent.environment import API, MATCHER, SENDER, WEBHOOK

app = typer.Typer(no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on stdout, and nothing else there")]


@app.callback()
def check() -> None:
    """Check Twilio or the whole system; each fault is told with its cure.

    Exit status: 0 when nothing failed, 1 when something did, 2 when it cannot be tried. With --json: an object with
    `ok` and `steps`; each step has `name`, `state` and `findings`, each finding `state`, `says` and `cure`; a state is
    ok, skipped, warning or failed.
    """


def _url(variable: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(envvar=variable, show_default="the local system")
    return option


@app.command()
def system(
    *,
    to: Annotated[
        str | None, typer.Option(help="a phone of your own for the listing, with a real Twilio account")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="create topics that are missing")] = False,
    as_json: AsJson = False,
    bootstrap_servers: Annotated[str, _url("KAFKA_BOOTSTRAP_SERVERS")] = "",
    namespace: Annotated[str, typer.Option(envvar="KAFKA_NAMESPACE")] = "itarent",
    api_url: Annotated[str, _url("API_URL")] = "",
    matcher_url: Annotated[str, _url("MATCHER_URL")] = "",
    sender_url: Annotated[str, _url("SENDER_URL")] = "",
    webhook_url: Annotated[str, typer.Option("--status-webhook-url", envvar="STATUS_WEBHOOK_URL")] = "",
    api_database_url: Annotated[str, _url("API_DATABASE_URL")] = "",
    matcher_database_url: Annotated[str, _url("MATCHER_DATABASE_URL")] = "",
    sender_database_url: Annotated[str, _url("SENDER_DATABASE_URL")] = "",
) -> None:
    """Check services, topics, consumer groups, databases and clocks, and send one listing all the way to a phone.

    Without options: the system that runs on this machine. No renter is told of the listing; what belongs to it is taken
    back afterwards.
    """
    where = _local_or(
        Where(
            kafka=bootstrap_servers,
            namespace=namespace,
            services=_given({API: api_url, MATCHER: matcher_url, SENDER: sender_url, WEBHOOK: webhook_url}),
            databases=_given({API: api_database_url, MATCHER: matcher_database_url, SENDER: sender_database_url}),
            twilio=TWILIO,
        )
    )
    console = _console(as_json=as_json)
    steps = systems.steps_of(where, to=to, fix=fix, told=lambda says: console.log(says, style="dim"))
    _end(steps, console, as_json=as_json)


def _given(by_name: Mapping[str, str]) -> dict[str, str]:
    return {name: url for name, url in by_name.items() if url}


def _local_or(given: Where) -> Where:
    """What is given, if Kafka is; else the system that runs here."""
    if given.kafka:
        return given
    if found := local.running():
        return Where.of(found)
    typer.echo("No system runs here: start one (`itarent up`), or give --bootstrap-servers and the others.", err=True)
    raise typer.Exit(2)


def _console(*, as_json: bool) -> Console:
    return Console(stderr=as_json, quiet=as_json)


def _end(steps: Sequence[Step], console: Console, *, as_json: bool) -> None:
    report: Report = asyncio.run(run(steps, console))
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False, indent=2))
    raise typer.Exit(0 if report.passed else 1)
