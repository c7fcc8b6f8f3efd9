"""The whole way of a listing to Twilio, fifty a second, and how soon a STOP holds meanwhile."""

import asyncio
import datetime as dt
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import asyncpg
from rich.console import Console

from common.events import Event, ListingPublished, RecipientSaved, SubscriptionSaved
from common.kafka import Publisher
from common.listing import Listing
from common.postgres import open_pool
from common.search import Subscription
from common.service import in_background
from common.topics import Topic
from itarent.backlog import drain
from itarent.bench.demand import as_new, listings_in, phone, recipient, searches, subscription, user_id
from itarent.bench.results import percentile
from itarent.bench.sending.stage import JOINED_AT_ONCE, PUBLISHED_AT_ONCE, UNLIMITED, Row
from itarent.environment import SENDER, SIMULATOR
from itarent.project import PROJECT
from itarent.system import ANY_PORTS, System, running_system
from local_servers.home import home_of, scratch_home
from twilio_simulator.client import SimulatorClient, connected

T = TypeVar("T")

LISTINGS_PER_S: Final = 50
WARM_UP_S: Final = 5
STOPS_EVERY_S: Final = 0.5
LOOKS_EVERY_S: Final = 0.005
HONOURED_WITHIN_S: Final = 1.0
NO_LIMITS: Final = {SENDER: UNLIMITED, SIMULATOR: {"MESSAGES_PER_SECOND": "0", "REQUESTS_PER_SECOND": "0"}}


async def latency(file: Path, count: int, seconds: int, seed: int, console: Console) -> list[Row]:
    """With so many searches, each of another renter, for so many seconds."""
    chance = random.Random(seed)  # noqa: S311 - seeded
    drawn = list(searches(list(listings_in(file)), count, chance))
    with scratch_home(home_of(PROJECT)) as home:
        async with (
            running_system(home, ports=ANY_PORTS, overrides=NO_LIMITS) as system,
            Publisher.connected(system.addresses.kafka, "bench", compression="zstd") as publisher,
            open_pool(system.addresses.postgres, "bench") as pool,
            connected(system.url(SIMULATOR), system.credentials.auth_token) as simulator,
        ):
            way = _Way(system, publisher, pool, simulator, chance)
            console.print(f"{count:,} renters come in")
            stopping = range(min(count, int(seconds / STOPS_EVERY_S)))
            await way.bring_in([subscription(number, search) for number, (_, search) in enumerate(drawn)], stopping)
            console.print(f"{LISTINGS_PER_S} listings a second for {seconds} s")
            wanted = [listing for listing, _ in drawn]
            await way.publish_each(wanted, WARM_UP_S)
            async with in_background(way.stop_each(stopping)):
                published = await way.publish_each(wanted, seconds)
            await drain(system, within_seconds=300)
            return [await way.row(count, published)]


