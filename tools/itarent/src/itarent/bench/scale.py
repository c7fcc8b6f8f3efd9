"""How many listings one, two and four matchers of one group match, on one Kafka and one machine."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from common.listing import Listing
from itarent.bench.alone import matcher_alone
from itarent.bench.demand import as_new
from itarent.bench.matching.records import slices
from itarent.bench.matching.searches import Searches, draw
from itarent.bench.matching.supply import supply
from itarent.bench.plots import Axis, plot_lines
from itarent.bench.results import keep, write_table
from itarent.commands import until_stopped

Row = Mapping[str, Any]


def scale(
    file: Annotated[Path, typer.Argument(help="italy_rentals_2023.csv.gz", exists=True, dir_okay=False)],
    *,
    instances: Annotated[list[int] | None, typer.Option(help="how many matchers; may be repeated")] = None,
    count: Annotated[int, typer.Option("--searches", help="how many")] = 100_000,
    listings: Annotated[int, typer.Option(help="how many are matched")] = 2_000,
    seed: int = 1,
) -> None:
    """Measure one, two and four matchers; writes benchmarks/results/scale.json.

    They share this machine's cores with Kafka and PostgreSQL: where there are two, two matchers are about the most
    that can help.
    """
    console = Console()
    market, sample = supply(file, listings, seed)
    searches = draw(market, count, seed)
    until_stopped(_scale(instances or [1, 2, 4], searches, sample, seed, console), console)


async def _scale(
    instances: Sequence[int], searches: Searches, listings: Sequence[Listing], seed: int, console: Console
) -> None:
    rows = []
    for number in instances:
        console.print(f"{number} matchers, {len(searches):,} searches, {len(listings):,} listings")
        rows.append(await _measured(number, searches, listings))
    points = [(row["matchers"], row["listings/s"]) for row in rows]
    plot_lines("scale", {"listings/s": points}, x=Axis("matchers"), y=Axis("listings/s"))
    console.print(f"Written: {keep('scale', seed, rows)}")
    write_table()


async def _measured(number: int, searches: Searches, listings: Sequence[Listing]) -> Row:
    async with matcher_alone(number) as bench:
        topics = bench.system.topics
        await bench.publish_searches(slices(searches, topics.subscriptions, range(len(searches))))
        await bench.until_held(len(searches))
        begin = await bench.end(topics.notifications)
        began = time.perf_counter()
        await bench.offer(*(as_new(listing, each) for each, listing in enumerate(listings)))
        await bench.until_all_is_handled()
        taken_s = time.perf_counter() - began
        told = sum((await bench.end(topics.notifications)).values()) - sum(begin.values())
    return {
        "matchers": number,
        "searches": len(searches),
        "listings": len(listings),
        "notifications": told,
        "listings/s": len(listings) / taken_s,
        "notifications/s": told / taken_s,
    }
