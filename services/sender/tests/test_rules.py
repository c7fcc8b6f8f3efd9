"""The sender's pure rules: codes, statuses, schedules, rates, and what follows from a report."""

import itertools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.events import Disposition, MessageStatus, QuietHours
from common.quiet_hours import quiet_until
from common.twilio_errors import CODES, Meaning
from sender import rate
from sender.outcomes import (
    Accepted,
    Cause,
    Delayed,
    InDoubt,
    Misconfigured,
    OptedOut,
    OutsideWindow,
    RateLimited,
    Rejected,
    Stale,
    TemplateUnusable,
    Unavailable,
    failure_of,
    refusal_of,
)
from sender.progress import DOUBTFUL, Disproven, NotFound, Progress, Situation, Stage, Unasked, Unclear, follow
from sender.schedule import RETRIES, due_at, next_attempt_at
from sender.statuses import ENDED, FAILURES, RANK, advance
from testkit.factories import NOW

ROME = ZoneInfo("Europe/Rome")

# --- error codes ----------------------------------------------------------------------------------------------------

TABLE = [
    ("20429", RateLimited),
    ("20003 20005 20404 21212 21606 21603 21609 63007 63008 63001 63020 63051 63062 30002", Misconfigured),
    ("63016", OutsideWindow),
    ("21211 21614 63003 63031 63024 63032 63015 21608", Rejected),
    ("21610 63014 63033 63050", OptedOut),
    ("21617 21658 14103 21619 21620 21623 21654 21656 92007 63005 63013 63019 63021 63027 63028 63029 63030", Rejected),
    ("63040 63041 63042", TemplateUnusable),
    ("21408 21612 63049 30003 30004 30005 30006 30007", Rejected),
    ("20001 20004 20007 20415 21604 21910 30409 90007", Rejected),
    ("63018 63017 21611 30001 63038 63010 63012 63023 30008 30017", Delayed),
    ("30036", Stale),
]
EVERY_CODE = [(int(code), outcome) for codes, outcome in TABLE for code in codes.split()]


@pytest.mark.parametrize(("code", "outcome"), EVERY_CODE)
def test_a_code_means_the_same_in_an_answer_and_in_a_callback(code: int, outcome: type) -> None:
    assert isinstance(refusal_of(400, code), outcome)
    assert failure_of(MessageStatus.FAILED, code) == refusal_of(400, code)


def test_the_table_of_codes_is_complete_and_names_each_once() -> None:
    known = [code for codes in CODES.values() for code in codes]
    assert sorted(known) == sorted(code for code, _ in EVERY_CODE)
    assert set(CODES) == set(Meaning)


@pytest.mark.parametrize(
    ("http_status", "code", "outcome"),
    [
        (429, None, RateLimited(None)),
        (401, None, Misconfigured(None, 401)),
        (403, 99999, Misconfigured(99999, 403)),
        (400, 99999, Rejected(99999, "refused", ours=True)),
        (404, None, Rejected(None, "refused", ours=True)),
        (500, None, InDoubt("http_500")),
        (503, 99999, InDoubt("http_503")),
        (302, None, InDoubt("http_302")),
        (503, 63016, OutsideWindow(63016)),
    ],
)
def test_an_unknown_code_is_final_if_the_request_was_wrong_and_else_in_doubt(
    http_status: int, code: int | None, outcome: object
) -> None:
    assert refusal_of(http_status, code) == outcome


@given(st.integers(300, 599), st.none() | st.integers(0, 99_999))
def test_no_answer_and_no_callback_crashes(http_status: int, code: int | None) -> None:
    assert refusal_of(http_status, code) is not None
    assert None not in {failure_of(status, code) for status in FAILURES}


# --- statuses -------------------------------------------------------------------------------------------------------


def test_a_status_only_advances_in_any_order_of_callbacks() -> None:
    way = [status for status in RANK if status is not MessageStatus.SCHEDULED]
    for order in itertools.permutations(way[-5:]):
        status = MessageStatus.WAITING
        ranks = []
        for reported in order:
            status = advance(status, reported)
            ranks.append(RANK[status])
        assert ranks == sorted(ranks)
        assert status is MessageStatus.READ


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_ends_what_was_not_delivered_and_nothing_ends_a_failure(failure: MessageStatus) -> None:
    assert advance(MessageStatus.SENT, failure) is failure
    assert advance(MessageStatus.DELIVERED, failure) is MessageStatus.DELIVERED
    assert {advance(failure, status) for status in MessageStatus} == {failure}


