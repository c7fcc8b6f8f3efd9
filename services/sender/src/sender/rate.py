"""The global rate: slots that are 1/R seconds apart, reserved for at most a second ahead and never saved up.

R is what the settings say, or less for a while after we were called too fast.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

PROBE: Final = timedelta(seconds=15)
"""How long the others wait for the outcome of the one message that is tried after a pause."""

AHEAD: Final = timedelta(seconds=1)
"""How far ahead slots are reserved, and how late one may be used. Within any window of t seconds there are thus
at most R * (t + 1) + 1 messages, over all replicas, whichever of them dies."""

BEGUN: Final = timedelta(seconds=0.5)
"""How far ahead a message is begun at the most: who says STOP is told nothing that was begun longer ago."""

SLOWER: Final = 0.5
SLOWEST: Final = 1 / 16
FASTER_PER_MINUTE: Final = 0.1
"""What Twilio or WhatsApp calls too fast halves the rate, to a sixteenth at the least. It grows again by a tenth of
what the settings allow a minute: five minutes after one such refusal it is what it was."""


@dataclass(frozen=True)
class Throttle:
    """How much of the rate is used: `share` at `since`, and more from then on."""

    share: float = 1.0
    since: datetime | None = None  # None: we were never too fast

    def at(self, now: datetime) -> float:
        """The share of the rate that is used at a moment: above 0, at most 1."""
        if self.since is None or self.since > now + AHEAD:  # of a clock that was set back since
            return 1.0
        minutes = max(now - self.since, timedelta()) / timedelta(minutes=1)
        return min(1.0, self.share + FASTER_PER_MINUTE * minutes)

    def slower(self, begun_at: datetime, now: datetime) -> "Throttle":
        """After a refusal of a call begun at a moment. What was begun before we last slowed down says nothing new."""
        if self.since and begun_at <= self.since <= now + AHEAD:
            return self
        return Throttle(max(SLOWEST, self.at(now) * SLOWER), now)


@dataclass(frozen=True)
class Channel:
    """The WhatsApp sender as all replicas see it; `strikes`: how often in a row it has refused."""

    next_slot: datetime
    paused_at: datetime | None
    paused_until: datetime | None
    probing_until: datetime | None
    strikes: int
    throttle: Throttle = Throttle()

    def room(self, now: datetime, wanted: int) -> int:
        """How many messages may be begun, but for the rate: none in a pause, one after it until one has passed."""
        return 0 if self._waits(now) else min(wanted, 1) if self.strikes else wanted

    def _waits(self, now: datetime) -> bool:
        """What has not begun yet began before the clock was set back: it must not last for as long as that was."""
        paused = self.paused_until is not None and now < self.paused_until
        probing = self.probing_until is not None and now < self.probing_until <= now + PROBE
        return probing or (paused and not (self.paused_at and now < self.paused_at))


@dataclass(frozen=True)
class Slots:
    """Moments at which one message each may go out, and the first one that is left to others."""

    at: tuple[datetime, ...]
    next_slot: datetime


def reserve(next_slot: datetime, now: datetime, per_second: float, wanted: int, *, ahead: timedelta = AHEAD) -> Slots:
    """Slots for up to `wanted` messages; none when others have taken what is `ahead`. No limit: `per_second` 0.

    When the clock was set back, the first free slot can be farther ahead than anybody reserves, however slow we were:
    what was reserved before that is over within a second.
    """
    if not per_second:
        return Slots((now,) * wanted, next_slot)
    step = timedelta(seconds=1 / per_second)
    first = max(next_slot, now) if next_slot <= now + AHEAD + step / SLOWEST else now + ahead
    free = int((now + ahead - first) / step) + 1 if first <= now + ahead else 0
    at = tuple(first + step * i for i in range(min(wanted, free)))
    return Slots(at, first + step * len(at))
