"""How long a matcher takes until it matches again: from its topic alone, and with what it has kept itself."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from itarent.bench.alone import Bench, matcher_alone
from itarent.bench.matching.records import slices
from itarent.bench.matching.searches import Searches, draw
from itarent.bench.matching.supply import supply
from itarent.bench.plots import Axis, plot_bars
from itarent.bench.results import keep, write_table
from itarent.commands import until_stopped
from itarent.environment import MATCHER

TAIL: Final = 0.01
"""The share of searches that change while the matcher is away."""

WITHIN_S: Final = 1_800.0

Row = Mapping[str, Any]


def restart(
    file: Annotated[Path, typer.Argument(help="italy_rentals_2023.csv.gz", exists=True, dir_okay=False)],
    *,
    count: Annotated[int, typer.Option("--searches", help="how many")] = 1_000_000,
    seed: int = 1,
) -> None:
    """Measure a matcher's start with many searches; writes benchmarks/results/restart.json."""
    console = Console()
    market, _ = supply(file, 1, seed)
    until_stopped(_restart(draw(market, count, seed), seed, console), console)


async def _restart(searches: Searches, seed: int, console: Console) -> None:
    count, changed = len(searches), int(len(searches) * TAIL)
    async with matcher_alone() as bench:
        topic, matcher = bench.system.topics.subscriptions, bench.system.services[MATCHER]
        await matcher.stop()
        console.print(f"{count:,} searches are published")
        await bench.publish_searches(slices(searches, topic, range(count)))
        rows = [await _started(bench, "replay of the topic", count, records=count)]
        console.print(f"{rows[0]['seconds']:.1f} s; {changed:,} change while the matcher is away")
        await matcher.stop()
        await bench.publish_searches(slices(searches, topic, range(changed), revision=2))
        rows.append(await _started(bench, "snapshot and tail", count, records=changed))
    plot_bars("restart", {row["start"]: row["seconds"] for row in rows}, y=Axis("seconds"))
    console.print(f"Written: {keep('restart', seed, rows)}")
    write_table()


async def _started(bench: Bench, start: str, count: int, *, records: int) -> Row:
    """From the launch of the process until it is healthy, which it is when it holds every search and matches."""
    matcher = bench.system.services[MATCHER]
    began = time.perf_counter()
    matcher.launch()
    await matcher.until_healthy(within_seconds=WITHIN_S, bears_ends=False)
    seconds = time.perf_counter() - began
    matcher.watch()
    await bench.until_held(count)
    return {
        "start": start,
        "searches": count,
        "records to read": records,
        "seconds": seconds,
        "memory MiB": matcher.rss_bytes() >> 20,
    }