def test_an_unknown_status_is_not_acted_on() -> None:
    assert {advance(status, MessageStatus.UNKNOWN) for status in MessageStatus} == set(MessageStatus)
    assert MessageStatus.READ in ENDED


# --- quiet hours and intervals --------------------------------------------------------------------------------------

NIGHT = QuietHours(start=time(22), end=time(8))


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        (datetime(2026, 11, 20, 21, 59, tzinfo=ROME), None),
        (datetime(2026, 11, 20, 22, tzinfo=ROME), datetime(2026, 11, 21, 8, tzinfo=ROME)),
        (datetime(2026, 11, 21, 7, 59, tzinfo=ROME), datetime(2026, 11, 21, 8, tzinfo=ROME)),
        (datetime(2026, 11, 21, 8, tzinfo=ROME), None),
        # the night that has 23 hours, and the one that has 25
        (datetime(2026, 3, 28, 23, tzinfo=ROME), datetime(2026, 3, 29, 6, tzinfo=UTC)),
        (datetime(2026, 10, 24, 23, tzinfo=ROME), datetime(2026, 10, 25, 7, tzinfo=UTC)),
        (datetime(2028, 2, 28, 23, tzinfo=ROME), datetime(2028, 2, 29, 8, tzinfo=ROME)),
    ],
)
def test_quiet_hours_end_at_their_end_on_the_users_clock(moment: datetime, until: datetime | None) -> None:
    assert quiet_until(NIGHT, "Europe/Rome", moment.astimezone(UTC)) == until


def test_no_quiet_hours_and_empty_ones_hold_nothing_back() -> None:
    assert quiet_until(None, "Europe/Rome", NOW) is None
    assert quiet_until(QuietHours(start=time(3), end=time(3)), "Europe/Rome", NOW) is None


def _is_quiet_on_the_clock(hours: QuietHours, wall: time) -> bool:
    if hours.start < hours.end:
        return hours.start <= wall < hours.end
    return hours.start != hours.end and (wall >= hours.start or wall < hours.end)


@given(
    st.sampled_from([date(2026, 3, 29), date(2026, 10, 25), date(2026, 6, 1)]),
    st.builds(QuietHours, start=st.times().map(lambda t: t.replace(microsecond=0)), end=st.times()),
    st.integers(-36 * 60, 36 * 60),
    st.sampled_from(["Europe/Rome", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Nowhere/AtAll"]),
)
def test_nothing_that_may_go_out_is_in_quiet_hours_also_when_the_clocks_change(
    day: date, hours: QuietHours, minutes: int, zone_name: str
) -> None:
    zone = ROME if zone_name == "Nowhere/AtAll" else ZoneInfo(zone_name)
    moment = datetime.combine(day, time(2), tzinfo=UTC) + timedelta(minutes=minutes)
    until = quiet_until(hours, zone_name, moment)
    free = until or moment
    assert not _is_quiet_on_the_clock(hours, free.astimezone(zone).time())
    assert moment <= free <= moment + timedelta(hours=50)  # an hour that is skipped may join two nights of 24 hours


def test_a_digest_is_due_after_the_interval_and_not_at_night() -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=ROME)
    evening = datetime(2026, 11, 20, 21, 45, tzinfo=ROME)
    half_an_hour = timedelta(minutes=30)
    assert due_at(noon, None, half_an_hour, NIGHT, "Europe/Rome") == noon
    assert due_at(noon, noon - timedelta(hours=2), half_an_hour, NIGHT, "Europe/Rome") == noon
    assert due_at(noon, noon - timedelta(minutes=10), half_an_hour, None, "Europe/Rome") == noon + timedelta(minutes=20)
    assert due_at(evening, evening, half_an_hour, NIGHT, "Europe/Rome") == datetime(2026, 11, 21, 8, tzinfo=ROME)


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_of_a_delay_ends_some_time(cause: Cause) -> None:
    delays = RETRIES[cause]
    assert [next_attempt_at(cause, n, NOW) for n in range(len(delays) + 1)] == [*(NOW + each for each in delays), None]
    assert len(RETRIES[Cause.TEMPORARY]) == 2


# --- the rate -------------------------------------------------------------------------------------------------------


@given(
    st.floats(0.2, 500),
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 200)), min_size=1, max_size=12),
)
def test_slots_are_never_closer_than_the_rate_allows_nor_saved_up_nor_far_ahead(
    per_second: float, calls: list[tuple[float, int]]
) -> None:
    now, next_slot, slots = NOW, NOW, list[datetime]()
    for passes, wanted in calls:
        now += timedelta(seconds=passes)
        reserved = rate.reserve(next_slot, now, per_second, wanted)
        assert all(now <= slot <= now + rate.AHEAD for slot in reserved.at)
        assert len(reserved.at) <= wanted
        slots += reserved.at
        next_slot = reserved.next_slot
    assert all(later - earlier >= timedelta(seconds=1 / per_second) for earlier, later in itertools.pairwise(slots))


