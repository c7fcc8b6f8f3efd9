"""The month's budget: digests stop at it, what people asked for stops when its reserve is used up as well."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum, auto
from typing import Final, assert_never

from common.prices import Micros

ZONE: Final = UTC
"""Days and months are UTC's, as on Twilio's invoices."""

RESERVE_SHARE: Final = 10
"""The part of the budget that is reserved for what people ask for, unless the settings say otherwise: a tenth."""

KEPT_SHARE: Final = 10
"""The part of the budget that digests which write first leave to others: a tenth, times what is left of the month."""

WARN_AT_PERCENT: Final = (80, 100)
SCARCE_FROM_PERCENT: Final = 50
"""Before so much of the budget is used, it is too early to say that it will not do."""

RECHECK: Final = timedelta(minutes=15)
"""How often messages that wait for money look again, all at the same moments: what was not taken gives some back."""


class Spends(Enum):
    """How far into the budget a message may reach."""

    ASKED_FOR = auto()  # by the person who gets it
    IN_WINDOW = auto()
    WRITES_FIRST = auto()


@dataclass(frozen=True)
class Budget:
    """How much may be spent in a month; `limit` None: as much as it takes."""

    currency: str
    limit: Micros | None = None
    reserve: Micros = 0

    @classmethod
    def of(cls, currency: str, limit: Micros | None, reserve: Micros | None) -> "Budget":
        if limit is None:
            return cls(currency)
        return cls(currency, limit, limit // RESERVE_SHARE if reserve is None else reserve)


@dataclass(frozen=True)
class Purse:
    """What has been spent in the month of `now`, kept up to date while a batch is decided."""

    budget: Budget
    spent: Micros
    now: datetime
    queued: int = 0  # digests that wait for money

    def covers(self, price: Micros, spends: Spends, *, queued: bool = True) -> bool:
        """Whether a message at this price may be sent. A digest that comes new lets those pass who wait for money."""
        if self.budget.limit is None:
            return True
        before = 0 if queued or spends is Spends.ASKED_FOR else self.queued
        return self.spent + price * (before + 1) <= self.most(spends)

    def most(self, spends: Spends) -> Micros:
        """What may be spent in all by the time that such a message has been sent."""
        limit = self.budget.limit or 0
        match spends:
            case Spends.ASKED_FOR:
                return limit + self.budget.reserve
            case Spends.IN_WINDOW:
                return limit
            case Spends.WRITES_FIRST:
                return limit - int(limit // KEPT_SHARE * (1 - elapsed(self.now)))
            case _:
                assert_never(spends)

    @property
    def is_scarce(self) -> bool:
        """Whether the month's money goes faster than the month."""
        used = percent(self.spent, self.budget.limit)
        return used is not None and used >= max(SCARCE_FROM_PERCENT, 100 * elapsed(self.now))

    def after(self, price: Micros, *, queued: bool = False) -> "Purse":
        """What is left once a message at this price is sent."""
        if self.budget.limit is None:
            return self
        return replace(self, spent=self.spent + price, queued=max(0, self.queued - queued))

    def joined(self) -> "Purse":
        """The same once one more digest waits for money."""
        return replace(self, queued=self.queued + 1)

    @property
    def looks_again_at(self) -> datetime:
        """When a digest that cannot be paid for is looked at again: in a while, and when the next month begins."""
        since = self.now - day_start(self.now)
        return min(day_start(self.now) + RECHECK * (since // RECHECK + 1), next_month(self.now))


def day_of(moment: datetime) -> date:
    """The day that a message counts for."""
    return moment.astimezone(ZONE).date()


def month_of(moment: datetime) -> date:
    """The first day of the month that a message counts for."""
    return day_of(moment).replace(day=1)


def day_start(moment: datetime) -> datetime:
    day = day_of(moment)
    return datetime(day.year, day.month, day.day, tzinfo=ZONE)


def month_start(moment: datetime) -> datetime:
    return day_start(moment).replace(day=1)


def elapsed(moment: datetime) -> float:
    """The share of its month that is over: from 0 to 1."""
    return (moment - month_start(moment)) / (next_month(moment) - month_start(moment))


def next_month(moment: datetime) -> datetime:
    first = month_of(moment)
    year, month = divmod(first.year * 12 + first.month, 12)
    return datetime(year, month + 1, 1, tzinfo=ZONE)


def percent(spent: Micros, limit: Micros | None) -> int | None:
    """The share of the budget that is used, in whole per cent."""
    return None if limit is None else 100 * spent // limit if limit else 100


def warning_due(spent: Micros, budget: Budget) -> int:
    """The highest threshold that has been reached, in per cent; 0 while there is none."""
    used = percent(spent, budget.limit)
    return max((each for each in WARN_AT_PERCENT if used is not None and used >= each), default=0)
