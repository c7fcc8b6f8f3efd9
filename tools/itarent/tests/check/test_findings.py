"""What a check makes of what it hears."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from common.service import VERSION
from common.twilio_errors import advice_of
from itarent.check.clocks import Clock, skew_of
from itarent.check.report import Finding, State, Step, failed, ok, run, warning
from itarent.check.services import advice_about, complaints

WELL = {"status": "ok", "version": VERSION, "stopped_lines": []}


def a_clock(ahead: timedelta) -> Clock:
    async def read() -> datetime:
        return datetime.now(UTC) + ahead

    return Clock("Somebody", read)


@pytest.mark.parametrize(
    ("seconds", "too_large"), [(0, False), (1.9, False), (-1.9, False), (60, True), (-60, True), (3600, True)]
)
async def test_a_clock_that_is_more_than_two_seconds_off_is_told(seconds: float, too_large: bool) -> None:
    assert (await skew_of(a_clock(timedelta(seconds=seconds)))).too_large == too_large


def test_a_service_that_is_well_has_no_complaint() -> None:
    assert list(complaints("matcher", WELL)) == []


def test_a_line_that_is_stopped_is_told_with_the_way_to_its_dead_letters() -> None:
    [complaint] = complaints("matcher", WELL | {"status": "stopped", "stopped_lines": ["itarent.listings.v1"]})
    assert complaint.state is State.FAILED
    assert "itarent.listings.v1" in complaint.says
    assert "itarent dlq list --topic itarent.listings.v1" in complaint.cure


def test_a_sender_in_a_pause_and_another_version_are_told() -> None:
    paused, other = complaints("sender", WELL | {"paused_for": "misconfigured 20003", "version": "0.0.1"})
    assert "misconfigured 20003" in paused.says
    assert (other.state, "0.0.1" in other.says) == (State.WARNING, True)


def test_a_budget_that_is_used_up_is_told() -> None:
    budgets: list[dict[str, int | None] | None] = [None, {"used_percent": None}, {"used_percent": 99}]
    assert [list(complaints("sender", WELL | {"budget": budget})) for budget in budgets] == [[], [], []]
    [used_up] = complaints("sender", WELL | {"budget": {"used_percent": 100}})
    assert (used_up.state, "itarent budget" in used_up.cure) == (State.WARNING, True)


@pytest.mark.parametrize(
    ("paused_for", "code"),
    [("misconfigured 20003", 20003), ("daily_cap", 63038), ("channel_busy", 63018), ("held", None), ("", None)],
)
def test_a_pause_that_twilio_caused_has_the_sentence_of_its_error(paused_for: str, code: int | None) -> None:
    assert advice_about(paused_for) == (advice_of(code) if code else None)


def test_a_pause_by_order_and_messages_that_wait_for_a_person_are_no_failures() -> None:
    paused, parked = complaints("sender", WELL | {"paused_for": "held", "messages_parked": 2})
    assert (paused.state, parked.state) == (State.WARNING, State.WARNING)
    assert "itarent ledger resume" in paused.cure
    assert "2 messages" in parked.says


async def test_a_step_without_its_ground_is_not_tried_and_its_outage_is_told_with_a_cure() -> None:
    async def away() -> list[Finding]:
        raise ConnectionRefusedError("nobody listens")

    async def fine() -> list[Finding]:
        return [ok("it works"), warning("it is slow", "Wait.")]

    steps = [
        Step("ground", away, "Start it."),
        Step("above", fine, "", needs=("ground",)),
        Step("beside", fine, ""),
    ]
    report = await run(steps, Console(quiet=True))
    assert [result.state for result in report.results] == [State.FAILED, State.SKIPPED, State.WARNING]
    assert report.results[0].findings == (failed("no answer: ConnectionRefusedError: nobody listens", "Start it."),)
    assert "ground" in report.results[1].findings[0].says
    assert not report.passed
