"""How fast one phone is written to: a message every few seconds, and short bursts, borrowed from later. Pure."""

from datetime import datetime, timedelta
from typing import Final

PACE: Final = timedelta(seconds=6)
"""WhatsApp takes a message in so many seconds for one phone."""

BURST: Final = 10
"""How many messages may go out at once before their phone is left alone for as long as they would have taken."""


def free_at(paid_until: datetime | None, now: datetime, pace: timedelta) -> datetime | None:
    """When the next message may go to a phone whose messages take it until `paid_until`; None: now."""
    if (
        paid_until is None or paid_until > now + BURST * pace
    ):  # farther than anything borrows: of a clock set back since
        return None
    return paid_until - (BURST - 1) * pace


def after(paid_until: datetime | None, now: datetime, pace: timedelta) -> datetime:
    """Until when a phone's messages take it, with one more that goes out now."""
    return min(max(paid_until or now, now) + pace, now + BURST * pace)
