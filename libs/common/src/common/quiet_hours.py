"""Quiet hours, by the user's clock, across its changes."""

import functools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from common.events import QuietHours


def quiet_until(quiet_hours: QuietHours | None, time_zone: str, moment: datetime) -> datetime | None:
    """The end of the quiet hours that `moment` is in, or None when it is in none."""
    if quiet_hours is None or quiet_hours.start == quiet_hours.end:
        return None
    zone = zone_of(time_zone)
    until = moment
    today = moment.astimezone(zone).date()
    for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
        start, end = _night(quiet_hours, zone, day)
        if start <= until < end:
            until = end
    return until if until > moment else None


def nights_between(
    quiet_hours: QuietHours | None, time_zone: str, first: datetime, last: datetime
) -> list[tuple[datetime, datetime]]:
    """Start and end of all quiet hours from `first` to `last`, in order, those that meet as one."""
    if quiet_hours is None or quiet_hours.start == quiet_hours.end:
        return []
    zone = zone_of(time_zone)
    day, nights = first.astimezone(zone).date() - timedelta(days=1), list[tuple[datetime, datetime]]()
    while day <= last.astimezone(zone).date():
        start, end = _night(quiet_hours, zone, day)
        if nights and start <= nights[-1][1]:
            nights[-1] = (nights[-1][0], max(end, nights[-1][1]))
        else:
            nights.append((start, end))
        day += timedelta(days=1)
    return nights


def _night(quiet_hours: QuietHours, zone: ZoneInfo, day: date) -> tuple[datetime, datetime]:
    """The quiet hours that begin on `day`. Where the clocks repeat or skip an hour, the longer reading counts."""
    last_day = day if quiet_hours.start < quiet_hours.end else day + timedelta(days=1)
    return min(_readings(day, quiet_hours.start, zone)), max(_readings(last_day, quiet_hours.end, zone))


def _readings(day: date, wall: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The two moments that a wall-clock time can mean; they differ only where the clocks are changed."""
    local = datetime.combine(day, wall.replace(tzinfo=None), tzinfo=zone)
    return local.replace(fold=0).astimezone(UTC), local.replace(fold=1).astimezone(UTC)


@functools.cache
def zone_of(name: str) -> ZoneInfo:
    """The zone of a name, and Italy's for a name that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("Europe/Rome")
