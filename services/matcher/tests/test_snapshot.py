"""Searches that were kept on the disk are those that were read; a snapshot that cannot be trusted is not used."""

import asyncio
import datetime as dt
import pickle
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from uuid import UUID

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from common.events import SubscriptionSaved
from common.kafka import Publisher, create_topics
from common.listing import Listing
from common.search import Search, Subscription
from common.topics import Topic, Topics
from matcher import partition, snapshot
from matcher.searches import Searches
from matcher.snapshot import Mark, Of, Snapshot, Snapshots, UnusableError
from matcher.table import Table
from testkit.factories import NOW, make_listing, make_search, make_subscription
from testkit.strategies import listings, searches_near

OF = Of("itarent.subscriptions.v1", "matcher")
MARKS = (Mark(7, 1_700_000_000_000), Mark(0, 0))


def subscription(number: int, search: Search | None = None, revision: int = 1) -> Subscription:
    key = UUID(int=number)
    return make_subscription(subscription_id=key, user_id=key, revision=revision, search=search or make_search())


def table_of(subscriptions: Iterable[Subscription]) -> Table:
    table = Table()
    put(table, subscriptions)
    return table


def put(table: Table, subscriptions: Iterable[Subscription]) -> None:
    for each in subscriptions:
        table.index.put(table.reader.filed(each))
        table.asking.put(each)


def found(table: Table, listing: Listing) -> dict[bytes, int]:
    matches = table.index.match(listing)
    ids = [table.index.register.subscription_ids[number].tobytes() for number in matches.numbers]
    return dict(zip(ids, matches.flagged.tolist(), strict=True))


def snapshots_in(folder: Path, of: Of = OF, now: dt.datetime = NOW) -> Snapshots:
    return Snapshots(folder / "searches.snapshot", of, lambda: now)


def saved(folder: Path, table: Table | None = None) -> Snapshots:
    snapshots = snapshots_in(folder)
    snapshots.written(Snapshot(table or table_of([subscription(1)]), MARKS)).save(snapshots.path)
    return snapshots


@st.composite
def markets(draw: st.DrawFn) -> tuple[Listing, list[Search]]:
    listing = draw(listings())
    return listing, draw(st.lists(searches_near(listing), min_size=2, max_size=6))


@pytest.mark.parametrize("copies", [1, 70], ids=["one by one", "with rows"])
def test_what_is_loaded_answers_and_changes_as_what_was_saved(
    copies: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "ONE_BY_ONE", copies)

    @settings(derandomize=True, deadline=None, max_examples=30)
    @given(markets())
    def agree(market: tuple[Listing, list[Search]]) -> None:
        listing, wanted = market
        table = table_of(subscription(number, search) for number, search in enumerate(wanted * copies))
        found(table, listing)
        loaded = saved(tmp_path, table).load()
        assert loaded
        assert loaded.marks == MARKS
        for each in (table, loaded.table):
            each.index.remove(UUID(int=0).bytes)
            put(each, [subscription(1, wanted[0], revision=2), subscription(10_000, wanted[0])])
        assert found(loaded.table, listing) == found(table, listing)
        assert len(loaded.table.index) == len(table.index)

    agree()


def test_searches_that_ask_the_way_ask_on(tmp_path: Path) -> None:
    wanted = make_search(commutes=[{"to": {"latitude": 45.46, "longitude": 9.19}, "minutes": 30}])
    loaded = saved(tmp_path, table_of([subscription(1, wanted)])).load()
    assert loaded
    assert list(loaded.table.asking.of(make_listing())) == [wanted]


def test_without_a_snapshot_there_is_none(tmp_path: Path) -> None:
    assert snapshots_in(tmp_path).load() is None


def test_a_snapshot_of_which_any_byte_is_another_is_refused(tmp_path: Path) -> None:
    snapshots = saved(tmp_path)
    whole = snapshots.path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 200)):
        snapshots.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(UnusableError):
            snapshots.load()
    for length in (0, 5, 30, len(whole) // 2, len(whole) - 1):
        snapshots.path.write_bytes(whole[:length])
        with pytest.raises(UnusableError):
            snapshots.load()


def test_a_snapshot_of_another_topic_shard_version_or_week_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path)
    for other, because in [
        (snapshots_in(tmp_path, Of("other.subscriptions.v1", "matcher")), "it is of"),
        (snapshots_in(tmp_path, Of(OF.topic, "matcher-1-of-2")), "it is of"),
        (snapshots_in(tmp_path, now=NOW + dt.timedelta(days=8)), "older"),
    ]:
        with pytest.raises(UnusableError, match=because):
            other.load()
    monkeypatch.setattr(snapshot, "_version", lambda: "tomorrow's")
    with pytest.raises(UnusableError, match="another version"):
        snapshots_in(tmp_path).load()


