"""How many messages matches would make: the sender's way of grouping, played over the moments of the matches. Pure."""

import bisect
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from common.events import QuietHours
from common.quiet_hours import nights_between

USUAL_NIGHT: Final = QuietHours(start=dt.time(22), end=dt.time(8))
"""What counts as night for who has no quiet hours."""


@dataclass(frozen=True)
class Nights:
    """Quiet hours of some days as moments (Unix seconds), in order and apart."""

    starts: Sequence[float]
    ends: Sequence[float]

    @classmethod
    def between(cls, quiet_hours: QuietHours | None, time_zone: str, first: dt.datetime, last: dt.datetime) -> "Nights":
        nights = nights_between(quiet_hours, time_zone, first, last)
        return cls([start.timestamp() for start, _ in nights], [end.timestamp() for _, end in nights])

    def end_after(self, moment: float) -> float:
        """The end of the night that a moment is in, or the moment itself."""
        index = bisect.bisect_right(self.starts, moment) - 1
        return max(moment, self.ends[index]) if index >= 0 else moment

    def count(self, moments: Sequence[float]) -> int:
        """How many of the moments, which are in order, are in a night."""
        within = bisect.bisect_left
        return sum(
            within(moments, end) - within(moments, start) for start, end in zip(self.starts, self.ends, strict=True)
        )


def messages_of(moments: Sequence[float], interval_s: float, nights: Nights) -> int:
    """How many messages tell what matched at these moments, which are in order.

    The first match opens a message, which goes out when the interval since the last one has passed and no quiet hours
    are left; what matches until then is in it.
    """
    count, told, last = 0, 0, float("-inf")
    while told < len(moments):
        due = nights.end_after(max(moments[told], last + interval_s))
        told = bisect.bisect_right(moments, due, lo=told)
        count, last = count + 1, due
    return count
