"""`itarent budget` tells what the sender's tables say."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from itarent.cli import app
from sender.budget import month_of
from testkit.servers import Database


async def _budget(database: Database, *arguments: str) -> tuple[int, str]:
    command = ["budget", "--database-url", database.admin_url, *arguments]
    result = await asyncio.to_thread(CliRunner(env={"COLUMNS": "120"}).invoke, app, command)
    return result.exit_code, result.stdout


async def _spend(database: Database, limit: int | None) -> None:
    today = datetime.now(UTC).date()
    last_month = month_of(datetime.now(UTC)) - timedelta(days=1)
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute(
            "INSERT INTO sender.budget (currency, limit_micros, reserve_micros) VALUES ('USD', $1, 0)", limit
        )
        await connection.executemany(
            "INSERT INTO sender.spending VALUES ($1, $2, $3, $4, $5)",
            [
                (today, "USD", "service", 10, 350_000),
                (today, "USD", "utility", 2, 70_000),
                (today, "EUR", "service", 1, 35_000),
                (last_month, "USD", "service", 1000, 35_000_000),
            ],
        )
    finally:
        await connection.close()


async def test_the_month_is_summed_in_its_currency_and_by_category(database: Database) -> None:
    await _spend(database, 1_000_000)
    status, told = await _budget(database, "--json")
    month: dict[str, Any] = json.loads(told)
    assert status == 0
    assert month["this_month"] == month["today"] == {"messages": 12, "spent": 0.42, "per_message": 0.035}
    assert month["by_category"]["utility"] == {"messages": 2, "spent": 0.07, "per_message": 0.035}
    assert (month["budget"], month["used_percent"], month["waiting"]) == (1.0, 42, 0)


@pytest.mark.parametrize(("limit", "status", "title"), [(420_000, 1, "100 % of 0.4200 USD"), (None, 0, "No budget")])
async def test_a_budget_that_is_used_up_is_an_exit_status(
    database: Database, limit: int | None, status: int, title: str
) -> None:
    await _spend(database, limit)
    ended_with, told = await _budget(database)
    assert ended_with == status
    assert title in told


async def test_the_forecast_says_when_and_who(database: Database) -> None:
    await _spend(database, 420_000)  # used up, whatever is left of the month
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute("UPDATE sender.budget SET recipients_per_day = 10")
        await connection.execute(
            "INSERT INTO sender.written_first SELECT int4send(n), now() FROM generate_series(1, 9) n"
        )
    finally:
        await connection.close()
    _, told = await _budget(database)
    assert "9 of 10 phones written to first in 24 hours, 9 for digests; used up now" in " ".join(told.split())
    assert "nobody of 0 whose digests are due" in told
    _, told = await _budget(database, "--json")
    ahead = json.loads(told)["forecast"]
    assert (ahead["tier"]["used"], ahead["money"]["spent"], ahead["left_waiting"]) == (9, 420_000, [])
    assert ahead["money"]["used_up"]["earliest"] is not None


async def test_a_sender_that_never_ran_has_spent_nothing(database: Database) -> None:
    status, told = await _budget(database, "--json")
    assert (status, json.loads(told)["this_month"]["messages"]) == (0, 0)
