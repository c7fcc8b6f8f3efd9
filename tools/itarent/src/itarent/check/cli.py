"""`itarent check`: does it work, and if not, what is to be done?"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, NoReturn
from urllib.parse import urlsplit

import typer
from dotenv import dotenv_values
from rich.console import Console

from api.phones import e164
from common.settings import TwilioAccount
from itarent import local
from itarent.check import system as systems
from itarent.check.probe import phone_of
from itarent.check.report import Report, run
from itarent.check.twilio import TwilioCheck, account_in_force, relevant_faults
from itarent.check.where import Where
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
def twilio(
    *,
    to: Annotated[
        str | None, typer.Option(help="the phone that gets the test messages; else WHATSAPP_TEST_NUMBER")
    ] = None,
    as_json: AsJson = False,
    bootstrap_servers: Annotated[str, _url("KAFKA_BOOTSTRAP_SERVERS")] = "",
    namespace: Annotated[str, typer.Option(envvar="KAFKA_NAMESPACE")] = "itarent",
) -> None:
    """Check settings, account, sender number and webhook, and send two test messages: directly, and by the system.

    The settings are those of the system that runs on this machine, else those of the environment and `.env`.
    """
    environments, where = _sending(bootstrap_servers, namespace)
    account, faults = account_in_force(environments), relevant_faults(environments)
    console = _console(as_json=as_json)
    simulator = where.simulator if where else ""
    phone = _phone(to or _set_here().get("WHATSAPP_TEST_NUMBER"), ask=not simulator and not as_json)

    async def checked() -> Report:
        async with contextlib.AsyncExitStack() as stack:
            reached = phone
            if where and simulator:
                reached = await stack.enter_async_context(phone_of(simulator, where.auth_token, phone))
            check = TwilioCheck(account, faults, reached, where, _teller(console), _changed_since(environments))
            return await run(check.steps(), console)

    _end(checked(), as_json=as_json)


def _changed_since(environments: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The settings of the account that `.env` and the environment name otherwise than the system was told."""
    told, here = environments.get(SENDER, {}), _set_here()
    ours = (name.upper() for name in TwilioAccount.model_fields)
    return [name for name in ours if here.get(name) and told.get(name) and here[name] != told[name]]


def _sending(bootstrap_servers: str, namespace: str) -> tuple[Mapping[str, Mapping[str, str]], Where | None]:
    """What the sender and the webhook are told, and the system that they belong to.

    A system that runs here but sends with another account than the settings name is not the one that is meant.
    """
    found = None if bootstrap_servers else local.running()
    if found is None:
        return {}, Where(bootstrap_servers, namespace, {}, {}) if bootstrap_servers else None
    told = {name: found.environment_of(name) for name in (SENDER, WEBHOOK)}
    url = "WHATSAPP_API_URL"
    if _set_here().get(url) in (None, told[SENDER].get(url)):
        return told, Where.of(found)
    return {}, None


def _set_here() -> dict[str, str]:
    """By the operator: in .env, and in the environment, which goes before it."""
    return {name: value for name, value in {**dotenv_values(".env"), **os.environ}.items() if value}


def _phone(to: str | None, *, ask: bool) -> str | None:
    """The phone that was given or is asked for, E.164."""
    if to is None and ask and sys.stdin.isatty():
        to = typer.prompt("A phone of yours for the test messages (Enter: none)", default="", show_default=False)
    try:
        return e164(to) if to else None
    except ValueError as error:
        typer.echo(f"--to: {error}.", err=True)
        raise typer.Exit(2) from error


def _teller(console: Console) -> Callable[[str], None]:
    return lambda says: console.print(f"  {says}", style="dim", highlight=False, markup=False)


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
    matcher_shards: Annotated[int, typer.Option(envvar="MATCHER_SHARDS", min=1)] = 1,
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
            twilio=_twilio(),
            shards=matcher_shards,
        )
    )
    console = _console(as_json=as_json)
    steps = systems.steps_of(where, to=_phone(to, ask=False), fix=fix, told=_teller(console))
    _end(run(steps, console), as_json=as_json)


def _given(by_name: Mapping[str, str]) -> dict[str, str]:
    return {name: url for name, url in by_name.items() if url}


def _local_or(given: Where) -> Where:
    """What is given, if Kafka is; else the system that runs here."""
    if given.kafka:
        return given
    if found := local.running():
        return Where.of(found, _twilio())
    typer.echo("No system runs here: start one (`itarent up`), or give --bootstrap-servers and the others.", err=True)
    raise typer.Exit(2)


def _twilio() -> str:
    """The base URL of Twilio's API, if its address is set."""
    parts = urlsplit(_set_here().get("WHATSAPP_API_URL", ""))
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _console(*, as_json: bool) -> Console:
    return Console(stderr=as_json, quiet=as_json)


def _end(checked: Coroutine[Any, Any, Report], *, as_json: bool) -> NoReturn:
    report = asyncio.run(checked)
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False, indent=2))
    raise typer.Exit(0 if report.passed else 1)
