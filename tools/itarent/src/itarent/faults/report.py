"""The report: `benchmarks/results/faults.json`, merged per family and seed, and the table of `docs/faults.md`."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from itarent.faults.families import FAMILIES
from itarent.faults.laws import MOST_SHOWN
from itarent.faults.run import Result
from itarent.project import PROJECT

RESULTS: Final = PROJECT / "benchmarks" / "results" / "faults.json"
PAGE: Final = PROJECT / "docs" / "faults.md"
FAMILY_MARKS: Final = ("<!-- families -->", "<!-- /families -->")
RESULT_MARKS: Final = ("<!-- results -->", "<!-- /results -->")

Row = Mapping[str, Any]


def keep(results: Iterable[Result], file: Path = RESULTS) -> Sequence[Row]:
    """Replace what the file holds of the same families and seeds; returns all of it, in the registry's order."""
    kept = {(row["family"], row["seed"]): row for row in _read(file)}
    kept |= {(each.family, each.seed): _row(each) for each in results}
    places = {family.name: place for place, family in enumerate(FAMILIES)}
    rows = [kept[at] for at in sorted(kept, key=lambda at: (places.get(at[0], len(places)), *at))]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return rows


def _read(file: Path) -> Sequence[Row]:
    rows: Sequence[Row] = orjson.loads(file.read_bytes()) if file.exists() else []
    return rows


def _row(result: Result) -> Row:
    shown = [str(each) for each in result.breaches[:MOST_SHOWN]]
    return {
        **dataclasses.asdict(result),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "drained_s": round(result.drained_s, 1),
        "took_s": round(result.took_s),
        "breaches": len(result.breaches),
        "first_breaches": shown,
    }


def write_page(rows: Sequence[Row], page: Path = PAGE) -> None:
    """Put the families and the results between their marks in the page."""
    text = _between(FAMILY_MARKS, families(), page.read_text())
    page.write_text(_between(RESULT_MARKS, table(rows), text))


def _between(marks: tuple[str, str], new: str, text: str) -> str:
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    return f"{before}{begin}\n{new}\n{end}{after}"


def families() -> str:
    """A line for each family."""
    lines = [f"| `{family.name}` | {family.about} | {family.drains_within_s:g} s |" for family in FAMILIES]
    return "\n".join(["", "| family | what is broken | drains within |", "|---|---|---:|", *lines, ""])


def table(rows: Sequence[Row]) -> str:
    """A line for each family and seed."""
    head = "| family | seed | listings | notifications | messages | strikes | drained in | breaches |"
    lines = [
        f"| {row['family']} | {row['seed']} | {row['listings']:,} | {row['notifications']:,} | {row['messages']:,} "
        f"| {row['strikes']} | {row['drained_s']:.1f} s | {row['breaches']} |"
        for row in rows
    ]
    return "\n".join(["", head, "|---|---:|---:|---:|---:|---:|---:|---:|", *lines, ""])
