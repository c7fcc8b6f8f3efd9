"""The matcher as it runs: listings and searches in, notifications out, on a real Kafka and a real PostgreSQL."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from prometheus_client import REGISTRY

from common.events import AdvertisementParted, ListingPublished, NotificationRequested, Reason, SubscriptionSaved
from common.kafka import Encoded, Publisher, tombstone
from common.listing import Listing, ListingStatus, Signal
from common.search import Alert, Commute, Subscription, SubscriptionStatus
from common.service import in_background
from common.shards import Shard
from common.topics import Topics
from matcher.engines import EngineKind
from matcher.layout import NoCommonShardsError, NotLevelError, StillRunningError
from matcher.main import matching
from matcher.searches import Searches, TopicMissingError
from matcher.settings import Settings
from testkit.factories import NOW, USER_ID, make_listing, make_search, make_subscription, monthly
from testkit.records import records_of
from testkit.servers import Database
from testkit.waiting import PATIENCE_S, eventually

from .conftest import RoutingWorld, engine_of, served

IDEALISTA = {"listing_id": "idealista.it:1", "source": "idealista.it"}
GONE = ListingStatus.WITHDRAWN


@pytest.fixture
def settings(kafka: str, topics: Topics, database: Database) -> Settings:
    return Settings(
        kafka_bootstrap_servers=kafka,
        kafka_namespace=topics.listings.name.partition(".")[0],
        database_url=database.url("matcher"),
        http_port=0,
    )


class World:
    """What surrounds the matcher: portals, renters, and who reads the notifications."""

    def __init__(self, publisher: Publisher, kafka: str, topics: Topics) -> None:
        self._publisher = publisher
        self._kafka = kafka
        self._topics = topics

    async def offer(self, *listings: Listing) -> None:
        await self._publisher.publish(self._topics.listings, [ListingPublished(listing=each) for each in listings])

    async def search(self, *subscriptions: Subscription) -> None:
        saved = [SubscriptionSaved(subscription=each) for each in subscriptions]
        await self._publisher.publish(self._topics.subscriptions, saved)

    async def delete_search(self, subscription_id: UUID) -> None:
        await self._publisher.publish_encoded([tombstone(self._topics.subscriptions, str(subscription_id))])

    async def delete_listing(self, listing_id: str) -> None:
        await self._publisher.publish_encoded([tombstone(self._topics.listings, listing_id)])

    async def part(self, listing_id: str, *others: str) -> None:
        parted = AdvertisementParted(listing_id=listing_id, apart_from=others, parted_at=NOW)
        await self._publisher.publish(self._topics.partings, [parted])

    async def publish_raw(self, record: Encoded) -> None:
        await self._publisher.publish_encoded([record])

    async def notifications(self) -> list[NotificationRequested]:
        records = await records_of(self._kafka, self._topics.notifications)
        events = [NotificationRequested.model_validate_json(each.value) for each in records]
        assert [each.key.decode() for each in records] == [event.key for event in events]
        return events

    async def has_told_of(self, flats: int) -> bool:
        """Whether somebody was told of so many flats, whether once or again under the same ids."""
        return len({each.notification_id for each in await self.notifications()}) == flats

    async def so_many(self, count: int) -> list[NotificationRequested]:
        """The notifications, when there are so many."""
        notifications = await self.notifications()
        assert len(notifications) == count
        return notifications

    async def told(self, *reasons: Reason) -> list[NotificationRequested]:
        """The notifications, when they are for these reasons."""

        async def as_expected() -> list[NotificationRequested]:
            notifications = await self.notifications()
            assert [each.reason for each in notifications] == list(reasons)
            return notifications

        return await eventually(as_expected)


@pytest.fixture
async def world(kafka: str, topics: Topics) -> AsyncIterator[World]:
    async with Publisher.connected(kafka, "test") as publisher:
        yield World(publisher, kafka, topics)


async def searches_held(count: int) -> None:
    await eventually(lambda: REGISTRY.get_sample_value("itarent_matcher_searches") == count)


def flats(numbers: Iterable[int]) -> list[Listing]:
    """Different flats that all match."""
    return [make_listing(listing_id=f"casa.it:{number}", agency={}, area_m2=50 + number) for number in numbers]


async def test_every_search_is_loaded_before_the_first_listing_is_taken(settings: Settings, world: World) -> None:
    await world.offer(make_listing())
    users = [UUID(int=number) for number in range(3000)]
    await world.search(*(make_subscription(subscription_id=user, user_id=user) for user in users))
    async with matching(settings):
        notifications = await world.told(*[Reason.NEW] * len(users))
    assert {each.user_id for each in notifications} == set(users)


async def test_searches_that_are_saved_changed_paused_and_deleted_are_followed(
    settings: Settings, world: World
) -> None:
    one, two, three = (make_subscription(subscription_id=UUID(int=n), user_id=UUID(int=n)) for n in (1, 2, 3))
    async with matching(settings):
        await world.search(one, two, three)
        await searches_held(3)
        await world.search(two.model_copy(update={"revision": 2, "status": SubscriptionStatus.PAUSED}))
        await world.delete_search(three.subscription_id)
        await searches_held(1)
        await world.search(two)  # an older revision that is late
        await world.search(make_subscription(subscription_id=UUID(int=4), user_id=UUID(int=4)))
        await searches_held(2)
        await world.offer(make_listing())
        notifications = await world.told(Reason.NEW, Reason.NEW)
    assert {each.user_id for each in notifications} == {UUID(int=1), UUID(int=4)}


async def test_a_search_that_was_saved_before_is_there_when_a_listing_is_matched(
    settings: Settings, world: World
) -> None:
    topics = settings.topics
    async with (
        Searches.loaded(settings.kafka_bootstrap_servers, topics.subscriptions) as searches,
        in_background(searches.follow()),
    ):
        for number in range(1, 31):
            await world.search(make_subscription(subscription_id=UUID(int=number), user_id=UUID(int=number)))
            async with searches.held() as held:
                assert sum(held.position) == number


async def test_a_user_with_two_searches_is_told_once_of_both(settings: Settings, world: World) -> None:
    second = make_subscription(subscription_id=UUID(int=2), name="Ancora Milano", alerts=frozenset({Alert.PRICE_DROP}))
    await world.search(make_subscription(), second)
    async with matching(settings):
        await world.offer(make_listing())
        (notification,) = await world.told(Reason.NEW)
    assert notification.user_id == USER_ID
    assert {each.name: each.alert for each in notification.searches} == {
        "Bilocale a Milano": True,
        "Ancora Milano": False,
    }


async def test_the_life_of_a_flat_on_two_portals(settings: Settings, world: World) -> None:
    await world.search(make_subscription())
    first = make_listing()
    async with matching(settings):
        await world.offer(first)
        await world.told(Reason.NEW)
        await world.offer(make_listing(**IDEALISTA))
        await world.offer(make_listing(version=2, rent=monthly(1000)))
        notifications = await world.told(Reason.NEW, Reason.PRICE_DROP)
        await world.offer(make_listing(version=2, status=GONE, **IDEALISTA))
        await world.offer(make_listing(version=3, rent=monthly(900)))
        await world.told(Reason.NEW, Reason.PRICE_DROP, Reason.PRICE_DROP)
        await world.delete_listing(first.listing_id)
        await world.told(Reason.NEW, Reason.PRICE_DROP, Reason.PRICE_DROP, Reason.WITHDRAWN)
    assert notifications[1].previous_rent_cents == 1100_00
    assert len({each.flat_id for each in notifications}) == 1


async def test_two_flats_that_were_taken_for_one_are_parted_and_told(
    settings: Settings, world: World, database: Database
) -> None:
    await world.search(make_subscription())
    async with matching(settings):
        await world.offer(make_listing())
        await world.told(Reason.NEW)
        await world.offer(make_listing(**IDEALISTA))
        await _known(database, 2)
        await world.part(IDEALISTA["listing_id"], make_listing().listing_id)
        told = await world.told(Reason.NEW, Reason.NEW, Reason.NEW)
        await world.offer(make_listing(version=2, status=GONE, **IDEALISTA))
        gone = (await world.told(Reason.NEW, Reason.NEW, Reason.NEW, Reason.WITHDRAWN))[-1]
    first, *sides = told
    assert len({each.flat_id for each in told}) == 3
    assert {each.parted and each.parted.flat_id for each in sides} == {first.flat_id}
    assert gone.flat_id == next(each.flat_id for each in sides if each.card.listing_id == IDEALISTA["listing_id"])


async def test_a_listing_that_is_delivered_again_is_told_under_the_same_id(
    settings: Settings, world: World, database: Database
) -> None:
    """As after a crash between publishing and making known."""
    await world.search(make_subscription())
    await world.offer(*flats(range(30)))
    async with matching(settings):
        first = await world.told(*[Reason.NEW] * 30)
    await _forget(database)
    await _rewind(settings)
    async with matching(settings):
        both = await world.told(*[Reason.NEW] * 60)
    assert len({each.notification_id for each in both}) == len({each.notification_id for each in first}) == 30


async def test_a_listing_that_is_delivered_again_when_it_is_known_is_told_no_more(
    settings: Settings, world: World
) -> None:
    await world.search(make_subscription())
    await world.offer(*flats(range(30)))
    async with matching(settings):
        await world.told(*[Reason.NEW] * 30)
    await _rewind(settings)
    async with matching(settings):
        await world.offer(*flats([30]))
        await world.told(*[Reason.NEW] * 31)


async def test_a_record_that_makes_no_sense_goes_to_the_dead_letters_and_the_rest_goes_on(
    settings: Settings, world: World, kafka: str, topics: Topics
) -> None:
    await world.search(make_subscription())
    await world.publish_raw(Encoded(topics.subscriptions.name, "no id of ours", b"{}", {}))
    await world.publish_raw(tombstone(topics.subscriptions, "no id of ours"))
    for value in (b"not JSON", b'{"listing": {"version": NaN}}', b"[" * 100_000):
        await world.publish_raw(Encoded(topics.listings.name, "casa.it:1", value, {}))
    await world.offer(*flats(range(5)))
    async with matching(settings):
        await world.told(*[Reason.NEW] * 5)
    assert len(await records_of(kafka, topics.listings.dead_letters)) == 3


async def test_nothing_is_lost_while_the_database_cuts_connections(
    settings: Settings, world: World, database: Database
) -> None:
    await world.search(make_subscription())
    administrator = await asyncpg.connect(database.admin_url)
    async with matching(settings):
        for part in range(10):
            await world.offer(*flats(range(part * 20, part * 20 + 20)))
            await administrator.execute(_CUT)

        # Published and cut off before it was made known, a batch comes again under the same ids.
        await eventually(partial(world.has_told_of, 200))
        await eventually(lambda: administrator.fetchval("SELECT count(*) = 200 FROM matcher.known WHERE active"))
    await administrator.close()


async def test_every_version_is_recorded_with_the_searches_it_was_matched_against(
    settings: Settings, world: World, database: Database
) -> None:
    await world.search(*(make_subscription(subscription_id=UUID(int=number)) for number in range(20)))
    await world.offer(make_listing())
    async with matching(settings):
        await world.told(Reason.NEW)
    administrator = await asyncpg.connect(database.admin_url)
    position = await administrator.fetchval("SELECT subscriptions_position FROM matcher.versions")
    await administrator.close()
    assert len(position) == settings.topics.subscriptions.partitions
    assert sum(position) == 20


async def test_minutes_to_work_and_signals_are_found_out_before_a_flat_is_told(
    settings: Settings, world: World, routing_world: RoutingWorld
) -> None:
    office = Commute(to={"latitude": 45.4642, "longitude": 9.19}, minutes=20)
    near, far = (make_search(commutes=(office.model_copy(update={"minutes": minutes}),)) for minutes in (20, 10))
    await world.search(
        make_subscription(search=near), make_subscription(subscription_id=UUID(int=2), user_id=UUID(int=2), search=far)
    )
    routing_world.way(office.to, office.by, 15 * 60)
    scam = make_listing(description="Sono all'estero. Paghi con Western Union e spedirò le chiavi.")
    async with served(engine_of(EngineKind.VALHALLA, routing_world)) as url:
        asking = settings.model_copy(update={"commute_engine": EngineKind.VALHALLA, "commute_url": url})
        async with matching(asking):
            await world.offer(scam)
            (notification,) = await world.told(Reason.NEW)
            await world.offer(make_listing(version=2, status=GONE))
            _, gone = await world.told(Reason.NEW, Reason.WITHDRAWN)
    assert (notification.user_id, gone.user_id) == (USER_ID, USER_ID)
    assert notification.card.signals == (Signal.SCAM_SIGNS,)
    assert notification.searches[0].unknown == ()


async def test_a_matcher_without_topics_says_so(kafka: str, topics: Topics) -> None:
    missing = dataclasses.replace(topics.subscriptions, name=f"{topics.subscriptions.name}.missing")
    with pytest.raises(TopicMissingError, match="create the topics"):
        async with Searches.loaded(kafka, missing):
            pass


async def started_process(settings: Settings) -> Process:
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "KAFKA_NAMESPACE": settings.kafka_namespace,
        "DATABASE_URL": settings.database_url,
        "HTTP_PORT": "0",
    }
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "matcher", env=environment)


async def test_a_service_that_is_told_to_stop_finishes_and_ends_well(settings: Settings, world: World) -> None:
    await world.search(make_subscription())
    process = await started_process(settings)
    await world.offer(flats([1])[0])
    await eventually(partial(_has_committed, settings, 1))  # its group has settled down
    await world.offer(flats([2])[0])
    await world.told(Reason.NEW, Reason.NEW)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    assert await _has_committed(settings, 2)


async def _has_committed(settings: Settings, records: int) -> bool:
    return sum(await _committed(settings)) == records


async def _known(database: Database, count: int) -> None:
    administrator = await asyncpg.connect(database.admin_url)

    async def as_many() -> bool:
        return bool(await administrator.fetchval("SELECT count(*) = $1 FROM matcher.known", count))

    await eventually(as_many)
    await administrator.close()


async def test_what_a_frozen_matcher_is_at_is_taken_over_and_not_told_again_when_it_thaws(
    settings: Settings, world: World, database: Database
) -> None:
    users = [UUID(int=number) for number in range(500)]
    await world.search(*(make_subscription(subscription_id=user, user_id=user) for user in users))
    frozen = await started_process(settings)
    administrator = await asyncpg.connect(database.admin_url)
    try:
        offered = await _freeze_in_a_batch(frozen, world, administrator)
        async with matching(settings):
            await eventually(lambda: administrator.fetchval(_ALL_KNOWN, offered), within_seconds=40)
            frozen.send_signal(signal.SIGCONT)
            await world.offer(*flats(range(offered, offered + 5)))
            await eventually(lambda: administrator.fetchval(_ALL_KNOWN, offered + 5), within_seconds=40)
        frozen.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(frozen.wait(), PATIENCE_S) == 0
    finally:
        await administrator.close()
        if frozen.returncode is None:
            frozen.kill()
            await frozen.wait()
    told = {(each.user_id, each.flat_id): each.notification_id for each in await world.notifications()}
    assert len(told) == len(set(told.values())) == len(users) * (offered + 5)


async def _freeze_in_a_batch(matcher: Process, world: World, administrator: "asyncpg.Connection[Any]") -> int:
    """Stop it while it holds flats; returns how many flats were offered until that succeeded."""
    for offered in range(20, 400, 20):
        await world.offer(*flats(range(offered - 20, offered)))
        await eventually(lambda: administrator.fetchval(_HOLDS_FLATS), within_seconds=60)
        matcher.send_signal(signal.SIGSTOP)
        if await administrator.fetchval(_HOLDS_FLATS):
            return offered
        matcher.send_signal(signal.SIGCONT)
    pytest.fail("it was never in the middle of a batch")


_HOLDS_FLATS = """
SELECT count(*) > 0 FROM pg_stat_activity
 WHERE application_name = 'matcher' AND state = 'idle in transaction' AND query LIKE '%FROM known%'
