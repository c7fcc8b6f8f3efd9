"""What the store promises, on a real PostgreSQL."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files

import asyncpg
import pytest

from common.events import AdvertisementParted, NotificationRequested, Parted
from common.listing import Listing, ListingStatus
from common.postgres import CONNECTION_LOST, open_pool
from common.shards import Shard
from matcher.difference import Change, Origin, Published
from matcher.parting import Partings
from matcher.store import PartedMeanwhileError, Store, SupersededError
from testkit.factories import NOW, make_listing, make_subscription, monthly
from testkit.matching import index_of, notifications_of
from testkit.servers import Database
from testkit.waiting import PATIENCE_S

IDEALISTA = {"listing_id": "idealista.it:1", "source": "idealista.it"}
POSITION = [4, 0, 7]


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(database.url("matcher"), "matcher") as pool:
        yield pool


@pytest.fixture
def store(pool: asyncpg.Pool) -> Store:
    return Store(pool)


@pytest.fixture
def partings(pool: asyncpg.Pool) -> Partings:
    return Partings(pool)


async def rows(pool: asyncpg.Pool, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await pool.fetch(query)]


def published(*listings: Listing, since: int = 0) -> list[Published]:
    return [Published(each.listing_id, each, Origin(0, since + number)) for number, each in enumerate(listings)]


def deleted(listing_id: str, offset: int) -> Published:
    return Published(listing_id, None, Origin(0, offset))


async def take(store: Store, batch: Sequence[Published]) -> list[Change]:
    """A whole batch that succeeds."""
    async with store.holding(await store.flats_of(batch)) as flats:
        changes = flats.take(batch)
        await flats.record(changes, POSITION)
    return changes


def announced(changes: Sequence[Change]) -> list[NotificationRequested]:
    return notifications_of(changes, index_of([make_subscription()]))


async def test_two_advertisements_of_one_flat_that_arrive_at_two_instances_at_once_are_joined(store: Store) -> None:
    pairs = [
        (
            make_listing(listing_id=f"immobiliare.it:{area}", area_m2=area),
            make_listing(listing_id=f"idealista.it:{area}", source="idealista.it", area_m2=area),
        )
        for area in range(50, 70)
    ]
    here, there = await asyncio.gather(
        *(store.flats_of(published(*half)) for half in zip(*pairs, strict=True)),
    )
    assert list(here.values()) == list(there.values())
    assert len(set(here.values())) == len(pairs)


async def test_two_flats_of_one_batch_meet_each_other_as_well(store: Store) -> None:
    flats = await store.flats_of(published(make_listing(), make_listing(**IDEALISTA)))
    assert len(set(flats.values())) == 1


async def test_an_advertisement_keeps_its_flat_when_it_changes(store: Store, pool: asyncpg.Pool) -> None:
    before = await store.flats_of(published(make_listing()))
    after = await store.flats_of(published(make_listing(version=2, area_m2=60)))
    assert before == after
    assert await pool.fetchval("SELECT block FROM advertisements") == "015146/60/2"


async def test_a_flat_is_recognised_by_what_its_advertisement_says_now(store: Store) -> None:
    """The first portal lowers the rent, then the second one shows the flat at that rent."""
    agency = {"name": None, "reference": None}
    first = await store.flats_of(
        published(make_listing(agency=agency), make_listing(agency=agency, version=2, rent=monthly(900)))
    )
    second = await store.flats_of(published(make_listing(agency=agency, rent=monthly(900), **IDEALISTA)))
    assert set(first.values()) == set(second.values())


async def test_an_older_version_changes_nothing(store: Store, pool: asyncpg.Pool) -> None:
    await take(store, published(make_listing(version=2)))
    assert await take(store, published(make_listing(version=1, rent=monthly(500)), since=1)) == []
    assert await take(store, published(make_listing(version=2, rent=monthly(500)), since=2)) == []
    assert await rows(pool, "SELECT version, asked FROM known") == [(2, {"1": ["excluded", 1100_00]})]
    assert await pool.fetchval("SELECT count(*) FROM versions") == 1


async def test_several_versions_of_one_flat_in_a_batch_take_effect_in_sequence(
    store: Store, pool: asyncpg.Pool
) -> None:
    listing_id = make_listing().listing_id
    batch = [
        *published(make_listing(), make_listing(version=2, rent=monthly(1000)), make_listing(**IDEALISTA)),
        deleted(listing_id, 3),
        deleted(IDEALISTA["listing_id"], 4),
    ]
    reasons = [each.reason for each in announced(await take(store, batch))]
    assert reasons == ["new", "price_drop", "withdrawn"]
    versions = await rows(pool, 'SELECT listing_id, version, tombstone, "offset" FROM versions ORDER BY effect')
    assert versions == [
        (listing_id, 1, False, 0),
        (listing_id, 2, False, 1),
        (IDEALISTA["listing_id"], 1, False, 2),
        (listing_id, 2, True, 3),
        (IDEALISTA["listing_id"], 1, True, 4),
    ]
    assert await rows(pool, "SELECT DISTINCT subscriptions_position FROM versions") == [(POSITION,)]
    assert await rows(pool, "SELECT DISTINCT active FROM known") == [(False,)]


async def test_what_is_known_survives_as_it_was(store: Store) -> None:
    first = make_listing(description="Con balcone\x00 e \u2028cucina")
    await take(store, published(first))
    async with store.holding(await store.flats_of(published(first))) as flats:
        (change,) = flats.take(published(make_listing(version=2, status=ListingStatus.WITHDRAWN), since=1))
    assert change.before[0].content == first


async def test_a_batch_that_comes_again_after_a_crash_tells_the_same_under_the_same_ids(store: Store) -> None:
    batch = published(make_listing(), make_listing(version=2, rent=monthly(900)))
    told: list[NotificationRequested] = []

    async def crash_when_told() -> None:
        async with store.holding(await store.flats_of(batch)) as flats:
            told.extend(announced(flats.take(batch)))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await crash_when_told()
    again = announced(await take(store, batch))
    assert [each.notification_id for each in again] == [each.notification_id for each in told]
    assert len(told) == 2
    assert await take(store, batch) == []


async def test_a_batch_that_comes_again_after_it_was_committed_changes_nothing(
    store: Store, pool: asyncpg.Pool
) -> None:
    listing_id = make_listing().listing_id
    batch = [*published(make_listing()), deleted(listing_id, 1), *published(make_listing(version=2), since=2)]
    assert len(await take(store, batch)) == 3
    assert await take(store, batch) == []
    assert await rows(pool, "SELECT version, active FROM known") == [(2, True)]


async def test_the_last_two_advertisements_withdrawn_at_two_instances_at_once_withdraw_the_flat_once(
    store: Store,
) -> None:
    await take(store, published(make_listing(), make_listing(**IDEALISTA)))
    gone = ListingStatus.WITHDRAWN
    changes = await asyncio.gather(
        take(store, published(make_listing(version=2, status=gone), since=2)),
        take(store, published(make_listing(version=2, status=gone, **IDEALISTA), since=3)),
    )
    assert [each.reason for each in announced([*changes[0], *changes[1]])] == ["withdrawn"]


async def test_a_tombstone_of_what_was_never_seen_changes_nothing(store: Store) -> None:
    assert await take(store, [deleted("idealista.it:404", 0)]) == []


async def test_an_instance_that_loses_its_flats_fails_before_it_commits_offsets(
    store: Store, database: Database
) -> None:
    batch = published(make_listing())

    async def lose_the_connection() -> None:
        async with store.holding(await store.flats_of(batch)) as flats:
            changes = flats.take(batch)
            administrator = await asyncpg.connect(database.admin_url)
            await administrator.execute(_CUT)
            await administrator.close()
            await flats.record(changes, POSITION)

    with pytest.raises(CONNECTION_LOST):
        await lose_the_connection()
    assert len(await take(store, batch)) == 1


async def test_an_instance_whose_flats_are_given_up_stops_what_it_is_doing(store: Store, database: Database) -> None:
    batch = published(make_listing())

    async def be_given_up() -> None:
        async with store.holding(await store.flats_of(batch)):
            administrator = await asyncpg.connect(database.admin_url)
            await administrator.execute(_CUT)
            await administrator.close()
            await asyncio.Event().wait()

    (ended,), _ = await asyncio.wait([asyncio.create_task(be_given_up())], timeout=PATIENCE_S)
    assert isinstance(ended.exception(), (TimeoutError, *CONNECTION_LOST))
    assert len(await take(store, batch)) == 1


async def test_a_version_that_is_late_in_another_block_does_not_hide_the_later_one(
    store: Store, pool: asyncpg.Pool
) -> None:
    """As when an instance was frozen, and another one has gone on."""
    for number in range(10):
        numbers = range(number * 20, number * 20 + 20)
        early, late = (
            published(*(make_listing(listing_id=f"casa.it:{each}", area_m2=area, version=version) for each in numbers))
            for version, area in ((1, 50), (2, 60))
        )
        await asyncio.gather(store.flats_of(early), store.flats_of(late))
    assert await rows(pool, "SELECT DISTINCT version, block FROM advertisements") == [(2, "015146/60/2")]


async def test_what_one_shard_knows_another_does_not(pool: asyncpg.Pool) -> None:
    """A flat is the same one for all of them."""
    await pool.execute("UPDATE layout SET shards = 2")
    one, two = (Store(pool, shard) for shard in Shard.all(2))
    batch = published(make_listing())
    (first,), (second,) = await asyncio.gather(take(one, batch), take(two, batch))
    assert first.flat_id == second.flat_id
    assert await take(one, batch) == await take(two, batch) == []
    assert await rows(pool, "SELECT shard, shards FROM versions ORDER BY shard") == [(1, 2), (2, 2)]


async def test_a_shard_of_a_layout_that_is_no_more_can_record_nothing(store: Store, pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE layout SET shards = 2")
    with pytest.raises(SupersededError, match="another number of shards"):
        await take(store, published(make_listing()))


_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'matcher' AND state <> 'idle'"


async def test_a_batch_takes_as_many_round_trips_as_a_single_listing(store: Store, pool: asyncpg.Pool) -> None:
    executed: list[str] = []

    def note(query: asyncpg.connection.LoggedQuery) -> None:
        executed.append(query.query)

    async def round_trips(*listings: Listing) -> int:
        executed.clear()
        await take(store, published(*listings))
        return len(executed)

    async with pool.acquire() as connection:  # the pool hands out the connection that was last given back
        connection.add_query_logger(note)
    many = [make_listing(listing_id=f"casa.it:{number}", area_m2=20 + number % 50) for number in range(400)]
    await round_trips(make_listing())
    assert await round_trips(make_listing(**IDEALISTA)) == await round_trips(*many) <= 16
    async with pool.acquire() as connection:
        connection.remove_query_logger(note)


async def test_the_reason_for_joining_is_kept_beside_the_advertisement(store: Store, pool: asyncpg.Pool) -> None:
    await store.flats_of(published(make_listing()))
    await store.flats_of(published(make_listing(**IDEALISTA)))
    await store.flats_of(published(make_listing(version=2, title="Ancora libero")))
    kept = await rows(pool, "SELECT listing_id, joined_by, joined_like FROM advertisements ORDER BY listing_id")
    assert kept == [
        (IDEALISTA["listing_id"], "reference", make_listing().listing_id),
        (make_listing().listing_id, None, None),
    ]


def parted(listing_id: str, *others: str) -> AdvertisementParted:
    return AdvertisementParted(listing_id=listing_id, apart_from=others, parted_at=NOW)


async def part(partings: Partings, what: AdvertisementParted) -> list[NotificationRequested]:
    async with partings.parting(what) as flat:
        told = announced(flat.changes)
        await flat.record(POSITION)
    return told


async def test_both_sides_of_a_flat_that_is_parted_are_flats_of_their_own_and_told_at_once(
    store: Store, partings: Partings, pool: asyncpg.Pool
) -> None:
    casa, idealista = {"listing_id": "casa.it:1", "source": "casa.it"}, IDEALISTA["listing_id"]
    batch = published(make_listing(), make_listing(**IDEALISTA), make_listing(**casa))
    before = await store.flats_of(batch)
    await take(store, batch)
    told = await part(partings, parted(idealista, make_listing().listing_id))

    after = await store.flats_of(batch)
    assert len(set(before.values())) == 1
    assert after[idealista] not in {*before.values(), after["casa.it:1"]}
    assert after["casa.it:1"] == after[make_listing().listing_id] not in before.values()
    assert sorted((each.reason, each.flat_id) for each in told) == sorted(
        ("new", flat_id) for flat_id in set(after.values())
    )
    assert {each.flat_id: each.parted for each in told} == {
        after[idealista]: Parted(flat_id=before[idealista], listing_ids=(idealista,)),
        after["casa.it:1"]: Parted(flat_id=before[idealista], listing_ids=("casa.it:1", make_listing().listing_id)),
    }
    assert await rows(pool, "SELECT listing_id, joined_by FROM advertisements ORDER BY listing_id") == [
        ("casa.it:1", "reference"),
        (idealista, None),
        (make_listing().listing_id, None),
    ]
    assert await part(partings, parted(idealista, make_listing().listing_id)) == [], "the record is read again"
    assert await store.flats_of(batch) == after


async def test_after_a_parting_each_side_is_known_for_what_it_was(store: Store, partings: Partings) -> None:
    await take(store, published(make_listing(), make_listing(**IDEALISTA)))
    await part(partings, parted(IDEALISTA["listing_id"], make_listing().listing_id))
    again = published(make_listing(version=2), make_listing(version=2, rent=monthly(900), **IDEALISTA), since=2)
    assert [each.reason for each in announced(await take(store, again))] == ["price_drop"]
    gone = ListingStatus.WITHDRAWN
    last = published(make_listing(version=3, status=gone), make_listing(version=3, status=gone, **IDEALISTA), since=4)
    assert [each.reason for each in announced(await take(store, last))] == ["withdrawn", "withdrawn"]


async def test_a_withdrawn_advertisement_that_is_parted_is_not_told_until_it_returns(
    store: Store, partings: Partings
) -> None:
    await take(store, published(make_listing(), make_listing(**IDEALISTA)))
    await take(store, published(make_listing(version=2, status=ListingStatus.WITHDRAWN, **IDEALISTA), since=2))
    (told,) = await part(partings, parted(IDEALISTA["listing_id"], make_listing().listing_id))
    assert told.card.listing_id == make_listing().listing_id
    back = await take(store, published(make_listing(version=3, **IDEALISTA), since=3))
    assert [each.reason for each in announced(back)] == ["returned"]


async def test_a_search_is_told_of_a_parted_side_once_however_many_portals_show_it(
    store: Store, partings: Partings
) -> None:
    casa = {"listing_id": "casa.it:1", "source": "casa.it", "rent": monthly(900)}
    await take(store, published(make_listing(), make_listing(**IDEALISTA), make_listing(**casa)))
    told = await part(partings, parted(IDEALISTA["listing_id"], make_listing().listing_id))
    assert [each.reason for each in told] == ["new", "new"]


async def test_every_shard_tells_its_own_users_of_what_the_first_one_has_parted(pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE layout SET shards = 2")
    stores = [Store(pool, shard) for shard in Shard.all(2)]
    partings = [Partings(pool, shard) for shard in Shard.all(2)]
    listings = published(make_listing(), make_listing(**IDEALISTA))
    for store in stores:
        await take(store, listings)
    what = parted(IDEALISTA["listing_id"], make_listing().listing_id)
    first = await part(partings[0], what)
    again = published(make_listing(version=2, rent=monthly(900), **IDEALISTA), since=2)
    assert [each.reason for each in announced(await take(stores[1], again))] == ["price_drop"]
    second = await part(partings[1], what)
    assert {each.flat_id for each in first} == {each.flat_id for each in second}
    assert [each.reason for each in first + second] == ["new"] * 4
    assert await part(partings[0], what) == await part(partings[1], what) == []
    await pool.execute("UPDATE layout SET shards = 1")
    assert await part(Partings(pool), what) == [], "its users were told in the layout before"


async def test_what_is_parted_before_it_is_published_is_never_joined(store: Store, partings: Partings) -> None:
    assert await part(partings, parted(IDEALISTA["listing_id"], make_listing().listing_id)) == []
    for one_batch in (True, False):
        listings = [make_listing(area_m2=50 + one_batch), make_listing(area_m2=50 + one_batch, **IDEALISTA)]
        batches = [listings] if one_batch else [[each] for each in listings]
        flats = [flat for batch in batches for flat in (await store.flats_of(published(*batch))).values()]
        assert len(set(flats)) == 2


async def test_a_parting_that_fails_before_it_is_recorded_tells_the_same_under_the_same_ids(
    store: Store, partings: Partings
) -> None:
    await take(store, published(make_listing(), make_listing(**IDEALISTA)))
    what = parted(IDEALISTA["listing_id"], make_listing().listing_id)
    told: list[NotificationRequested] = []

    async def crash_when_told() -> None:
        async with partings.parting(what) as flat:
            told.extend(announced(flat.changes))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await crash_when_told()
    assert [each.notification_id for each in await part(partings, what)] == [each.notification_id for each in told]


async def test_a_batch_whose_flat_is_parted_meanwhile_comes_again_and_finds_the_flats_of_now(
    store: Store, partings: Partings
) -> None:
    await take(store, published(make_listing(), make_listing(**IDEALISTA)))
    batch = published(make_listing(version=2, rent=monthly(900), **IDEALISTA), since=2)
    found = await store.flats_of(batch)
    await part(partings, parted(IDEALISTA["listing_id"], make_listing().listing_id))
    with pytest.raises(PartedMeanwhileError, match="comes again"):
        async with store.holding(found):
            pass
    (change,) = await take(store, batch)
    assert change.before[0].listing_id == IDEALISTA["listing_id"]


async def test_partings_and_batches_at_once_leave_no_advertisement_in_a_flat_that_ended(
    store: Store, partings: Partings, pool: asyncpg.Pool
) -> None:
    portals = [f"portal{number}.it" for number in range(6)]

    def advertised(version: int) -> list[Published]:
        return published(
            *(make_listing(listing_id=f"{each}:1", source=each, version=version) for each in portals),
            since=10 * version,
        )

    async def publish(version: int) -> None:
        while True:
            with contextlib.suppress(PartedMeanwhileError):
                await take(store, advertised(version))
                return

    await take(store, advertised(1)[:3])
    decided = [part(partings, parted(f"{each}:1", f"{portals[0]}:1")) for each in portals[1:4]]
    await asyncio.gather(*decided, publish(2), publish(3))
    ended = "SELECT listing_id FROM {} WHERE flat_id IN (SELECT parted_from FROM partings)"
    assert await rows(pool, ended.format("advertisements")) == await rows(pool, ended.format("known")) == []
    differing = """SELECT listing_id FROM known JOIN advertisements AS assigned USING (listing_id)
                    WHERE known.flat_id <> assigned.flat_id"""
    assert await rows(pool, differing) == []
    together = """SELECT one.listing_id FROM apart JOIN advertisements AS one USING (listing_id)
                    JOIN advertisements AS other ON other.listing_id = other_id AND other.flat_id = one.flat_id"""
    assert await rows(pool, together) == []


async def test_an_upgrade_keeps_the_rents_that_drops_are_measured_from(database: Database) -> None:
    """The second migration, on what the first one's tables held."""
    administrator = await asyncpg.connect(database.admin_url)
    await administrator.execute(_BEFORE_THE_UPGRADE)
    upgrade = files("matcher").joinpath("migrations/0002_rents_asked.sql").read_text(encoding="utf-8")
    await administrator.execute(upgrade)
    kept = await administrator.fetch("SELECT asked #>> '{}' AS asked FROM known ORDER BY listing_id")
    await administrator.close()
    assert [row["asked"].replace(" ", "") for row in kept] == [
        '{"1":["excluded",90000]}',
        '{"1":["unknown",80000]}',
        "{}",
    ]


_BEFORE_THE_UPGRADE = r"""
SET search_path = matcher;
ALTER TABLE known DROP COLUMN asked;
ALTER TABLE known ADD COLUMN lowest_rent_cents bigint;
INSERT INTO known (listing_id, flat_id, version, active, content, lowest_rent_cents, partition, "offset") VALUES
    ('a', gen_random_uuid(), 1, true,
     '{"description": "\u0000 \"spese\": \"included\"", "rent": {"spese": "excluded"}}', 90000, 0, 0),
    ('b', gen_random_uuid(), 1, true, '{"rent": {}}', 80000, 0, 1),
    ('c', gen_random_uuid(), 1, true, '{}', NULL, 0, 2)
"""
