"""Recent listings as columns: what each says to each rule, equal things once. Pure, and of one thread at a time.

A search is judged by the rules of `common.rules` and by nothing else; what is saved is that equal things are kept once
and judged once. Whoever asks gets the answers of `common.explain.match`.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.explain import Decision, decide
from common.geo import Box, box_of
from common.listing import Listing, ListingStatus, Position
from common.rules import RULES, Finding, Rule, Start, Text, Whereabouts
from common.search import InCircle, InPolygon, Place, Search
from common.text import Folded

Rows: TypeAlias = NDArray[np.intp]
Mask: TypeAlias = NDArray[np.bool_]
Findings: TypeAlias = NDArray[np.int8]
"""Of each row an index of `FINDINGS`."""

FINDINGS: Final = tuple(Finding)
INDEX: Final = {finding: index for index, finding in enumerate(FINDINGS)}
BETWEEN: Final = "|"
"""No word: it parts title and description in a folded text, and here also texts, so that no phrase runs across."""


class Offer(NamedTuple):
    """A listing with its number, which stays from version to version, and when it was first offered (Unix seconds)."""

    number: int
    offered_at: float
    listing: Listing


class _Values:
    """Distinct values by code, in order of appearance."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._codes: dict[Hashable, int] = {}

    def code_of(self, value: Hashable) -> int:
        code = self._codes.setdefault(value, len(self.all))
        if code == len(self.all):
            self.all.append(value)
        return code

    def known_code_of(self, value: Hashable) -> int | None:
        return self._codes.get(value)


class _Column:
    """What each row says to some rules, as codes."""

    def __init__(self) -> None:
        self._values = _Values()
        self._codes = np.empty(0, np.int32)

    def add(self, said: Sequence[Hashable]) -> None:
        codes = np.fromiter(map(self._values.code_of, said), np.int32, len(said))
        self._codes = np.concatenate((self._codes, codes))

    def found(self, rows: Rows, judge: Callable[[Any], Finding]) -> Findings:
        """What each of the rows is; each distinct value of theirs is judged once."""
        codes = self._codes[rows]
        occurs = np.zeros(len(self._values.all), np.bool_)
        occurs[codes] = True
        findings = np.zeros(len(occurs), np.int8)
        for code in np.flatnonzero(occurs).tolist():
            findings[code] = INDEX[judge(self._values.all[code])]
        return findings[codes]

    def at(self, rows: Rows) -> list[Any]:
        return [self._values.all[code] for code in self._codes[rows].tolist()]

    def only(self, rows: Rows) -> "_Column":
        kept = _Column()
        kept.add(self.at(rows))
        return kept


class _Points:
    """Where each row is on the map. Points hardly repeat, so they are kept as numbers, and beside what else is said."""

    def __init__(self) -> None:
        self._degrees = np.empty((0, 2))

    def add(self, positions: Sequence[Position | None]) -> None:
        points = [(each.latitude, each.longitude) if each else (np.nan, np.nan) for each in positions]
        self._degrees = np.concatenate((self._degrees, np.array(points, np.float64).reshape(-1, 2)))

    def known(self, rows: Rows) -> Mask:
        known: Mask = ~np.isnan(self._degrees[rows, 0])
        return known

    def in_boxes(self, rows: Rows, boxes: Sequence[Box]) -> Mask:
        latitudes, longitudes = self._degrees[rows].T
        within = np.zeros(len(rows), np.bool_)
        for south, west, north, east in boxes:
            within |= (south <= latitudes) & (latitudes <= north) & (west <= longitudes) & (longitudes <= east)
        return within

    def at(self, rows: Rows) -> list[Position | None]:
        points = zip(self.known(rows).tolist(), self._degrees[rows].tolist(), strict=True)
        return [
            Position.model_construct(latitude=point[0], longitude=point[1]) if known else None
            for known, point in points
        ]

    def only(self, rows: Rows) -> "_Points":
        kept = _Points()
        kept._degrees = self._degrees[rows]
        return kept


class _Starts:
    """Where ways from each row begin."""

    def __init__(self) -> None:
        self._journeys = _Column()

    def add(self, said: Sequence[Start]) -> None:
        self._journeys.add([start.journeys for start in said])

    def found(self, rows: Rows, points: _Points, judge: Callable[[Any], Finding]) -> Findings:
        starts = map(Start, points.at(rows), self._journeys.at(rows))
        return np.fromiter((INDEX[judge(start)] for start in starts), np.int8, len(rows))

    def only(self, rows: Rows) -> "_Starts":
        kept = _Starts()
        kept._journeys = self._journeys.only(rows)
        return kept


