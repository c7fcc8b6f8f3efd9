"""`itarent reconcile`: a day of Twilio's own list of messages, compared with the ledger."""

import asyncio
import contextlib
import datetime as dt
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from common.postgres import open_pool
from common.prices import prices
from common.settings import TwilioAccount
from common.topics import Topics
from itarent.account import connected_to, twilio_account
from itarent.ledger.cli import SENDER, Namespace, PriceTable, Writing
from sender.comparison import TO_MEND, Finding, Kind
from sender.reconciliation import BeingCompared, Comparison, Reconciliation, stored
from sender.reports import Reports
from sender.twilio import LookupFailed

MOST_SHOWN: Final = 100

MEANINGS: Final[Mapping[Kind, str]] = {
    Kind.UNKNOWN_HERE: "sent with our number, and not in the ledger: by another program, or a commit is lost",
    Kind.UNKNOWN_THERE: "taken, as the ledger says, and Twilio does not know them",
    Kind.CONTRADICTION: "arrived on one side, failed on the other",
    Kind.RECOVERED: "in doubt or given up here, and Twilio has them: the ledger now says so",
    Kind.STATUS: "further at Twilio than here: the ledger now says so",
    Kind.PRICE: "dearer at Twilio than booked: compare the price table",
    Kind.SEGMENTS: "counted by Twilio as several messages",
}


def reconcile(
    *,
    day: Annotated[
        dt.datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], show_default="yesterday", help="of Twilio's list (UTC); today is compared so far"
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--stored", help="what was found last, without asking Twilio")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
    namespace: Namespace,
    price_table: PriceTable,
    database_url: Writing,
) -> None:
    """Compare Twilio's list of a day with the ledger: what one side does not know, what differs. Can be repeated.

    The senders do it themselves each night. What Twilio knows better is recorded, as if a callback had told it.

    Exit status: 0 when nothing is to be mended, 1 when something is (it is listed), 2 when it cannot be told.
    """
    now = dt.datetime.now(dt.UTC)
    chosen = day.date() if day else now.date() - dt.timedelta(days=1)
    if chosen > now.date():
        raise _end(f"{chosen} is still to come.")
    if not database_url:
        raise _end("No system runs here: set DATABASE_URL, or give --database-url.")
    account = None if show else twilio_account()
    try:
        work = _compared(chosen, now, account, database_url, namespace=namespace, price_table=price_table)
        with contextlib.redirect_stdout(sys.stderr):  # the sender's own code logs
            compared = asyncio.run(work)
    except BeingCompared as busy:
        raise _end(f"{busy}. `--stored` shows it when it is done.") from busy
    except LookupFailed as failed:
        raise _end(f"Twilio's list cannot be read ({failed}): `itarent check twilio` says why.") from failed
    except (asyncpg.PostgresError, OSError) as error:
        raise _end(f"The sender's tables cannot be reached: {error}") from error
    if compared is None:
        raise _end(f"{chosen} has not been compared.")
    typer.echo(json.dumps(asdict(compared), indent=2, default=str)) if as_json else _show(compared)
    raise typer.Exit(1 if TO_MEND & set(compared.by_kind) else 0)


async def _compared(
    day: dt.date,
    now: dt.datetime,
    account: TwilioAccount | None,
    database_url: str,
    *,
    namespace: str,
    price_table: str,
) -> Comparison | None:
    async with open_pool(database_url, "itarent-reconcile", size=4, schema=SENDER) as pool:
        if account is None:
            return await stored(pool, day)
        table = prices(Path(price_table) if price_table else None)
        reports = Reports(pool, Topics.within(namespace), table, grace=dt.timedelta())
        name = f"itarent@{socket.gethostname()}/{os.getpid()}"
        async with connected_to(account) as twilio:
            return await Reconciliation(pool, twilio, reports, name=name).compare(day, now, anew=True)


def _show(compared: Comparison) -> None:
    agree = "agree" if not compared.findings else "differ" if TO_MEND & set(compared.by_kind) else "agree now"
    table = Table("", "", "", title=f"Twilio's list of {compared.day} and the ledger {agree}", title_justify="left")
    table.add_row("compared", f"{compared.listed:,}", "messages of Twilio's list")
    table.add_row("passed over", f"{compared.passed_over:,}", "what people wrote, automatic replies, operators' tests")
    table.add_row(
        "asked about", f"{compared.asked:,}", "messages of the ledger that were not on the list", end_section=True
    )
    for kind in Kind:
        count = compared.by_kind[kind]
        style = "red" if count and kind in TO_MEND else ""
        table.add_row(kind.replace("_", " "), f"{count:,}", MEANINGS[kind], style=style)
    Console().print(table)
    worst_first = sorted(compared.findings, key=lambda each: (each.kind not in TO_MEND, each.kind, each.sid))
    for finding in worst_first[:MOST_SHOWN]:
        typer.echo(_sentence(finding))
    if len(worst_first) > MOST_SHOWN:
        typer.echo(f"… and {len(worst_first) - MOST_SHOWN} more: --json has all of them")


def _sentence(finding: Finding) -> str:
    of = f", message {finding.message_id} call {finding.attempt}" if finding.message_id else ""
    return f"{finding.sid}: {finding.kind.replace('_', ' ')}{of}: {finding.detail}"


def _end(why: str) -> typer.Exit:
    typer.echo(why, err=True)
    return typer.Exit(2)
