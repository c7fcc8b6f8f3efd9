"""`itarent audit`: does every match end in exactly one disposition?"""

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final

import asyncpg
import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from common.topics import Topics
from itarent.audit.balance import Balance, Problem
from itarent.audit.repeated import audit_every
from itarent.audit.run import audit as run
from itarent.audit.sources import Kafka
from itarent.local import BootstrapServers, DatabaseUrl
from sender.rescan import Kind

MOST_SHOWN = 100

UNFINISHED: Final[Mapping[Kind, str]] = {
    Kind.UNDECIDED: "messages were to go out at the latest, and are neither sent nor given up",
    Kind.LEASED: "messages are leased by a sender that no longer is",
    Kind.UNASKED: "messages should have been asked about at Twilio, and were not",
    Kind.UNDISPOSED: "notifications have no disposition, and no message that is still to tell them",
    Kind.UNPUBLISHED: "events lie in the sender's outbox",
}
"""What did not end."""


def audit(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print the balance as JSON")] = False,
    every: Annotated[
        float | None,
        typer.Option(metavar="HOURS", min=0.001, help="go on and audit so often; what is found is told at /metrics"),
    ] = None,
    http_host: Annotated[str, typer.Option(envvar="HTTP_HOST", help="where, with --every")] = "127.0.0.1",
    http_port: Annotated[int, typer.Option(envvar="HTTP_PORT", min=0, max=65_535, help="where, with --every")] = 8004,
    bootstrap_servers: BootstrapServers,
    namespace: Annotated[str, typer.Option(envvar="KAFKA_NAMESPACE")] = "itarent",
    database_url: DatabaseUrl,
) -> None:
    """Match every listing again with the plain rule, balance every match against the sender's ledger, and count what
    should have ended there and did not.

    Exit status: 0 when it balances, 1 when it does not (what does not is listed), 2 when it cannot be told.
    """
    if not bootstrap_servers or not database_url:
        typer.echo(
            "No system runs here: set KAFKA_BOOTSTRAP_SERVERS and AUDIT_DATABASE_URL, or give them as options.",
            err=True,
        )
        raise typer.Exit(2)
    if every is not None:
        audited = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "KAFKA_NAMESPACE": namespace,
            "AUDIT_DATABASE_URL": database_url,
        }
        return audit_every(timedelta(hours=every), audited, http_host, http_port)
    kafka = Kafka(bootstrap_servers, Topics.within(namespace))
    try:
        balance = asyncio.run(run(kafka, database_url))
    except (KafkaError, asyncpg.PostgresError, OSError) as error:
        typer.echo(f"The audit cannot read the system: {error!r}", err=True)
        raise typer.Exit(2) from error
    typer.echo(_as_json(balance)) if as_json else Console().print(_as_table(balance))
    for problem in balance.problems[:MOST_SHOWN]:
        typer.echo(_sentence(problem), err=True)
    if len(balance.problems) > MOST_SHOWN:
        typer.echo(f"… and {len(balance.problems) - MOST_SHOWN} more", err=True)
    for kind, count in balance.unfinished.items():
        typer.echo(f"{count} {UNFINISHED[Kind(kind)]} ({kind})", err=True)
    if balance.flats_beyond_history:
        typer.echo(f"{balance.flats_beyond_history} flats are older than the topic's history: not audited", err=True)
    raise typer.Exit(0 if balance.balanced else 1)


def _as_json(balance: Balance) -> str:
    return json.dumps(
        {
            "listing_versions": balance.listing_versions,
            "matches": balance.matches,
            "by_disposition": dict(balance.by_disposition),
            "pending": balance.pending,
            "unaccounted": balance.unaccounted,
            "unexpected": balance.unexpected,
            "unfinished": dict(balance.unfinished),
        }
    )


def _as_table(balance: Balance) -> Table:
    table = Table("", "", title="It balances" if balance.balanced else "It does not balance", title_justify="left")
    table.add_row("versions of listings", f"{balance.listing_versions:,}")
    table.add_row("matches", f"{balance.matches:,}", end_section=True)
    for disposition, count in balance.by_disposition.most_common():
        table.add_row(f"  {disposition}", f"{count:,}")
    table.add_section()
    for name in ("pending", "unaccounted", "unexpected"):
        table.add_row(name, f"{getattr(balance, name):,}")
    table.add_row("unfinished", f"{sum(balance.unfinished.values()):,}")
    return table


def _sentence(problem: Problem) -> str:
    """A fault with the ids that lead to it: none of them says who a renter is."""
    ids = {
        "flat": problem.flat_id,
        "user": problem.user_id,
        "reason": problem.reason,
        "disposition": problem.disposition,
    }
    details = ", ".join(f"{name} {value}" for name, value in ids.items() if value)
    listing_id, version = problem.of
    return f"{listing_id} version {version}: {problem.fault}" + (f" ({details})" if details else "")
