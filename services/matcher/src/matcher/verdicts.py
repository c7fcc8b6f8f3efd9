"""What the rules of `common.rules` say of every wish, remembered in tables: judged once, looked up a million times.

A wish is what a search asks for one criterion, and its policy for what is unknown. Searches share few of them: there
are a million searches, and a few thousand limits of rent. Each criterion numbers its wishes; 0 wants nothing.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.explain import Decision, decide
from common.listing import Feature
from common.rules import Cost, Finding, Interval, Rule, comparable_rent
from common.search import Criterion, UnknownPolicy
from matcher.kernels import FAIL, FLAGGED, PASS

Verdicts = NDArray[np.uint8]
"""FAIL, PASS or FLAGGED for each wish."""

VERDICT_OF: Final[Mapping[Decision, int]] = {Decision.FAIL: FAIL, Decision.PASS: PASS, Decision.FLAGGED: FLAGGED}


class Column:
    """An array that grows; `width` values make an entry."""

    def __init__(self, kind: Any, *width: int) -> None:  # noqa: ANN401 - a numpy type
        self._room: NDArray[Any] = np.zeros((16, *width), kind)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def values(self) -> NDArray[Any]:
        return self._room[: self._length]

    @property
    def bytes_used(self) -> int:
        return self._room.nbytes

    def append(self, value: float | tuple[float, ...]) -> None:
        if self._length == len(self._room):
            self._room = np.concatenate([self._room, self._room])
        self._room[self._length] = value
        self._length += 1


class Wish(NamedTuple):
    asked: Any
    policy: UnknownPolicy


class Table(NamedTuple):
    """The verdicts on one thing that a listing says, and whether one of them fails or is flagged at all."""

    verdicts: Verdicts
    fails: bool
    flags: bool

    @classmethod
    def of(cls, verdicts: Verdicts) -> "Table":
        return cls(verdicts, bool((verdicts == FAIL).any()), bool((verdicts == FLAGGED).any()))


class Wishes:
    """The wishes of all searches for one criterion."""

    def __init__(self, rule: Rule[Any, Any]) -> None:
        self.rule = rule
        self.wishes: list[Wish | None] = [None]
        self._numbers: dict[Wish, int] = {}

    def __len__(self) -> int:
        return len(self.wishes)

    def number(self, wish: Wish) -> int:
        number = self._numbers.get(wish)
        if number is None:
            number = self._numbers[wish] = len(self.wishes)
            self.wishes.append(wish)
            self._added(wish)
        return number

    def judge(self, number: int, said: Hashable) -> int:
        """The rule's verdict on one wish."""
        wish = self.wishes[number]
        return PASS if wish is None else VERDICT_OF[decide(self.rule.judge(wish.asked, said), wish.policy)]

    def _added(self, wish: Wish) -> None:
        """A place for what is kept beside a wish."""


class Indexed(Wishes, ABC):
    """Wishes that rows of bits are made of: a search that may fit a listing has its bit set in the row of each key."""

    @abstractmethod
    def keys(self, said: Any) -> Iterable[Hashable]:  # noqa: ANN401 - what the rule reads
        """In which rows a listing that says so is looked for."""

    @abstractmethod
    def passing(self, key: Any) -> NDArray[Any]:  # noqa: ANN401 - what `keys` gives
        """For each wish, whether it may fit a listing of this key: never 0 where the verdict is not FAIL."""


class Listed(Indexed):
    """For what has few values, contracts or numbers of rooms: a row for each value. Who is in all rows has passed."""

    def __init__(self, rule: Rule[Any, Any]) -> None:
        super().__init__(rule)
        self._tables: dict[Hashable, Table] = {}

    def keys(self, said: Any) -> Iterable[Hashable]:  # noqa: ANN401 - as above
        return (said,)

    def passing(self, key: Any) -> NDArray[Any]:  # noqa: ANN401 - as above
        return self.table(key).verdicts

    def table(self, said: Hashable) -> Table:
        """The verdict on each wish where a listing says so."""
        table = self._tables.get(said)
        if table is None or len(table.verdicts) < len(self.wishes):
            if len(self._tables) >= MOST_REMEMBERED:
                self._tables.clear()
            table = self._tables[said] = Table.of(self._judged(said, table.verdicts if table else _NONE))
        return table

    def _judged(self, said: Hashable, known: Verdicts) -> Verdicts:
        """The verdict on each wish; those on the first ones are known."""
        more = (self.judge(number, said) for number in range(len(known), len(self.wishes)))
        return np.concatenate([known, np.fromiter(more, np.uint8)])


_NONE: Final[Verdicts] = np.zeros(0, np.uint8)

MOST_REMEMBERED: Final = 4096
"""Tables of a criterion; when there are more, they are made anew as they are asked for."""


class OfFeatures(Listed):
    """Each feature has rows of its own, since what listings say of all together has too many values."""

    def keys(self, said: frozenset[tuple[Feature, bool]]) -> Iterable[Hashable]:
        missing = (feature for feature in Feature if (feature, True) not in said)
        return [_OTHERS[feature] | ({(feature, False)} & said) for feature in missing]


_OTHERS: Final = {each: frozenset((other, True) for other in Feature if other is not each) for each in Feature}
"""What a listing says that has all features but one."""


@dataclass(frozen=True)
class Bounds:
    """How the bounds of a wish and the value of a listing are read as numbers.

    A wish may be on one of several terms, rents with spese and without for instance; the value has a span for each.
    """

    asked: Callable[[Any], tuple[float | None, float | None, int]]
    """The lowest and the highest value that is wanted, ends included, and the number of the terms."""
    said: Callable[[Any], tuple[Interval, ...] | None]
    """On all terms, where the value lies; None if that is unknown."""


