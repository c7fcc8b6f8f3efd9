"""The command, as a person and a script use it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from common.events import ListingPublished
from common.kafka import Received, decode
from common.topics import Topics
from itarent.listings.cli import app
from testkit.factories import make_listing, monthly
from testkit.records import records_of

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setenv("ITARENT_HOME", str(tmp_path))  # where no system runs

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["import", *map(str, arguments)])

    return invoke


def _lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_an_import_can_be_run_again_without_effect(run: Run, kafka: str, topics: Topics, data: Path) -> None:
    namespace = topics.listings.name.removesuffix(".listings.v1")
    arguments = (data / "milan_rent_2025", "--json", "--bootstrap-servers", kafka, "--namespace", namespace)
    first, second = run(*arguments), run(*arguments)
    assert first.exit_code == second.exit_code == 0, first.output
    assert first.stdout == second.stdout
    counts = {"read": 4500, "accepted": 4410, "refused": 0, "repeated": 90, "refused_by_reason": {}}
    assert json.loads(first.stdout) == counts


async def test_the_second_run_publishes_the_same_ids_and_versions(
    run: Run, kafka: str, topics: Topics, tmp_path: Path
) -> None:
    listings = [make_listing(listing_id=f"casa.it:{number}") for number in range(20)]
    path = tmp_path / "listings.jsonl"
    path.write_text(_lines(*(listing.model_dump(mode="json") for listing in listings)))
    namespace = topics.listings.name.removesuffix(".listings.v1")
    for _ in range(2):
        result = await _in_thread(run, path, "--bootstrap-servers", kafka, "--namespace", namespace)
        assert result.exit_code == 0, result.output
    records = await records_of(kafka, topics.listings)
    ids = [dict(record.headers)["ce_id"] for record in records]
    assert len(ids) == 2 * len(set(ids)) == 40
    received = [decode(record, {ListingPublished.type: ListingPublished}) for record in records]
    published = {each.key: each.event.listing for each in received if isinstance(each, Received) and each.event}
    assert published == {listing.listing_id: listing for listing in listings}


def test_refusals_are_reported_by_line_and_counted_by_reason(run: Run, tmp_path: Path) -> None:
    good = make_listing().model_dump(mode="json")
    path = tmp_path / "mixed.jsonl"
    dearer = good | {"rent": monthly(2000).model_dump(mode="json")}
    path.write_text(_lines(good, good, dearer, good | {"listing_id": "casa.it:2", "area_m2": -1}) + "nonsense\n")
    result = run(path, "--dry-run", "--json", "--refused", tmp_path / "refused.jsonl")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "read": 5,
        "accepted": 1,
        "refused": 3,
        "repeated": 1,
        "refused_by_reason": {"version_conflict": 1, "breaks_the_contract": 1, "not_json": 1},
    }
    report = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert [(each["line"], each["field"], each["reason"]) for each in report] == [
        (3, "version", "version_conflict"),
        (4, "area_m2", "breaks_the_contract"),
        (5, "", "not_json"),
    ]
    assert {each["file"] for each in report} == {str(path)}


def test_the_table_names_the_report_of_what_was_refused(run: Run, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(make_listing().model_dump_json() + "\n{\n")
    result = run(path, "--dry-run")
    assert result.exit_code == 0
    assert "see refused.jsonl" in result.stdout
    assert not run(data / "portal_payload_samples.json", "--dry-run").stdout.count("see refused")


def test_no_more_rows_are_read_than_asked_for(run: Run, data: Path) -> None:
    result = run(data / "rent_20_cities", "--dry-run", "--json", "--limit", "2500")
    assert json.loads(result.stdout)["read"] == 2500


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere.csv", "--dry-run"], "nowhere.csv: there is no such file"),
        (["mine.csv", "--dry-run"], "no mapping is known for the columns a, b"),
        (
            ["mine.csv", "--dry-run", "--mapping", "nonsense"],
            "neither a file nor one of the mappings italy_rentals_2023",
        ),
        (["mine.csv", "--dry-run", "--mapping", "broken.toml"], "broken.toml is not TOML"),
        (["mine.csv", "--dry-run", "--mapping", "wrong.toml"], "columns.a.0.rent.per"),
        (["mine.csv", "--dry-run", "--zones", "mine.csv"], "--zones needs --mapping"),
        (["mine.csv"], "set KAFKA_BOOTSTRAP_SERVERS"),
        (["mine.csv", "--bootstrap-servers", "127.0.0.1:1", "--mapping", "good.toml"], "Kafka at 127.0.0.1:1"),
    ],
)
def test_what_cannot_be_used_ends_with_2_and_says_why(
    run: Run, tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    start = 'name = "mine"\nsource = "mine.it"\nabout = "x"\n[columns]\n'
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    (tmp_path / "broken.toml").write_text("name = ")
    (tmp_path / "wrong.toml").write_text(start + 'a = { as = "rent", per = "week" }\n')
    (tmp_path / "good.toml").write_text(start + 'a = { as = "rent" }\n')
    result = run(*arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
    assert result.stdout == ""


async def _in_thread(run: Run, *arguments: object) -> Result:
    """The command runs an event loop of its own."""
    return await asyncio.to_thread(run, *arguments)
