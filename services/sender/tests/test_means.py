"""Who is told with what is left: Meta's tier, the month's money and the pace of a phone, as rules and in the tables."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from common.events import DirectPurpose, NotificationRequested
from sender import means, pace
from sender.budget import Budget, Purse, Spends, next_month
from sender.means import HOPED_FOR, LONGEST_WAIT, Lack, Means, Need
from sender.rate import BEGUN, FASTER_PER_MINUTE, SLOWEST, Throttle, reserve
from sender.schedule import FRESH_FOR, WINDOW
from sender.spending import BudgetWatch
from sender.templates import Purpose
from sender.tier import COUNTS_FOR, Tier
from testkit.factories import NOW
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind

from .conftest import Sender, direct_for, flat_for, renter

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def need(phone: str = "+39333", **changes: Any) -> Need:
    """A digest that writes first and costs 100."""
    return replace(Need(phone, 100, writes_first=True, asked_for=False, opened_at=NOW), **changes)


def means_of(*, limit: int | None = None, tier: Tier | None = None) -> Means:
    return Means(Purse(Budget("USD", limit, 0), 0, NOW), tier or Tier())


needs = st.builds(
    need,
    st.sampled_from([f"+39333{n}" for n in range(12)]),
    price=st.integers(0, 300),
    writes_first=st.booleans(),
    asked_for=st.booleans(),
    opened_at=st.timedeltas(timedelta(), timedelta(days=2)).map(lambda waited: NOW - waited),
    last_wrote_at=st.none() | st.timedeltas(timedelta(), timedelta(days=4)).map(lambda ago: NOW - ago),
    waits_for=st.sampled_from(["", *Lack]),
)


# --- the rules --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2000), st.integers(0, 500), st.integers(1, 12), st.integers(0, 5), st.lists(needs, max_size=40))
def test_no_order_of_messages_exceeds_a_limit(
    budget: int, reserve: int, places: int, queued: int, wanted: Sequence[Need]
) -> None:
    left = Means(Purse(Budget("USD", budget, reserve), 0, NOW, queued), Tier(places, queued=queued))
    phones, digest_phones, spent = set[str](), set[str](), 0
    for each in wanted:
        short = left.short_of(each, NOW)
        if short:
            assert short.until >= NOW
            left = left.joined(short.lack, queued=each.waits_for == short.lack)
            continue
        left = left.after(each)
        spent += each.price
        assert spent <= budget + (reserve if each.asked_for else 0)
        if each.writes_first:
            digest_phones |= set() if each.asked_for or each.phone in phones else {each.phone}
            phones.add(each.phone)
    assert len(phones) <= places
    assert len(digest_phones) <= Tier(places).for_digests


@given(needs)
def test_what_a_poorer_claim_may_have_a_better_one_may_too(wanted: Need) -> None:
    left = Means(Purse(Budget("USD", 2000, 100), 1850, NOW), Tier(10, used=9))
    new = replace(wanted, waits_for="", last_wrote_at=None)
    claims = [(True, False), (False, False), (False, True)]
    ranked = [replace(new, writes_first=first, asked_for=asked) for first, asked in claims]
    allowed = [left.short_of(each, NOW) is None for each in ranked]
    assert allowed == sorted(allowed)


def test_the_last_tenth_of_the_places_is_for_what_people_ask_for() -> None:
    left = means_of(tier=Tier(10, used=9))
    assert left.short_of(need(asked_for=True), NOW) is None
    short = left.short_of(need(), NOW)
    assert short
    assert short.lack is Lack.TIER
    assert means_of(tier=Tier(10, used=10)).short_of(need(asked_for=True), NOW)
    assert means_of(tier=Tier(10, used=10)).short_of(need(writes_first=False), NOW) is None


def test_who_was_written_to_first_today_takes_no_other_place() -> None:
    full = means_of(tier=Tier(10, used=10, taken={"+39333"}))
    assert full.short_of(need("+39333"), NOW) is None
    assert full.after(need("+39333")).tier.used == 10


def test_money_that_is_kept_for_open_windows_melts_away_with_the_month() -> None:
    budget = Budget("USD", 10_000, 0)
    begins = datetime(2026, 11, 1, tzinfo=UTC)
    middle = begins + timedelta(days=15)
    ends = next_month(begins) - timedelta(seconds=1)
    kept = [10_000 - Purse(budget, 0, at).most(Spends.WRITES_FIRST) for at in (begins, middle, ends)]
    assert kept == [1000, 500, 0]
    assert Purse(budget, 0, middle).most(Spends.IN_WINDOW) == 10_000


def test_who_comes_new_lets_those_pass_who_wait() -> None:
    left = means_of(tier=Tier(10, used=7, queued=2))
    assert left.short_of(need("+391"), NOW)
    left = left.after(need("+392", waits_for=Lack.TIER)).after(need("+393", waits_for=Lack.TIER))
    assert (left.tier.used, left.tier.queued) == (9, 0)
    poor = Means(Purse(Budget("USD", 250, 0), 0, next_month(NOW) - timedelta(seconds=1), queued=2))
    assert poor.short_of(need("+391"), NOW)
    assert poor.short_of(need("+391", waits_for=Lack.BUDGET), NOW) is None


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 2))
def test_nobody_who_waits_for_a_place_is_overtaken_or_starves(comers: Sequence[int], places: int) -> None:
    """Each day some digests come new, and some places get free: all are told in the order in which they came."""
    tier_of_day = 10 * places
    waiting, told, came = list[int](), list[int](), 0
    days_after = -(-sum(comers) * 10 // 9)
    for new in [*(10 * places * each for each in comers), *[0] * days_after]:
        left = means_of(tier=Tier(tier_of_day, queued=len(waiting)))
        fresh = list(range(came, came + new))
        came += new
        for number, waits_for in [*((n, Lack.TIER.value) for n in waiting), *((n, "") for n in fresh)]:
            wanted = need(f"+39{number}", waits_for=waits_for)
            if left.short_of(wanted, NOW) is None:
                left = left.after(wanted)
                told.append(number)
            else:
                left = left.joined(Lack.TIER, queued=bool(waits_for))
        waiting = [n for n in (*waiting, *fresh) if n not in told]
    assert told == list(range(came))


def test_each_who_waits_knows_when_a_place_gets_free_for_them() -> None:
    begun = tuple(NOW - timedelta(hours=hours) for hours in range(9, 0, -1))
    left = means_of(tier=Tier(10, used=9, begun_at=begun))
    until = []
    for n in range(3):
        short = left.short_of(need(f"+39{n}"), NOW)
        assert short
        until.append(short.until)
        left = left.joined(short.lack, queued=False)
    assert until == [each + COUNTS_FOR for each in begun[:3]]
    passed_over = left.short_of(need("+399", waits_for=Lack.TIER), NOW)
    assert passed_over
    assert passed_over.until == until[0]


def test_a_template_is_not_spent_on_who_may_write_again_unless_the_flats_grow_old() -> None:
    lately = NOW - WINDOW - timedelta(hours=1)
    scarce, ample = means_of(tier=Tier(100, used=80)), means_of(tier=Tier(100, used=10))
    short = scarce.short_of(need(last_wrote_at=lately), NOW)
    assert short
    assert (short.lack, short.until) == (Lack.WINDOW, NOW + HOPED_FOR)
    assert ample.short_of(need(last_wrote_at=lately), NOW) is None
    assert scarce.short_of(need(last_wrote_at=lately, opened_at=NOW - HOPED_FOR), NOW) is None
    assert scarce.short_of(need(last_wrote_at=NOW - timedelta(days=3)), NOW) is None
    assert scarce.short_of(need(last_wrote_at=lately, asked_for=True), NOW) is None


@pytest.mark.parametrize(("day", "spent", "scarce"), [(10, 49, False), (10, 60, True), (20, 60, False), (20, 70, True)])
def test_money_is_scarce_when_it_goes_faster_than_the_month(day: int, spent: int, scarce: bool) -> None:
    assert Purse(Budget("USD", 100), spent, datetime(2026, 11, day, tzinfo=UTC)).is_scarce is scarce


@given(st.lists(st.timedeltas(timedelta(), LONGEST_WAIT), max_size=5))
def test_of_those_who_look_again_together_the_oldest_is_first(waited: Sequence[timedelta]) -> None:
    places = [means.behind(NOW - each, NOW) for each in sorted(waited, reverse=True)]
    assert places == sorted(places)
    assert all(timedelta() <= each <= FRESH_FOR for each in places)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_a_phone_gets_a_short_burst_and_else_one_message_in_six_seconds(pauses: Sequence[int]) -> None:
    now, paid_until, sent = NOW, None, list[datetime]()
    for seconds in pauses:
        now += timedelta(seconds=seconds)
        free_at = pace.free_at(paid_until, now, pace.PACE)
        if free_at is None or now >= free_at:
            paid_until = pace.after(paid_until, now, pace.PACE)
            sent.append(now)
    for index, first in enumerate(sent):
        for later, last in enumerate(sent[index:], 1):
            assert later <= pace.BURST + (last - first) / pace.PACE


@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 60)), max_size=20))
def test_the_rate_falls_by_half_at_the_most_and_grows_back_slowly(refusals: Sequence[tuple[float, float]]) -> None:
    throttle, now = Throttle(), NOW
    for seconds, took in refusals:
        now += timedelta(seconds=seconds)
        before = throttle.at(now)
        throttle = throttle.slower(now - timedelta(seconds=took), now)
        assert max(SLOWEST, before / 2) <= throttle.at(now) <= before
    assert throttle.at(now + timedelta(minutes=1)) <= throttle.at(now) + FASTER_PER_MINUTE + 1e-9
    assert throttle.at(now + timedelta(minutes=10)) == 1


def test_what_was_begun_before_we_slowed_down_slows_nothing_down() -> None:
    slower = Throttle().slower(NOW, NOW + timedelta(seconds=1))
    assert slower.share == 0.5
    assert slower.slower(NOW + timedelta(seconds=0.5), NOW + timedelta(seconds=2)) is slower
    assert slower.slower(NOW + timedelta(seconds=3), NOW + timedelta(seconds=4)).share < 0.26


def test_a_clock_that_is_set_back_keeps_neither_the_channel_slow_nor_a_phone_silent() -> None:
    before = NOW + timedelta(hours=1)
    throttle = Throttle().slower(before, before)
    assert throttle.at(NOW) == 1
    assert throttle.slower(NOW - timedelta(seconds=1), NOW) == Throttle(0.5, NOW)
    paid_until = pace.after(None, before, pace.PACE)
    assert pace.free_at(paid_until, NOW, pace.PACE) is None
    assert pace.after(paid_until, NOW, pace.PACE) == NOW + pace.BURST * pace.PACE


# --- in the tables ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def templated(sender: Sender) -> AsyncIterator[Sender]:
    """A sender whose templates for digests and codes are approved."""
    async with sender.with_templates(Purpose.DIGEST, Purpose.TEST) as templated:
        yield templated


def within(sender: Sender, places: int) -> Sender:
    return sender.but(policy=replace(sender.policy, recipients_per_day=places))


async def outsiders(sender: Sender, count: int) -> list[NotificationRequested]:
    """Digests for so many renters whose windows are closed."""
    renters = [renter(window_opened_at=LONG_AGO) for _ in range(count)]
    await sender.know(*renters)
    events = [flat_for(each.user_id) for each in renters]
    await sender.tell(*events)
    return events


async def test_replicas_that_race_for_places_never_take_more_than_there_are(templated: Sender) -> None:
    await outsiders(templated, 30)
    replicas = [within(templated.but(name=str(n)), 20) for n in range(2)]

    async def begin_until_nothing_is_due(replica: Sender) -> None:
        while (await replica.ledger.begin(5)).decided:
            pass

    await asyncio.gather(*(begin_until_nothing_is_due(each) for each in replicas))
    attempts = await templated.pool.fetchval("SELECT count(DISTINCT recipient) FROM attempts WHERE writes_first")
    waiting = await templated.pool.fetch("SELECT due_at FROM messages WHERE stage = 'waiting' AND detail = 'tier'")
    assert (attempts, len(waiting)) == (18, 12)
    begun = await templated.pool.fetch("SELECT begun_at FROM written_first ORDER BY begun_at")
    assert sorted(row["due_at"] for row in waiting) == [row["begun_at"] + COUNTS_FOR for row in begun[:12]]


async def test_a_place_that_gets_free_is_for_who_waits_and_not_for_who_comes_new(templated: Sender) -> None:
    one = within(templated, 2)  # a tenth of two is none: digests may take both
    events = await outsiders(one, 4)
    assert len((await one.ledger.begin(10)).calls) == 2
    messages = [await one.message(each) for each in events]
    waiting = {each["message_id"] for each in messages if each["detail"] == Lack.TIER}
    await one.pool.execute("UPDATE written_first SET begun_at = begun_at - interval '25 hours'")
    await one.pool.execute("UPDATE messages SET due_at = due_at - interval '25 hours' WHERE detail = 'tier'")
    [newcomer] = await outsiders(one, 1)
    await one.pool.execute("UPDATE messages SET behind = '0' WHERE detail = ''")
    assert {each.message_id for each in (await one.ledger.begin(10)).calls} == waiting
    assert (await one.message(newcomer))["detail"] == Lack.TIER


async def test_a_window_that_opens_lets_a_digest_out_that_waits_for_a_place(templated: Sender) -> None:
    anna = renter(window_opened_at=LONG_AGO)
    await templated.know(anna)
    await templated.tell(event := flat_for(anna.user_id))
    full = within(templated, 1)
    await full.pool.execute("INSERT INTO written_first VALUES ('\\x00', now())")
    async with full.dispatching():
        await full.until(event, stage="waiting", detail="tier")
        await full.know(anna.model_copy(update={"revision": 2, "window_opened_at": datetime.now(UTC)}))
        await full.until(event, stage="taken")
    assert await full.pool.fetchval("SELECT count(*) FROM written_first") == 1


async def test_what_twilio_did_not_take_gives_its_place_back(templated: Sender) -> None:
    [event] = await outsiders(templated, 1)
    before = datetime.now(UTC) - timedelta(hours=20)
    await templated.simulator.script(Fault(FaultKind.REFUSE, code=21211))
    one = within(templated, 10)
    async with one.dispatching():
        await one.until(event, stage="ended")
    assert await one.pool.fetchval("SELECT count(*) FROM written_first") == 0
    [again] = await outsiders(one, 1)
    phone = await one.pool.fetchval(
        "SELECT recipient::jsonb ->> 'phone' FROM recipients WHERE user_id = $1", again.user_id
    )
    await one.pool.execute("INSERT INTO written_first VALUES (sha256(convert_to($1, 'UTF8')), $2)", phone, before)
    await templated.simulator.script(Fault(FaultKind.REFUSE, code=21211))
    async with one.dispatching():
        await one.until(again, stage="ended")
    assert await one.pool.fetchval("SELECT begun_at FROM written_first") == before


async def test_what_somebody_asks_for_is_told_at_once_that_there_is_no_place(templated: Sender) -> None:
    await templated.know(anna := renter(window_opened_at=LONG_AGO))
    full = within(templated, 1)
    await full.pool.execute("INSERT INTO written_first VALUES ('\\x00', now())")
    await full.tell(asked := direct_for(anna.user_id, DirectPurpose.TEST))
    async with full.dispatching():
        await full.until(asked, stage="ended")
    assert await full.disposition(asked) == ("suppressed", "tier")


async def test_more_places_in_the_settings_let_as_many_digests_look_again(templated: Sender) -> None:
    await outsiders(templated, 6)
    assert len((await within(templated, 2).ledger.begin(10)).calls) == 2
    await BudgetWatch(templated.pool, templated.policy.budget, 5).announce()
    assert len((await within(templated, 5).ledger.begin(10)).calls) == 3


async def test_how_much_of_the_tier_is_used_is_exported(templated: Sender) -> None:
    await outsiders(templated, 4)
    await within(templated, 3).ledger.begin(10)
    await BudgetWatch(templated.pool, templated.policy.budget, 3).look(datetime.now(UTC))
    exported = [
        REGISTRY.get_sample_value(f"itarent_sender_{name}")
        for name in ("written_to_first", "recipients_per_day", "waiting_for_tier")
    ]
    assert exported == [3, 3, 1]


async def test_who_is_erased_leaves_no_trace_among_those_written_to_first(templated: Sender) -> None:
    [event] = await outsiders(templated, 1)
    await within(templated, 5).ledger.begin(1)
    [before] = await templated.pool.fetch("SELECT phone_hash FROM written_first")
    await templated.intake.erase_recipients([event.user_id])
    [after] = await templated.pool.fetch("SELECT phone_hash FROM written_first")
    assert before["phone_hash"] != after["phone_hash"]


async def test_a_phone_is_not_written_to_faster_than_its_pace(sender: Sender) -> None:
    await sender.know(anna := renter())
    await sender.tell(*(direct_for(anna.user_id) for _ in range(pace.BURST + 2)))
    paced = sender.but(policy=replace(sender.policy, pace=timedelta(seconds=6)))
    assert len((await paced.ledger.begin(50)).calls) == pace.BURST
    waiting = await sender.pool.fetch("SELECT detail, due_at > now() AS later FROM messages WHERE stage = 'waiting'")
    assert [(row["detail"], row["later"]) for row in waiting] == [("pace", True)] * 2
    await sender.pool.execute("UPDATE contacts SET paced_until = paced_until - interval '6 seconds'")
    await sender.pool.execute("UPDATE messages SET due_at = now() WHERE stage = 'waiting'")
    assert len((await paced.ledger.begin(50)).calls) == 1


@pytest.mark.parametrize("code", [20429, 63018])
async def test_what_is_called_too_fast_slows_all_replicas_down_for_a_while(sender: Sender, code: int) -> None:
    one = sender.but(per_second=40)
    other = one.but(name="two")
    await sender.know(*(renters := [renter() for _ in range(60)]))
    await sender.tell(event := flat_for(renters[0].user_id))
    await sender.simulator.script(Fault(FaultKind.REFUSE, code=code))
    async with one.dispatching():

        async def is_slower() -> bool:
            return bool(await sender.pool.fetchval("SELECT throttle_share = 0.5 FROM channel"))

        await eventually(is_slower)
    await sender.pool.execute("UPDATE channel SET strikes = 0, paused_until = NULL, probing_until = NULL")
    await sender.pool.execute("UPDATE messages SET stage = 'ended', lease_until = NULL")
    await sender.tell(*(flat_for(each.user_id) for each in renters[1:]))
    begun = await other.ledger.begin(60)
    half = len(reserve(NOW, NOW, 20, 60, ahead=BEGUN).at)
    assert half <= len(begun.calls) <= half + 1
    assert begun.rate_share < 0.6
    await sender.pool.execute("UPDATE channel SET throttled_at = now() - interval '6 minutes', next_slot = now()")
    assert (await one.ledger.begin(60)).rate_share == 1
    slowed = await sender.pool.fetchval("SELECT detail FROM journal WHERE what = 'slowed'")
    assert (slowed, await sender.disposition(event)) == ("50%", ("in_message", ""))