class _Whereabouts:
    """Where each row is by name."""

    def __init__(self) -> None:
        self._comuni = _Column()
        self._zones = _Column()

    def add(self, said: Sequence[Whereabouts]) -> None:
        self._comuni.add([at._replace(zone=None, position=None) for at in said])
        self._zones.add([at._replace(position=None) for at in said])

    def found(
        self, rows: Rows, points: _Points, wanted: tuple[Place, ...], judge: Callable[[Any, Any], Finding]
    ) -> Findings:
        """What each of the rows is. Only areas look at a point, and one outside an area's box is outside the area."""
        areas = [place for place in wanted if isinstance(place, InCircle | InPolygon)]
        if not areas:
            return self._by_name(rows, wanted, judge)
        named = tuple(place for place in wanted if place not in areas)
        located = points.known(rows)
        findings = np.empty(len(rows), np.int8)
        findings[~located] = self._by_name(rows[~located], wanted, judge)
        findings[located] = self._by_name(rows[located], named, judge)
        near = np.flatnonzero(located & (findings != INDEX[Finding.SATISFIED]))
        near = near[points.in_boxes(rows[near], [box_of(area) for area in areas])]
        at = zip(self._zones.at(rows[near]), points.at(rows[near]), strict=True)
        findings[near] = [INDEX[judge(wanted, names._replace(position=position))] for names, position in at]
        return findings

    def _by_name(self, rows: Rows, wanted: tuple[Place, ...], judge: Callable[[Any, Any], Finding]) -> Findings:
        """The zone decides only where the comune does not."""
        findings = self._comuni.found(rows, lambda at: judge(wanted, at))
        unsure = np.flatnonzero(findings == INDEX[Finding.UNKNOWN])
        findings[unsure] = self._zones.found(rows[unsure], lambda at: judge(wanted, at))
        return findings

    def only(self, rows: Rows) -> "_Whereabouts":
        kept = _Whereabouts()
        kept._comuni, kept._zones = self._comuni.only(rows), self._zones.only(rows)
        return kept


class _Texts:
    """The words of all texts as codes, one text after the other: a phrase is looked for in all of them at once."""

    def __init__(self) -> None:
        self._vocabulary = _Values()
        self._between = self._vocabulary.code_of(BETWEEN)
        self._words = np.empty(0, np.int32)
        self._starts = np.empty(0, np.intp)
        self._described = np.empty(0, np.bool_)

    def add(self, said: Sequence[Text]) -> None:
        code_of = self._vocabulary.code_of
        words: list[int] = []
        starts: list[int] = []
        for text in said:
            starts.append(len(self._words) + len(words))
            words.extend(map(code_of, text.words.split(" ")))
            words.append(self._between)
        self._words = np.concatenate((self._words, np.array(words, np.int32)))
        self._starts = np.concatenate((self._starts, np.array(starts, np.intp)))
        self._described = np.concatenate((self._described, np.array([text.described for text in said], np.bool_)))

    def found(self, rows: Rows, phrases: tuple[Folded, ...], judge: Callable[[Any, Any], Finding]) -> Findings:
        """What each of the rows is. A rule asks which phrases stand in a text: it is shown these alone."""
        stand = [self._holding(phrase)[rows] for phrase in phrases]
        kinds = np.stack((self._described[rows], *stand), axis=1)
        distinct, kind_of = np.unique(kinds, axis=0, return_inverse=True)
        findings = [INDEX[judge(phrases, _text_with(phrases, kind.tolist()))] for kind in distinct]
        return np.array(findings, np.int8)[kind_of.reshape(-1)]

    def _holding(self, phrase: Folded) -> Mask:
        """Which texts hold the phrase, whole words in its order."""
        holding = np.zeros(len(self._starts), np.bool_)
        codes = [self._vocabulary.known_code_of(word) for word in phrase.split(" ")]
        if None in codes:
            return holding
        at = np.flatnonzero(self._words == codes[0])
        for further, code in enumerate(codes[1:], start=1):
            at = at[self._words[np.minimum(at + further, len(self._words) - 1)] == code]
        holding[np.searchsorted(self._starts, at, side="right") - 1] = True
        return holding

    def only(self, rows: Rows) -> "_Texts":
        kept = _Texts()
        kept.add([self._text_at(row) for row in rows.tolist()])
        return kept

    def _text_at(self, row: int) -> Text:
        end = self._starts[row + 1] if row + 1 < len(self._starts) else len(self._words)
        words = [self._vocabulary.all[code] for code in self._words[self._starts[row] : end - 1].tolist()]
        return Text(Folded(" ".join(words)), bool(self._described[row]))


