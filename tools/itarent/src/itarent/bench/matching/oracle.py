"""The right answers: the rules of `common.rules` over all searches, each rule asked once for each distinct wish.

That is `common.explain.match`, which asks the same rules and lets each of them refuse. The plain loop, which calls it
for each search, is measured beside the others and held to these answers as they are.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from common.comuni import Comuni
from common.explain import Decision, decide
from common.geo import Box, box_of
from common.listing import Listing, Position
from common.rules import RULES, Rule
from common.search import Criterion, InCircle, InComune, InPolygon
from itarent.bench.matching.searches import Piece, Searches

Numbers = NDArray[np.int32]
"""Numbers of searches, ascending."""

_FIRST: Final = (Criterion.RENT, Criterion.ROOMS, Criterion.AREA)
"""Judged first, since they refuse most."""

_RULES: Final = {rule.criterion: rule for rule in RULES}


def digest(numbers: Numbers) -> bytes:
    """Eight bytes that stand for an answer."""
    return blake2b(numbers.astype("<i4").tobytes(), digest_size=8).digest()


class Wishes:
    """What pieces say about one criterion, as its rule sees it; `fits` says whether a listing is refused."""

    def __init__(self, criterion: Criterion, pieces: Sequence[Piece]) -> None:
        self.rule: Rule[Any, Any] = _RULES[criterion]
        alone = [piece.alone(criterion) for piece in pieces]
        self._asked = [
            self.rule.asks(search) if piece.fields else None for search, piece in zip(alone, pieces, strict=True)
        ]
        self._policies = [self.rule.policy(search) for search in alone]

    def __len__(self) -> int:
        return len(self._asked)

    def fits(self, piece: int, said: Any) -> bool:  # noqa: ANN401 - whatever the rule sees of a listing
        asked = self._asked[piece]
        return asked is None or decide(self.rule.judge(asked, said), self._policies[piece]) is not Decision.FAIL

    def fitting(self, pieces: NDArray[np.integer[Any]], listing: Listing) -> NDArray[np.bool_]:
        """For every piece whether it is among `pieces` and fits."""
        said = self.rule.says(listing)
        found = np.zeros(len(self), np.bool_)
        found[pieces] = [self.fits(piece, said) for piece in pieces.tolist()]
        return found


class Oracle:
    def __init__(self, searches: Searches) -> None:
        self._columns = searches.columns
        rest = [criterion for criterion in searches.columns if criterion not in (Criterion.PLACE, *_FIRST)]
        self._near = _Near(searches.pieces[Criterion.PLACE])
        self._places = Wishes(Criterion.PLACE, searches.pieces[Criterion.PLACE])
        self._wishes = {each: Wishes(each, searches.pieces[each]) for each in (*_FIRST, *rest)}

    def answer(self, listing: Listing) -> Numbers:
        """Every search that the listing matches."""
        if not listing.active:
            return np.empty(0, np.int32)
        at = self._places.fitting(self._near.pieces(listing), listing)
        left = np.flatnonzero(at[self._columns[Criterion.PLACE]]).astype(np.int32)
        for criterion, wishes in self._wishes.items():
            said = self._columns[criterion][left]
            left = left[wishes.fitting(np.unique(said), listing)[said]]
        return left


class _Near:
    """Which pieces may hold a listing's place, so that the others need not be judged."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._all = np.arange(1, len(pieces))
        in_comune: dict[str, list[int]] = {}
        elsewhere = []
        for number in self._all.tolist():
            places = pieces[number].fields["places"]
            codes = {Comuni.load().current(place.code) for place in places if isinstance(place, InComune)}
            if len(codes) == len(places):
                for code in codes:
                    in_comune.setdefault(code, []).append(number)
            else:
                elsewhere.append(number)
        self._in_comune = {code: np.array(numbers) for code, numbers in in_comune.items()}
        self._elsewhere = np.array(elsewhere, np.int64)
        self._boxes = np.array([_box(pieces[number]) for number in elsewhere]).reshape(-1, 4)

    def pieces(self, listing: Listing) -> NDArray[np.int64]:
        if listing.comune is None:
            return self._all
        here = self._in_comune.get(Comuni.load().current(listing.comune), self._elsewhere[:0])
        return np.concatenate([here, self._elsewhere[self._inside(listing.position)]])

    def _inside(self, at: Position | None) -> NDArray[np.bool_]:
        if at is None:
            return np.ones(len(self._boxes), np.bool_)
        south, west, north, east = self._boxes.T
        return (south <= at.latitude) & (at.latitude <= north) & (west <= at.longitude) & (at.longitude <= east)


def _box(piece: Piece) -> Box:
    """Around the only place, if it has a shape."""
    match piece.fields["places"]:
        case (InCircle() | InPolygon() as place,):
            return box_of(place)
        case _:
            return Box(-90.0, -180.0, 90.0, 180.0)
