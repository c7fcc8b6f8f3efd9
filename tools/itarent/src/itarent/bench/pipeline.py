"""The whole way under load: a real file of listings against many searches, then fifty listings a second.

The limit of messages is off and intervals are nought, so that the services are what is measured.
"""

import asyncio
import datetime as dt
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import asyncpg
import orjson
import typer
from rich.console import Console

from common.events import ListingPublished, RecipientSaved, SubscriptionSaved
from common.kafka import Publisher
from common.listing import Listing
from common.service import in_background
from itarent.backlog import drain, watching
from itarent.bench.demand import MAPPING, as_new, listings_in, phone, recipient, searches, subscription
from itarent.bench.results import keep, percentile, write_table
from itarent.commands import until_stopped
from itarent.environment import SENDER, SERVICES, SIMULATOR
from itarent.project import PROJECT
from itarent.system import ANY_PORTS, System, running_system
from local_servers.home import home_of, scratch_home
from twilio_simulator.client import connected

LATENCY_LISTINGS_PER_S: Final = 50
LATENCY_SECONDS: Final = 30
JOINS_AT_ONCE: Final = 50
NO_LIMITS: Final = {
    SENDER: {
        "DEBUG_NOTIFICATIONS": "true",
        "WHATSAPP_MESSAGES_PER_SECOND": "0",
        "WHATSAPP_SECONDS_PER_RECIPIENT": "0",
        "LOG_LEVEL": "WARNING",
    },
    SIMULATOR: {"MESSAGES_PER_SECOND": "0", "REQUESTS_PER_SECOND": "0"},
}

Row = Mapping[str, Any]


def pipeline(
    file: Annotated[Path, typer.Argument(help="italy_rentals_2023.csv.gz", exists=True, dir_okay=False)],
    *,
    counts: Annotated[list[int] | None, typer.Option("--searches", help="how many; may be repeated")] = None,
    seed: int = 1,
) -> None:
    """Measure import, matching, sending and latency on the whole file; writes benchmarks/results/pipeline.json."""
    console = Console()
    until_stopped(_pipeline(file, counts or [1_000, 20_000], seed, console), console)


async def _pipeline(file: Path, counts: Sequence[int], seed: int, console: Console) -> None:
    listings = list(listings_in(file))
    rows = []
    for count in counts:
        with scratch_home(home_of(PROJECT)) as home:
            async with running_system(home, ports=ANY_PORTS, overrides=NO_LIMITS) as system:
                rows.append(await _Run(system, file, random.Random(seed), console).measure(listings, count))  # noqa: S311 - seeded
    console.print(f"Written: {keep('pipeline', seed, rows)}")
    write_table()