@given(st.floats(0.2, 500), st.floats(2, 86_400), st.integers(1, 200))
def test_a_clock_that_is_set_back_holds_up_nobody_for_longer_than_a_second(
    per_second: float, back_s: float, wanted: int
) -> None:
    step = timedelta(seconds=1 / per_second)
    before = rate.reserve(NOW, NOW, per_second, wanted)
    set_back = NOW - timedelta(seconds=back_s) - step / rate.SLOWEST
    after = rate.reserve(before.next_slot, set_back, per_second, 1)
    assert after.at == (set_back + rate.AHEAD,), "what was reserved before may still go out within a second"


def test_a_pause_does_not_last_for_longer_because_the_clock_is_set_back() -> None:
    paused = rate.Channel(NOW, NOW, NOW + timedelta(seconds=30), NOW + timedelta(seconds=15), strikes=1)
    assert paused.room(NOW, 5) == 0
    assert paused.room(NOW - timedelta(hours=1), 5) == 1


def test_without_a_limit_there_is_a_slot_for_everybody_now() -> None:
    assert rate.reserve(NOW, NOW, 0, 3).at == (NOW, NOW, NOW)


# --- what follows ---------------------------------------------------------------------------------------------------

SENDING = Progress(Stage.SENDING, MessageStatus.WAITING, 1, 0, 0, as_template=False, due_at=NOW)
SITUATION = Situation(NOW, timedelta(seconds=30), has_template=False, strikes=0, first_poll=timedelta(hours=1))
REPORTS = [
    Accepted("SM1", MessageStatus.QUEUED),
    Unavailable("refused"),
    RateLimited(20429),
    *(Delayed(1, cause) for cause in Cause),
    OutsideWindow(63016),
    TemplateUnusable(63041),
    Misconfigured(20003),
    OptedOut(21610),
    Rejected(63015, "not_joined_sandbox"),
    Stale(30036),
    InDoubt("reset"),
    NotFound(),
    Unclear("text_not_shown"),
    Unasked(),
    Disproven(),
]


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(REPORTS)), max_size=12))
def test_only_what_twilio_certainly_does_not_have_is_sent_again(reports: list[tuple[int, object]]) -> None:
    known = SENDING
    for attempt, report in reports:
        change = follow(known, attempt, report, SITUATION, refused=False)  # type: ignore[arg-type] # of all kinds
        if change is None:
            continue
        after = change.progress
        if after.stage is Stage.RETRYING:
            assert not isinstance(report, Accepted | InDoubt | Unclear | Unasked)
            if isinstance(report, NotFound):
                assert known.stage is Stage.IN_DOUBT
                assert known.looks > 0
            if isinstance(report, Disproven):
                assert known.stage in DOUBTFUL
            after = Progress(
                Stage.SENDING, MessageStatus.WAITING, after.attempt + 1, after.retries, 0, as_template=False, due_at=NOW
            )
        if change.ended_as:
            assert after.stage is Stage.ENDED
            assert change.ended_as in (Disposition.FAILED, Disposition.EXPIRED)
        known = after


def test_a_limit_uses_up_no_retry_and_a_temporary_failure_uses_up_one() -> None:
    limited = follow(SENDING, 1, RateLimited(20429), SITUATION, refused=False)
    failed = follow(SENDING, 1, Delayed(30008, Cause.TEMPORARY), SITUATION, refused=False)
    assert limited is not None
    assert failed is not None
    assert (limited.progress.retries, failed.progress.retries) == (0, 1)
    assert limited.pause is not None
    assert failed.pause is None


def test_a_report_of_an_attempt_that_is_over_changes_nothing() -> None:
    assert follow(SENDING, 2, Rejected(1, "refused"), SITUATION, refused=False) is None
    assert follow(SENDING, 1, Accepted("SM1", MessageStatus.SENT), SITUATION, refused=True) is None
