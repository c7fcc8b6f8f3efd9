"""Dry runs and explanations over many recent listings, in PostgreSQL and in the process of an api; HTTP apart.

The real file is repeated with other rents, points, texts and moments until there are enough listings. The matches and
what each criterion keeps away are compared with the plain loop over `explain` before a time counts.
"""

import contextlib
import datetime as dt
import gc
import hashlib
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import psutil
import typer
from rich.console import Console

from api.previews import Preview, Previews, Trial
from api.recent import RECENT, RecentListings
from common.comuni import Comuni
from common.events import QuietHours, Recipient, card_of
from common.explain import Decision, explain, match
from common.listing import Feature, Listing, Position, Signal
from common.postgres import migrate, open_pool, provision
from common.prices import prices
from common.search import Criterion, InCircle, InComune, InProvince, RentLimit, Search
from itarent.bench.demand import listings_in, searches
from itarent.bench.results import keep, percentile, write_table
from itarent.commands import until_stopped
from itarent.project import PROJECT
from local_servers.home import home_of, scratch_home
from local_servers.postgres import running_postgres

ROLE: Final = "api"
INTERVAL: Final = dt.timedelta(minutes=30)
SAID: Final = (
    "luminoso ristrutturato appartamento bilocale trilocale cucina abitabile soggiorno bagno finestrato camera "
    "matrimoniale ripostiglio balcone terrazzo cantina ascensore portineria riscaldamento autonomo centralizzato "
    "metropolitana fermata vicino al centro piano alto silenzioso vista parco doppia esposizione libero subito "
    "referenze richieste contratto transitorio studenti lavoratori animali ammessi arredato nuovo spese comprese"
)
KEYWORDS: Final = ("balcone", "vista parco", "animali ammessi", "doppia esposizione", "asta", "metropolitana", "nuovo")
RENTER: Final = Recipient(
    user_id=UUID(int=1), revision=1, quiet_hours=QuietHours(start=dt.time(22), end=dt.time(8)), phone="+393335550101"
)

Row = Mapping[str, Any]


def preview(
    file: Annotated[Path, typer.Argument(help="italy_rentals_2023.csv.gz", exists=True, dir_okay=False)],
    *,
    counts: Annotated[list[int] | None, typer.Option("--listings", help="how many; may be repeated")] = None,
    tries: Annotated[int, typer.Option("--searches", min=10, help="different searches")] = 300,
    checked: Annotated[int, typer.Option(min=1, help="of these, compared with the plain loop")] = 40,
    seed: int = 1,
) -> None:
    """Measure dry runs and explanations, wide searches among them; writes benchmarks/results/preview.json."""
    console = Console()
    until_stopped(_preview(file, counts or [10_000, 100_000], seed, console, tries=tries, checked=checked), console)


async def _preview(file: Path, counts: Sequence[int], seed: int, console: Console, *, tries: int, checked: int) -> None:
    real = list(listings_in(file))
    rows = []
    for count in counts:
        chance = random.Random(seed)  # noqa: S311 - seeded
        async with _database() as url:
            run = _Run(url, list(_varied(real, count, chance)), console)
            rows.append(await run.measure(list(_asked(real, tries, chance)), checked))
    console.print(f"Written: {keep('preview', seed, rows)}")
    write_table()


@contextlib.asynccontextmanager
async def _database() -> AsyncIterator[str]:
    """An empty database with the api's tables, as the api's role."""
    home = home_of(PROJECT)
    with (
        scratch_home(home) as scratch,
        running_postgres(scratch / "postgres", downloads=home / "downloads", durable=False) as admin,
    ):
        password = secrets.token_urlsafe(16)
        await provision(admin, {ROLE: password})
        parts = urlsplit(admin)
        url = urlunsplit(parts._replace(netloc=f"{ROLE}:{password}@{parts.hostname}:{parts.port}"))
        await migrate(url, ROLE)
        yield url


