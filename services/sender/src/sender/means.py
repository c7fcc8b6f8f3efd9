"""The planner: who is told with what is left of the month's money and of Meta's tier. Pure.

The order in which they are spent, the same whatever is short:

1. What people ask for: codes, answers. It may use the reserve of the budget, and all places of the tier.
2. Digests whose reader's window is open: free text, which takes no place. They may use the whole budget.
3. Digests that write first, of those the one that waits longest. They leave a tenth of the tier to the first, and a
   part of the budget to the second that melts away as the month does.

A digest that comes new lets those pass who wait already, so everybody's turn comes. While means are scarce, who wrote
to us lately is given some time to do so again, which would open the window.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from common.prices import Micros
from sender.budget import Purse, Spends
from sender.schedule import FRESH_FOR, WINDOW
from sender.tier import Tier

WRITES_AGAIN_WITHIN: Final = 2 * WINDOW
"""Who wrote so lately may be about to write again."""

HOPED_FOR: Final = timedelta(hours=2)
"""How long a digest waits for that at the most: then its flats are no longer fresh enough."""

LONGEST_WAIT: Final = timedelta(days=60)
"""Nothing waits for longer: a month without money, and the longest interval of a reader."""


class Lack(StrEnum):
    """What a digest waits for that cannot be sent for want of means."""

    BUDGET = "budget"
    TIER = "tier"
    WINDOW = "window_may_open"


@dataclass(frozen=True)
class Need:
    """What it takes to send a message. `opened_at`: since when it waits; `waits_for`: what it was put off for."""

    phone: str
    price: Micros
    writes_first: bool
    asked_for: bool  # by the person who gets it
    opened_at: datetime
    last_wrote_at: datetime | None = None  # when its reader wrote to us, as far as is known
    waits_for: str = ""

    @property
    def spends_as(self) -> Spends:
        if self.asked_for:
            return Spends.ASKED_FOR
        return Spends.WRITES_FIRST if self.writes_first else Spends.IN_WINDOW


@dataclass(frozen=True)
class Short:
    """What there is too little of, and when to look again."""

    lack: Lack
    until: datetime


@dataclass(frozen=True)
class Means:
    """What there is to send with at a moment, kept up to date while a batch is decided."""

    purse: Purse
    tier: Tier = field(default_factory=Tier)

    def short_of(self, need: Need, now: datetime) -> Short | None:
        """What keeps a message from being sent, if anything does."""
        if not self.purse.covers(need.price, need.spends_as, queued=need.waits_for == Lack.BUDGET):
            return Short(Lack.BUDGET, self.purse.looks_again_at)
        if not need.writes_first:
            return None
        queued = need.waits_for == Lack.TIER
        if not self.tier.admits(need.phone, asked_for=need.asked_for, queued=queued):
            return Short(Lack.TIER, self.tier.place_at(now, queued=queued))
        hoped_until = _hoped_until(need)
        if self._are_scarce and hoped_until and now < hoped_until and need.phone not in self.tier.taken:
            return Short(Lack.WINDOW, hoped_until)
        return None

    def after(self, need: Need) -> "Means":
        """What is left once a message is sent."""
        purse = self.purse.after(need.price, queued=need.waits_for == Lack.BUDGET)
        tier = self.tier.after(need.phone, queued=need.waits_for == Lack.TIER) if need.writes_first else self.tier
        return Means(purse, tier)

    def joined(self, reason: str, *, queued: bool) -> "Means":
        """The same once a digest waits for a reason; `queued`: it did so before."""
        match reason:
            case Lack.BUDGET if not queued:
                return replace(self, purse=self.purse.joined())
            case Lack.TIER:
                return replace(self, tier=self.tier.joined(queued=queued))
            case _:
                return self

    @property
    def _are_scarce(self) -> bool:
        return self.tier.is_scarce or self.purse.is_scarce


def _hoped_until(need: Need) -> datetime | None:
    """Until when it is worth waiting for a digest's reader to write first."""
    if need.asked_for or need.waits_for or need.last_wrote_at is None:
        return None
    return min(need.opened_at + HOPED_FOR, need.last_wrote_at + WRITES_AGAIN_WITHIN)


def behind(opened_at: datetime, until: datetime) -> timedelta:
    """Where a digest stands among those that wait for means until the same moment: the oldest is first."""
    will_have_waited = max(until - opened_at, timedelta())
    return FRESH_FOR * max(0.0, 1 - will_have_waited / LONGEST_WAIT)