def test_a_snapshot_calls_nothing_that_is_not_of_the_table() -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("1 + 1",)

    with pytest.raises(UnusableError, match="UnpicklingError"):
        snapshot._unpickled([bytearray(pickle.dumps(Hostile(), protocol=5))])


def test_a_snapshot_that_cannot_be_finished_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = saved(tmp_path)
    monkeypatch.setattr("os.fsync", _full)
    with pytest.raises(OSError, match="no space"):
        saved(tmp_path, table_of([]))
    loaded = snapshots.load()
    assert loaded
    assert len(loaded.table.index) == 1


def _full(_: int) -> None:
    raise OSError("no space left on device")


# On Kafka


@pytest.fixture
async def publisher(kafka: str) -> AsyncIterator[Publisher]:
    async with Publisher.connected(kafka, "test") as publisher:
        yield publisher


async def publish(publisher: Publisher, topics: Topics, *numbers: int) -> None:
    saved_searches = [SubscriptionSaved(subscription=subscription(number)) for number in numbers]
    await publisher.publish(topics.subscriptions, saved_searches)


async def held_ids(kafka: str, topics: Topics, snapshots: Snapshots) -> set[int]:
    """The searches after a start, by number; a snapshot is left behind."""
    async with Searches.loaded(kafka, topics.subscriptions, snapshots=snapshots) as searches:
        return {UUID(bytes=each).int for each in found(searches._table, make_listing())}


async def test_a_matcher_that_starts_again_reads_what_came_since(
    kafka: str, topics: Topics, publisher: Publisher, tmp_path: Path
) -> None:
    snapshots = snapshots_in(tmp_path)
    await publish(publisher, topics, 1, 2, 3)
    assert await held_ids(kafka, topics, snapshots) == {1, 2, 3}
    kept = snapshots.load()
    assert kept
    put(kept.table, [subscription(99)])  # which Kafka does not hold: whoever has it has it from the snapshot
    snapshots.written(kept).save(snapshots.path)
    await publish(publisher, topics, 4)
    assert await held_ids(kafka, topics, snapshots) == {1, 2, 3, 4, 99}


async def test_a_matcher_that_has_no_searches_starts_again(kafka: str, topics: Topics, tmp_path: Path) -> None:
    snapshots = snapshots_in(tmp_path)
    for _ in range(2):
        assert await held_ids(kafka, topics, snapshots) == set()


async def delete(kafka: str, topic: Topic) -> None:
    """Delete a topic, and wait until the broker has: until then it takes records into the old one, and drops them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.delete_topics([topic.name])
        async with asyncio.timeout(30):
            while not await is_unknown(admin, topic):  # noqa: ASYNC110 - a broker sends no event
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def is_unknown(admin: AIOKafkaAdminClient, topic: Topic) -> bool:
    (described,) = await admin.describe_topics([topic.name])
    return for_code(described["error_code"]) is UnknownTopicOrPartitionError


async def test_a_snapshot_of_a_topic_that_was_made_anew_is_ignored_with_a_warning(
    kafka: str, topics: Topics, publisher: Publisher, tmp_path: Path
) -> None:
    snapshots = snapshots_in(tmp_path)
    await publish(publisher, topics, 1, 2, 3)
    await held_ids(kafka, topics, snapshots)
    await delete(kafka, topics.subscriptions)
    await create_topics(kafka, [topics.subscriptions])
    async with Publisher.connected(kafka, "test") as anew:
        await publish(anew, topics, *range(5, 40))
    with capture_logs() as logs:
        assert await held_ids(kafka, topics, snapshots) == set(range(5, 40))
    assert [each["log_level"] for each in logs if each["event"].startswith("snapshot ignored")] == ["warning"]


async def test_a_damaged_snapshot_is_ignored_with_a_warning(
    kafka: str, topics: Topics, publisher: Publisher, tmp_path: Path
) -> None:
    snapshots = snapshots_in(tmp_path)
    snapshots.path.write_bytes(b"not a snapshot")
    await publish(publisher, topics, 1)
    with capture_logs() as logs:
        assert await held_ids(kafka, topics, snapshots) == {1}
    assert [each["reason"] for each in logs if each["log_level"] == "warning"] == ["it is no snapshot of this format"]