@dataclass
class _Run:
    """Some listings in PostgreSQL, each with its number and its moment."""

    url: str
    listings: Sequence[tuple[dt.datetime, Listing]]
    console: Console

    async def measure(self, asked: Sequence[Search], checked: int) -> Row:
        self.console.print(f"{len(self.listings)} listings: they are recorded")
        await self._record()
        async with open_pool(self.url, "bench") as pool, RecentListings.following(pool) as recent:
            before, began = psutil.Process().memory_info().rss, time.perf_counter()
            await recent.ask(len)
            filled_s, after = time.perf_counter() - began, psutil.Process().memory_info().rss
            gc.freeze()  # an api has no second copy of all listings, which would be looked through again and again
            previews = Previews(recent, prices(), INTERVAL)
            self.console.print(f"{len(self.listings)} listings: {checked} searches are compared with the plain loop")
            digest = await self._compared(previews, asked[:checked])
            self.console.print(f"{len(self.listings)} listings: {len(asked)} searches are tried")
            tried = [await _timed(partial(_tried, previews, each)) for each in asked]
            told = [await _timed(partial(self._explained, recent, each, number)) for number, each in enumerate(asked)]
            loop = [_plain_ms(each, self.listings) for each in asked[:checked]]
        return {
            "listings": len(self.listings),
            "searches": len(asked),
            "dry run p50 ms": percentile(tried, 50),
            "dry run p99 ms": percentile(tried, 99),
            "dry run, slowest ms": max(tried),
            "explanation p50 ms": percentile(told, 50),
            "explanation p99 ms": percentile(told, 99),
            "plain loop (matches alone) p50 ms": percentile(loop, 50),
            "read after a start in s": filled_s,
            "memory MiB": (after - before) / 2**20,
            "checked against the plain loop": checked,
            "digest of the answers": digest,
        }

    async def _record(self) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.copy_records_to_table(
                "recent_listings",
                records=[
                    (each.listing_id, each.version, True, card_of(each).model_dump_json(), at, at, _json(each))
                    for at, each in self.listings
                ],
                columns=["listing_id", "version", "active", "card", "published_at", "offered_at", "listing"],
            )
            await connection.execute("ANALYZE recent_listings")
        finally:
            await connection.close()

    async def _compared(self, previews: Previews, asked: Sequence[Search]) -> str:
        """A digest of what the plain loop answers; the dry run must answer the same."""
        digest = hashlib.sha256()
        for search in asked:
            trial = await previews.of(search, RENTER, dt.datetime.now(dt.UTC))
            effects = {each.rule.criterion: each.more_if_dropped for each in trial.effects}
            found = (trial.matches, {name: more for name, more in effects.items() if more is not None})
            matches, alone = _plain_answer(search, self.listings)
            expected = (matches, {name: alone[name] for name in found[1]})
            if found != expected:
                raise AssertionError(f"The dry run says {found}, the plain loop {expected}: {search!r}")
            digest.update(repr(expected).encode())
        return digest.hexdigest()[:16]

    async def _explained(self, recent: RecentListings, search: Search, number: int) -> None:
        _, listing = self.listings[number * 7919 % len(self.listings)]
        known = await recent.one(listing.listing_id)
        assert known
        explain(search, known).model_dump_json()


async def _tried(previews: Previews, search: Search) -> Trial:
    trial = await previews.of(search, RENTER, dt.datetime.now(dt.UTC))
    Preview.of(trial).model_dump_json()
    return trial


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return 1000 * (time.perf_counter() - began)


def _plain_answer(search: Search, listings: Sequence[tuple[dt.datetime, Listing]]) -> tuple[int, Counter[Criterion]]:
    """How many match, and how many each criterion alone keeps away."""
    matches, alone = 0, Counter[Criterion]()
    for _, listing in listings:
        if match(search, listing):
            matches += 1
            continue
        failing = [each.criterion for each in explain(search, listing).verdicts if each.decision is Decision.FAIL]
        if len(failing) == 1:
            alone[failing[0]] += 1
    return matches, alone