@dataclass
class _Way:
    """From the listings' topic to Twilio, and back from a phone."""

    system: System
    publisher: Publisher
    pool: asyncpg.Pool
    simulator: SimulatorClient
    chance: random.Random
    stopped_after_ms: list[float] = field(default_factory=list)

    async def bring_in(self, subscriptions: Sequence[Subscription], stopping: Iterable[int]) -> None:
        """Renters with their searches; those that will say STOP have accounts, since the api has to know them."""
        now, topics, numbers = dt.datetime.now(dt.UTC), self.system.topics, range(len(subscriptions))
        people = [(user_id(each), phone(each)) for each in stopping]
        await self.pool.execute(_ACCOUNTS, *map(list, zip(*people, strict=True)))
        await self._publish(topics.recipients, (RecipientSaved(recipient=recipient(each, now)) for each in numbers))
        await self._publish(topics.subscriptions, (SubscriptionSaved(subscription=each) for each in subscriptions))
        for some in _chunks(map(phone, numbers), JOINED_AT_ONCE):
            await self.simulator.join_all(some)
        await drain(self.system, within_seconds=1_800)

    async def _publish(self, topic: Topic, events: Iterable[Event]) -> None:
        for some in _chunks(events, PUBLISHED_AT_ONCE):
            await self.publisher.publish(topic, some)

    async def publish_each(self, wanted: Sequence[Listing], seconds: int) -> Mapping[str, float]:
        """Publish offers like those that somebody wants; when each was, by its address."""
        published: dict[str, float] = {}
        for _ in range(LISTINGS_PER_S * seconds):
            listing = as_new(self.chance.choice(wanted), self.chance.getrandbits(48))
            assert listing.url
            published[listing.url] = time.time()
            await self.publisher.publish(self.system.topics.listings, [ListingPublished(listing=listing)])
            await asyncio.sleep(max(0.0, 1 / LISTINGS_PER_S - (time.time() - published[listing.url])))
        return published

    async def stop_each(self, numbers: Iterable[int]) -> None:
        """One after the other says STOP on the phone: how long until the sender has it in the row that it locks."""
        for number in numbers:
            began = time.perf_counter()
            await self.simulator.write(phone(number), "STOP")
            while not await self.pool.fetchval(_HAS_STOPPED, user_id(number)):  # noqa: ASYNC110 - a row sends no event
                await asyncio.sleep(LOOKS_EVERY_S)
            self.stopped_after_ms.append(1000 * (time.perf_counter() - began))
            await asyncio.sleep(max(0.0, STOPS_EVERY_S - (time.perf_counter() - began)))

    async def row(self, count: int, published: Mapping[str, float]) -> Row:
        told = await self._told(published)
        first, each = [min(of_listing) for of_listing in told.values()], list(itertools.chain(*told.values()))
        return {
            "searches": count,
            "listings told": len(first),
            "messages that show one": len(each),
            "to its first reader, p50 ms": percentile(first, 50),
            "to its first reader, p99 ms": percentile(first, 99),
            "to each reader, p50 ms": percentile(each, 50),
            "to each reader, p99 ms": percentile(each, 99),
            "STOPs": len(self.stopped_after_ms),
            "STOP holds after, p50 ms": percentile(self.stopped_after_ms, 50),
            "STOP holds after, longest ms": max(self.stopped_after_ms),
            "digests begun a second after": await self.pool.fetchval(_BEGUN_AFTER, HONOURED_WITHIN_S),
        }

    async def _told(self, published: Mapping[str, float]) -> Mapping[str, list[float]]:
        """Milliseconds from each listing's publication until Twilio took each message that shows it."""
        told: defaultdict[str, list[float]] = defaultdict(list)
        for message in await self.simulator.messages():
            for word in message.body.split():
                if at := published.get(word):
                    told[word].append(1000 * (message.date_created.timestamp() - at))
        return told


def _chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(values)
    while chunk := list(itertools.islice(left, size)):
        yield chunk


_ACCOUNTS: Final = """
WITH account AS (
    INSERT INTO api.users (user_id, email, password_hash)
    SELECT user_id, user_id || '@renters.example', 'none' FROM unnest($1::uuid[]) AS account(user_id)
)
INSERT INTO api.recipients (user_id, revision, phone, language, time_zone)
SELECT user_id, 1, phone, 'it', 'Europe/Rome' FROM unnest($1::uuid[], $2::text[]) AS renter(user_id, phone)
"""

_HAS_STOPPED: Final = "SELECT (recipient::jsonb ->> 'stopped')::boolean FROM sender.recipients WHERE user_id = $1"

_BEGUN_AFTER: Final = """
SELECT count(*) FROM sender.attempts JOIN sender.messages USING (message_id) JOIN sender.recipients USING (user_id)
WHERE kind = 'digest' AND (recipients.recipient::jsonb ->> 'stopped')::boolean
    AND started_at > (recipients.recipient::jsonb ->> 'stopped_at')::timestamptz + make_interval(secs => $1)
"""
