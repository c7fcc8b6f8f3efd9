"""Which digest a flat is told in, what is told no more, and whose turn it is."""

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import mean
from uuid import UUID, uuid4, uuid5

import pytest
from prometheus_client import REGISTRY

from common.events import (
    NAMESPACE,
    FlatDeclined,
    Grouping,
    MatchedSearch,
    NotificationRequested,
    NotificationSettled,
    Reason,
)
from sender import first_looks
from sender.first_looks import FirstLooks
from sender.rotation import behind
from sender.schedule import FRESH_FOR
from testkit.factories import make_listing

from .conftest import NOT_ASKED, Sender, flat_for, renter

HOME, WORK = (MatchedSearch(subscription_id=uuid4(), revision=1, name=name) for name in ("Casa", "Vicino al lavoro"))


def declining(event: NotificationRequested) -> FlatDeclined:
    return FlatDeclined(
        user_id=event.user_id,
        flat_id=event.flat_id,
        listing_id=event.card.listing_id,
        declined_at=datetime.now(UTC),
    )


def seeded(n: int) -> UUID:
    """The same user whenever the test runs."""
    return uuid5(NAMESPACE, f"user {n}")


async def test_each_search_has_a_digest_of_its_own_for_who_wants_that(sender: Sender) -> None:
    await sender.know(anna := renter(grouping=Grouping.SEARCH))
    home, work = (flat_for(anna.user_id, searches=(search,)) for search in (HOME, WORK))
    both = flat_for(anna.user_id, searches=(NOT_ASKED[0], WORK, HOME))
    await sender.tell(home, work, both)
    assert (await sender.message(both))["message_id"] == (await sender.message(work))["message_id"]
    async with sender.dispatching():
        for event in (home, work):
            await sender.until(event, stage="taken")
    headers = sorted(accepted.body.splitlines()[0] for accepted in await sender.simulator.messages())
    assert headers == ["*1 annuncio* · Casa", "*2 annunci* · Vicino al lavoro"]


async def test_what_is_said_of_a_flat_goes_where_the_flat_already_waits(sender: Sender) -> None:
    anna = renter(grouping=Grouping.SEARCH, interval_seconds=3600)
    await sender.know(anna)
    new = flat_for(anna.user_id, searches=(HOME,))
    await sender.tell(new)
    listing = make_listing(listing_id=new.card.listing_id, version=2)
    cheaper = flat_for(anna.user_id, listing, flat_id=new.flat_id, reason=Reason.PRICE_DROP, searches=(WORK,))
    await sender.know(anna.model_copy(update={"grouping": Grouping.USER, "revision": 2}))
    await sender.tell(cheaper)
    assert (await sender.message(cheaper))["message_id"] == (await sender.message(new))["message_id"]
    async with sender.dispatching():
        await sender.until(cheaper, stage="taken")
    assert len(await sender.simulator.messages()) == 1


async def test_a_flat_that_was_declined_is_told_never_again_and_taken_out_of_what_waits(sender: Sender) -> None:
    await sender.know(anna := renter(paused_until=datetime.now(UTC) + timedelta(hours=1)))
    waiting, other = flat_for(anna.user_id), flat_for(anna.user_id)
    await sender.tell(waiting, other)
    assert await sender.tell(declining(waiting)) == 0
    assert await sender.disposition(waiting) == ("suppressed", "declined")
    assert await sender.disposition(other) == ("waiting", "")
    [told] = await sender.outbox()
    assert (told["type"], told["detail"]) == (NotificationSettled.type, "declined")
    cheaper = flat_for(anna.user_id, flat_id=waiting.flat_id, reason=Reason.PRICE_DROP)
    parted = flat_for(anna.user_id, make_listing(listing_id=waiting.card.listing_id, version=9))
    await sender.tell(declining(waiting), cheaper, parted)  # what is declined twice stays so
    assert await sender.disposition(cheaper) == await sender.disposition(parted) == ("suppressed", "declined")
    bruno = flat_for(uuid4(), flat_id=waiting.flat_id)
    await sender.tell(bruno)
    assert await sender.disposition(bruno) == ("waiting", "")


async def test_a_pause_holds_what_will_still_be_worth_telling_and_suppresses_the_rest(sender: Sender) -> None:
    now = datetime.now(UTC)
    anna, bruno = renter(paused_until=now + timedelta(hours=2)), renter(paused_until=now + timedelta(days=9))
    await sender.know(anna, bruno)
    held, outlasted = flat_for(anna.user_id), flat_for(bruno.user_id)
    await sender.tell(held, outlasted)
    assert await sender.disposition(outlasted) == ("suppressed", "paused")
    assert (await sender.message(held))["due_at"] == anna.paused_until
    await sender.pool.execute("UPDATE messages SET due_at = now()")  # as a change of the recipient has it looked at
    async with sender.dispatching():
        await sender.until(held, stage="waiting", detail="paused")
        assert await sender.simulator.messages() == []
        await sender.know(anna.model_copy(update={"paused_until": None, "revision": 2}))
        await sender.until(held, stage="taken")


