"""A search tried before it is saved: what the last days would have brought, at what cost, and why not more."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pydantic import Field

from api.columns import Columns, Rows
from api.forecast import USUAL_NIGHT, Nights, messages_of
from api.judging import Effect, Judged, judge, matching
from api.recent import MOST, RECENT, RecentListings
from common.events import Card, Recipient, card_of
from common.explain import Verdict, explain
from common.listing import Listing
from common.model import Value
from common.prices import MILLIONTHS, Charge, Prices
from common.search import Criterion, Search

SHOWN: Final = 10
NEARLY_SHOWN: Final = 5
TOO_WIDE_SHARE: Final = 0.3
TOO_WIDE_FROM: Final = 1_000
"""Recent listings: of fewer a share says nothing."""
DAYS_OF_MONTH: Final = 30
DAY_S: Final = 86_400.0
SOMEWHERE_IN_ITALY: Final = "+39"


class TooWide(Exception):  # noqa: N818 - named by what is the case
    """A search that would match nearly everything: narrow it."""

    def __init__(self, matches: int, recent: int) -> None:
        super().__init__(
            f"This search matches {matches:,} of the {recent:,} recent listings, {matches / recent:.0%}. "
            f"At most {TOO_WIDE_SHARE:.0%} are allowed: narrow the places, the rent or the rooms."
        )
        self.matches = matches
        self.recent = recent


class CriterionEffect(Value):
    """What one criterion does, and what it would bring to be less strict about it."""

    criterion: Criterion
    wanted: str = Field(description="what the search asks for, in words")
    excluded: int = Field(description="how many of the listings that the criteria before it let through it keeps away")
    more_if_dropped: int | None = Field(description="how many more would match without it; null: it cannot be dropped")
    looser: str | None = Field(description="the same one step looser, in words; null: there is no such step")
    more_if_looser: int | None = Field(description="how many more would match then")


class TriedListing(Value):
    """A listing with what each criterion says of it."""

    listing: Card
    offered_at: dt.datetime
    verdicts: tuple[Verdict, ...]


class ExpectedCost(Value):
    """What the messages would cost whoever runs this, by the price table."""

    currency: str
    a_day: Decimal
    a_month: Decimal
    prices_of: dt.date


class Preview(Value):
    """What a search would have found among the listings of the last days.

    They are counted as advertised: a flat on two portals counts twice here, and is told once.
    """

    days: float = Field(description="how many days are looked back at: 14, or since the first listing came")
    listings: int = Field(description="all listings of these days")
    matches: int
    flats_a_day: float
    flats_a_night: float = Field(description="of those, in the caller's quiet hours; who has none: from 22 to 8")
    messages_a_day: float = Field(
        description="grouped by the caller's interval and quiet hours, as for this search alone"
    )
    cost: ExpectedCost
    too_wide: str | None = Field(description="why the search would not be saved")
    criteria: tuple[CriterionEffect, ...] = Field(description="in the order in which they are judged")
    strictest: Criterion | None = Field(
        description="the criterion without which most would match; null: none keeps any"
    )
    last: tuple[TriedListing, ...] = Field(description="the newest that match, at most ten")
    nearly: tuple[TriedListing, ...] = Field(description="the newest that one criterion alone keeps away, at most five")

    @classmethod
    def of(cls, trial: "Trial") -> "Preview":
        strictest = trial.strictest
        return cls(
            days=round(trial.days, 1),
            listings=trial.listings,
            matches=trial.matches,
            flats_a_day=round(trial.flats_a_day, 2),
            flats_a_night=round(trial.flats_a_night, 2),
            messages_a_day=round(trial.messages_a_day, 2),
            cost=trial.cost,
            too_wide=str(trial.too_wide) if trial.too_wide else None,
            criteria=tuple(_effect(effect, trial.search) for effect in trial.effects),
            strictest=strictest.rule.criterion if strictest else None,
            last=tuple(_explained(trial.search, each) for each in trial.last),
            nearly=tuple(_explained(trial.search, each) for each in trial.nearly),
        )


@dataclass(frozen=True)
class Offered:
    """A listing, and since when it is offered."""

    listing: Listing
    at: dt.datetime


@dataclass(frozen=True)
class Trial:
    """What came of trying a search, for whoever words it."""

    search: Search
    days: float
    listings: int
    matches: int
    flats_a_day: float
    flats_a_night: float
    messages_a_day: float
    cost: ExpectedCost
    effects: Sequence[Effect]
    last: Sequence[Offered]
    nearly: Sequence[Offered]

    @property
    def too_wide(self) -> TooWide | None:
        return TooWide(self.matches, self.listings) if _is_too_wide(self.matches, self.listings) else None

    @property
    def strictest(self) -> Effect | None:
        """What keeps most away by itself; where nothing does, what excludes most of all that the place has."""
        candidates = [effect for effect in self.effects if effect.more_if_dropped is not None]
        strictest = max(candidates, key=lambda effect: (effect.more_if_dropped, effect.excluded), default=None)
        return strictest if strictest and (strictest.more_if_dropped or strictest.excluded) else None


@dataclass(frozen=True)
class _Tried:
    """What is read off the columns for a trial."""

    judged: Judged
    listings: int
    days: float
    moments: Sequence[float]
    last: Sequence[tuple[int, float]]
    nearly: Sequence[tuple[int, float]]


class Previews:
    def __init__(self, recent: RecentListings, prices: Prices, interval: dt.timedelta) -> None:
        self._recent = recent
        self._prices = prices
        self._interval = interval

    async def of(self, search: Search, renter: Recipient, now: dt.datetime) -> Trial:
        """What the search would have brought this renter."""
        tried = await self._recent.ask(lambda columns: _tried(columns, search, now))
        known = await self._recent.numbered([number for number, _ in (*tried.last, *tried.nearly)])
        night = Nights.between(renter.quiet_hours or USUAL_NIGHT, renter.time_zone, now - RECENT, now)
        messages_a_day = self._messages(tried, renter, now) / tried.days
        return Trial(
            search=search,
            days=tried.days,
            listings=tried.listings,
            matches=len(tried.moments),
            flats_a_day=len(tried.moments) / tried.days,
            flats_a_night=night.count(tried.moments) / tried.days,
            messages_a_day=messages_a_day,
            cost=self._cost(messages_a_day, renter),
            effects=tried.judged.effects,
            last=_offered(tried.last, known),
            nearly=_offered(tried.nearly, known),
        )

    async def check(self, search: Search, now: dt.datetime) -> None:
        """Whether the search may be saved. Just after a start nobody knows, and nobody is kept waiting for it.

        Raises:
            TooWide: it would match nearly everything.
        """
        if not self._recent.is_ready:
            return
        matches, recent = await self._recent.ask(lambda columns: _counted(columns, search, now))
        if _is_too_wide(matches, recent):
            raise TooWide(matches, recent)

    def _messages(self, tried: _Tried, renter: Recipient, now: dt.datetime) -> int:
        interval_s = self._interval.total_seconds() if renter.interval_seconds is None else renter.interval_seconds
        quiet = Nights.between(renter.quiet_hours, renter.time_zone, now - RECENT, now + dt.timedelta(days=1))
        return messages_of(tried.moments, interval_s, quiet)

    def _cost(self, messages_a_day: float, renter: Recipient) -> ExpectedCost:
        phone = renter.phone or SOMEWHERE_IN_ITALY
        price = max(self._prices.of(phone, charge) for charge in (Charge.SERVICE, Charge.UTILITY))
        a_day = Decimal(messages_a_day) * price / MILLIONTHS
        return ExpectedCost(
            currency=self._prices.currency,
            a_day=_in_cents(a_day),
            a_month=_in_cents(a_day * DAYS_OF_MONTH),
            prices_of=self._prices.as_of,
        )


def _tried(columns: Columns, search: Search, now: dt.datetime) -> _Tried:
    recent = columns.offered_since((now - RECENT).timestamp())[-MOST:]
    judged = judge(columns, search, recent)
    return _Tried(
        judged=judged,
        listings=len(recent),
        days=_days(columns.offered_at(recent[:1]), now),
        moments=columns.offered_at(judged.matching),
        last=_newest(columns, judged.matching, SHOWN),
        nearly=_newest(columns, judged.nearly, NEARLY_SHOWN),
    )


def _counted(columns: Columns, search: Search, now: dt.datetime) -> tuple[int, int]:
    recent = columns.offered_since((now - RECENT).timestamp())[-MOST:]
    return len(matching(columns, search, recent)), len(recent)


def _days(oldest: Sequence[float], now: dt.datetime) -> float:
    """The days that the listings are of: a day at least, since one morning says little of a week."""
    return max(1.0, (now.timestamp() - min(oldest, default=now.timestamp())) / DAY_S)


def _newest(columns: Columns, rows: Rows, count: int) -> list[tuple[int, float]]:
    newest = rows[::-1][:count]
    return list(zip(columns.numbers_of(newest), columns.offered_at(newest), strict=True))


def _is_too_wide(matches: int, recent: int) -> bool:
    return recent >= TOO_WIDE_FROM and matches > TOO_WIDE_SHARE * recent


def _effect(effect: Effect, search: Search) -> CriterionEffect:
    return CriterionEffect(
        criterion=effect.rule.criterion,
        wanted=effect.rule.wanted(search),
        excluded=effect.excluded,
        more_if_dropped=effect.more_if_dropped,
        looser=effect.rule.wanted(effect.looser) if effect.looser else None,
        more_if_looser=effect.more_if_looser,
    )


def _offered(rows: Sequence[tuple[int, float]], known: Mapping[int, Listing]) -> list[Offered]:
    """Each as it was offered; one that has been removed meanwhile is left out."""
    return [Offered(known[number], dt.datetime.fromtimestamp(at, dt.UTC)) for number, at in rows if number in known]


def _explained(search: Search, offered: Offered) -> TriedListing:
    verdicts = explain(search, offered.listing).verdicts
    return TriedListing(listing=card_of(offered.listing), offered_at=offered.at, verdicts=verdicts)


def _in_cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"))
