"""Twilio's list of a day against the ledger: each side's losses are found, and what Twilio knows better is recorded."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from typer.testing import CliRunner, Result

from common.events import MessageStatus, NotificationRequested
from itarent.cli import app
from sender.comparison import CHECKING, Kind, Known, Listed, differences
from sender.progress import AttemptState
from sender.reconciliation import GRACE, BeingCompared, Comparison, Reconciliation
from sender.twilio import LookupFailed, Page, Twilio
from testkit.servers import Database
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind
from twilio_simulator.resources import Status
from twilio_simulator.simulator import Behaviour

from .conftest import Sender, flat_for, renter

QUICK = Behaviour(pace=timedelta(milliseconds=1))
SOMEBODY = "+393339998877"


async def told(sender: Sender, count: int = 1) -> list[NotificationRequested]:
    """Messages that Twilio has delivered, of which no callback told us."""
    await sender.simulator.behave(QUICK)
    renters = [renter() for _ in range(count)]
    await sender.know(*renters)
    await sender.tell(*(events := [flat_for(each.user_id) for each in renters]))
    async with sender.dispatching():
        for event in events:
            await sender.until(event, stage="taken")
    await ended_there(sender, "delivered")
    return events


async def ended_there(sender: Sender, status: str) -> None:
    """Wait until every message has this status at Twilio."""

    async def reached() -> bool:
        return {each.status for each in await sender.simulator.messages()} == {status}

    await eventually(reached)


async def today(sender: Sender) -> date:
    """The day of what was sent, and so the list that it is on."""
    day: date = await sender.pool.fetchval("SELECT (min(started_at) AT TIME ZONE 'UTC')::date FROM attempts")
    return day


def after(day: date) -> datetime:
    """When a day is to be compared."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, minutes=1) + GRACE


@contextlib.asynccontextmanager
async def reconciliation(sender: Sender, name: str = "one") -> AsyncIterator[Reconciliation]:
    async with sender.twilio() as twilio:
        yield Reconciliation(sender.pool, twilio, sender.reports, name=name)


async def compared(sender: Sender) -> Comparison:
    day = await today(sender)
    async with reconciliation(sender) as each:
        return await each.compare(day, after(day), anew=True)


def told_by_metric(kind: Kind) -> float | None:
    return REGISTRY.get_sample_value("itarent_sender_comparison_findings", {"kind": kind.value})


async def test_what_no_callback_told_is_recorded_as_if_one_had(sender: Sender) -> None:
    [event] = await told(sender)
    first = await compared(sender)
    assert [(each.kind, each.detail) for each in first.findings] == [(Kind.STATUS, "queued here, delivered at Twilio")]
    message = await sender.message(event)
    assert (message["stage"], message["status"]) == ("ended", "delivered")
    reported = [each for each in await sender.outbox() if each.get("status") == "delivered"]
    assert [each["reported_by"] for each in reported] == ["sender"]
    again = await compared(sender)
    assert (again.listed, again.findings) == (1, ()), "once recorded, both sides agree"


async def test_each_sides_losses_are_found_by_their_ids_and_what_people_write_is_none(sender: Sender) -> None:
    known, lost, _ = await told(sender, 3)
    await compared(sender)
    [lost_sid] = [(await sender.message(lost))["sid"]]
    await sender.simulator.lose(lost_sid)
    invented = await sender.simulator.invent(SOMEBODY, "A message of another program")
    await sender.simulator.invent(SOMEBODY, CHECKING)
    await sender.simulator.write(SOMEBODY, "STOP")  # of somebody who has not joined: the sandbox answers it
    found = await compared(sender)
    assert {(each.kind, each.sid, each.message_id) for each in found.findings} == {
        (Kind.UNKNOWN_HERE, invented, None),
        (Kind.UNKNOWN_THERE, lost_sid, (await sender.message(lost))["message_id"]),
    }
    assert (found.listed, found.asked) == (3, 1)
    assert found.passed_over == 2, "an operator's test and the sandbox's own answer; what people write is not from us"
    kept = [dict(row) for row in await sender.pool.fetch("SELECT * FROM comparison_findings")]
    assert SOMEBODY not in str(kept)
    assert "another program" not in str(kept)
    assert (await sender.message(known))["status"] == "delivered"


async def test_a_message_whose_answer_was_lost_is_found_by_its_phone_and_the_mark_of_its_text(sender: Sender) -> None:
    await sender.simulator.behave(QUICK)
    await sender.know(anna := renter())
    await sender.tell(event := flat_for(anna.user_id))
    await sender.simulator.script(Fault(FaultKind.RESET_TAKEN))
    async with sender.but(grace=timedelta(hours=1)).dispatching():
        await sender.until(event, stage="in_doubt")
    [taken] = await sender.simulator.messages_when(1)
    await ended_there(sender, "delivered")
    found = await compared(sender)
    assert [(each.kind, each.sid) for each in found.findings] == [(Kind.RECOVERED, taken.sid)]
    message = await sender.message(event)
    assert (message["stage"], message["status"], message["sid"]) == ("ended", "delivered", taken.sid)