class Limits:
    """The bounds of all wishes that have bounds, as the kernels want them: [which criterion, number of the wish]."""

    def __init__(self, criteria: int) -> None:
        self.low: NDArray[np.float64] = np.full((criteria, 16), -inf)
        self.high: NDArray[np.float64] = np.full((criteria, 16), inf)
        self.terms: NDArray[np.int8] = np.zeros((criteria, 16), np.int8)
        self.unknown: NDArray[np.uint8] = np.full((criteria, 16), PASS, np.uint8)

    def put(self, which: int, wish: int, bounds: tuple[float | None, float | None, int], unknown: int) -> None:
        low, high, terms = bounds
        if wish == self.low.shape[1]:
            self.low, self.high, self.terms, self.unknown = (
                np.concatenate([column, column], axis=1) for column in (self.low, self.high, self.terms, self.unknown)
            )
        self.low[which, wish] = -inf if low is None else low
        self.high[which, wish] = inf if high is None else high
        self.terms[which, wish] = terms
        self.unknown[which, wish] = unknown


class Bounded(Indexed):
    """For amounts, which have many values: bounds are compared, and rows tell in which steps of a scale they lie."""

    def __init__(
        self, rule: Rule[Any, Any], bounds: Bounds, scale: Sequence[float], limits: Limits, which: int
    ) -> None:
        super().__init__(rule)
        self._bounds = bounds
        self._scale = (-inf, *scale, inf)
        self._limits = limits
        self.which = which

    def span(self, said: Any) -> tuple[list[float], list[float]]:  # noqa: ANN401 - as above
        """By terms, where the value lies at the least and at the most: anywhere, if that is unknown."""
        spans = self._bounds.said(said) or (Interval(-inf, inf),)
        lows, highs = ([span[end] for span in spans] for end in (0, 1))
        return (lows, highs) if len(spans) == TERMS else (TERMS * lows, TERMS * highs)

    def keys(self, said: Any) -> Iterable[Hashable]:  # noqa: ANN401 - as above
        spans = self._bounds.said(said)
        if spans is None:
            return (("unknown", 0),)
        low = bisect_right(self._scale, min(span.low for span in spans)) - 1
        high = bisect_right(self._scale, max(span.high for span in spans))
        return (("from", low), ("to", high))

    def passing(self, key: Any) -> NDArray[Any]:  # noqa: ANN401 - as above
        match key:
            case ("from", step):
                passing: NDArray[np.bool_] = self._limits.high[self.which] >= self._scale[step]
            case ("to", step):
                passing = self._limits.low[self.which] <= self._scale[min(step, len(self._scale) - 1)]
            case _:
                passing = self._limits.unknown[self.which] != FAIL
        return passing

    def _added(self, wish: Wish) -> None:
        unknown = VERDICT_OF[decide(Finding.UNKNOWN, wish.policy)]
        self._limits.put(self.which, len(self.wishes) - 1, self._bounds.asked(wish.asked), unknown)


TERMS: Final = 2
"""As many as the bounds of any criterion are on; those of others are the same on all."""


class Rare(Wishes):
    """For what few searches ask, or what is different in every listing: judged for the searches that are left."""


def _spans_of_rent(cost: Cost) -> tuple[Interval, ...] | None:
    without, with_spese = comparable_rent("excluded", cost), comparable_rent("included", cost)
    return (without, with_spese) if without and with_spese else None


RENT: Final = Bounds(
    asked=lambda limit: (limit.minimum_cents, limit.maximum_cents, int(limit.spese == "included")),
    said=_spans_of_rent,
)
RENT_SCALE: Final = [*range(0, 3000_00, 50_00), *range(3000_00, 6000_00, 250_00), *range(6000_00, 20_000_00, 2000_00)]
"""Cents."""

AREA: Final = Bounds(
    asked=lambda wanted: (wanted.minimum, wanted.maximum, 0),
    said=lambda area_m2: None if area_m2 is None else (Interval.point(area_m2),),
)
AREA_SCALE: Final = [*range(0, 150, 5), *range(150, 300, 25), *range(300, 1000, 100)]
"""Square metres."""

FEW_VALUES: Final = frozenset(
    {
        Criterion.SOURCE,
        Criterion.CONTRACT,
        Criterion.OFFERING,
        Criterion.PROPERTY_TYPE,
        Criterion.ROOMS,
        Criterion.BEDROOMS,
        Criterion.BATHROOMS,
        Criterion.FLOOR,
        Criterion.FURNISHING,
        Criterion.ENERGY_CLASS,
        Criterion.ADVERTISER,
        Criterion.SIGNALS,
    }
)


def criteria_of(rules: Sequence[Rule[Any, Any]]) -> tuple[tuple[Wishes, ...], Limits]:
    """How the wishes for each criterion are best kept; a new criterion is `Rare` until it is said to be more."""
    limits = Limits(len(_BOUNDED))
    return tuple(_wishes_for(rule, limits) for rule in rules), limits


def _wishes_for(rule: Rule[Any, Any], limits: Limits) -> Wishes:
    match rule.criterion:
        case criterion if criterion in _BOUNDED:
            return Bounded(rule, *_BOUNDED[criterion], limits, list(_BOUNDED).index(criterion))
        case Criterion.FEATURES:
            return OfFeatures(rule)
        case criterion if criterion in FEW_VALUES:
            return Listed(rule)
        case _:
            return Rare(rule)


_BOUNDED: Final = {Criterion.RENT: (RENT, RENT_SCALE), Criterion.AREA: (AREA, AREA_SCALE)}
