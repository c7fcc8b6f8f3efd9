"""The searches that are filed under one place: columns of wishes, and rows of bits over most of them.

A row belongs to something that a listing may say (four rooms, a rent of 950 to 1,000 €) and has a bit for each search:
whether it may fit. The searches that fit a listing are in all of its rows. Rows are made when a listing first asks for
them; searches that came since are looked at one by one, until they are many.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from common.listing import Position
from matcher.kernels import FAIL, FLAGGED, MEASURED_BIT, OPEN_BIT, Answer, At, Held, ask, fill_row
from matcher.question import COLUMNS, PLACE, Question, Row
from matcher.verdicts import Wishes, criteria_of
from matcher.wanted_places import Names, PlaceWish, PlaceWishes, names_of

ONE_BY_ONE: Final = 256
"""So many searches are looked at without rows: fewer are not worth their rows."""

MOST_ROWS: Final = 320
"""The one that nobody has asked for longest makes room."""

LARGEST_SHORT: Final = 2**16 - 1
"""A partition in which a wish has a larger number keeps all of them in 32 bits."""

WORD: Final = 64
"""Bits."""

SELDOM: Final = frozenset(column for column, wishes in enumerate(criteria_of(COLUMNS)) if wishes.seldom)
"""Columns of what few searches want."""

FIRST_ROOM: Final = 4
"""Slots: in most places few people search."""


class Found:
    """What is found in one partition after the other, each search once."""

    def __init__(self) -> None:
        self.count = 0
        self._answer = Answer(
            np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.uint32), np.zeros(0, np.bool_)
        )

    def __reduce__(self) -> tuple[type["Found"], tuple[()]]:
        return Found, ()

    @property
    def bytes_used(self) -> int:
        return sum(column.nbytes for column in self._answer)

    def answer(self, size: int, end: int) -> Answer:
        """Where to write, with room for `size` more, all of which have numbers below `end`."""
        slots, numbers, flags, seen = self._answer
        if len(slots) < self.count + size:
            slots, numbers, flags = (_at_first(column, 2 * (self.count + size)) for column in (slots, numbers, flags))
        if len(seen) < end:
            seen = _at_first(seen, 2 * end)
        self._answer = Answer(slots, numbers, flags, seen)
        return self._answer

    def taken(self) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
        """The numbers of the searches found, and their flagged columns as bits; there is nothing then."""
        numbers, flags = self._answer.numbers[: self.count].copy(), self._answer.flags[: self.count].copy()
        self._answer.seen[numbers] = False
        self.count = 0
        return numbers, flags


class Partition:
    """A search has a slot; a slot that was left stays empty until `compacted`."""

    def __init__(self, wanted: Sequence[Wishes]) -> None:
        self._wanted = wanted
        self.places = PlaceWishes()
        self.size = 0
        self.left = 0
        self.numbers: NDArray[np.int32] = np.zeros(FIRST_ROOM, np.int32)
        self.wishes: NDArray[Any] = np.zeros((len(COLUMNS), FIRST_ROOM), np.uint16)
        self._wants_seldom: NDArray[np.bool_] = np.zeros(FIRST_ROOM, np.bool_)
        self._alive: NDArray[np.uint64] = np.zeros(1, np.uint64)
        self._rows: NDArray[np.uint64] = np.zeros((1, 1), np.uint64)
        self._row_of: dict[Row, int] = {}
        self._counts: list[int] = []
        self._covered = 0

    def __len__(self) -> int:
        return self.size - self.left

    @property
    def bytes_used(self) -> int:
        columns = (self.numbers, self.wishes, self._wants_seldom, self._alive, self._rows)
        return sum(column.nbytes for column in columns) + self.places.bytes_used

    # Coming and going

    def add(self, number: int, wish: PlaceWish, wishes: Mapping[int, int]) -> int:
        """File a search; its slot."""
        slot, place = self.size, self.places.number(wish)
        if slot == len(self.numbers):
            self._make_room()
        if self.wishes.dtype == np.uint16 and max((place, *wishes.values())) > LARGEST_SHORT:
            self.wishes = self.wishes.astype(np.uint32)
        self.numbers[slot] = number
        self.wishes[PLACE, slot] = place
        for column, number_of_wish in wishes.items():
            self.wishes[column, slot] = number_of_wish
        self._wants_seldom[slot] = not SELDOM.isdisjoint(wishes)
        self._alive[slot // WORD] |= np.uint64(1 << slot % WORD)
        self.size += 1
        return slot

    def remove(self, slot: int) -> None:
        self._alive[slot // WORD] &= ~np.uint64(1 << slot % WORD)
        self.left += 1

    @property
    def is_sparse(self) -> bool:
        """Whether so many slots were left that it is worth `compacted`."""
        return self.left > max(ONE_BY_ONE, self.size // 4)

    def compacted(self) -> "Partition":
        """The same searches in the same order without the slots that were left."""
        kept = np.flatnonzero(np.unpackbits(self._alive.view(np.uint8), count=self.size, bitorder="little"))
        other, room = Partition(self._wanted), -(-max(len(kept), 1) // WORD) * WORD
        other.size = len(kept)
        other.numbers = _at_first(self.numbers[kept], room)
        other.wishes = np.zeros((len(COLUMNS), room), self.wishes.dtype)
        other.wishes[:, : len(kept)] = self.wishes[:, kept]
        other._wants_seldom = _at_first(self._wants_seldom[kept], room)
        other._alive = np.packbits(np.arange(room) < len(kept), bitorder="little").view(np.uint64)
        old, which = np.unique(self.wishes[PLACE, kept], return_inverse=True)
        places = [other.places.taken_from(self.places, number) for number in old.tolist()]
        other.wishes[PLACE, : len(kept)] = np.array(places, self.wishes.dtype)[which]
        return other

    def _make_room(self) -> None:
        """For a quarter more: twice as much would leave a third of the memory empty."""
        room = self.size + max(self.size // 4, FIRST_ROOM)
        self.numbers = _at_first(self.numbers, room)
        empty = np.zeros((len(COLUMNS), room - self.size), self.wishes.dtype)
        self.wishes = np.concatenate([self.wishes, empty], axis=1)
        self._wants_seldom = _at_first(self._wants_seldom, room)
        self._alive = _at_first(self._alive, -(-room // WORD))

    # Asking

    def ask(self, question: Question, found: Found, end: int) -> None:
        """Find the searches that a listing matches and that were not found before; their numbers are below `end`."""
        names = names_of(question.at)
        place = self.places.known(names)
        self._cover()
        rows = ((PLACE, names), *question.rows) if place.fails else question.rows
        chosen = self._chosen(rows) if self._covered else _NONE  # which may make rows
        at, before, answer = question.at.position or _NOWHERE, found.count, found.answer(self.size, end)
        found.count = ask(
            Held(self._alive, self.wishes, self._wants_seldom, self.numbers),
            self.size,
            self._rows,
            chosen,
            self._covered,
            self.places.columns,
            At(place.table, place.findings, at.latitude, at.longitude),
            (not place.flags, not (place.fails or place.flags)),
            question.asked,
            answer,
            before,
        )
        opened = before + np.flatnonzero(answer.flags[before : found.count] & OPEN_BIT)
        if len(opened):
            found.count = self._settle(opened, question, answer, before, found.count)

    def _settle(self, opened: NDArray[np.intp], question: Question, answer: Answer, first: int, end: int) -> int:
        """Ask the rules about the open ones, and close up over those that they refuse; how many are left."""
        keep = np.ones(end - first, np.bool_)
        for place in opened.tolist():
            flags = int(answer.flags[place])
            settled = self._judged(int(answer.slots[place]), question, at_an_edge=bool(flags & MEASURED_BIT))
            if settled is None:
                keep[place - first] = False
                answer.seen[answer.numbers[place]] = False
            else:
                answer.flags[place] = flags & ~(OPEN_BIT | MEASURED_BIT) | settled
        kept = first + int(keep.sum())
        for column in (answer.slots, answer.numbers, answer.flags):
            column[first:kept] = column[first:end][keep]
        return kept

    def _judged(self, slot: int, question: Question, *, at_an_edge: bool) -> int | None:
        """The flagged columns of a search as bits, of those that kernels cannot judge; None where one fails."""
        flags = 0
        for column, verdict in self._judged_columns(slot, question, at_an_edge=at_an_edge):
            if verdict == FAIL:
                return None
            if verdict == FLAGGED:
                flags |= 1 << column
        return flags

    def _judged_columns(self, slot: int, question: Question, *, at_an_edge: bool) -> Iterator[tuple[int, int]]:
        if at_an_edge:
            yield PLACE, self.places.judge(int(self.wishes[PLACE, slot]), question.at)
        for column in question.untold:
            wish = int(self.wishes[column, slot])
            if wish and (column, wish) not in question.judged:
                question.judged[column, wish] = self._wanted[column].judge(wish, question.said[column])
            if wish:
                yield column, question.judged[column, wish]

    # Rows

    def _cover(self) -> None:
        """Extend the rows over searches that came since, where these are many."""
        if self.size - self._covered < ONE_BY_ONE:
            return
        end = self.size // WORD * WORD
        if self._rows.shape[1] < len(self._alive):
            wider = np.zeros((len(self._rows), len(self._alive)), np.uint64)
            wider[:, : self._rows.shape[1]] = self._rows
            self._rows = wider
        for row, number in self._row_of.items():
            self._fill(row, number, self._covered, end)
        self._covered = end

    def _chosen(self, rows: Sequence[Row]) -> NDArray[np.int32]:
        """The numbers of rows, those with the fewest bits first; a row with all bits decides nothing."""
        numbers = [self._row(row) for row in rows]
        counts = self._counts
        return np.array(
            sorted((number for number in numbers if counts[number] < self._covered), key=counts.__getitem__), np.int32
        )

    def _row(self, row: Row) -> int:
        number = self._row_of.pop(row, None)
        if number is None:
            number = self._new_row()
            self._fill(row, number, 0, self._covered)
        self._row_of[row] = number  # at the end: asked for last
        return number

    def _new_row(self) -> int:
        if len(self._counts) == MOST_ROWS:
            number = self._row_of.pop(next(iter(self._row_of)))
            self._rows[number] = 0
            self._counts[number] = 0
            return number
        number = len(self._counts)
        if number == len(self._rows):
            self._rows = _at_first(self._rows, min(2 * number, MOST_ROWS))
        self._counts.append(0)
        return number

    def _fill(self, row: Row, number: int, first: int, end: int) -> None:
        column, key = row
        wanted = self._wanted[column]
        passing = self.places.known(cast("Names", key)).table if column == PLACE else wanted.passing(key)
        self._counts[number] += fill_row(self._rows[number], first, end, self.wishes, column, passing)


_NONE: Final[NDArray[np.int32]] = np.zeros(0, np.int32)
_NOWHERE: Final = Position(latitude=0, longitude=0)
"""Nothing is measured from there."""


def _at_first(values: NDArray[Any], room: int) -> NDArray[Any]:
    """An array with more room behind the values."""
    column = np.zeros((room, *values.shape[1:]), values.dtype)
    column[: len(values)] = values
    return column