def _text_with(phrases: tuple[Folded, ...], kind: list[bool]) -> Text:
    described, *stand = kind
    standing = [phrase for phrase, stands in zip(phrases, stand, strict=True) if stands]
    return Text(Folded(f" {BETWEEN} ".join(standing)), described)


class Columns:
    """Recent listings, each in its newest version, as if all were still offered."""

    def __init__(self) -> None:
        self._numbers = np.empty(0, np.int64)
        self._offered_at = np.empty(0, np.float64)
        self._is_newest = np.empty(0, np.bool_)
        self._points = _Points()
        self._starts = _Starts()
        self._whereabouts = _Whereabouts()
        self._texts = _Texts()
        others = (rule.says for rule in RULES if rule.says not in (Start.of, Text.of, Whereabouts.of))
        self._others = {says: _Column() for says in others}  # rules that read the same of a listing share one

    def __len__(self) -> int:
        """All rows, those included that a newer version has replaced."""
        return len(self._numbers)

    def add(self, offers: Sequence[Offer]) -> None:
        """Add listings, no number twice; one that is known already is replaced."""
        numbers = np.array([each.number for each in offers], np.int64)
        self._is_newest &= ~np.isin(self._numbers, numbers)
        self._numbers = np.concatenate((self._numbers, numbers))
        self._offered_at = np.concatenate((self._offered_at, [each.offered_at for each in offers]))
        self._is_newest = np.concatenate((self._is_newest, np.ones(len(offers), np.bool_)))
        listings = [_offered(each.listing) for each in offers]
        self._points.add([listing.position for listing in listings])
        self._starts.add([Start.of(listing) for listing in listings])
        self._whereabouts.add([Whereabouts.of(listing) for listing in listings])
        self._texts.add([Text.of(listing) for listing in listings])
        for says, column in self._others.items():
            column.add([says(listing) for listing in listings])

    def offered_since(self, moment: float) -> Rows:
        """The rows of listings that were first offered after a moment, oldest first."""
        rows = np.flatnonzero(self._is_newest & (self._offered_at > moment))
        return rows[np.argsort(self._offered_at[rows], kind="stable")]

    def only(self, rows: Rows) -> "Columns":
        """These rows alone, and nothing that only others said."""
        kept = Columns()
        kept._numbers, kept._offered_at = self._numbers[rows], self._offered_at[rows]
        kept._is_newest = self._is_newest[rows]
        kept._points, kept._starts = self._points.only(rows), self._starts.only(rows)
        kept._whereabouts, kept._texts = self._whereabouts.only(rows), self._texts.only(rows)
        kept._others = {says: column.only(rows) for says, column in self._others.items()}
        return kept

    def refused(self, rule: Rule[Any, Any], search: Search, rows: Rows) -> Mask:
        """Which of the rows a rule refuses; the search restricts its criterion."""
        findings = self._found(rule, rule.asks(search), rows)
        policy = rule.policy(search)
        refuses = np.array([decide(finding, policy) is Decision.FAIL for finding in FINDINGS])
        refused: Mask = refuses[findings]
        return refused

    def _found(self, rule: Rule[Any, Any], asked: Any, rows: Rows) -> Findings:  # noqa: ANN401 - whatever the rule asks
        if rule.says == Whereabouts.of:
            return self._whereabouts.found(rows, self._points, asked, rule.judge)
        if rule.says == Start.of:
            return self._starts.found(rows, self._points, lambda start: rule.judge(asked, start))
        if rule.says == Text.of:
            return self._texts.found(rows, asked, rule.judge)
        return self._others[rule.says].found(rows, lambda said: rule.judge(asked, said))

    def numbers_of(self, rows: Rows) -> list[int]:
        numbers: list[int] = self._numbers[rows].tolist()
        return numbers

    def offered_at(self, rows: Rows) -> list[float]:
        """Unix seconds."""
        moments: list[float] = self._offered_at[rows].tolist()
        return moments


def _offered(listing: Listing) -> Listing:
    return listing if listing.active else listing.model_copy(update={"status": ListingStatus.ACTIVE})
