"""`itarent budget`: what messages cost, when windows, Meta's tier and the money run out, and who is left waiting."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from common.events import ForecastMade, MoneyAhead, RunsOut
from common.prices import MILLIONTHS, InvalidPrices, Micros, Prices, prices
from itarent.local import DatabaseUrl
from sender.budget import ZONE, day_of, month_of, percent
from sender.outlook import look_ahead

ASSUMED: Final = (
    "Assumed: nobody writes to us; phones are written to first as in the last 24 hours (at the earliest: as in their "
    "busiest hour); a day costs what the last seven days did (at the earliest: the dearest of them)."
)
WANTING: Final = {"tier": "for a place", "budget": "for money", "window_may_open": "they may write first"}
SHOWN: Final = 5


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
    ahead: ForecastMade | None  # None: no sender has ever run


def budget(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="print it as JSON")] = False,
    database_url: DatabaseUrl,
) -> None:
    """What messages have cost today and this month (UTC, as on Twilio's invoices), and what comes.

    The forecast says when open windows, Meta's tier and the budget run out, and who is left waiting then: from what the
    last days and hours took, and from the digests that are open. WHATSAPP_PRICE_TABLE names another price table.

    Exit status: 0, 1 when the month's budget is used up, 2 when it cannot be told.
    """
    if not database_url:
        typer.echo("No system runs here: set AUDIT_DATABASE_URL, or give --database-url.", err=True)
        raise typer.Exit(2)
    try:
        table = os.environ.get("WHATSAPP_PRICE_TABLE")
        month = asyncio.run(_month(database_url, prices(Path(table) if table else None), datetime.now(ZONE)))
    except InvalidPrices as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except (asyncpg.PostgresError, OSError) as error:
        typer.echo(f"The sender's tables cannot be read: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(_as_json(month), indent=2))
    else:
        _print(month)
    raise typer.Exit(1 if month.limit is not None and month.total.micros >= month.limit else 0)


def _print(month: Month) -> None:
    console = Console()
    console.print(_table(month))
    if month.ahead:
        console.print(_forecast(month.ahead))
        console.print(ASSUMED, style="dim")


async def _month(database_url: str, prices: Prices, now: datetime) -> Month:
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "sender"})
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            in_force = await connection.fetchrow("SELECT currency, limit_micros, reserve_micros FROM sender.budget")
            currency = in_force["currency"] if in_force else ""
            rows = await connection.fetch(_BY_CHARGE, currency, month_of(now), day_of(now))
            waiting = await connection.fetchval(_WAITING)
            ahead = await look_ahead(connection, prices, now)
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
        ahead=ahead,
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
        "forecast": month.ahead.model_dump(mode="json") if month.ahead else None,
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


def _forecast(ahead: ForecastMade) -> Table:
    table = Table("forecast", "", show_header=True)
    for name, said in _ahead(ahead):
        table.add_row(name, said)
    return table


def _ahead(ahead: ForecastMade) -> Iterator[tuple[str, str]]:
    windows, tier, money = ahead.windows, ahead.tier, ahead.money
    yield (
        "windows",
        f"{windows.open:,} open"
        + (
            f"; {windows.close_within_1_hour:,} close within an hour, {windows.close_within_6_hours:,} within six, "
            f"the last at {_moment(windows.last_closes_at)}"
            if windows.last_closes_at
            else ""
        ),
    )
    if tier.limit is None:
        yield "tier", f"{tier.used:,} phones written to first in 24 hours; no limit (WHATSAPP_RECIPIENTS_PER_DAY)"
    else:
        used = f"{tier.used:,} of {tier.limit:,} phones written to first in 24 hours, {tier.for_digests:,} for digests"
        yield "tier", f"{used}; {_runs_out(tier.used_up, 'within 24 hours')}"
    yield "money", _money_ahead(money)
    for each in ahead.left_waiting:
        yield (
            f"left waiting: {WANTING.get(each.reason, each.reason)}",
            (
                f"{each.users:,} users within 24 hours"
                + (f", until {_moment(each.until)} at the latest" if each.until else "")
                + f"\n{', '.join(map(str, each.user_ids[:SHOWN]))}{', …' if each.users > SHOWN else ''}"
            ),
        )
    if not ahead.left_waiting:
        yield "left waiting", f"nobody of {ahead.looked_at:,} whose digests are due within 24 hours"


def _money_ahead(money: MoneyAhead) -> str:
    per_day = f"{money.per_day / MILLIONTHS:,.4f} {money.currency} a day"
    if money.limit is None:
        return f"{per_day}; no limit (WHATSAPP_MONTHLY_BUDGET)"
    return f"{per_day}; {_runs_out(money.used_up, 'before the month ends')}"


def _runs_out(used_up: RunsOut, horizon: str) -> str:
    if used_up.earliest is None:
        return f"not used up {horizon}"
    if used_up.earliest <= datetime.now(ZONE):
        return "used up now"
    latest = f"at {_moment(used_up.latest)} at the latest" if used_up.latest else f"maybe not {horizon}"
    return f"used up at {_moment(used_up.earliest)} at the earliest, {latest}"


def _moment(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M")


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
