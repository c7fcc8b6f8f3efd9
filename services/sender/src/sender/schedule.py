"""When a message may go out: intervals, quiet hours, and the schedule of retries."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from common.events import QuietHours
from common.quiet_hours import quiet_until
from sender.outcomes import Cause

STALE_AFTER: Final = timedelta(days=3)
"""How long a message is worth sending beyond its due time, and a flat worth telling beyond its reader's interval."""

FRESH_FOR: Final = timedelta(seconds=60)
"""The freshness target: within it of becoming due a digest should go out, and the order of those due may change."""

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

POLLS: Final = (timedelta(hours=1), timedelta(hours=11), *(timedelta(days=1),) * 31)
"""When Twilio is asked about a message that no callback has ended: after 1 hour, after 12, then daily for a month.

A phone may be switched off for weeks; WhatsApp drops a message that it could not deliver within 30 days. After the last
look nothing more is to be learned, and the message ends with the status that it has.
"""

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

POLL_AGAIN: Final = timedelta(minutes=10)
"""When Twilio is asked again about a message that it has, if this time it did not answer."""

POLLS_REST: Final = timedelta(seconds=30)
"""How long Twilio is asked nothing, by any replica, after it has said that it is asked too much (429)."""

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


def due_at(  # noqa: PLR0917 - everything that decides
    now: datetime,
    last_digest_at: datetime | None,
    interval: timedelta,
    quiet_hours: QuietHours | None,
    time_zone: str,
    paused_until: datetime | None = None,
) -> datetime:
    """When a digest that is opened now goes out, if nothing else holds it back."""
    due = max(now, last_digest_at + interval) if last_digest_at else now
    due = max(due, paused_until) if paused_until else due
    return quiet_until(quiet_hours, time_zone, due) or due
