"""How fast listings are matched while searches change, beside how fast when none does.

As in the matcher, changes are applied between micro-batches of listings: the first of a batch waits for them.
"""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from common.listing import Listing
from itarent.bench.match import apart
from itarent.bench.matching.measure import Measured, WrongAnswer
from itarent.bench.matching.oracle import Oracle, digest
from itarent.bench.matching.ours import Ours
from itarent.bench.matching.searches import Searches, draw
from itarent.bench.matching.supply import Market, supply
from itarent.bench.plots import Axis, plot_bars
from itarent.bench.results import keep, write_table

BATCH_LISTINGS: Final = 100
BATCH_S: Final = 0.005
WARM_UP_S: Final = 1.0
COMPARED: Final = 50
"""Listings whose answers are compared with the rules' own after all changes."""

Row = Mapping[str, Any]


def churn(
    file: Annotated[Path, typer.Argument(help="italy_rentals_2023.csv.gz", exists=True, dir_okay=False)],
    *,
    count: Annotated[int, typer.Option("--searches", help="how many")] = 1_000_000,
    rate: Annotated[int, typer.Option(help="changes a second")] = 1_000,
    seconds: Annotated[float, typer.Option(help="with changes, and as many without")] = 20,
    seed: int = 1,
) -> None:
    """Measure matching while searches change; writes benchmarks/results/churn.json."""
    console = Console()
    console.print(f"{count:,} searches are loaded, then matched without and with {rate:,} changes a second")
    market, listings = supply(file, 2_000, seed)
    rows = apart(measured, (market, listings), count, rate, seconds, seed)
    plot_bars("churn", {row["load"]: row["p99_ms"] for row in rows}, y=Axis("p99, ms"))
    console.print(f"Written: {keep('churn', seed, rows)}")
    write_table()


def measured(supplied: tuple[Market, Sequence[Listing]], count: int, rate: int, seconds: float, seed: int) -> list[Row]:
    """Idle and under change, in this process.

    Raises:
        WrongAnswer: after all changes the index answers otherwise than the rules do.
    """
    market, listings = supplied
    searches = draw(market, count, seed)
    index = Ours(searches)
    changes = _Changes(searches, rate, random.Random(seed))  # noqa: S311 - seeded
    _matching(index, listings, WARM_UP_S, None)
    idle = _matching(index, listings, seconds, None)
    busy = _matching(index, listings, seconds, changes)
    oracle = Oracle(searches)
    for listing in listings[:COMPARED]:
        if digest(index.match(listing)) != digest(oracle.answer(listing)):
            raise WrongAnswer(listing.listing_id)
    rows = {"idle": (idle, 0), f"{rate:,} changes/s": (busy, changes.made)}
    return [
        {"load": load, "searches": count, **found.row(), "changes": made, "longest_ms": max(found.seconds) * 1000}
        for load, (found, made) in rows.items()
    ]


class _Changes:
    """By each a search becomes what another one is."""

    def __init__(self, searches: Searches, rate: int, chance: random.Random) -> None:
        self._searches = searches
        self._rate = rate
        self._chance = chance
        self.made = 0

    def due(self, elapsed_s: float) -> Iterator[tuple[int, bytes]]:
        """Those that are due after so many seconds and have not been made: a search's number and what it becomes."""
        while self.made < elapsed_s * self._rate:
            self.made += 1
            number, like = self._chance.choices(range(len(self._searches)), k=2)
            yield number, self._searches.changed(number, like, revision=1 + self.made)


def _matching(index: Ours, listings: Sequence[Listing], seconds: float, changes: _Changes | None) -> Measured:
    """Match for so many seconds; the seconds of a batch's first listing hold those of the changes before it."""
    taken: list[float] = []
    matches = 0
    began = time.perf_counter()
    while (batch_began := time.perf_counter()) - began < seconds:
        due = list(changes.due(batch_began - began)) if changes else []
        since = batch_began = time.perf_counter()  # to make the changes is not the index's work
        for number, value in due:
            index.save(number, value)
        for _ in range(BATCH_LISTINGS):
            matches += len(index.match(listings[len(taken) % len(listings)]))
            now = time.perf_counter()
            taken.append(now - since)
            since = now
            if now - batch_began > BATCH_S:
                break
    return Measured(len(taken), matches / len(taken), taken)