def _plain_ms(search: Search, listings: Sequence[tuple[dt.datetime, Listing]]) -> float:
    began = time.perf_counter()
    sum(match(search, listing) for _, listing in listings)
    return 1000 * (time.perf_counter() - began)


def _json(listing: Listing) -> str:
    return listing.model_dump_json(exclude_none=True)


def _varied(real: Sequence[Listing], count: int, chance: random.Random) -> Iterator[tuple[dt.datetime, Listing]]:
    """The real listings again and again, each as another flat: with a point, a text and spese as portals have them."""
    now, comuni, said = dt.datetime.now(dt.UTC), Comuni.load(), SAID.split()
    for number in range(count):
        listing = real[number] if number < len(real) else chance.choice(real)
        comune = comuni.by_code(listing.comune) if listing.comune else None
        yield (
            now - chance.random() * (RECENT - dt.timedelta(hours=1)),
            listing.model_copy(
                update={
                    "listing_id": f"bench:{number}",
                    "position": _near(comune.centre, chance) if comune and comune.centre else None,
                    "description": " ".join(chance.choices(said, k=110)) if chance.random() < 0.9 else "",  # noqa: PLR2004 - most have one
                    "spese_cents": chance.choice((None, None, 50_00, 80_00, 120_00)),
                    "features": {**listing.features, chance.choice(list(Feature)): chance.random() < 0.5},  # noqa: PLR2004 - a coin
                }
            ),
        )


def _near(centre: Position, chance: random.Random) -> Position:
    return Position(
        latitude=centre.latitude + chance.gauss(0, 0.02), longitude=centre.longitude + chance.gauss(0, 0.02)
    )


def _asked(real: Sequence[Listing], count: int, chance: random.Random) -> Iterator[Search]:
    """Searches as renters make them, and as wide as they may be: every tenth is a big city, a province or a circle."""
    wider = (
        _as_drawn,
        _whole_comune,
        _province,
        _circle,
        _words,
        _big_city,
        _as_drawn,
        _whole_comune,
        _words,
        _as_drawn,
    )
    for number, (listing, search) in enumerate(searches(real, count, chance)):
        yield wider[number % len(wider)](search, listing, chance)


def _as_drawn(search: Search, _listing: Listing, _chance: random.Random) -> Search:
    return search


def _whole_comune(search: Search, listing: Listing, _chance: random.Random) -> Search:
    assert listing.comune
    return search.model_copy(update={"places": (InComune(code=listing.comune),), "rooms": None})


def _province(search: Search, listing: Listing, chance: random.Random) -> Search:
    places = tuple(InProvince(code=code) for code in (listing.province or "MI", chance.choice(("MI", "RM", "TO"))))
    return search.model_copy(update={"places": places, "features": frozenset({Feature.BALCONY})})


def _circle(search: Search, listing: Listing, chance: random.Random) -> Search:
    comune = Comuni.load().by_code(listing.comune or "")
    centre = comune.centre if comune and comune.centre else Position(latitude=45.46, longitude=9.19)
    return search.model_copy(
        update={"places": (InCircle(centre=centre, radius_m=chance.choice((2_000, 8_000, 60_000))),)}
    )


def _words(search: Search, listing: Listing, chance: random.Random) -> Search:
    wanted, unwanted = chance.sample(KEYWORDS, 2)
    wide = _whole_comune(search, listing, chance)
    return wide.model_copy(update={"keywords_wanted": (wanted,), "keywords_unwanted": (unwanted,)})


def _big_city(_search: Search, _listing: Listing, chance: random.Random) -> Search:
    """All of Milano and Roma: a quarter of all there is."""
    limit = RentLimit(maximum_cents=chance.randrange(800_00, 5000_00, 50_00), spese="included")
    places = (InComune(code="015146"), InComune(code="058091"))
    return Search(
        places=places, rent=limit, signals_unwanted=frozenset({Signal.SCAM_SIGNS}), keywords_wanted=("balcone",)
    )
