"""When windows, tier and money run out, and who is left waiting then. Pure.

What is assumed: nobody writes to us; phones are written to first as in the last 24 hours, at the earliest as in their
busiest hour; a day costs what the last week's days did, at the earliest what the dearest of them did. Who is left
waiting follows from the digests that are open now, by the rules by which they will be sent.
"""

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from common.events import ForecastMade, LeftWaiting, MoneyAhead, RunsOut, TierAhead, WindowsAhead
from common.prices import Micros
from sender.budget import Budget, Purse, day_of, month_of, next_month
from sender.means import Lack, Means, Need
from sender.schedule import WINDOW
from sender.tier import COUNTS_FOR, Tier

AHEAD: Final = timedelta(hours=24)
STEP: Final = timedelta(minutes=10)
HOUR: Final = timedelta(hours=1)
DAYS_LOOKED_AT: Final = 7
MOST_NAMED: Final = 100
PLACES_LOOKED_AT: Final = 1000


@dataclass(frozen=True)
class Awaiting:
    """A digest that is open. `written_first_at`: when its phone was last written to first, if that still counts."""

    user_id: UUID
    phone: str
    due_at: datetime
    opened_at: datetime
    waits_for: str
    as_template: bool
    window_opened_at: datetime | None
    written_first_at: datetime | None
    price_of_text: Micros
    price_of_template: Micros


@dataclass(frozen=True)
class Known:
    """What a forecast is made of."""

    budget: Budget
    recipients_per_day: int | None
    spent_on: Mapping[date, Micros]  # of the month, and of the week before
    begun_at: Sequence[datetime]  # when each phone that counts for the tier was last written to first, in order
    windows: WindowsAhead
    waiting: Mapping[str, int]
    awaiting: Sequence[Awaiting]


def forecast(known: Known, now: datetime) -> ForecastMade:
    left = _left_waiting(known, now)
    return ForecastMade(
        made_at=now,
        windows=known.windows,
        tier=_tier(known, left.without_place_at, now),
        money=_money(known, now),
        waiting=dict(known.waiting),
        left_waiting=left.users,
        looked_at=len(known.awaiting),
    )


# --- money ------------------------------------------------------------------------------------------------------------


def _money(known: Known, now: datetime) -> MoneyAhead:
    budget, spent, days = known.budget, _spent(known, now), _days(known, now)
    mean = sum(days) // len(days) if days else 0
    return MoneyAhead(
        currency=budget.currency,
        limit=budget.limit,
        reserve=budget.reserve,
        spent=spent,
        per_day=mean,
        used_up=RunsOut(
            earliest=_used_up_at(budget, spent, max(days, default=0), now),
            latest=_used_up_at(budget, spent, mean, now),
        ),
    )


def _spent(known: Known, now: datetime) -> Micros:
    return sum(micros for day, micros in known.spent_on.items() if month_of(now) <= day <= day_of(now))


def _days(known: Known, now: datetime) -> list[Micros]:
    """What each of the last whole days has cost, from the first on which anything was sent; else today so far."""
    today = day_of(now)
    first = min((day for day, micros in known.spent_on.items() if micros), default=today)
    whole = [today - timedelta(days=n) for n in range(1, DAYS_LOOKED_AT + 1)]
    days = [known.spent_on.get(day, 0) for day in whole if day >= first]
    return days or [known.spent_on.get(today, 0)]


def _used_up_at(budget: Budget, spent: Micros, per_day: Micros, now: datetime) -> datetime | None:
    """When the budget is used up at so much a day; None: not before the month ends."""
    if budget.limit is None:
        return None
    if spent >= budget.limit:
        return now
    if not per_day or (budget.limit - spent) / per_day >= (next_month(now) - now) / timedelta(days=1):
        return None
    return now + timedelta(days=1) * ((budget.limit - spent) / per_day)


# --- the tier ---------------------------------------------------------------------------------------------------------


