"""The places that the searches of one partition want: names are told apart by a table, shapes are measured.

A wish of several places is as good as the best of them, and a comune with several zones is as good as the best of its
zones. So a wish is taken apart, and each of its parts, which many wishes share, is judged once.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from common.explain import decide
from common.listing import Position
from common.rules import RULES, Finding, Whereabouts, zone_beginnings
from common.search import Criterion, InCircle, InComune, InPolygon, InProvince, Place, UnknownPolicy
from common.text import fold_phrase
from matcher import kernels
from matcher.kernels import CIRCLE, FAIL, FLAGGED, NAMED, OPEN, POLYGON, Places, Verdicts, judge_names
from matcher.places import filed_under
from matcher.verdicts import VERDICT_OF, Column

(_RULE,) = (rule for rule in RULES if rule.criterion is Criterion.PLACE)

_FINDINGS: Final = {
    Finding.VIOLATED: kernels.VIOLATED,
    Finding.UNKNOWN: kernels.UNKNOWN,
    Finding.SATISFIED: kernels.SATISFIED,
}


@dataclass(frozen=True, slots=True, eq=False)
class PlaceWish:
    """Where a search looks. Compared by identity: who makes them makes equal ones once."""

    parts: tuple[Place, ...]
    """Any of them is enough; each comune has one zone at most."""
    policy: UnknownPolicy
    filed_under: tuple[Hashable, ...]

    @classmethod
    def of(cls, places: tuple[Place, ...], policy: UnknownPolicy) -> Self:
        parts = tuple(part for place in places for part in _parts_of(place))
        return cls(parts, policy, tuple(filed_under(places, policy)))

    @property
    def is_named(self) -> bool:
        """Whether names decide it."""
        return not any(isinstance(part, InCircle | InPolygon) for part in self.parts)

    def judge(self, at: Whereabouts) -> int:
        return VERDICT_OF[decide(_RULE.judge(self.parts, at), self.policy)]


def _parts_of(place: Place) -> Iterator[Place]:
    """There are many, and few different ones with names: these are the same for all who want them."""
    match place:
        case InComune(code=code, zones=()):
            yield _comune(code, ())
        case InComune(code=code, zones=zones):
            yield from (_comune(code, (zone,)) for zone in zones)
        case InProvince(code=code):
            yield _province(code)
        case _:
            yield place


@lru_cache(maxsize=1 << 16)
def _comune(code: str, zones: tuple[str, ...]) -> InComune:
    return InComune(code=code, zones=zones)


@lru_cache(maxsize=256)
def _province(code: str) -> InProvince:
    return InProvince(code=code)


Names = tuple[str | None, str | None, str | None, bool]
"""What a listing says by names: its comune, province and zone; and whether it says at which point it lies."""


def names_of(at: Whereabouts) -> Names:
    return at.comune, at.province, at.zone, at.position is not None


class Known(NamedTuple):
    """What is known of the wishes for listings of the same names."""

    table: Verdicts
    """By wish; OPEN where shapes must be measured."""
    findings: Verdicts
    """By name."""
    fails: bool
    """Whether a verdict is FAIL."""
    flags: bool
    """Whether a verdict is FLAGGED or OPEN."""


_NOTHING: Final = Known(np.zeros(0, np.uint8), np.zeros(0, np.uint8), fails=False, flags=False)


class PlaceWishes:
    """The wishes of one partition by number; those that are named are kept once."""

    def __init__(self) -> None:
        self._starts = Column(np.int32)
        self._starts.append(0)
        self._unknown = Column(np.uint8)
        self._kinds = Column(np.uint8)
        self._shapes = Column(np.int32)
        self._circles = Column(np.float64, 3)
        self._rings = Column(np.int32)
        self._rings.append(0)
        self._corners = Column(np.float64, 2)
        self._names: list[Place] = []
        self._name_numbers: dict[Place, int] = {}
        self._beginning: dict[str, list[int]] = {}
        """Numbers of names by the words with which their zones begin."""
        self._elsewhere: dict[tuple[str | None, str | None, bool], Verdicts] = {}
        """By comune, province and whether a zone is said: the findings on names of zones that have no word of it."""
        self._numbers: dict[PlaceWish, int] = {}
        self._known: dict[Names, Known] = {}
        self._columns: Places | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_columns": None}  # which are parts of what is kept anyway

    def __len__(self) -> int:
        return len(self._unknown)

    @property
    def bytes_used(self) -> int:
        return sum(column.bytes_used for column in vars(self).values() if isinstance(column, Column))

    @property
    def columns(self) -> Places:
        if self._columns is None:
            self._columns = Places(
                starts=self._starts.values,
                unknown=self._unknown.values,
                kinds=self._kinds.values,
                shapes=self._shapes.values,
                circles=self._circles.values,
                rings=self._rings.values,
                corners=self._corners.values,
            )
        return self._columns

    # Coming

    def number(self, wish: PlaceWish) -> int:
        number = self._numbers.get(wish)
        if number is None:
            number = self._add(
                [self._part(part) for part in wish.parts], VERDICT_OF[decide(Finding.UNKNOWN, wish.policy)]
            )
            if wish.is_named:
                self._numbers[wish] = number
        return number

    def taken_from(self, other: "PlaceWishes", number: int) -> int:
        """The number here of a wish of another partition, which is not here yet."""
        of = other.columns
        names = other._names  # noqa: SLF001 - of the same class
        parts = range(of.starts[number], of.starts[number + 1])
        return self._add(
            [self._copied(of, names, of.kinds[part], of.shapes[part]) for part in parts], of.unknown[number]
        )

    def _add(self, parts: Sequence[tuple[int, int]], unknown: int) -> int:
        """A wish of parts, each of a kind and with the number that its shape or name has."""
        for kind, shape in parts:
            self._kinds.append(kind)
            self._shapes.append(shape)
        self._starts.append(len(self._kinds))
        self._unknown.append(unknown)
        self._columns = None
        return len(self) - 1

    def _part(self, part: Place) -> tuple[int, int]:
        match part:
            case InCircle(centre=centre, radius_m=radius_m):
                return self._circle((centre.latitude, centre.longitude, radius_m))
            case InPolygon(ring=ring):
                return self._polygon([(corner.latitude, corner.longitude) for corner in ring])
            case _:
                return NAMED, self._name(part)

    def _name(self, part: Place) -> int:
        number = self._name_numbers.get(part)
        if number is None:
            number = self._name_numbers[part] = len(self._names)
            self._names.append(part)
            for zone in part.zones if isinstance(part, InComune) else ():
                for word in zone_beginnings(zone):
                    self._beginning.setdefault(word, []).append(number)
        return number

    def _copied(self, of: Places, names: Sequence[Place], kind: int, shape: int) -> tuple[int, int]:
        match kind:
            case kernels.CIRCLE:
                return self._circle(of.circles[shape])
            case kernels.POLYGON:
                return self._polygon(of.corners[of.rings[shape] : of.rings[shape + 1]])
            case _:
                return self._part(names[shape])

    def _circle(self, circle: Any) -> tuple[int, int]:  # noqa: ANN401 - three numbers
        self._circles.append(circle)
        return CIRCLE, len(self._circles) - 1

    def _polygon(self, corners: Any) -> tuple[int, int]:  # noqa: ANN401 - pairs of numbers
        self._corners.extend(corners)
        self._rings.append(len(self._corners))
        return POLYGON, len(self._rings) - 2

    # Asking

    def known(self, names: Names) -> Known:
        known = self._known.get(names)
        if known is None or len(known.table) < len(self):
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
                self._elsewhere.clear()
            known = self._known[names] = self._learned(names, known or _NOTHING)
        return known

    def _learned(self, names: Names, known: Known) -> Known:
        """What is known, and what can be said of the wishes that came since."""
        comune, province, zone, located = names
        at = Whereabouts(comune, province, zone, position=None)
        findings = np.concatenate([known.findings, self._findings(at, len(known.findings))])
        more = np.empty(len(self) - len(known.table), np.uint8)
        judge_names(len(known.table), self.columns, findings, located, more)
        return Known(
            np.concatenate([known.table, more]),
            findings,
            fails=known.fails or bool((more == FAIL).any()),
            flags=known.flags or bool(((more == FLAGGED) | (more == OPEN)).any()),
        )

    def _findings(self, at: Whereabouts, first: int) -> Verdicts:
        """On names from the number `first` on. Few zones have a word of the listing's: of these the rule is asked."""
        findings = self._findings_elsewhere(at)[first:].copy()
        for word in set(fold_phrase(at.zone or "").split()):
            for number in self._beginning.get(word, ()):
                if number >= first:
                    findings[number - first] = _FINDINGS[_RULE.judge((self._names[number],), at)]
        return findings

    def _findings_elsewhere(self, at: Whereabouts) -> Verdicts:
        """As if the listing's zone, if it says one, had no word of any other."""
        key = at.comune, at.province, bool(at.zone)
        known = self._elsewhere.get(key, _NOTHING.findings)
        if len(known) < len(self._names):
            elsewhere = at._replace(zone=WORDLESS if at.zone else None)
            more = [_FINDINGS[_RULE.judge((part,), elsewhere)] for part in self._names[len(known) :]]
            known = self._elsewhere[key] = np.concatenate([known, np.array(more, np.uint8)])
        return known

    def judge(self, number: int, at: Whereabouts) -> int:
        """The rule's verdict on a wish."""
        of = self.columns
        parts = tuple(
            _place(of, self._names, of.kinds[part], of.shapes[part])
            for part in range(of.starts[number], of.starts[number + 1])
        )
        finding = _RULE.judge(parts, at)
        return (
            int(of.unknown[number]) if finding is Finding.UNKNOWN else VERDICT_OF[decide(finding, UnknownPolicy.FAIL)]
        )


def _place(of: Places, names: Sequence[Place], kind: int, shape: int) -> Place:
    """A part as it was wanted."""
    match kind:
        case kernels.CIRCLE:
            latitude, longitude, radius_m = of.circles[shape].tolist()
            return InCircle(centre=Position(latitude=latitude, longitude=longitude), radius_m=int(radius_m))
        case kernels.POLYGON:
            corners: NDArray[np.float64] = of.corners[of.rings[shape] : of.rings[shape + 1]]
            return InPolygon(ring=tuple(Position(latitude=north, longitude=east) for north, east in corners.tolist()))
        case _:
            return names[shape]


WORDLESS: Final = "?"
"""A zone."""

MOST_REMEMBERED: Final = 1024
