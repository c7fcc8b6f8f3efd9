"""Kafka to Kafka: listings in, notifications out, beside what the client alone can publish of the same records.

The ceiling is the client's best way: records that are ready, in batches that it compresses and sends, many at a time.
"""

import asyncio
import dataclasses
import gc
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from rich.console import Console

from common.batches import LARGEST_BATCH, Ready, Written, written
from common.comuni import Comuni
from common.events import ListingPublished
from common.kafka import create_topics, encode
from common.listing import Listing, Rent, SpeseTerm
from common.search import InComune, RentLimit, Search, Subscription
from common.topics import Topic
from itarent.bench.alone import Bench, matcher_alone
from itarent.bench.demand import subscription
from itarent.bench.results import keep, write_table
from itarent.commands import until_stopped

ROUNDS: Final = 3
WARM_UP_LISTINGS: Final = 5
ACKNOWLEDGED_WITHIN_S: Final = 60.0

LISTINGS_OF_A_BATCH: Final = 500

Row = Mapping[str, Any]
Kept = tuple[bytes, bytes, list[tuple[str, bytes]]]
"""A record as the client takes it."""


def kafka(
    *,
    counts: Annotated[list[int] | None, typer.Option("--matches", help="of a listing; may be repeated")] = None,
    notifications: Annotated[int, typer.Option(help="of each count, in each of three rounds")] = 100_000,
    seed: int = 1,
) -> None:
    """Measure the matcher from Kafka to Kafka beside the bare client; writes benchmarks/results/kafka.json."""
    console = Console()
    until_stopped(_kafka(counts or [10, 100, 1_000, 10_000], notifications, seed, console), console)


async def _kafka(counts: Sequence[int], notifications: int, seed: int, console: Console) -> None:
    async with matcher_alone() as bench:
        places = dict(zip(counts, (each.code for each in Comuni.load()), strict=False))
        await bench.save(_searches(places))
        rows = []
        for count, place in places.items():
            console.print(f"{count} matches a listing")
            rows.append(await _measure(bench, count, place, max(1, notifications // count)))
    console.print(f"Written: {keep('kafka', seed, rows)}")
    write_table()


def _searches(places: Mapping[int, str]) -> Iterator[Subscription]:
    """For each comune as many searches as a listing there is to match, each of another renter."""
    wanted = (place for count, place in places.items() for _ in range(count))
    for number, place in enumerate(wanted):
        search = Search(places=(InComune(code=place),), rent=RentLimit(maximum_cents=2_000_00))
        yield subscription(number, search)


async def _measure(bench: Bench, count: int, place: str, listings: int) -> Row:
    numbers = iter(range(WARM_UP_LISTINGS + ROUNDS * listings))
    await _round(bench, [_listing(place, next(numbers)) for _ in range(WARM_UP_LISTINGS)], count)
    ours, bare = [], []
    for _ in range(ROUNDS):
        taken_s, records = await _round(bench, [_listing(place, next(numbers)) for _ in range(listings)], count)
        ours.append(listings * count / taken_s)
        bare.append(listings * count / await _bare(bench, records))
    rate, ceiling = statistics.median(ours), statistics.median(bare)
    return {
        "matches a listing": count,
        "listings": listings,
        "notifications": listings * count,
        "listings/s": rate / count,
        "notifications/s": rate,
        "bare client, records/s": ceiling,
        "of the bare client %": 100 * rate / ceiling,
    }


def _listing(place: str, number: int) -> Listing:
    """One of many sizes: all that a comune has to offer is not of one block."""
    return Listing(
        listing_id=f"bench:{place}-{number}",
        version=1,
        source="bench",
        url=f"https://bench.example/annunci/{place}/{number}",
        title="Bilocale ristrutturato con balcone, a due passi dalla metropolitana",
        comune=place,
        comune_name="Milano",
        zone="Loreto - Buenos Aires",
        rent=Rent(amount_cents=1_100_00, spese=SpeseTerm.EXCLUDED),
        spese_cents=120_00,
        rooms=1 + number % 5,
        area_m2=30 + number % 170,
    )


async def _round(bench: Bench, listings: Sequence[Listing], count: int) -> tuple[float, list[list[Kept]]]:
    """Seconds from before the listings are published until the last notification is in Kafka; the notifications."""
    topics = bench.system.topics
    slices = _slices(topics.listings, listings)
    begin = await bench.end(topics.notifications)
    began = time.perf_counter()
    await bench.publisher.publish_slices(topics.listings, slices, each_within_s=ACKNOWLEDGED_WITHIN_S)
    await bench.until(topics.notifications, begin, len(listings) * count)
    taken_s = time.perf_counter() - began
    await bench.until_all_is_handled()
    read = await bench.records(topics.notifications, begin)
    return taken_s, [[(each.key, each.value, list(each.headers)) for each in records] for records in read.values()]


def _slices(topic: Topic, listings: Sequence[Listing]) -> list[list[list[Written]]]:
    """Listings as batches of their partitions."""
    partitions: list[list[Ready]] = [[] for _ in range(topic.partitions)]
    choose, numbers = DefaultPartitioner(), list(range(topic.partitions))
    for each in listings:
        encoded = encode(topic, ListingPublished(listing=each), "bench")
        assert encoded.value
        key, headers = encoded.key.encode(), {name: value.encode() for name, value in encoded.headers.items()}
        partitions[choose(key, numbers, [])].append((key, encoded.value, headers))
    longest = max(map(len, partitions))
    return [
        [[written(part)] if (part := records[first : first + LISTINGS_OF_A_BATCH]) else [] for records in partitions]
        for first in range(0, longest, LISTINGS_OF_A_BATCH)
    ]


async def _bare(bench: Bench, records: list[list[Kept]]) -> float:
    """Seconds in which the client alone publishes the same to a topic of the same kind, in a loop like a service's."""
    topic = dataclasses.replace(bench.system.topics.notifications, name=f"{bench.system.topics.namespace}.bare")
    await create_topics(bench.system.addresses.kafka, [topic])
    gc.collect()
    gc.freeze()  # a collector that walks through all that is ready would slow the client down
    try:
        return await asyncio.to_thread(uvloop.run, _publish(bench.system.addresses.kafka, topic, records))
    finally:
        gc.unfreeze()


async def _publish(bootstrap: str, topic: Topic, records: list[list[Kept]]) -> float:
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        max_batch_size=LARGEST_BATCH,
    ) as producer:
        await producer.partitions_for(topic.name)

        async def publish_partition(number: int) -> None:
            batch, sent = producer.create_batch(), []
            for key, value, headers in records[number]:
                if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
                    sent.append(await producer.send_batch(batch, topic.name, partition=number))
                    batch = producer.create_batch()
                    batch.append(timestamp=None, key=key, value=value, headers=headers)
            sent.append(await producer.send_batch(batch, topic.name, partition=number))
            await asyncio.gather(*sent)

        began = time.perf_counter()
        await asyncio.gather(*map(publish_partition, range(len(records))))
        return time.perf_counter() - began