def _tier(known: Known, full_at: datetime | None, now: datetime) -> TierAhead:
    """`full_at`: when the first digest that is open now finds no place. That it comes is known, and no assumption."""
    limit, places = known.recipients_per_day, Tier(known.recipients_per_day).for_digests
    begun_at = _counting(known.begun_at, now)
    if limit is None:
        return TierAhead(used=len(begun_at))
    by_hour = Counter((now - each) // HOUR for each in begun_at)
    hours = AHEAD / HOUR
    return TierAhead(
        limit=limit,
        for_digests=places,
        used=len(begun_at),
        used_up=RunsOut(
            earliest=_first(full_at, _full_at(begun_at, places, max(by_hour.values(), default=0), now)),
            latest=_first(full_at, _full_at(begun_at, places, len(begun_at) / hours, now)),
        ),
    )


def _first(*moments: datetime | None) -> datetime | None:
    return min((each for each in moments if each), default=None)


def _counting(begun_at: Sequence[datetime], at: datetime) -> Sequence[datetime]:
    return begun_at[bisect_right(begun_at, at - COUNTS_FOR) :]


def _full_at(begun_at: Sequence[datetime], places: int, per_hour: float, now: datetime) -> datetime | None:
    """When all places are taken if so many new phones come an hour, while those of today get free again."""
    for step in range(math.ceil(AHEAD / STEP) + 1):
        at = now + step * STEP
        if len(_counting(begun_at, at)) + per_hour * ((at - now) / HOUR) >= places:
            return at
    return None


# --- who is left waiting ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Left:
    users: tuple[LeftWaiting, ...]
    without_place_at: datetime | None  # when the first of them finds no place


@dataclass
class _Walk:
    """The digests of a day, one after the other."""

    known: Known
    means: Means
    begun_at: list[datetime]
    told: set[str] = field(default_factory=set)  # phones that are written to first in the walk

    def at(self, each: Awaiting, now: datetime) -> Means:
        """The means at a digest's time: places get free, and with a month its money begins anew."""
        counting = _counting(self.begun_at, now)
        taken = {each.phone} if each.phone in self.told or _still_counts(each, now) else set[str]()
        tier = replace(
            self.means.tier, used=len(counting), taken=taken, begun_at=counting[:PLACES_LOOKED_AT], passed_over=0
        )
        purse = self.means.purse
        same_month = month_of(purse.now) == month_of(now)
        return Means(replace(purse, now=now, spent=purse.spent if same_month else 0), tier)

    def send(self, need: Need, means: Means, now: datetime) -> None:
        self.means = means.after(need)
        if need.writes_first and need.phone not in means.tier.taken:
            self.begun_at.append(now)
            self.told.add(need.phone)


def _still_counts(each: Awaiting, now: datetime) -> bool:
    return each.written_first_at is not None and each.written_first_at > now - COUNTS_FOR


def _left_waiting(known: Known, now: datetime) -> _Left:
    """Who is not told within a day, by what there is too little of."""
    left = defaultdict[str, dict[UUID, datetime]](dict)
    without_place_at: datetime | None = None
    start = Means(Purse(known.budget, _spent(known, now), now), Tier(known.recipients_per_day))
    walk = _Walk(known, start, list(known.begun_at))
    for each in sorted(known.awaiting, key=lambda each: max(each.due_at, now)):
        at = max(each.due_at, now)
        need, means = _need(each, at), walk.at(each, at)
        if short := means.short_of(need, at):
            left[short.lack][each.user_id] = short.until
            without_place_at = without_place_at or (at if short.lack is Lack.TIER else None)
            walk.means = means.joined(short.lack, queued=False)
        else:
            walk.send(need, means, at)
    users_left = (
        LeftWaiting(
            reason=lack,
            users=len(users),
            user_ids=tuple(sorted(users, key=lambda user: (users[user], user))[:MOST_NAMED]),
            until=max(users.values()),
        )
        for lack, users in sorted(left.items())
    )
    return _Left(tuple(users_left), without_place_at)


def _need(each: Awaiting, at: datetime) -> Need:
    closed = each.window_opened_at is not None and at >= each.window_opened_at + WINDOW
    writes_first = each.as_template or closed
    return Need(
        phone=each.phone,
        price=each.price_of_template if writes_first else each.price_of_text,
        writes_first=writes_first,
        asked_for=False,
        opened_at=each.opened_at,
        last_wrote_at=each.window_opened_at,
        waits_for=each.waits_for,
    )
