"""From a listing's publication to its notifications': under steady load, and right behind a listing that a crowd wants.

Kafka itself stamps the notifications when it appends them, with this machine's clock.
"""

import asyncio
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from common.comuni import Comuni
from common.listing import Listing, Rent, SpeseTerm
from common.search import InComune, RentLimit, Search, Subscription
from itarent.bench.alone import Bench, matcher_alone
from itarent.bench.demand import as_new, listings_in, searches, subscription
from itarent.bench.results import keep, percentile, write_table
from itarent.commands import until_stopped

LISTINGS_PER_S: Final = 50
WARM_UP_S: Final = 5
CROWD_ROUNDS: Final = 10
FEW: Final = 10
BEHIND_S: Final = 0.02
"""How long after the crowd's listing the small one comes: its batch has begun."""

Row = Mapping[str, Any]

_TOLD = re.compile(rb'"card":\{"listing_id":"([^"]+)"')


def latency(
    file: Annotated[Path, typer.Argument(help="italy_rentals_2023.csv.gz", exists=True, dir_okay=False)],
    *,
    count: Annotated[int, typer.Option("--searches", help="how many")] = 1_000_000,
    crowd: Annotated[int, typer.Option(help="how many want one listing")] = 50_000,
    seconds: Annotated[int, typer.Option(help="of steady load")] = 30,
    seed: int = 1,
) -> None:
    """Measure listing published → notification published; writes benchmarks/results/latency.json."""
    console = Console()
    until_stopped(_latency(file, count, crowd=crowd, seconds=seconds, seed=seed, console=console), console)


async def _latency(file: Path, count: int, *, crowd: int, seconds: int, seed: int, console: Console) -> None:
    chance = random.Random(seed)  # noqa: S311 - seeded
    listings = list(listings_in(file))
    drawn: list[Listing] = []
    async with matcher_alone() as bench:
        console.print(f"{count} searches are saved")
        await bench.save(_saved(searches(listings, count, chance), drawn))
        console.print(f"{LISTINGS_PER_S} listings a second")
        await _steady(bench, drawn, WARM_UP_S, chance)
        steady = await _steady(bench, drawn, seconds, chance)
        console.print(f"one listing for {crowd}, and one for {FEW} behind it")
        behind = await _behind_a_crowd(bench, crowd, first=count)
    rows = [{"load": load, "searches": count, **row} for load, row in [*steady.items(), *behind.items()]]
    console.print(f"Written: {keep('latency', seed, rows)}")
    write_table()


def _saved(wanted: Iterable[tuple[Listing, Search]], drawn: list[Listing]) -> Iterator[Subscription]:
    """The searches, one by one: a million at once would fill the machine. What they were drawn from is kept."""
    for number, (listing, search) in enumerate(wanted):
        drawn.append(listing)
        yield subscription(number, search)


async def _steady(bench: Bench, drawn: Sequence[Listing], seconds: int, chance: random.Random) -> dict[str, Row]:
    begin = await bench.end(bench.system.topics.notifications)
    published: dict[str, float] = {}
    async with asyncio.TaskGroup() as offers:
        for _ in range(LISTINGS_PER_S * seconds):
            listing = as_new(chance.choice(drawn), chance.getrandbits(48))
            published[listing.listing_id] = time.time()
            offers.create_task(bench.offer(listing))
            await asyncio.sleep(max(0.0, 1 / LISTINGS_PER_S - (time.time() - published[listing.listing_id])))
    await bench.until_all_is_handled()
    latencies = await _latencies(bench, begin, published)
    return {f"{LISTINGS_PER_S} listings/s": _row(latencies.values())}


async def _behind_a_crowd(bench: Bench, crowd: int, first: int) -> dict[str, Row]:
    """Each notification of a listing that few want and that was published right after one that a crowd wants."""
    wanted, quiet = (each.code for each, _ in zip(reversed(list(Comuni.load())), range(2), strict=False))
    places = [wanted] * crowd + [quiet] * FEW
    await bench.save(
        subscription(first + number, Search(places=(InComune(code=each),), rent=RentLimit(maximum_cents=2_000_00)))
        for number, each in enumerate(places)
    )
    crowds, few = [], []
    for turn in range(CROWD_ROUNDS):
        begin = await bench.end(bench.system.topics.notifications)
        published: dict[str, float] = {}
        for place in (wanted, quiet):
            listing = _listing(place, turn)
            published[listing.listing_id] = time.time()
            await bench.offer(listing)
            await asyncio.sleep(BEHIND_S)
        await bench.until_all_is_handled()
        latencies = await _latencies(bench, begin, published)
        of_crowd, of_few = (latencies[each] for each in published)
        crowds.append(of_crowd)
        few.append(of_few)
    return {f"one for {crowd:,}": _row(crowds), f"one for {FEW} behind it": _row(few)}


def _listing(place: str, number: int) -> Listing:
    return Listing(
        listing_id=f"crowd:{place}-{number}",
        version=1,
        source="crowd",
        title="Bilocale ristrutturato con balcone, a due passi dalla metropolitana",
        comune=place,
        rent=Rent(amount_cents=1_100_00, spese=SpeseTerm.EXCLUDED),
        rooms=2,
    )


async def _latencies(bench: Bench, begin: Any, published: Mapping[str, float]) -> dict[str, list[float]]:  # noqa: ANN401
    """Milliseconds to each notification, by listing."""
    latencies: defaultdict[str, list[float]] = defaultdict(list)
    for records in (await bench.records(bench.system.topics.notifications, begin)).values():
        for record in records:
            found = _TOLD.search(record.value or b"")
            if found and (at := published.get(listing_id := found[1].decode())) is not None:
                latencies[listing_id].append(record.timestamp - 1000 * at)
    return latencies


def _row(latencies: Iterable[Sequence[float]]) -> Row:
    """Of all notifications; and when the last one of a listing was there."""
    by_listing = list(latencies)
    every = [each for of_listing in by_listing for each in of_listing]
    last = [max(of_listing) for of_listing in by_listing]
    return {
        "listings told": len(by_listing),
        "notifications": len(every),
        "p50 ms": percentile(every, 50),
        "p99 ms": percentile(every, 99),
        "longest ms": max(every),
        "last of a listing, p50 ms": percentile(last, 50),
        "last of a listing, p99 ms": percentile(last, 99),
    }
