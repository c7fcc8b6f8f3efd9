"""What the rules of `common.rules` say of every wish, remembered in tables: judged once, looked up a million times.

A wish is what a search asks for one criterion, and its policy for what is unknown. Searches share few of them: there
are a million searches, and a few thousand limits of rent. Each criterion numbers its wishes; 0 wants nothing.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.explain import Decision, decide
from common.listing import Feature
from common.rules import Cost, Finding, Interval, Rule, Text, comparable_rent
from common.search import Criterion, UnknownPolicy
from common.text import Folded
from matcher.kernels import FAIL, FLAGGED, PASS, Verdicts, judge_bounds, judge_phrases

VERDICT_OF: Final[Mapping[Decision, int]] = {Decision.FAIL: FAIL, Decision.PASS: PASS, Decision.FLAGGED: FLAGGED}


class Column:
    """An array that grows; `width` values make an entry."""

    def __init__(self, kind: Any, *width: int) -> None:  # noqa: ANN401 - a numpy type
        self._room: NDArray[Any] = np.zeros((2, *width), kind)
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
        self._make_room(1)
        self._room[self._length] = value
        self._length += 1

    def extend(self, values: Sequence[Any]) -> None:
        end = self._length + len(values)
        self._make_room(len(values))
        self._room[self._length : end] = values
        self._length = end

    def _make_room(self, more: int) -> None:
        """A quarter more than it takes: twice as much would leave a third of the memory empty."""
        needed = self._length + more
        if needed > len(self._room):
            empty = np.zeros((needed + needed // 4 - self._length, *self._room.shape[1:]), self._room.dtype)
            self._room = np.concatenate([self.values, empty])


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

    seldom = False
    """Whether few searches want something."""
    certain_in_rows = False
    """Whether a search that is in all rows of a listing has passed."""

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

    def table(self, said: Any) -> Table | None:  # noqa: ANN401 - what the rule reads
        """The verdict on each wish where a listing says so; None if the rule must be asked about each."""

    def keys(self, said: Any) -> Iterable[Hashable]:  # noqa: ANN401, ARG002 - as above
        """In which rows of bits a listing that says so is looked for: in each is who may fit it."""
        return ()

    def passing(self, key: Any) -> NDArray[Any]:  # noqa: ANN401, ARG002 - what `keys` gives
        """For each wish, whether its searches are in the row: never 0 where the verdict is not FAIL."""
        return np.ones(len(self), np.uint8)

    def _added(self, wish: Wish) -> None:
        """What is kept beside a wish, the last one."""


class Listed(Wishes):
    """For what has few values, contracts or numbers of rooms: a table and a row for each value."""

    certain_in_rows = True

    def __init__(self, rule: Rule[Any, Any]) -> None:
        super().__init__(rule)
        self._tables: dict[Hashable, Table] = {}

    def keys(self, said: Any) -> Iterable[Hashable]:  # noqa: ANN401 - as above
        return (said,)

    def passing(self, key: Any) -> NDArray[Any]:  # noqa: ANN401 - as above
        return self.of_one(key).verdicts

    def table(self, said: Any) -> Table:  # noqa: ANN401 - as above
        return self.of_one(said)

    def of_one(self, said: Hashable) -> Table:
        """The verdicts on one value, remembered."""
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
        return [_OTHERS[each, (each, False) in said] for each in Feature if (each, True) not in said]

    def table(self, said: frozenset[tuple[Feature, bool]]) -> Table:
        """The worst of what is said of each feature that the listing may lack."""
        of_each = [self.of_one(key) for key in self.keys(said)]
        if not of_each:
            return self.of_one(said)
        verdicts = np.minimum.reduce([table.verdicts for table in of_each])
        return Table(verdicts, any(table.fails for table in of_each), any(table.flags for table in of_each))


_HAS_ALL: Final = frozenset((feature, True) for feature in Feature)
_OTHERS: Final = {
    (each, lacks): _HAS_ALL - {(each, True)} | ({(each, False)} if lacks else frozenset())
    for each in Feature
    for lacks in (False, True)
}
"""What a listing says that has all features but one, which it lacks or does not mention."""


@dataclass(frozen=True)
class Bounds:
    """How the bounds of a wish and the value of a listing are read as numbers.

    A wish may be on one of several terms, rents with spese and without for instance; the value has a span for each.
    """

    asked: Callable[[Any], tuple[float | None, float | None, int]]
    """The lowest and the highest value that is wanted, ends included, and the number of the terms."""
    said: Callable[[Any], tuple[Interval, ...] | None]
    """By number of the terms, where the value lies; None if that is unknown."""


class Bounded(Wishes):
    """For amounts, which have many values: bounds are compared, and rows tell in which steps of a scale they lie.

    Without a scale there are no rows: for what few searches ask.
    """

    def __init__(self, rule: Rule[Any, Any], bounds: Bounds, scale: Sequence[float]) -> None:
        super().__init__(rule)
        self.seldom = not scale
        self._bounds = bounds
        self._scale = (-inf, *scale, inf) if scale else ()
        self._low, self._high = Column(np.float64), Column(np.float64)
        self._terms, self._unknown = Column(np.int8), Column(np.uint8)
        self._append(-inf, inf, 0, PASS)

    def table(self, said: Any) -> Table:  # noqa: ANN401 - as above
        spans = self._bounds.said(said)
        if spans is None:
            return Table.of(self._unknown.values)
        verdicts = np.empty(len(self), np.uint8)
        lows, highs = np.array(tuple(zip(*spans, strict=True)), np.float64)
        fails, flags = judge_bounds(
            self._low.values, self._high.values, self._terms.values, self._unknown.values, lows, highs, verdicts
        )
        return Table(verdicts, fails, flags)

    def keys(self, said: Any) -> Iterable[Hashable]:  # noqa: ANN401 - as above
        if not self._scale:
            return ()
        spans = self._bounds.said(said)
        if spans is None:
            return (("unknown", 0),)
        low = bisect_right(self._scale, min(span.low for span in spans)) - 1
        high = bisect_left(self._scale, max(span.high for span in spans))
        return (("from", low), ("to", high))

    def passing(self, key: Any) -> NDArray[Any]:  # noqa: ANN401 - as above
        match key:
            case ("from", step):
                passing: NDArray[np.bool_] = self._high.values >= self._scale[step]
            case ("to", step):
                passing = self._low.values <= self._scale[step]
            case _:
                passing = self._unknown.values != FAIL
        return passing.view(np.uint8)

    def _added(self, wish: Wish) -> None:
        low, high, terms = self._bounds.asked(wish.asked)
        unknown = VERDICT_OF[decide(Finding.UNKNOWN, wish.policy)]
        self._append(-inf if low is None else low, inf if high is None else high, terms, unknown)

    def _append(self, low: float, high: float, terms: int, unknown: int) -> None:
        self._low.append(low)
        self._high.append(high)
        self._terms.append(terms)
        self._unknown.append(unknown)


class Phrased(Wishes):
    """For phrases: the rule is asked once what it means when none, some or all of those of a wish stand in a text."""

    seldom = True

    def __init__(self, rule: Rule[Any, Any]) -> None:
        super().__init__(rule)
        self._verdicts = {described: _Phrases() for described in (False, True)}
        """On texts with a description and on others."""
        self._counts = Column(np.int32)
        """By wish, of how many phrases."""
        self._wanting: dict[Folded, Column] = {}
        """By phrase, numbers of wishes."""
        self._beginning: dict[str, list[Folded]] = {}
        """Phrases by their first word."""
        self._append(0, frozenset())

    def table(self, text: Text) -> Table:
        of = self._verdicts[text.described]
        verdicts = of.none.values.copy()
        wanting = [self._wanting[phrase].values for phrase in self._held(text)]
        if wanting:
            judge_phrases(np.concatenate(wanting), self._counts.values, of.some.values, of.all.values, verdicts)
        return Table(verdicts, fails=True, flags=True)  # some nearly always do

    def _held(self, text: Text) -> Iterator[Folded]:
        for word in text.vocabulary & self._beginning.keys():
            yield from filter(text.holds, self._beginning[word])

    def _added(self, wish: Wish) -> None:
        number, phrases = len(self.wishes) - 1, frozenset(wish.asked)
        self._append(number, phrases)
        for phrase in phrases:
            if phrase not in self._wanting:
                self._beginning.setdefault(phrase.partition(" ")[0], []).append(phrase)
                self._wanting[phrase] = Column(np.int32)
            self._wanting[phrase].append(number)

    def _append(self, number: int, phrases: frozenset[Folded]) -> None:
        self._counts.append(len(phrases))
        one = min(phrases, key=len, default=Folded(""))  # the shortest one: no other one stands in it
        texts = (Folded(""), one, Folded(" | ".join(sorted(phrases))))
        for described, verdicts in self._verdicts.items():
            verdicts.append(*(self.judge(number, Text(text, described)) for text in texts))


class _Phrases:
    """By wish, the verdicts where none, some and all of its phrases stand in a text."""

    def __init__(self) -> None:
        self.none, self.some, self.all = Column(np.uint8), Column(np.uint8), Column(np.uint8)

    def append(self, none: int, some: int, every: int) -> None:
        self.none.append(none)
        self.some.append(some)
        self.all.append(every)


class Rare(Wishes):
    """For what is different in every search: the rule is asked about the searches that are left."""

    seldom = True


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

DEPOSIT: Final = Bounds(
    asked=lambda most_cents: (None, most_cents, 0),
    said=lambda cents: None if cents is None else (Interval.point(cents),),
)

AVAILABILITY: Final = Bounds(
    asked=lambda by: (None, by.toordinal(), 0),
    said=lambda day: None if day is None else (Interval.point(day.toordinal()),),
)

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


def criteria_of(rules: Sequence[Rule[Any, Any]]) -> tuple[Wishes, ...]:
    """How the wishes for each criterion are best kept; a new criterion is `Rare` until it is said to be more."""
    return tuple(map(_wishes_for, rules))


def _wishes_for(rule: Rule[Any, Any]) -> Wishes:
    match rule.criterion:
        case criterion if criterion in BOUNDED:
            return Bounded(rule, *BOUNDED[criterion])
        case Criterion.FEATURES:
            return OfFeatures(rule)
        case Criterion.KEYWORDS_WANTED | Criterion.KEYWORDS_UNWANTED:
            return Phrased(rule)
        case criterion if criterion in FEW_VALUES:
            return Listed(rule)
        case _:
            return Rare(rule)


BOUNDED: Final[Mapping[Criterion, tuple[Bounds, Sequence[float]]]] = {
    Criterion.RENT: (RENT, RENT_SCALE),
    Criterion.AREA: (AREA, AREA_SCALE),
    Criterion.DEPOSIT: (DEPOSIT, ()),
    Criterion.AVAILABILITY: (AVAILABILITY, ()),
}
"""Bounds, and the scale that rows are made for."""
