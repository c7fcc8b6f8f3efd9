"""`itarent budget`: what messages cost today and this month, and what waits for money."""

import asyncio
import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from common.prices import MILLIONTHS, Micros
from itarent.local import DatabaseUrl
from sender.budget import ZONE, day_of, month_of, percent


@dataclass(frozen=True)
class Sum:
    """Messages that were sent, and what they cost."""

    messages: int
    micros: Micros

    @property
    def each(self) -> Micros:
        return self.micros // self.messages if self.messages else 0


@dataclass(frozen=True)
class Month:
    """A month so far."""

    month: date
    currency: str
    limit: Micros | None
    reserve: Micros
    today: Sum
    total: Sum
    by_charge: dict[str, Sum]
    waiting: int


def budget(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
    database_url: DatabaseUrl,
) -> None:
    """What messages have cost today and this month (UTC, as on Twilio's invoices), and what waits for money.

    Exit status: 0, 1 when the month's budget is used up, 2 when it cannot be told.
    """
    if not database_url:
        typer.echo("No system runs here: set AUDIT_DATABASE_URL, or give --database-url.", err=True)
        raise typer.Exit(2)
    try:
        month = asyncio.run(_month(database_url, datetime.now(ZONE)))
    except (asyncpg.PostgresError, OSError) as error:
        typer.echo(f"The sender's tables cannot be read: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(json.dumps(_as_json(month), indent=2)) if as_json else Console().print(_table(month))
    raise typer.Exit(1 if month.limit is not None and month.total.micros >= month.limit else 0)


async def _month(database_url: str, now: datetime) -> Month:
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            in_force = await connection.fetchrow("SELECT currency, limit_micros, reserve_micros FROM sender.budget")
            currency = in_force["currency"] if in_force else ""
            rows = await connection.fetch(_BY_CHARGE, currency, month_of(now), day_of(now))
            waiting = await connection.fetchval(_WAITING)
    finally:
        await connection.close()
    return Month(
        month=month_of(now),
        currency=currency,
        limit=in_force["limit_micros"] if in_force else None,
        reserve=in_force["reserve_micros"] if in_force else 0,
        today=Sum(sum(row["messages_today"] for row in rows), sum(row["micros_today"] for row in rows)),
        total=Sum(sum(row["messages"] for row in rows), sum(row["micros"] for row in rows)),
        by_charge={row["charge"]: Sum(row["messages"], row["micros"]) for row in rows},
        waiting=waiting,
    )


def _as_json(month: Month) -> dict[str, Any]:
    return {
        "month": month.month.strftime("%Y-%m"),
        "currency": month.currency,
        "today": _sum_as_json(month.today),
        "this_month": _sum_as_json(month.total),
        "by_category": {charge: _sum_as_json(each) for charge, each in month.by_charge.items()},
        "budget": None if month.limit is None else month.limit / MILLIONTHS,
        "reserve": month.reserve / MILLIONTHS,
        "used_percent": percent(month.total.micros, month.limit),
        "waiting": month.waiting,
    }


def _sum_as_json(each: Sum) -> dict[str, float]:
    return {"messages": each.messages, "spent": each.micros / MILLIONTHS, "per_message": each.each / MILLIONTHS}


def _table(month: Month) -> Table:
    table = Table("", "messages", "spent", "each", title=_title(month), title_justify="left")
    for name, each in {"today": month.today, "this month": month.total}.items():
        table.add_row(name, f"{each.messages:,}", _money(each.micros, month), _money(each.each, month))
    table.add_section()
    for charge, each in month.by_charge.items():
        table.add_row(f"  {charge}", f"{each.messages:,}", _money(each.micros, month), _money(each.each, month))
    table.add_section()
    table.add_row("wait for money", f"{month.waiting:,}", "", "")
    return table


def _title(month: Month) -> str:
    if month.limit is None:
        return "No budget is set (WHATSAPP_MONTHLY_BUDGET)"
    used = percent(month.total.micros, month.limit)
    return f"{used} % of {_money(month.limit, month)} used, and {_money(month.reserve, month)} in reserve"


def _money(micros: Micros, month: Month) -> str:
    return f"{micros / MILLIONTHS:,.4f} {month.currency}".rstrip()


_BY_CHARGE: Final = """
SELECT charge, sum(messages)::bigint AS messages, sum(micros)::bigint AS micros,
    coalesce(sum(messages) FILTER (WHERE spent_on = $3), 0)::bigint AS messages_today,
    coalesce(sum(micros) FILTER (WHERE spent_on = $3), 0)::bigint AS micros_today
FROM sender.spending
WHERE currency = $1 AND spent_on >= $2::date AND spent_on < $2::date + interval '1 month'
GROUP BY charge ORDER BY charge
"""

_WAITING: Final = """
SELECT count(*) FROM sender.messages WHERE stage IN ('waiting', 'retrying') AND detail = 'budget'
"""
