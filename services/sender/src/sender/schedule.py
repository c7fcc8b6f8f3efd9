"""When a message may go out: intervals, quiet hours across changes of the clock, and the schedule of retries."""

import functools
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from common.events import QuietHours
from sender.outcomes import Cause

STALE_AFTER: Final = timedelta(days=3)
"""How long after its due time a digest is still worth sending."""

WINDOW: Final = timedelta(hours=24)
"""How long after a user's message WhatsApp lets us answer in free text."""

RETRIES: Final[Mapping[Cause, tuple[timedelta, ...]]] = {
    Cause.TEMPORARY: (timedelta(minutes=1), timedelta(minutes=10)),
    Cause.ACCOUNT_BUSY: (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1)),
    # Too fast ends within seconds; what lasts for minutes is Meta's tier, which rolls over in a day.
    Cause.CHANNEL_BUSY: (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(hours=24)),
    Cause.DAILY_CAP: (timedelta(hours=6),) * 5,
}
"""The delays before each further attempt; after the last one the message has failed."""

CHANNEL_RETRY: Final = timedelta(seconds=0.5)
CHANNEL_RETRY_LONGEST: Final = timedelta(seconds=30)
MISCONFIGURED_RETRY: Final = timedelta(seconds=60)

POLLS: Final = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""When Twilio is asked about a message that no callback has ended; after that it is left as it is."""

POLLS_WITHOUT_CALLBACKS: Final = (
    timedelta(seconds=2),
    timedelta(seconds=5),
    timedelta(seconds=15),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *POLLS,
)
"""The same where Twilio cannot call us back, so that asking is the only way to know."""

POLLS_PER_SECOND: Final = 20.0
"""How often Twilio is asked about messages, by all replicas together: it must not come before sending."""

JOIN_RECHECKS: Final = (timedelta(seconds=10), timedelta(seconds=20), timedelta(seconds=30), timedelta(seconds=60))
"""When a code is tried again that the sandbox refused: its reader is being told to join. The last delay repeats."""


def after_join(retries: int, now: datetime) -> datetime:
    """When to see again whether somebody has joined, after `retries` earlier times."""
    return now + JOIN_RECHECKS[min(retries, len(JOIN_RECHECKS) - 1)]


def next_attempt_at(cause: Cause, retries: int, now: datetime) -> datetime | None:
    """When to try again after `retries` earlier retries, or None if that is enough."""
    delays = RETRIES[cause]
    return now + delays[retries] if retries < len(delays) else None


def channel_pause(strikes: int, retry_after: timedelta | None) -> timedelta:
    """How long nothing is sent after the channel has refused `strikes` times in a row."""
    if retry_after is not None:
        return retry_after
    return min(CHANNEL_RETRY * (1 << min(strikes, 10)), CHANNEL_RETRY_LONGEST)


def due_at(
    now: datetime,
    last_digest_at: datetime | None,
    interval: timedelta,
    quiet_hours: QuietHours | None,
    time_zone: str,
) -> datetime:
    """When a digest that is opened now goes out, if nothing else holds it back."""
    due = max(now, last_digest_at + interval) if last_digest_at else now
    return quiet_until(quiet_hours, time_zone, due) or due


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