async def test_a_message_that_was_never_sent_is_on_no_list_and_known_all_the_same(sender: Sender) -> None:
    await sender.simulator.behave(QUICK)
    await sender.know(anna := renter())
    await sender.tell(event := flat_for(anna.user_id))
    await sender.simulator.script(Fault(FaultKind.FAIL, status=Status.FAILED, code=63024))
    async with sender.dispatching():
        message = await sender.until(event, stage="taken")
    await ended_there(sender, "failed")
    found = await compared(sender)
    assert (found.listed, found.asked) == (0, 1)
    assert [(each.kind, each.sid) for each in found.findings] == [(Kind.STATUS, message["sid"])]
    assert await sender.disposition(event) == ("failed", "unreachable")


async def test_what_twilio_charges_more_than_was_booked_is_found(sender: Sender) -> None:
    [event] = await told(sender)
    sid = (await sender.message(event))["sid"]
    await compared(sender)
    await sender.simulator.amend(sid, price="-0.00500", price_unit="USD")
    assert (await compared(sender)).findings == (), "Meta's part is not in it: dearer here is as it should be"
    await sender.simulator.amend(sid, price="-0.75000", price_unit="USD", num_segments=2)
    found = await compared(sender)
    assert [(each.kind, each.detail) for each in found.findings] == [
        (Kind.PRICE, "0.035 booked, 0.75 USD charged"),
        (Kind.SEGMENTS, "2"),
    ]


class ShortPages(Twilio):
    """Twilio that lists two messages at once, and goes away before a page that is told."""

    fails_before: int | None = None

    async def sent_on(self, day: date, page: str | None = None) -> Page:
        first = f"{self._messages_url.removeprefix(self._client.api.base_url)}?From={self._sender.replace('+', '%2B')}"
        at = page or f"{first}&DateSent={day}&PageSize=2"
        if self.fails_before == 0:
            raise LookupFailed("it is away")
        self.fails_before = None if self.fails_before is None else self.fails_before - 1
        return await super().sent_on(day, at)


async def test_a_comparison_that_was_cut_off_goes_on_at_its_page_by_whoever_comes_next(sender: Sender) -> None:
    await told(sender, 5)
    day = await today(sender)
    async with sender.twilio() as twilio:
        pages = ShortPages(twilio._client, twilio._sender)
        pages.fails_before = 2
        with pytest.raises(LookupFailed):
            await Reconciliation(sender.pool, pages, sender.reports, name="one").compare(day, after(day))
        assert await sender.pool.fetchval("SELECT listed FROM comparisons") == 4
        pages.fails_before = 1
        found = await Reconciliation(sender.pool, pages, sender.reports, name="two").compare(day, after(day))
    assert (found.listed, found.asked, found.compared_by) == (5, 0, "two")
    assert found.by_kind == {Kind.STATUS: 5}
    assert await sender.pool.fetchval("SELECT count(*) FROM comparison_seen") == 0


async def test_a_day_is_compared_once_it_is_over_by_one_replica_and_missed_days_are_made_up_for(sender: Sender) -> None:
    await told(sender)
    day = await today(sender)
    await sender.simulator.invent(SOMEBODY, "A message of another program")
    await sender.pool.execute("UPDATE compared_since SET day = $1", day - timedelta(days=30))
    async with reconciliation(sender) as one, reconciliation(sender, "two") as two:
        too_early = after(day) - timedelta(hours=1)
        await asyncio.gather(one.look(too_early), two.look(too_early))
        days = await sender.pool.fetch("SELECT day FROM comparisons WHERE finished_at IS NOT NULL ORDER BY day")
        assert [row["day"] for row in days] == [day - timedelta(days=back) for back in range(6, 0, -1)]
        await asyncio.gather(one.look(after(day)), two.look(after(day)))
        await one.look(after(day))
    row = await sender.pool.fetchrow("SELECT * FROM comparisons WHERE day = $1", day)
    assert row
    assert (row["listed"], row["compared_by"] in {"one", "two"}) == (2, True)
    assert (told_by_metric(Kind.UNKNOWN_HERE), told_by_metric(Kind.STATUS)) == (1, 1)
    assert REGISTRY.get_sample_value("itarent_sender_comparison_overdue_seconds") == 0


async def test_while_twilio_cannot_be_asked_the_comparison_is_overdue_and_another_may_try(sender: Sender) -> None:
    await told(sender)
    day = await today(sender)
    async with reconciliation(sender.but(base_url="http://127.0.0.1:9")) as away:
        with pytest.raises(LookupFailed):
            await away.look(after(day) + timedelta(hours=2))
    overdue = REGISTRY.get_sample_value("itarent_sender_comparison_overdue_seconds")
    assert overdue == timedelta(hours=2, minutes=1).total_seconds()
    async with reconciliation(sender, "two") as two:
        await two.look(after(day))
    assert REGISTRY.get_sample_value("itarent_sender_comparison_overdue_seconds") == 0


