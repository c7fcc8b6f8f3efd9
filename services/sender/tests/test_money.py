"""What messages cost, and that the month's budget is never exceeded, by however many replicas at once."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.events import DirectPurpose, MessageStatus
from common.prices import Charge, InvalidPrices, Prices, micros, prices
from sender.budget import Budget, Purse, Spends, month_of, next_month, percent, warning_due
from sender.reports import Source, reported_status
from sender.spending import BudgetWatch
from sender.templates import Purpose
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind

from .conftest import POLICY, Sender, direct_for, flat_for, renter

SERVICE = prices().of("+393335550101", Charge.SERVICE)
PRICES = """
currency = "EUR"
as_of = 2026-11-01
sources = ["our contract"]

[twilio]
message = "0.005"
failed = "0.001"

[meta]
"" = { service = "0.05", utility = "0.05", authentication = "0.05", marketing = "0.1" }
39 = { service = "0", utility = "0.03", authentication = "0.04", marketing = "0.07" }
"""


def limited(sender: Sender, messages: float, reserve: float = 0) -> Sender:
    """A sender whose budget is for so many messages."""
    budget = Budget("USD", int(SERVICE * messages), int(SERVICE * reserve))
    return sender.but(policy=replace(sender.policy, budget=budget))


async def _spent(sender: Sender) -> tuple[int, int]:
    row = await sender.pool.fetchrow(
        "SELECT coalesce(sum(messages), 0)::int AS messages, coalesce(sum(micros), 0)::int AS micros FROM spending"
    )
    assert row
    return row["messages"], row["micros"]


# --- the price table ------------------------------------------------------------------------------------------------


def test_the_longest_prefix_that_the_table_has_decides_about_the_price() -> None:
    assert prices().of("+393335550101", Charge.UTILITY) == micros("0.035")
    assert prices().of("+3513335550101", Charge.UTILITY) == micros("0.0221")
    elsewhere = prices().of("+8613335550101", Charge.SERVICE)
    assert elsewhere == max(prices().of(f"+{prefix}1", Charge.SERVICE) for prefix in prices().meta if prefix)


def test_what_was_not_delivered_costs_twilios_fee_or_nothing() -> None:
    assert prices().of_failure(MessageStatus.FAILED, 63015) == micros("0.001")
    assert prices().of_failure(MessageStatus.FAILED, 63018) == 0
    assert prices().of_failure(MessageStatus.UNDELIVERED, 63015) == 0


def test_a_table_of_ones_own_is_read_exactly(tmp_path: Path) -> None:
    (table := tmp_path / "prices.toml").write_text(PRICES)
    assert prices(table).currency == "EUR"
    assert prices(table).of("+393335550101", Charge.AUTHENTICATION) == 45_000


@pytest.mark.parametrize(
    ("good", "bad", "fault"),
    [
        ('"0.005"', "0.005", "as a text"),
        ('"0.005"', '"0.0050001"', "six decimals"),
        ('"0.005"', '"-1"', "not negative"),
        ('"0.005"', '"NaN"', "not negative"),
        ('"0.005"', '"cheap"', "no amount"),
        (', marketing = "0.07"', "", "no price for marketing"),
        ("39 = ", "IT = ", "country prefix"),
        ('"" = ', "1 = ", "every other country"),
        ("EUR", "euro", "currency"),
        ("[meta]", "[meta", "TOML|Expected"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_with_its_fault(
    tmp_path: Path, good: str, bad: str, fault: str
) -> None:
    assert good in PRICES
    (table := tmp_path / "prices.toml").write_text(PRICES.replace(good, bad))
    with pytest.raises(InvalidPrices, match=fault):
        prices(table)


def test_the_packaged_table_names_its_date_and_its_sources() -> None:
    assert isinstance(prices(), Prices)
    assert prices().as_of <= date(2026, 12, 31)
    assert any("facebook.com" in source for source in prices().sources)


# --- the budget -----------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**8),
    st.lists(st.tuples(st.integers(0, 10**7), st.sampled_from(Spends)), max_size=50),
)
def test_no_sequence_of_messages_exceeds_the_budget_or_its_reserve(
    limit: int, reserve: int, wanted: list[tuple[int, Spends]]
) -> None:
    purse = Purse(Budget("USD", limit, reserve), 0, datetime.now(UTC))
    for price, spends in wanted:
        if purse.covers(price, spends):
            purse = purse.after(price)
            assert purse.spent <= limit + (reserve if spends is Spends.ASKED_FOR else 0)
    assert purse.spent <= limit + reserve


def test_a_tenth_is_reserved_unless_the_settings_say_otherwise() -> None:
    assert Budget.of("USD", 50_000_000, None).reserve == 5_000_000
    assert Budget.of("USD", 50_000_000, 0).reserve == 0
    assert Budget.of("USD", None, None).limit is None


@pytest.mark.parametrize(
    ("moment", "month", "following"),
    [
        ("2026-12-31T23:59:59+00:00", date(2026, 12, 1), "2027-01-01T00:00:00+00:00"),
        ("2027-01-01T00:30:00+01:00", date(2026, 12, 1), "2027-01-01T00:00:00+00:00"),
        ("2028-02-29T12:00:00+00:00", date(2028, 2, 1), "2028-03-01T00:00:00+00:00"),
        ("2026-11-01T00:00:00+00:00", date(2026, 11, 1), "2026-12-01T00:00:00+00:00"),
    ],
)
def test_months_are_those_of_twilios_invoices(moment: str, month: date, following: str) -> None:
    assert month_of(datetime.fromisoformat(moment)) == month
    assert next_month(datetime.fromisoformat(moment)) == datetime.fromisoformat(following)


@pytest.mark.parametrize(
    ("spent", "used", "warned"), [(0, 0, 0), (79, 79, 0), (80, 80, 80), (99, 99, 80), (110, 110, 100)]
)
def test_there_is_a_warning_at_eighty_per_cent_and_one_when_all_is_used(spent: int, used: int, warned: int) -> None:
    assert percent(spent, 100) == used
    assert warning_due(spent, Budget("USD", 100)) == warned
    assert warning_due(spent, Budget("USD")) == 0


# --- in the tables --------------------------------------------------------------------------------------------------


async def test_every_attempt_has_its_price_and_the_day_its_sum(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(event)
        await sender.until(event, stage="taken")
    attempt = await sender.pool.fetchrow("SELECT * FROM attempts")
    assert attempt
    assert (attempt["charge"], attempt["price_micros"], attempt["currency"]) == ("service", SERVICE, "USD")
    assert attempt["spent_on"] == attempt["started_at"].astimezone(UTC).date()
    assert await _spent(sender) == (1, SERVICE)


@pytest.mark.parametrize(
    ("fault", "messages", "cost"),
    [
        (Fault(FaultKind.REFUSE, code=21211), 0, 0),
        (Fault(FaultKind.REFUSE, code=20429), 1, SERVICE),  # it goes through at the second try
        (Fault(FaultKind.RESET), 1, SERVICE),  # in doubt, looked up, sent again
        (Fault(FaultKind.RESET_TAKEN), 1, SERVICE),
    ],
)
async def test_only_what_twilio_has_taken_costs_anything(
    sender: Sender, fault: Fault, messages: int, cost: int
) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    await sender.simulator.script(fault)
    async with sender.dispatching():
        await sender.tell(event)

        async def decided() -> bool:
            message = await sender.message(event)
            return message["sid"] is not None if messages else message["stage"] == "ended"

        await eventually(decided)
    assert await _spent(sender) == (messages, cost)


async def test_a_failure_that_is_reported_later_gives_back_all_but_twilios_fee(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    await sender.know(anna)
    async with sender.dispatching():
        await sender.tell(event)
        taken = await sender.until(event, stage="taken")
    failure = reported_status(
        taken["message_id"], 1, Source.CALLBACK, status=MessageStatus.FAILED, sid=taken["sid"], code=63015
    )
    for _ in range(2):
        await sender.reports.record([failure])
        assert await _spent(sender) == (0, prices().twilio.failed)


async def test_digests_wait_at_the_limit_and_go_out_when_there_is_more(sender: Sender) -> None:
    renters = [renter() for _ in range(3)]
    events = [flat_for(each.user_id) for each in renters]
    poor = limited(sender, messages=2.5)
    await poor.know(*renters)
    await poor.tell(*events)
    async with poor.dispatching():

        async def two_are_sent() -> bool:
            stages = sorted([(await poor.message(event))["stage"] for event in events])
            details = {(await poor.message(event))["detail"] for event in events}
            return stages == ["taken", "taken", "waiting"] and "budget" in details

        await eventually(two_are_sent)
    assert await _spent(poor) == (2, 2 * SERVICE)
    richer = limited(sender, messages=3)
    await BudgetWatch(richer.pool, richer.policy.budget).announce()
    async with richer.dispatching():
        for event in events:
            await richer.until(event, stage="taken")
    assert await _spent(richer) == (3, 3 * SERVICE)


async def test_a_digest_that_money_never_came_for_expires_and_is_told(sender: Sender) -> None:
    anna = renter()
    event = flat_for(anna.user_id)
    poor = limited(sender, messages=0)
    await poor.know(anna)
    await poor.tell(event)
    async with poor.dispatching():
        await poor.until(event, stage="waiting", detail="budget")
        aged = event.model_copy(update={"requested_at": datetime.now(UTC) - timedelta(days=4)})
        await poor.pool.execute("UPDATE notifications SET event = $1", aged.model_dump_json())
        await poor.pool.execute("UPDATE messages SET due_at = now(), latest_at = now() - interval '1 second'")
        await poor.until(event, stage="ended")
    assert await poor.disposition(event) == ("expired", "too_late")
    assert [each["disposition"] for each in await poor.outbox()] == ["expired"]


async def test_a_digest_whose_flats_are_gone_does_not_wait_for_money(sender: Sender) -> None:
    await sender.know(anna := renter())
    poor = limited(sender, messages=0)
    await poor.tell(event := flat_for(anna.user_id, requested_at=datetime.now(UTC) - timedelta(days=4)))
    async with poor.dispatching():
        await poor.until(event, stage="ended")
    assert await poor.disposition(event) == ("expired", "too_late")


async def test_what_people_ask_for_goes_beyond_the_budget_until_the_reserve_is_used_up(sender: Sender) -> None:
    renters = [renter() for _ in range(3)]
    asked = [direct_for(each.user_id, DirectPurpose.TEST) for each in renters]
    poor = limited(sender, messages=0, reserve=2)
    await poor.know(*renters)
    await poor.tell(*asked)
    async with poor.dispatching():

        async def all_are_decided() -> bool:
            dispositions = sorted([await poor.disposition(event) for event in asked])
            return dispositions == [("in_message", ""), ("in_message", ""), ("suppressed", "budget")]

        await eventually(all_are_decided)
    assert await _spent(poor) == (2, 2 * SERVICE)


async def test_replicas_that_race_at_the_limit_do_not_exceed_it(sender: Sender) -> None:
    renters = [renter() for _ in range(60)]
    events = [flat_for(each.user_id) for each in renters]
    replicas = [limited(sender.but(name=str(n)), messages=41.9) for n in range(4)]
    await sender.know(*renters)
    await sender.simulator.script(Fault(FaultKind.REFUSE, code=21211, times=None, probability=0.2))
    await sender.tell(*events)

    async def begin_until_nothing_is_due(replica: Sender) -> None:
        while (await replica.ledger.begin(7)).decided:
            pass

    await asyncio.gather(*(begin_until_nothing_is_due(each) for each in replicas))
    attempts = await sender.pool.fetchval("SELECT count(*) FROM attempts")
    waiting = await sender.pool.fetchval("SELECT count(*) FROM messages WHERE detail = 'budget'")
    assert (attempts, waiting) == (41, 19)
    assert await _spent(sender) == (41, 41 * SERVICE)


async def test_money_that_comes_back_is_spent_again_and_the_sums_stay_those_of_the_attempts(sender: Sender) -> None:
    renters = [renter() for _ in range(20)]
    events = [flat_for(each.user_id) for each in renters]
    poor = limited(sender, messages=10)
    await poor.know(*renters)
    await poor.simulator.script(Fault(FaultKind.REFUSE, code=21211, times=4))
    await poor.tell(*events)
    async with poor.dispatching():

        async def all_money_is_spent() -> bool:
            await BudgetWatch(poor.pool, poor.policy.budget).announce()
            return len(await poor.simulator.messages()) == 10

        await eventually(all_money_is_spent)
    assert await _spent(poor) == (10, 10 * SERVICE)
    assert await poor.pool.fetchval("SELECT sum(charged_micros)::int FROM attempts") == 10 * SERVICE


async def test_a_threshold_is_warned_about_once_a_month_by_one_of_all_replicas(
    sender: Sender, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    budget = Budget("USD", 100_000_000, 10_000_000)
    replicas = [BudgetWatch(sender.pool, budget) for _ in range(2)]
    for each in replicas:
        await each.announce()
    await sender.pool.execute("INSERT INTO spending VALUES ($1, 'USD', 'service', 1, 85000000)", now.date())
    for each in (*replicas, *replicas):
        await each.look(now)
    assert capsys.readouterr().out.count("nearly used up") == 1
    await sender.pool.execute("UPDATE spending SET micros = 100000000")
    for each in (*replicas, *replicas):
        await each.look(now)
        assert each.spent
        assert json.loads(json.dumps(each.spent.as_json()))["used_percent"] == 100
    assert capsys.readouterr().out.count("is used up") == 1
    await replicas[0].look(now + timedelta(days=40))
    assert replicas[0].spent
    assert replicas[0].spent.month == 0


async def test_a_template_costs_what_its_category_costs(sender: Sender) -> None:
    anna = renter(window_opened_at=datetime(2026, 1, 1, tzinfo=UTC))
    event = flat_for(anna.user_id)
    dear = prices().model_copy(update={"meta": {"": prices().meta["39"] | {Charge.UTILITY: 70_000}}})
    await sender.know(anna)
    async with sender.but(policy=replace(POLICY, prices=dear)).with_templates(Purpose.DIGEST) as templated:
        await templated.tell(event)
        async with templated.dispatching():
            await templated.until(event, stage="taken")
    row = await sender.pool.fetchrow("SELECT charge, micros FROM spending")
    assert row
    assert tuple(row) == ("utility", 75_000)