async def test_flats_that_are_too_old_expire_one_by_one_and_the_others_are_told(sender: Sender) -> None:
    now = datetime.now(UTC)
    anna, seldom = renter(), renter(interval_seconds=7 * 86_400)
    await sender.know(anna, seldom)
    old, fresh, of_the_week = (
        flat_for(user.user_id, requested_at=now - timedelta(days=days))
        for user, days in ((anna, 4), (anna, 1), (seldom, 6))
    )
    await sender.tell(old, fresh, of_the_week)
    await sender.pool.execute("UPDATE messages SET latest_at = now() - interval '1 second'")
    async with sender.dispatching():
        for event in (fresh, of_the_week):
            await sender.until(event, stage="taken")
    assert await sender.disposition(old) == ("expired", "too_late")
    assert await sender.disposition(fresh) == await sender.disposition(of_the_week) == ("in_message", "")
    assert {each["notification_id"] for each in await sender.outbox() if "disposition" in each} == {
        str(old.notification_id)
    }


async def test_flats_have_their_place_in_the_message_best_first_those_behind_the_link_too(sender: Sender) -> None:
    await sender.know(anna := renter())
    events = [
        flat_for(anna.user_id, make_listing(listing_id=f"casa.it:{area}", area_m2=area)) for area in range(40, 110, 10)
    ]
    await sender.tell(*events)
    async with sender.dispatching():
        await sender.until(events[0], stage="taken")
    largest_first = [str(event.notification_id) for event in reversed(events)]  # at the same rent
    [report] = await sender.outbox()
    assert report["notification_ids"] == largest_first
    assert report["numbers"] == [1, 2, 3, 4, 5, 6, 7]
    assert report["shown_notification_ids"] == largest_first[:5]
    [accepted] = await sender.simulator.messages()
    assert "7 trovati, 5 qui, 2 al link" in accepted.body


async def test_an_opt_out_is_measured_until_it_holds(sender: Sender) -> None:
    def measured() -> float:
        return REGISTRY.get_sample_value("itarent_sender_opt_out_seconds_count") or 0.0

    await sender.know(anna := renter())
    before = measured()
    stopped = anna.model_copy(update={"stopped": True, "stopped_at": datetime.now(UTC), "revision": 2})
    await sender.intake.save_recipients([stopped])
    await sender.intake.save_recipients([stopped])
    await sender.intake.save_recipients([stopped.model_copy(update={"revision": 3})])
    assert measured() - before == 1


# --- whose turn it is -----------------------------------------------------------------------------------------------


def test_in_eight_turns_everybody_is_once_in_each_eighth_of_the_queue() -> None:
    for user in map(seeded, range(50)):
        places = [behind(user, turn) / FRESH_FOR for turn in range(16)]
        for round_ in (places[:8], places[8:]):
            assert sorted(int(place * 8) for place in round_) == list(range(8))


def test_nobody_is_first_much_more_often_than_others_and_nobody_always_before_another() -> None:
    users = [seeded(n) for n in range(6)]
    orders = [sorted(users, key=lambda user, turn=turn: behind(user, turn)) for turn in range(240)]  # type: ignore[misc]
    firsts = Counter(order[0] for order in orders)
    assert all(20 <= firsts[user] <= 60 for user in users)
    for one, other in itertools.permutations(users, 2):
        assert 80 <= sum(order.index(one) < order.index(other) for order in orders) <= 160


async def test_who_is_first_rotates_and_each_head_start_is_measured(sender: Sender) -> None:
    renters = [renter(user_id=seeded(n)) for n in range(6)]
    await sender.know(*renters)
    orders: list[list[str]] = []
    for _ in range(8):
        flat = uuid4()
        # One at a time, so that an order is to be seen; the batch is in the same order each time.
        await sender.tell(*(flat_for(each.user_id, flat_id=flat) for each in renters))
        order: list[str] = []
        while (begun := await sender.ledger.begin(1)).decided:
            order += [call.to for call in begun.calls]
        orders.append(order)
    assert all(sorted(order) == sorted(each.phone or "" for each in renters) for order in orders)
    assert len({order[0] for order in orders}) >= 3
    places = [mean(order.index(each.phone or "") for order in orders) for each in renters]
    assert max(places) - min(places) < 2  # always in the same order it would be 5
    looks = FirstLooks(sender.pool)
    assert await looks.reckon(timedelta(minutes=10)) == 0
    assert await looks.reckon(timedelta()) == 8
    rows = await sender.pool.fetch("SELECT user_id, flats, seconds FROM head_starts")
    starts = {row["user_id"]: row["seconds"] for row in rows}
    assert {row["flats"] for row in rows} == {8}
    assert abs(sum(starts.values())) < 1e-3


async def test_a_head_start_is_how_much_earlier_than_the_average_reader_somebody_was_told(sender: Sender) -> None:
    anna, bruno, carla = uuid4(), uuid4(), uuid4()
    shared, alone, still_told = uuid4(), uuid4(), uuid4()
    looks = FirstLooks(sender.pool)
    async with sender.pool.acquire() as connection:
        begun = datetime.now(UTC) - timedelta(hours=1)
        for flat, seconds in (
            (shared, {anna: 0, bruno: 10, carla: 50}),
            (alone, {anna: 0}),
            (still_told, {bruno: 3500}),
        ):
            for user, after in seconds.items():
                await first_looks.record(connection, [(flat, user)], begun + timedelta(seconds=after))
    assert await looks.reckon(timedelta(minutes=10)) == 2
    starts = {row["user_id"]: row["seconds"] for row in await sender.pool.fetch("SELECT * FROM head_starts")}
    assert starts == pytest.approx({anna: 20, bruno: 10, carla: -30})
    await looks.announce()
    assert REGISTRY.get_sample_value("itarent_sender_mean_head_start_seconds", {"quantile": "0.5"}) == pytest.approx(10)
