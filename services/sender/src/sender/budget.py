"""The month's budget: digests stop at it, what people asked for stops when its reserve is used up as well."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Final

from common.prices import Micros

ZONE: Final = UTC
"""Days and months are UTC's, as on Twilio's invoices."""

RESERVE_SHARE: Final = 10
"""The part of the budget that is reserved for what people ask for, unless the settings say otherwise: a tenth."""

WARN_AT_PERCENT: Final = (80, 100)
RECHECK: Final = timedelta(minutes=15)
"""When a message that waits for money looks again: what was not taken after all gives some back."""


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

    def covers(self, price: Micros, *, asked_for: bool) -> bool:
        """Whether a message at this price may be sent; `asked_for`: by the person who gets it."""
        if self.budget.limit is None:
            return True
        return self.spent + price <= self.budget.limit + (self.budget.reserve if asked_for else 0)

    def after(self, price: Micros) -> "Purse":
        return replace(self, spent=self.spent + price)

    @property
    def looks_again_at(self) -> datetime:
        """When a digest that cannot be paid for is looked at again: in a while, and when the next month begins."""
        return min(self.now + RECHECK, next_month(self.now))


def day_of(moment: datetime) -> date:
    """The day that a message counts for."""
    return moment.astimezone(ZONE).date()


def month_of(moment: datetime) -> date:
    """The first day of the month that a message counts for."""
    return day_of(moment).replace(day=1)


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