"""
_ALL_KNOWN = "SELECT count(*) = $1 FROM matcher.known"


async def test_two_matchers_under_one_name_drive_each_other_out_and_lose_nothing(
    settings: Settings, world: World
) -> None:
    """As when a frozen one comes back beside the one that was started in its place."""
    await world.search(make_subscription())
    named = settings.model_copy(update={"kafka_instance_id": "matcher-1"})
    async with matching(named), matching(named):
        for wave in range(8):
            await world.offer(*flats(range(wave * 5, wave * 5 + 5)))
            await eventually(partial(world.has_told_of, wave * 5 + 5))


# --- shards ----------------------------------------------------------------------------------------------------------


def shards_of(settings: Settings, of: int) -> list[Settings]:
    return [settings.model_copy(update={"matcher_shard": each.number, "matcher_shards": of}) for each in Shard.all(of)]


@contextlib.asynccontextmanager
async def matching_as(all_shards: Iterable[Settings]) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for each in all_shards:
            await stack.enter_async_context(matching(each))
        yield


async def test_every_user_is_told_by_one_shard(settings: Settings, world: World) -> None:
    users = [UUID(int=number) for number in range(30)]
    await world.search(*(make_subscription(subscription_id=user, user_id=user) for user in users))
    async with matching_as(shards_of(settings, 3)):
        await world.offer(*flats(range(4)))
        notifications = await world.told(*[Reason.NEW] * 120)
    assert len({(each.user_id, each.flat_id) for each in notifications}) == 120
    assert len({each.flat_id for each in notifications}) == 4


@pytest.mark.parametrize("numbers", [(1, 2, 4), (4, 1, 3), (2, 6, 3)])
async def test_another_number_of_shards_begins_where_the_last_one_ended(
    settings: Settings, world: World, numbers: tuple[int, int, int]
) -> None:
    """Nobody is told again, nobody who came later is told of old flats, and nothing that comes meanwhile is missed."""
    before, between, after = (shards_of(settings, of) for of in numbers)
    early, late = ([UUID(int=number) for number in numbers] for numbers in (range(12), range(12, 24)))
    await world.search(*(make_subscription(subscription_id=user, user_id=user) for user in early))
    async with matching_as(before):
        await world.offer(*flats(range(5)))
        await world.told(*[Reason.NEW] * 60)
    await world.search(*(make_subscription(subscription_id=user, user_id=user) for user in late))
    await world.offer(flats([5])[0])
    async with matching_as(between):
        await world.told(*[Reason.NEW] * 84)
        await world.offer(flats([0])[0].model_copy(update={"version": 2, "title": "Come nuovo"}), flats([6])[0])
        await world.told(*[Reason.NEW] * 108)
    await _commit_offsets(settings, after, 0)  # of an earlier time with as many shards: they mean nothing now
    async with matching_as(after):
        await world.offer(flats([0])[0].model_copy(update={"version": 3, "rent": monthly(500)}))
        notifications = await eventually(lambda: world.so_many(108 + 24))
    assert Counter(each.reason for each in notifications) == {Reason.NEW: 108, Reason.PRICE_DROP: 24}
    assert len({each.notification_id for each in notifications}) == len(notifications)
    assert {sum(await _committed(each)) for each in after} == {9}


async def test_shards_of_another_number_do_not_start_while_those_before_run(settings: Settings, world: World) -> None:
    await world.search(make_subscription())
    await world.offer(make_listing())
    async with matching(settings):
        await world.told(Reason.NEW)
        with pytest.raises(StillRunningError, match="Stop them"):
            await matching(shards_of(settings, 2)[0]).__aenter__()
    async with matching_as(shards_of(settings, 2)):
        with pytest.raises(StillRunningError, match=r"matcher-1-of-2, .*matcher-2-of-2"):
            await matching(settings).__aenter__()


async def test_shards_that_do_not_know_the_same_do_not_become_one(
    settings: Settings, world: World, database: Database
) -> None:
    await world.search(make_subscription())
    async with matching_as(shards_of(settings, 2)):
        await world.offer(make_listing())
        await world.told(Reason.NEW)
    administrator = await asyncpg.connect(database.admin_url)
    await administrator.execute("DELETE FROM matcher.known WHERE shard = 1")
    await administrator.close()
    with pytest.raises(NotLevelError, match="publish nothing"):
        await matching(settings).__aenter__()
    with pytest.raises(NoCommonShardsError, match="by way of 1"):
        await matching(shards_of(settings, 3)[0]).__aenter__()


async def _forget(database: Database) -> None:
    administrator = await asyncpg.connect(database.admin_url)
    await administrator.execute("TRUNCATE matcher.known, matcher.versions")
    await administrator.close()


async def _rewind(settings: Settings) -> None:
    await _commit_offsets(settings, [settings], 0)


async def _commit_offsets(settings: Settings, groups: Iterable[Settings], offset: int) -> None:
    for group in groups:
        async with _as_the_group(group) as consumer:
            await consumer.commit({partition: OffsetAndMetadata(offset, "") for partition in _partitions(settings)})


async def _committed(settings: Settings) -> Sequence[int]:
    async with _as_the_group(settings) as consumer:
        return [await consumer.committed(partition) or 0 for partition in _partitions(settings)]


def _as_the_group(settings: Settings) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=settings.topics.group(settings.shard.service),
        enable_auto_commit=False,
    )
    consumer.assign(_partitions(settings))
    return consumer


def _partitions(settings: Settings) -> list[TopicPartition]:
    topic = settings.topics.listings
    return [TopicPartition(topic.name, number) for number in range(topic.partitions)]


_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'matcher'"