async def test_a_day_that_somebody_compares_is_left_to_them(sender: Sender) -> None:
    await told(sender)
    day = await today(sender)
    async with reconciliation(sender) as one, reconciliation(sender, "two") as two:
        await one._claim(day, after(day), anew=False)
        with pytest.raises(BeingCompared, match="by one"):
            await two.compare(day, after(day), anew=True)
        await sender.pool.execute("UPDATE comparisons SET lease_until = now()")
        assert (await two.compare(day, after(day))).compared_by == "two"


# --- the rule -------------------------------------------------------------------------------------------------------

LISTED = Listed(
    "SM1", ours=True, to=SOMEBODY, body="", status=MessageStatus.DELIVERED, error_code=None, created_at=None
)
HERE = Known(
    message_id=UUID(int=1),
    attempt=1,
    last=True,
    state=AttemptState.ACCEPTED,
    status=MessageStatus.DELIVERED,
    charged=0,
    currency="USD",
)


@pytest.mark.parametrize(
    ("here", "there", "kind"),
    [
        ({}, MessageStatus.DELIVERED, None),
        ({}, MessageStatus.READ, Kind.STATUS),
        ({}, MessageStatus.SENT, None),
        ({}, MessageStatus.UNKNOWN, None),
        ({}, MessageStatus.UNDELIVERED, Kind.CONTRADICTION),
        ({"status": MessageStatus.SENT}, MessageStatus.UNDELIVERED, Kind.STATUS),
        ({"status": MessageStatus.SENT}, MessageStatus.DELIVERED, Kind.STATUS),
        ({"state": AttemptState.REFUSED}, MessageStatus.FAILED, None),
        ({"state": AttemptState.REFUSED}, MessageStatus.DELIVERED, Kind.CONTRADICTION),
        ({"state": AttemptState.REFUSED, "last": False}, MessageStatus.SENT, None),
        ({"last": False, "status": MessageStatus.WAITING}, MessageStatus.DELIVERED, None),
    ],
)
def test_a_status_differs_where_twilio_knows_more_or_the_opposite(
    here: dict[str, object], there: MessageStatus, kind: Kind | None
) -> None:
    found = list(differences(replace(LISTED, status=there), replace(HERE, **here)))  # type: ignore[arg-type] # by name
    assert [each.kind for each in found] == ([kind] if kind else [])


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def account(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = sender.simulator
    url = f"{simulator.base_url}/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
    monkeypatch.setenv("WHATSAPP_API_URL", url)
    monkeypatch.setenv("WHATSAPP_API_TOKEN", simulator.auth_token)
    monkeypatch.setenv("WHATSAPP_PHONE_NUMBER_ID", simulator.sender)
    monkeypatch.setenv("WHATSAPP_BUSINESS_ACCOUNT_ID", simulator.account_sid)


async def reconcile(database: Database, *options: str) -> Result:
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "DATABASE_URL": database.url("sender")})
    return await asyncio.to_thread(runner.invoke, app, ["reconcile", *options])


@pytest.mark.usefixtures("account")
async def test_the_command_says_what_is_to_be_mended_and_ends_with_1(sender: Sender, database: Database) -> None:
    await told(sender, 2)
    day = str(await today(sender))
    assert (await reconcile(database, "--stored", "--day", day)).exit_code == 2
    agreed = await reconcile(database, "--day", day, "--json")
    assert agreed.exit_code == 0, agreed.output
    assert [each["kind"] for each in json.loads(agreed.stdout)["findings"]] == ["status", "status"]
    assert "agree now" in (await reconcile(database, "--day", day, "--stored")).stdout
    a_while_ago = datetime.now(UTC) - timedelta(minutes=3)
    sid = await sender.simulator.invent(SOMEBODY, "A message of another program", sent_at=a_while_ago)
    day = str(a_while_ago.date())
    found = await reconcile(database, "--day", day)
    assert found.exit_code == 1, found.output
    assert f"{sid}: unknown here: delivered at Twilio" in found.output
    assert SOMEBODY not in found.output
    stored = json.loads((await reconcile(database, "--day", day, "--stored", "--json")).stdout)
    assert [(each["kind"], each["sid"]) for each in stored["findings"]] == [("unknown_here", sid)]


@pytest.mark.usefixtures("account")
async def test_the_command_ends_with_2_where_nothing_can_be_compared(
    sender: Sender, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    assert (await reconcile(database, "--day", str(tomorrow))).exit_code == 2
    monkeypatch.setenv("WHATSAPP_API_TOKEN", "0" * 32)
    refused = await reconcile(database)
    assert refused.exit_code == 2
    assert "itarent check twilio" in refused.output
    assert sender.simulator.auth_token not in refused.output
