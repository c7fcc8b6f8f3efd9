"""Which searches a listing matches: ours beside its peers, on the same searches and listings, from ten thousand up."""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.console import Console

from common.listing import Listing
from itarent.bench.matching.duck import duck
from itarent.bench.matching.loop import loop
from itarent.bench.matching.lucene import documents, monitor
from itarent.bench.matching.measure import System, WrongAnswer, measure
from itarent.bench.matching.oracle import Oracle, digest
from itarent.bench.matching.ours import ours
from itarent.bench.matching.postgres import postgres
from itarent.bench.matching.searches import draw
from itarent.bench.matching.sqlite import sqlite
from itarent.bench.matching.supply import Market, supply
from itarent.bench.plots import Axis, plot_lines
from itarent.bench.results import keep, write_table
from itarent.project import PROJECT
from local_servers.home import home_of, scratch_home

OURS: Final = "ours"


@dataclass(frozen=True)
class Contestant:
    system: System
    most_searches: int = 10**9
    because: str = ""


SYSTEMS: Final[Mapping[str, Contestant]] = {
    OURS: Contestant(ours),
    "Lucene, documents": Contestant(documents),
    "Lucene Monitor": Contestant(monitor, 100_000, "a million queries take more memory than the machine has to spare"),
    "PostgreSQL": Contestant(postgres, 1_000_000, "five times the rows take five times as long"),
    "SQLite": Contestant(sqlite, 1_000_000, "five times the rows take five times as long"),
    "DuckDB": Contestant(duck, 1_000_000, "five times the rows take five times as long"),
    "plain loop": Contestant(loop, 1_000_000, "it takes ten seconds for a listing"),
}

Row = Mapping[str, Any]
_T = TypeVar("_T")


def match(
    file: Annotated[Path, typer.Argument(help="italy_rentals_2023.csv.gz", exists=True, dir_okay=False)],
    *,
    counts: Annotated[list[int] | None, typer.Option("--searches", help="how many; may be repeated")] = None,
    names: Annotated[list[str] | None, typer.Option("--system", help="which; may be repeated")] = None,
    listings: Annotated[int, typer.Option(help="how many are matched at most")] = 2_000,
    seconds: Annotated[float, typer.Option(help="for which a system is measured at most")] = 10,
    seed: int = 1,
) -> None:
    """Measure matching, ours and its peers; writes benchmarks/results/match.json.

    Every answer is compared with the rules' own: one that differs ends the benchmark.
    """
    console = Console()
    began = time.monotonic()

    def tell(what: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {what}", highlight=False)

    market, sample = supply(file, listings, seed)
    rows: list[Row] = []
    for count in counts or [10_000, 100_000, 1_000_000, 5_000_000]:
        tell(f"{count:,} searches: the right answers for {len(sample):,} listings")
        digests = apart(right_answers, market, sample, count, seed)
        case = Case(market, sample, digests, count, seed)
        rows += _compared([_row(name, case, seconds, tell) for name in names or SYSTEMS])
    written = keep("match", seed, rows)
    plot_growth(rows)
    write_table()
    console.print(f"Written: {written}")


def apart(function: Callable[..., _T], *given: object) -> _T:
    """Call a function in a process of its own: none is to find memory that another one has left."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *given).result()


def right_answers(market: Market, listings: Sequence[Listing], count: int, seed: int) -> list[bytes]:
    oracle = Oracle(draw(market, count, seed))
    return [digest(oracle.answer(listing)) for listing in listings]


@dataclass(frozen=True)
class Case:
    """What every system gets: a number of searches, listings, and digests of the right answers."""

    market: Market
    listings: Sequence[Listing]
    digests: Sequence[bytes]
    searches: int
    seed: int


def _row(name: str, case: Case, seconds: float, tell: Callable[[str], None]) -> Row:
    contestant = SYSTEMS[name]
    row = {"system": name, "searches": case.searches}
    if case.searches > contestant.most_searches:
        tell(f"{case.searches:,} searches: {name} is left out")
        return row | {"left out": contestant.because}
    tell(f"{case.searches:,} searches: {name}")
    try:
        return {**row, **apart(measured, name, case, seconds)}
    except WrongAnswer:
        raise
    except Exception as error:
        if name == OURS:
            raise
        tell(f"{name} failed: {error!r}")
        return row | {"left out": f"failed: {type(error).__name__}"}


def measured(name: str, case: Case, seconds: float) -> Row:
    """One system with so many searches."""
    searches = draw(case.market, case.searches, case.seed)
    with scratch_home(home_of(PROJECT)) as scratch:
        began = time.monotonic()
        with SYSTEMS[name].system(searches, scratch) as loaded:
            load_s = time.monotonic() - began
            found = measure(loaded, case.listings, case.digests, seconds)
    return {**found.row(), "bytes_per_search": loaded.bytes_used / case.searches, "load_s": load_s}


_COLUMNS: Final = (
    *("system", "searches", "listings_per_s", "times_slower", "p50_ms", "p99_ms", "bytes_per_search", "matches"),
    *("listings", "load_s", "left out"),
)


def _compared(rows: Sequence[Row]) -> list[Row]:
    """With how many times as fast ours is."""
    rates = {row["system"]: row["listings_per_s"] for row in rows if "listings_per_s" in row}
    slower = {name: rates[OURS] / rate for name, rate in rates.items() if OURS in rates}
    return [{name: {**row, "times_slower": slower.get(row["system"])}.get(name) for name in _COLUMNS} for row in rows]


def plot_growth(rows: Sequence[Row]) -> None:
    """How rates fall and the slowest answers slow down as searches grow in number."""
    known = [row for row in rows if row["listings_per_s"] is not None]
    for name, column, unit in (("rate", "listings_per_s", "listings/s"), ("p99", "p99_ms", "p99, ms")):
        series = {
            system: [(row["searches"], row[column]) for row in known if row["system"] == system]
            for system in dict.fromkeys(row["system"] for row in known)
        }
        plot_lines(f"match-{name}", series, x=Axis("searches", log=True), y=Axis(unit, log=True))
