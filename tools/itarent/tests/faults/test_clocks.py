"""What a shifted clock has shown is told by the machine's own time, and the other way round."""

import datetime as dt

import pytest

from itarent.faults.history import Clock, Jump

NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
SECOND, HOUR = dt.timedelta(seconds=1), dt.timedelta(hours=1)
FORTH_AND_BACK = Clock((Jump(NOW, 3 * HOUR), Jump(NOW + 10 * SECOND, 4 * HOUR), Jump(NOW + 20 * SECOND, 3 * HOUR)))


def test_a_clock_that_nobody_sets_shows_the_time() -> None:
    assert Clock().shown(NOW) == NOW == Clock().moment(NOW)


@pytest.mark.parametrize(("after_s", "ahead"), [(5, 3 * HOUR), (15, 4 * HOUR), (25, 3 * HOUR)])
def test_what_a_clock_has_shown_leads_back_to_the_moment(after_s: int, ahead: dt.timedelta) -> None:
    moment = NOW + after_s * SECOND
    assert FORTH_AND_BACK.shown(moment) == moment + ahead
    assert FORTH_AND_BACK.moment(moment + ahead) == moment


def test_a_clock_that_is_read_a_little_after_it_was_set_leads_to_about_the_moment() -> None:
    late = NOW + 10.05 * SECOND  # somebody still shows the time from before
    assert abs(FORTH_AND_BACK.moment(late + 3 * HOUR) - late) < SECOND