@dataclass
class _Run:
    """One system, empty at the start, and what is measured of it."""

    system: System
    file: Path
    chance: random.Random
    console: Console
    began: float = 0.0
    done_after_s: dict[str, float] = field(default_factory=dict)
    peak_mib: Counter[str] = field(default_factory=Counter)

    async def measure(self, listings: Sequence[Listing], count: int) -> Row:
        drawn = list(searches(listings, count, self.chance))
        self.console.print(f"{count} searches: renters come in")
        await self._bring_in([search for _, search in drawn])
        async with in_background(self._sample()):
            self.began = time.monotonic()
            self.console.print(f"{count} searches: the file is imported")
            imported, import_s = await self._import()
            await drain(self.system, within_seconds=3600)
            drained_s = time.monotonic() - self.began
        told, messages = await self._told()
        self.console.print(f"{count} searches: fifty listings a second")
        latencies = await self._latencies([listing for listing, _ in drawn])
        return {
            "searches": count,
            "rows read": imported["read"],
            "listings accepted": imported["accepted"],
            "import rows/s": imported["read"] / import_s,
            "notifications": told,
            "messages": messages,
            "drained after s": drained_s,
            "notifications/s": told / drained_s,
            "messages/s": messages / drained_s,
            "done after s": dict(sorted(self.done_after_s.items(), key=lambda each: each[1])),
            "listing → Twilio, measured": len(latencies),
            "listing → Twilio p50 ms": percentile(latencies, 50),
            "listing → Twilio p99 ms": percentile(latencies, 99),
            "peak memory MiB": dict(self.peak_mib),
        }

    async def _bring_in(self, wanted: Sequence[Any]) -> None:
        now = dt.datetime.now(dt.UTC)
        topics = self.system.topics
        async with Publisher.connected(self.system.addresses.kafka, "bench") as publisher:
            people = [recipient(number, now) for number in range(len(wanted))]
            await publisher.publish(topics.recipients, [RecipientSaved(recipient=each) for each in people])
            saved = [subscription(number, search) for number, search in enumerate(wanted)]
            await publisher.publish(topics.subscriptions, [SubscriptionSaved(subscription=each) for each in saved])
        async with connected(self.system.url(SIMULATOR), self.system.credentials.auth_token) as simulator:
            for first in range(0, len(wanted), JOINS_AT_ONCE):
                numbers = range(first, min(first + JOINS_AT_ONCE, len(wanted)))
                await asyncio.gather(*(simulator.join(phone(number)) for number in numbers))
        await drain(self.system, within_seconds=300)

    async def _import(self) -> tuple[dict[str, int], float]:
        """The import as a user runs it, in a process of its own."""
        command = ("listings", "import", str(self.file), "--mapping", MAPPING, "--json")
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("itarent"),
            *command,
            *("--refused", str(self.system.home / "refused.jsonl")),
            *("--bootstrap-servers", self.system.addresses.kafka),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        counts: dict[str, int] = orjson.loads(printed)
        return counts, time.monotonic() - self.began

    async def _sample(self) -> None:
        """When each stage has last been seen with work left, and the most memory that each service has used."""
        async with watching(self.system) as watch:
            while True:
                left = await watch.backlog()
                stages = {f"{group} (Kafka)": lag for group, lag in left.lags.items()}
                stages["sender (Twilio)"] = left.messages
                for stage, waiting in stages.items():
                    if waiting:
                        self.done_after_s[stage] = time.monotonic() - self.began
                for name in (*SERVICES, SIMULATOR):
                    self.peak_mib[name] = max(self.peak_mib[name], self.system.services[name].rss_bytes() >> 20)
                await asyncio.sleep(0.5)

    async def _told(self) -> tuple[int, int]:
        connection = await asyncpg.connect(self.system.addresses.postgres)
        try:
            ((notifications, messages),) = await connection.fetch(_TOLD)
        finally:
            await connection.close()
        return notifications, messages

    async def _latencies(self, drawn: Sequence[Listing]) -> list[float]:
        """Milliseconds from a listing's publication to Twilio's acceptance of the first message that shows it."""
        published: dict[str, float] = {}
        async with Publisher.connected(self.system.addresses.kafka, "bench") as publisher:
            for number in range(LATENCY_LISTINGS_PER_S * LATENCY_SECONDS):
                listing = as_new(self.chance.choice(drawn), number)
                assert listing.url
                published[listing.url] = time.time()
                await publisher.publish(self.system.topics.listings, [ListingPublished(listing=listing)])
                await asyncio.sleep(max(0.0, 1 / LATENCY_LISTINGS_PER_S - (time.time() - published[listing.url])))
        await drain(self.system, within_seconds=300)
        async with connected(self.system.url(SIMULATOR), self.system.credentials.auth_token) as simulator:
            accepted = {
                url: message.date_created.timestamp()
                for message in reversed(await simulator.messages())
                for url in message.body.split()
                if url in published
            }
        return sorted(1000 * (accepted[url] - at) for url, at in published.items() if url in accepted)


_TOLD = (
    "SELECT (SELECT count(*) FROM sender.notifications), (SELECT count(*) FROM sender.messages WHERE sid IS NOT NULL)"
)
