"""Meta's tier: to how many different phones we may write first within 24 hours. Pure.

To write first is to send a template to somebody whose 24-hour window is closed. Who was written to first counts until
24 hours after the last time.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

COUNTS_FOR: Final = timedelta(hours=24, minutes=1)
"""How long a phone counts after we began to write to it. Meta's day begins when it has the message, a little later."""

RESERVE_SHARE: Final = 10
"""The part of the tier that digests leave to codes and what else people ask for: a tenth."""

SCARCE_FROM_PERCENT: Final = 80
"""From which share of the digests' places in use the rest is spent more carefully."""

UNFORESEEN: Final = timedelta(hours=1)
"""When a digest looks again of whose place it is not known when it gets free."""


@dataclass(frozen=True)
class Tier:
    """The places at a moment, kept up to date while a batch is decided; `limit` None: as many as it takes."""

    limit: int | None = None
    used: int = 0
    taken: AbstractSet[str] = frozenset()  # phones of the batch that count already: to write again takes no place
    begun_at: Sequence[datetime] = ()  # when those who count longest were written to, oldest first
    queued: int = 0  # digests that wait for a place
    passed_over: int = 0  # of those, how many of the batch have to wait on: they keep their turn

    @property
    def for_digests(self) -> int:
        """How many places digests may take."""
        limit = self.limit or 0
        return limit - limit // RESERVE_SHARE

    @property
    def is_scarce(self) -> bool:
        return self.limit is not None and 100 * self.used >= SCARCE_FROM_PERCENT * self.for_digests

    def admits(self, phone: str, *, asked_for: bool, queued: bool) -> bool:
        """Whether we may write first to a phone now. Who comes new lets those pass who wait for a place."""
        if self.limit is None or phone in self.taken:
            return True
        if asked_for:
            return self.used < self.limit
        return self.used + (0 if queued else self.queued) < self.for_digests

    def after(self, phone: str, *, queued: bool) -> "Tier":
        """The places once a phone has been written to first."""
        waiting = max(0, self.queued - queued)
        if phone in self.taken:
            return replace(self, queued=waiting)
        return replace(self, used=self.used + 1, taken={*self.taken, phone}, queued=waiting)

    def joined(self, *, queued: bool) -> "Tier":
        """The places once a digest waits for one, or waits on."""
        if queued:
            return replace(self, passed_over=self.passed_over + 1)
        return replace(self, queued=self.queued + 1)

    def place_at(self, now: datetime, *, queued: bool) -> datetime:
        """When a place gets free for a digest: the next one if it waits already, else behind all that do."""
        before = self.passed_over if queued else self.queued
        place = max(0, self.used - self.for_digests) + before
        if place >= len(self.begun_at):
            return now + UNFORESEEN
        return max(now, self.begun_at[place] + COUNTS_FOR)
