"""The forecast: its figures with a known history, and who is left waiting."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.events import ForecastMade, RunsOut, WindowsAhead
from common.prices import prices
from sender.budget import Budget
from sender.forecast import AHEAD, STEP, Awaiting, Known, forecast
from sender.means import HOPED_FOR
from sender.outlook import Outlook, look_ahead
from sender.spending import BudgetWatch
from sender.templates import Purpose
from sender.tier import COUNTS_FOR

from .conftest import TOPICS, Sender, flat_for, renter

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
WINDOWS = WindowsAhead(open=0, close_within_1_hour=0, close_within_6_hours=0)
WEEK = {date(2026, 11, 13 + n): 10 * (n % 2 + 1) for n in range(7)}  # 10, 20, 10, …: 14 on the average


def known(**changes: Any) -> Known:
    defaults: dict[str, Any] = {
        "budget": Budget("USD"),
        "recipients_per_day": None,
        "spent_on": {},
        "begun_at": (),
        "windows": WINDOWS,
        "waiting": {},
        "awaiting": (),
    }
    return Known(**(defaults | changes))


def awaiting(minutes: int = 0, **changes: Any) -> Awaiting:
    """A digest that is due in so many minutes, of a reader whose window is closed."""
    due_at = NOON + timedelta(minutes=minutes)
    user_id = uuid4()
    defaults: dict[str, Any] = {
        "user_id": user_id,
        "phone": f"+39{user_id.int % 10**10}",
        "due_at": due_at,
        "opened_at": due_at,
        "waits_for": "",
        "as_template": False,
        "window_opened_at": LONG_AGO,
        "written_first_at": None,
        "price_of_text": 10,
        "price_of_template": 30,
    }
    return Awaiting(**(defaults | changes))


def left(made: ForecastMade) -> dict[str, tuple[UUID, ...]]:
    return {each.reason: each.user_ids for each in made.left_waiting}


# --- money ------------------------------------------------------------------------------------------------------------


def test_money_runs_out_between_the_pace_of_the_dearest_day_and_that_of_the_average() -> None:
    made = forecast(known(budget=Budget("USD", 200), spent_on=WEEK), NOON)
    assert (made.money.spent, made.money.per_day) == (100, 14)
    assert made.money.used_up.earliest == NOON + timedelta(days=100 / 20)
    assert made.money.used_up.latest == NOON + timedelta(days=100 / 14)


def test_money_that_lasts_until_the_month_ends_is_not_said_to_run_out() -> None:
    made = forecast(known(budget=Budget("USD", 250), spent_on=WEEK), NOON)
    assert made.money.used_up == RunsOut(earliest=NOON + timedelta(days=7.5), latest=None)
    assert forecast(known(budget=Budget("USD", 5000), spent_on=WEEK), NOON).money.used_up == RunsOut()
    assert forecast(known(spent_on=WEEK), NOON).money.used_up == RunsOut()


@pytest.mark.parametrize(
    ("spent_on", "per_day"),
    [
        ({}, 0),
        ({date(2026, 11, 20): 8}, 8),  # today is all there is
        ({date(2026, 11, 20): 8, date(2026, 11, 18): 6}, 3),  # two whole days since the first
        ({date(2026, 11, 1): 1000, date(2026, 11, 19): 7}, 1),  # a week and no more
    ],
)
def test_a_day_costs_what_the_last_whole_days_did(spent_on: dict[date, int], per_day: int) -> None:
    assert forecast(known(spent_on=spent_on), NOON).money.per_day == per_day


def test_what_is_used_up_is_used_up_now() -> None:
    made = forecast(known(budget=Budget("USD", 100), spent_on=WEEK, recipients_per_day=1, begun_at=[NOON]), NOON)
    assert made.money.used_up == made.tier.used_up == RunsOut(earliest=NOON, latest=NOON)


# --- the tier ---------------------------------------------------------------------------------------------------------


def test_places_run_out_as_fast_as_they_were_taken_while_those_of_yesterday_get_free() -> None:
    begun = [NOON - timedelta(hours=hours, minutes=1) for hours in (5, 4, 3)] + [NOON - timedelta(minutes=1)] * 6
    made = forecast(known(recipients_per_day=20, begun_at=sorted(begun)), NOON)
    assert (made.tier.used, made.tier.for_digests) == (9, 18)
    assert made.tier.used_up == RunsOut(earliest=NOON + timedelta(minutes=90), latest=None)
    old = sorted(NOON - COUNTS_FOR + timedelta(minutes=each) for each in range(1, 18))
    assert forecast(known(recipients_per_day=20, begun_at=old), NOON).tier.used_up.earliest is not None
    many = sorted(NOON - COUNTS_FOR + timedelta(seconds=each) for each in range(1, 18))
    assert forecast(known(recipients_per_day=1000, begun_at=many), NOON).tier.used_up == RunsOut()


@given(st.lists(st.timedeltas(timedelta(), COUNTS_FOR), max_size=40), st.integers(1, 60))
def test_the_earliest_is_never_after_the_latest(ago: Sequence[timedelta], limit: int) -> None:
    made = forecast(known(recipients_per_day=limit, begun_at=sorted(NOON - each for each in ago)), NOON)
    used_up = made.tier.used_up
    if used_up.latest:
        assert used_up.earliest
        assert NOON <= used_up.earliest <= used_up.latest <= NOON + AHEAD + STEP


# --- who is left waiting ----------------------------------------------------------------------------------------------


def test_who_comes_first_is_told_and_the_others_wait_until_places_get_free() -> None:
    digests = [awaiting(minutes) for minutes in range(5)]
    begun = [NOON - timedelta(hours=3)]
    made = forecast(known(recipients_per_day=4, begun_at=begun, awaiting=digests[::-1]), NOON)
    [waiting] = made.left_waiting
    assert (waiting.reason, waiting.users) == ("tier", 2)
    assert set(waiting.user_ids) == {each.user_id for each in digests[3:]}
    assert waiting.until == NOON + COUNTS_FOR
    full_at = NOON + timedelta(minutes=3)
    assert made.tier.used_up == RunsOut(earliest=full_at, latest=full_at)


def test_who_is_due_when_a_place_has_got_free_is_told() -> None:
    begun = [NOON - timedelta(hours=23)]
    assert left(forecast(known(recipients_per_day=1, begun_at=begun, awaiting=[awaiting(30)]), NOON))
    assert not left(forecast(known(recipients_per_day=1, begun_at=begun, awaiting=[awaiting(120)]), NOON))


def test_an_open_window_takes_no_place_and_one_that_closes_before_does() -> None:
    begun = [NOON - timedelta(hours=1)]
    window = NOON - timedelta(hours=23)
    before, after = (awaiting(minutes, window_opened_at=window) for minutes in (30, 90))
    made = forecast(known(recipients_per_day=1, begun_at=begun, awaiting=[before, after]), NOON)
    assert left(made) == {"tier": (after.user_id,)}
    again = awaiting(window_opened_at=LONG_AGO, written_first_at=begun[0])
    assert not left(forecast(known(recipients_per_day=1, begun_at=begun, awaiting=[again]), NOON))


def test_money_goes_to_open_windows_before_those_who_are_written_to_first() -> None:
    digests = [awaiting(0), awaiting(1, window_opened_at=NOON), awaiting(2)]
    made = forecast(known(budget=Budget("USD", 50), awaiting=digests), NOON)
    assert left(made) == {"budget": (digests[2].user_id,)}
    assert forecast(known(awaiting=digests), NOON).left_waiting == ()


def test_with_a_month_its_money_begins_anew() -> None:
    night = datetime(2026, 11, 30, 22, tzinfo=UTC)
    tonight, tomorrow = (awaiting(due_at=night + timedelta(hours=hours)) for hours in (1, 3))
    spent = {date(2026, 11, 29): 100}
    made = forecast(known(budget=Budget("USD", 100), spent_on=spent, awaiting=[tonight, tomorrow]), night)
    assert left(made) == {"budget": (tonight.user_id,)}


def test_who_may_write_again_is_said_to_be_waited_for() -> None:
    lately = awaiting(window_opened_at=NOON - timedelta(hours=30))
    begun = [NOON - timedelta(hours=1)] * 8
    made = forecast(known(recipients_per_day=10, begun_at=begun, awaiting=[lately]), NOON)
    [waiting] = made.left_waiting
    assert (waiting.reason, waiting.until) == ("window_may_open", NOON + HOPED_FOR)


# --- in the tables ----------------------------------------------------------------------------------------------------


async def _made(sender: Sender) -> ForecastMade:
    async with sender.pool.acquire() as connection:
        made = await look_ahead(connection, prices(), datetime.now(UTC))
    assert made
    return made


async def test_what_the_tables_hold_is_forecast_without_a_phone_and_what_happens_is_what_was_forecast(
    sender: Sender,
) -> None:
    limited = sender.but(policy=replace(sender.policy, recipients_per_day=2))
    now = datetime.now(UTC)
    inside = [renter(window_opened_at=now - timedelta(hours=hours)) for hours in (23.5, 20, 1)]
    outside = [renter(window_opened_at=LONG_AGO) for _ in range(4)]
    await limited.know(*inside, *outside)
    await BudgetWatch(limited.pool, Budget("USD", 10_000_000, 0), 2).announce()
    await limited.tell(*(flat_for(each.user_id) for each in (*inside, *outside)))
    made = await _made(limited)
    assert (made.windows.open, made.windows.close_within_1_hour, made.windows.close_within_6_hours) == (3, 1, 2)
    assert made.windows.last_closes_at
    assert abs(made.windows.last_closes_at - now - timedelta(hours=23)) < timedelta(minutes=1)
    assert (made.tier.limit, made.tier.used, made.looked_at, made.waiting) == (2, 0, 7, {"": 7})
    [waiting] = made.left_waiting
    assert (waiting.reason, waiting.users) == ("tier", 2)
    assert not any((each.phone or "")[1:] in made.model_dump_json() for each in (*inside, *outside))

    async with limited.with_templates(Purpose.DIGEST) as templated:
        assert len((await templated.ledger.begin(20)).calls) == 5
    left_now = await limited.pool.fetch("SELECT user_id FROM messages WHERE stage = 'waiting' AND detail = 'tier'")
    assert {row["user_id"] for row in left_now} == set(waiting.user_ids)
    made = await _made(limited)
    assert (made.tier.used, made.waiting["tier"], made.tier.used_up.earliest) == (2, 2, made.made_at)


async def test_of_all_replicas_one_publishes_each_forecast(sender: Sender) -> None:
    await BudgetWatch(sender.pool, Budget("USD"), 250).announce()
    for _ in range(2):
        await Outlook(sender.pool, TOPICS, prices()).publish()
    [event] = await sender.outbox()
    assert (event["type"], event["tier"]["limit"]) == (ForecastMade.type, 250)
    await sender.pool.execute("UPDATE forecasts SET made_at = made_at - interval '1 minute'")
    await Outlook(sender.pool, TOPICS, prices()).publish()
    assert len(await sender.outbox()) == 2
