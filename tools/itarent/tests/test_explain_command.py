"""`itarent explain`: the verdicts of the rule, for files and for what a system knows."""

import asyncio
import json
from pathlib import Path

import asyncpg
from typer.testing import CliRunner

from common.explain import explain
from common.postgres import migrate
from itarent.cli import app
from testkit.factories import make_listing, make_search, monthly
from testkit.servers import Database

SUBSCRIPTION_ID = "5b1d2c3e-8f60-4a6d-b7c4-2e9f0a1b2c02"


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_files_are_explained_to_people_and_to_programs(tmp_path: Path) -> None:
    search = written(
        tmp_path / "search.json",
        '{"name": "Casa", "search": {"places": ["Milano"], "rent": {"maximum_cents": 100000}}}',
    )
    listing = written(tmp_path / "listing.json", make_listing().model_dump_json())
    run = CliRunner().invoke(app, ["explain", search, listing])
    assert run.exit_code == 1
    assert "Wanted at most 1,000 € a month" in " ".join(run.stdout.split())
    assert "It does not match: rent." in run.stdout

    bare = written(tmp_path / "bare.json", make_search().model_dump_json())
    run = CliRunner().invoke(app, ["explain", bare, listing, "--json"])
    assert run.exit_code == 0
    verdicts = explain(make_search(), make_listing()).model_dump(mode="json")
    assert json.loads(run.stdout) == {"matches": True, **verdicts}


async def test_ids_are_looked_up_in_a_running_system(database: Database) -> None:
    await migrate(database.url("api"), "api")
    connection = await asyncpg.connect(database.url("api"))
    listing = make_listing(rent=monthly(5000))
    await connection.execute(
        "INSERT INTO users (user_id, email, password_hash) VALUES ($1::uuid, 'a@example.com', 'x')", SUBSCRIPTION_ID
    )
    await connection.execute(
        "INSERT INTO subscriptions (subscription_id, user_id, revision, name, status, alerts, search) "
        "VALUES ($1::uuid, $1::uuid, 1, 'Casa', 'active', '{new}', $2::jsonb)",
        SUBSCRIPTION_ID,
        make_search().model_dump_json(),
    )
    await connection.execute(
        "INSERT INTO recent_listings (listing_id, version, active, card, published_at, listing) "
        "VALUES ($1, 1, false, '{}', now(), $2::jsonb)",
        listing.listing_id,
        listing.model_dump_json(),
    )
    await connection.close()
    options = ["--json", "--database-url", database.url("api")]

    def explained(search: str, listing_id: str) -> tuple[int, str]:  # in a thread: the command has a loop of its own
        run = CliRunner().invoke(app, ["explain", search, listing_id, *options])
        return run.exit_code, run.output

    code, printed = await asyncio.to_thread(explained, SUBSCRIPTION_ID, listing.listing_id)
    failing = [each["criterion"] for each in json.loads(printed)["verdicts"] if each["decision"] == "fail"]
    assert (code, failing) == (1, ["status", "rent"])
    code, said = await asyncio.to_thread(explained, SUBSCRIPTION_ID.replace("5", "6"), listing.listing_id)
    assert (code, "There is no search" in said) == (2, True)
    code, said = await asyncio.to_thread(explained, SUBSCRIPTION_ID, "casa.it:unknown")
    assert (code, "nor a listing of the last 30 days" in said) == (2, True)


def test_what_cannot_be_explained_is_named(tmp_path: Path) -> None:
    good = written(tmp_path / "search.json", '{"places": ["Milano"]}')
    wrong = written(tmp_path / "wrong.json", '{"places": ["Atlantide"]}')
    for arguments, why in [
        ([wrong, good], "ISTAT knows no comune Atlantide"),
        ([good, good], "is no listing: listing_id"),
        ([written(tmp_path / "not.json", "["), good], "cannot be read as JSON"),
        ([written(tmp_path / "list.json", "[]"), good], "holds no JSON object"),
        (["nothing", good], "is neither a file nor the id of a search"),
        ([good, "casa.it:1", "--database-url", ""], "No system runs here"),
    ]:
        run = CliRunner().invoke(app, ["explain", *arguments])
        assert run.exit_code == 2, run.output
        assert why in run.output
