"""Minutes to work: remembered, bounded, decided once; on a real PostgreSQL, with engines over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from uuid import UUID

import asyncpg
import pytest

from common.explain import explain, match
from common.geo import cell_of
from common.listing import Appraisal, Journey, Listing, Position, Signal, TravelMode
from common.postgres import open_pool
from common.rules import DESTINATION_DEGREES
from common.search import Commute, Criterion, Search, UnknownPolicy
from common.shards import EVERYBODY
from matcher.appraisals import Appraisals
from matcher.asking import Asking
from matcher.commutes import Commutes, Way, ways_wanted_by
from matcher.difference import Known, Origin, Published
from matcher.engines import EngineKind, engine_at
from testkit.factories import NOW, make_listing, make_search, make_subscription, monthly
from testkit.servers import Database

from .conftest import PATHS, RoutingWorld, engine_of, served

DUOMO = Position(latitude=45.4642, longitude=9.19)
OFFICE = Commute(to=DUOMO, label="Ufficio", minutes=30)
IN_HALF_AN_HOUR = make_search(commutes=(OFFICE,))
LISTING = make_listing()


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(database.url("matcher"), "matcher") as pool:
        yield pool


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> EngineKind:
    return EngineKind(getattr(request, "param", EngineKind.OTP))


@pytest.fixture
async def commutes(pool: asyncpg.Pool, routing_world: RoutingWorld, kind: EngineKind) -> AsyncIterator[Commutes]:
    async with (
        served(engine_of(kind, routing_world)) as url,
        engine_at(kind, f"{url}{PATHS[kind]}", lambda: NOW) as engine,
    ):
        yield Commutes(pool, engine, 5.0)


async def appraised(
    commutes: Commutes, listing: Listing, searches: Iterable[Search] = (IN_HALF_AN_HOUR,), known: Known | None = None
) -> Listing:
    """A listing that was published, as it is matched."""
    appraisals = Appraisals(commutes.pool, EVERYBODY, None, commutes)
    published = Published(listing.listing_id, listing, Origin(0, 0))
    asking = Asking()
    for number, search in enumerate(searches):
        asking.put(make_subscription(subscription_id=UUID(int=number), search=search))
    (made,) = await appraisals.made([published], {listing.listing_id: known} if known else {}, asking.of)
    assert made.listing
    return made.listing


async def test_a_flat_is_told_to_who_is_near_enough_by_what_the_engine_says(
    commutes: Commutes, routing_world: RoutingWorld
) -> None:
    routing_world.way(DUOMO, TravelMode.TRANSIT, 1800)
    assert match(IN_HALF_AN_HOUR, await appraised(commutes, LISTING))
    routing_world.way(DUOMO, TravelMode.BICYCLE, 1801)
    by_bicycle = make_search(commutes=(Commute(to=DUOMO, by=TravelMode.BICYCLE, minutes=30),))
    assert not match(by_bicycle, await appraised(commutes, make_listing(version=2), [by_bicycle]))


async def test_a_way_is_asked_for_once_for_all_who_begin_and_end_close_together(
    commutes: Commutes, routing_world: RoutingWorld
) -> None:
    next_door = make_listing(listing_id="casa.it:1", position=Position(latitude=45.4804, longitude=9.2189))
    across_the_street = make_search(commutes=(Commute(to=Position(latitude=45.46424, longitude=9.19004), minutes=20),))
    await appraised(commutes, LISTING, [IN_HALF_AN_HOUR, across_the_street])
    other_replica = Commutes(commutes.pool, commutes.engine, 5.0)
    await appraised(other_replica, next_door)
    assert routing_world.asked == [(TravelMode.TRANSIT, 1)]


async def test_only_searches_that_fit_otherwise_are_asked_for(commutes: Commutes, routing_world: RoutingWorld) -> None:
    too_dear = make_search(commutes=(OFFICE,), rent={"maximum_cents": 900_00})
    on_foot = make_search(commutes=(Commute(to=DUOMO, by=TravelMode.WALK, minutes=10),))
    in_metres = make_search(commutes=(Commute(to=DUOMO, max_distance_m=5000),))
    assert await appraised(commutes, LISTING, [too_dear, on_foot, in_metres]) == LISTING
    assert routing_world.asked == []


@pytest.mark.parametrize(("policy", "told"), [("pass", True), ("flag", True), ("fail", False)])
async def test_a_slow_engine_holds_nothing_up_and_the_policy_decides(
    commutes: Commutes, routing_world: RoutingWorld, policy: UnknownPolicy, told: bool
) -> None:
    commutes.within_seconds = 0.1
    routing_world.answering.clear()
    begun = time.monotonic()
    search = IN_HALF_AN_HOUR.under(Criterion.COMMUTE, UnknownPolicy(policy))
    listing = await appraised(commutes, LISTING, [search])
    assert time.monotonic() - begun < 4  # it answers never; otherwise 5 s are waited
    assert match(search, listing) is told
    assert explain(search, listing).unknown == ((Criterion.COMMUTE,) if policy == "flag" else ())
    await appraised(commutes, make_listing(version=2), [search])
    assert len(routing_world.asked) == 1, "who was too slow is left alone"
    routing_world.answering.set()


async def test_an_engine_that_fails_is_left_alone_for_a_while(commutes: Commutes, routing_world: RoutingWorld) -> None:
    routing_world.broken = True
    assert await appraised(commutes, LISTING) == LISTING
    routing_world.broken = False
    await appraised(commutes, make_listing(version=2))
    assert routing_world.asked == []
    commutes._rests_until = 0
    assert (await appraised(commutes, make_listing(version=3))).appraisal.journeys


async def test_what_was_decided_stands_when_the_batch_comes_again(
    commutes: Commutes, routing_world: RoutingWorld
) -> None:
    """An answer that comes later must not change what a renter was told, or the audit would miss it."""
    routing_world.broken = True
    unanswered = await appraised(commutes, LISTING)
    routing_world.broken = False
    commutes._rests_until = 0
    assert await appraised(commutes, LISTING) == unanswered
    assert await appraised(commutes, make_listing(version=2)) != unanswered


async def test_what_is_published_again_as_it_was_is_judged_as_it_was(
    commutes: Commutes, routing_world: RoutingWorld
) -> None:
    routing_world.way(DUOMO, TravelMode.TRANSIT, 900)
    first = await appraised(commutes, LISTING)
    known = Known(first.listing_id, 1, True, first, (), Origin(0, 0))
    await commutes.pool.execute("DELETE FROM ways")
    routing_world.way(DUOMO, TravelMode.TRANSIT, 3600)
    again = await appraised(commutes, make_listing(version=2), known=known)
    assert again.appraisal == first.appraisal
    dearer = await appraised(commutes, make_listing(version=3, rent=monthly(1150)), known=known)
    assert dearer.appraisal.journeys[0].seconds == 3600


async def test_what_a_source_says_it_has_found_out_is_replaced(commutes: Commutes) -> None:
    journey = Journey(to=cell_of(DUOMO, DESTINATION_DEGREES), by=TravelMode.TRANSIT, seconds=1)
    flattering = make_listing(appraisal=Appraisal(signals=(Signal.SCAM_SIGNS,), journeys=(journey,)))
    assert (await appraised(commutes, flattering, [])).appraisal == Appraisal()


async def test_a_batch_asks_for_so_many_ways_and_no_more(commutes: Commutes, routing_world: RoutingWorld) -> None:
    commutes.most_asked = 4
    offices = [Commute(to=Position(latitude=45.46 + number / 500, longitude=9.19), minutes=60) for number in range(6)]
    searches = [make_search(commutes=(each,)) for each in offices]
    listing = await appraised(commutes, LISTING, searches)
    assert len(listing.appraisal.journeys) == len(routing_world.asked) == 4
    more = await appraised(commutes, make_listing(version=2), searches)
    assert len(more.appraisal.journeys) == 6, "those that are remembered leave room for the others"


async def test_what_is_told_in_time_counts_although_another_answer_is_late(
    commutes: Commutes, routing_world: RoutingWorld
) -> None:
    commutes.within_seconds = 1
    hard_to_reach = Position(latitude=45.5, longitude=9.1)
    routing_world.late.add((45.5, 9.1))
    searches = [IN_HALF_AN_HOUR, make_search(commutes=(Commute(to=hard_to_reach, minutes=60),))]
    listing = await appraised(commutes, LISTING, searches)
    assert [match(each, listing) for each in searches] == [True, True]
    assert explain(searches[0], listing).unknown == ()
    assert explain(searches[1], listing).unknown == (Criterion.COMMUTE,)


@pytest.mark.parametrize("kind", [EngineKind.OSRM], indirect=True)
async def test_a_matrix_is_asked_for_once_by_each_way_of_travelling(
    commutes: Commutes, routing_world: RoutingWorld
) -> None:
    offices = [
        Commute(to=Position(latitude=45.46 + number / 500, longitude=9.19), by=by, minutes=60)
        for number in range(50)
        for by in (TravelMode.CAR, TravelMode.TRANSIT)
    ]
    listing = await appraised(commutes, LISTING, [make_search(commutes=(each,)) for each in offices])
    assert len(listing.appraisal.journeys) == 50
    assert sorted(routing_world.asked) == [(TravelMode.CAR, 10), (TravelMode.CAR, 40)]  # OSRM knows no timetable


async def test_what_is_remembered_ends_after_a_month(commutes: Commutes, routing_world: RoutingWorld) -> None:
    await appraised(commutes, LISTING)
    await commutes.pool.execute("UPDATE ways SET asked_at = now() - interval '31 days'")
    await appraised(commutes, make_listing(version=2))
    assert len(routing_world.asked) == 2
    await commutes.pool.execute("UPDATE ways SET asked_at = now() - interval '31 days'")
    commutes._forgets_at = 0
    far = make_search(commutes=(Commute(to=Position(latitude=45.5, longitude=9.1), minutes=60),))
    await appraised(commutes, make_listing(version=3), [far])
    assert await commutes.pool.fetchval("SELECT count(*) FROM ways") == 1


async def test_that_there_is_no_way_is_remembered_too(commutes: Commutes, routing_world: RoutingWorld) -> None:
    routing_world.way(DUOMO, TravelMode.TRANSIT, None)
    for version in (1, 2):
        assert not match(IN_HALF_AN_HOUR, await appraised(commutes, make_listing(version=version)))
    assert len(routing_world.asked) == 1


async def test_without_an_engine_minutes_are_unknown_and_nothing_is_written(pool: asyncpg.Pool) -> None:
    off = Commutes(pool, None, 5.0)
    assert await appraised(off, LISTING) == LISTING
    assert await pool.fetchval("SELECT count(*) FROM appraisals") == 0


async def test_two_instances_that_decide_at_once_agree(commutes: Commutes) -> None:
    await appraised(commutes, make_listing(version=2))
    silent = Commutes(commutes.pool, commutes.engine, 5.0)
    silent._rests_until = time.monotonic() + 60
    await commutes.pool.execute("DELETE FROM ways")
    one, other = await asyncio.gather(appraised(commutes, LISTING), appraised(silent, LISTING))
    assert one == other


def test_a_way_begins_and_ends_in_the_middle_of_a_cell() -> None:
    (way,) = ways_wanted_by(LISTING, [IN_HALF_AN_HOUR])
    assert way == Way("45.4810,9.2190", "45.4645,9.1905", TravelMode.TRANSIT)
