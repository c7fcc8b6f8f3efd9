"""The searches that are filed under one place: columns of wishes, and rows of bits over most of them.

A row belongs to something that a listing may say (four rooms, a rent of 950 to 1,000 €) and has a bit for each search:
whether it may fit. The searches that fit a listing are in all of its rows. Rows are made when a listing first asks for
them; searches that came since are looked at one by one, until they are many.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from common.rules import Whereabouts
from matcher.kernels import FAIL, FLAGGED, PASS, Asked, fill_row, one_by_one, through_rows
from matcher.question import COLUMNS, PLACE, Question, Row
from matcher.verdicts import Indexed, Rare, Table, Wishes
from matcher.wanted_places import PlaceWish, PlaceWishes

ONE_BY_ONE: Final = 256
"""So many searches are looked at without rows: fewer are not worth their rows."""

MOST_ROWS: Final = 320
"""The one that nobody has asked for longest makes room."""

LARGEST_SHORT: Final = 2**16 - 1
"""A partition in which a wish has a larger number keeps all of them in 32 bits."""

WORD: Final = 64
"""Bits."""


class Found:
    """What is found in one partition after the other: slots and their flagged columns as bits."""

    def __init__(self) -> None:
        self.slots: NDArray[np.int32] = np.zeros(0, np.int32)
        self.flags: NDArray[np.uint32] = np.zeros(0, np.uint32)

    def make_room(self, room: int) -> None:
        if len(self.slots) < room:
            self.slots, self.flags = np.zeros(2 * room, np.int32), np.zeros(2 * room, np.uint32)


class Partition:
    """A search has a slot; a slot that was left stays empty until `compacted`."""

    def __init__(self, wanted: Sequence[Wishes]) -> None:
        self._wanted = wanted
        self._rare = [column for column, wishes in enumerate(wanted) if isinstance(wishes, Rare) and column != PLACE]
        self.places = PlaceWishes()
        self.size = 0
        self.left = 0
        self.numbers: NDArray[np.int32] = np.zeros(WORD, np.int32)
        self.wishes: NDArray[Any] = np.zeros((len(COLUMNS), WORD), np.uint16)
        self._judged_later: NDArray[np.bool_] = np.zeros(WORD, np.bool_)
        self._later = 0
        self._alive: NDArray[np.uint64] = np.zeros(1, np.uint64)
        self._rows: NDArray[np.uint64] = np.zeros((8, 1), np.uint64)
        self._row_of: dict[Row, int] = {}
        self._counts: list[int] = []
        self._covered = 0

    def __len__(self) -> int:
        return self.size - self.left

    @property
    def bytes_used(self) -> int:
        columns = (self.numbers, self.wishes, self._judged_later, self._alive, self._rows)
        return sum(column.nbytes for column in columns) + self.places.bytes_used

    # Coming and going

    def add(self, number: int, wish: PlaceWish, wishes: Sequence[int]) -> int:
        """File a search; its slot."""
        slot, place = self.size, self.places.number(wish)
        if slot == len(self.numbers):
            self._make_room()
        if self.wishes.dtype == np.uint16 and (place > LARGEST_SHORT or max(wishes) > LARGEST_SHORT):
            self.wishes = self.wishes.astype(np.uint32)
        self.numbers[slot] = number
        self.wishes[:, slot] = wishes
        self.wishes[PLACE, slot] = place
        later = self.places.is_measured(place) or any(wishes[column] for column in self._rare)
        self._judged_later[slot] = later
        self._later += later
        self._alive[slot // WORD] |= np.uint64(1 << slot % WORD)
        self.size += 1
        return slot

    def remove(self, slot: int) -> None:
        self._alive[slot // WORD] &= ~np.uint64(1 << slot % WORD)
        self._later -= int(self._judged_later[slot])
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
        other._judged_later = _at_first(self._judged_later[kept], room)
        other._later = int(other._judged_later.sum())
        other._alive = np.packbits(np.arange(room) < len(kept), bitorder="little").view(np.uint64)
        old, which = np.unique(self.wishes[PLACE, kept], return_inverse=True)
        places = [other.places.taken_from(self.places, number) for number in old.tolist()]
        other.wishes[PLACE, : len(kept)] = np.array(places, self.wishes.dtype)[which]
        return other

    def _make_room(self) -> None:
        self.numbers = _doubled(self.numbers)
        self.wishes = np.concatenate([self.wishes, np.zeros_like(self.wishes)], axis=1)
        self._judged_later = _doubled(self._judged_later)
        self._alive = _doubled(self._alive)

    # Asking

    def ask(self, question: Question, found: Found) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
        """The numbers of the searches that a listing matches, each once, and their flagged columns as bits."""
        place = self.places.table(question.at)
        found.make_room(self.size)
        self._cover()
        count = 0
        if self._covered:
            rows = question.rows
            if place.fails:
                rows = ((PLACE, question.at._replace(position=None)), *rows)
            chosen = self._chosen(rows)  # which may make rows
            words = self._covered // WORD
            asked = _with_place(question.after_rows, place, checked=place.flags)
            count = through_rows(self._rows, chosen, self._alive, words, self.wishes, asked, found.slots, found.flags)
        if self._covered < self.size:
            asked = _with_place(question.without_rows, place, checked=place.fails or place.flags)
            count = one_by_one(
                self._covered, self.size, self._alive, self.wishes, asked, found.slots, found.flags, count
            )
        slots, flags = found.slots[:count], found.flags[:count].copy()
        if self._later and count:
            slots, flags = self._judge_later(slots, flags, question)
        return self.numbers[slots], flags

    def _judge_later(
        self, slots: NDArray[np.int32], flags: NDArray[np.uint32], question: Question
    ) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
        """Measure places, and judge what few searches ask for."""
        later = np.flatnonzero(self._judged_later[slots])
        if not len(later):
            return slots, flags
        wishes = self.wishes[:, slots[later]]
        keep = np.ones(len(slots), np.bool_)
        for column, verdicts in self._judged(wishes, question):
            keep[later[verdicts == FAIL]] = False
            flags[later[verdicts == FLAGGED]] |= np.uint32(1 << column)
        return slots[keep], flags[keep]

    def _judged(self, wishes: NDArray[Any], question: Question) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        if self.places.measured:
            yield PLACE, self.places.measure(wishes[PLACE], question.at)
        for column in self._rare:
            if wishes[column].any():
                yield column, self._judge_rare(column, wishes[column], question)

    def _judge_rare(self, column: int, wishes: NDArray[Any], question: Question) -> NDArray[np.uint8]:
        """Each wish that occurs is judged once for the listing; most slots have none."""
        wanted, said, judged = self._wanted[column], question.said[column], question.judged
        verdicts = np.full(len(wishes), PASS, np.uint8)
        where = np.flatnonzero(wishes)
        for place, wish in zip(where.tolist(), wishes[where].tolist(), strict=True):
            verdict = judged.get((column, wish))
            if verdict is None:
                verdict = judged[column, wish] = wanted.judge(wish, said)
            verdicts[place] = verdict
        return verdicts

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
            self._rows = _doubled(self._rows)
        self._counts.append(0)
        return number

    def _fill(self, row: Row, number: int, first: int, end: int) -> None:
        column, key = row
        if column == PLACE:
            assert isinstance(key, Whereabouts)
            passing = self.places.table(key).verdicts
        else:
            wanted = self._wanted[column]
            assert isinstance(wanted, Indexed)
            passing = wanted.passing(key).view(np.uint8)
        self._counts[number] += fill_row(self._rows[number], first, end, self.wishes, column, passing)


_PLACE: Final = np.array([PLACE], np.int32)


def _with_place(asked: Asked, place: Table, *, checked: bool) -> Asked:
    columns = np.append(_PLACE, asked.checked) if checked else asked.checked
    return asked._replace(checked=columns, place=place.verdicts)


def _at_first(values: NDArray[Any], room: int) -> NDArray[Any]:
    """An array with more room behind the values."""
    column = np.zeros(room, values.dtype)
    column[: len(values)] = values
    return column


def _doubled(column: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([column, np.zeros_like(column)])
