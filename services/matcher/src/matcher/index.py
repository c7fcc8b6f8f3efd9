"""All active searches, so that the ones that a listing matches are found at once.

An optimisation of `common.explain.match` and nothing else: what a wish means is asked of the rules themselves
(`verdicts`), and remembered. Searches lie in partitions by where they look (`places`).
"""

from collections.abc import Hashable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.listing import Listing
from common.search import Criterion
from matcher.partition import Found, Partition
from matcher.places import looked_up
from matcher.question import COLUMNS, Question
from matcher.register import Filed, Register
from matcher.verdicts import criteria_of


class Matches(NamedTuple):
    """Searches by number, each once, in no particular order."""

    numbers: NDArray[np.int32]
    flagged: NDArray[np.uint32]
    """For each of them as bits by place in `Criterion`: what passed although the listing does not say."""


NO_MATCHES: Final = Matches(np.zeros(0, np.int32), np.zeros(0, np.uint32))


class Index:
    """The searches. One writer, and nobody reads meanwhile."""

    def __init__(self) -> None:
        self.criteria = criteria_of(COLUMNS)
        self.register = Register()
        self.partitions: list[Partition] = []
        self._partition_of: dict[Hashable, int] = {}
        self._slots = _Slots()
        self._active = 0
        self._found = Found()

    def __len__(self) -> int:
        """How many searches are active."""
        return self._active

    @property
    def bytes_used(self) -> int:
        """By the columns and rows of all searches; what is shared by many is not counted."""
        columns = self.register.bytes_used + self._slots.bytes_used + self._found.bytes_used
        return columns + sum(each.bytes_used for each in self.partitions)

    # Coming and going

    def put(self, search: Filed) -> bool:
        """Take a search in; False if it is not newer than what is known, which changes nothing."""
        number = self.register.find(search.subscription_id)
        if number is None:
            number = self.register.add(search.subscription_id)
        elif self.register.revisions[number] >= search.revision:
            return False
        else:
            self._withdraw(number)
        self.register.set(number, search)
        if search.active:
            self._file(number, search)
        return True

    def remove(self, subscription_id: bytes) -> None:
        number = self.register.find(subscription_id)
        if number is not None:
            self._withdraw(number)
            self.register.remove(number)

    def _file(self, number: int, search: Filed) -> None:
        places = [self._partition(key) for key in search.place.filed_under]
        slots = [(place, self.partitions[place].add(number, search.place, search.wishes)) for place in places]
        self._slots.put(number, slots)
        self._active += 1

    def _withdraw(self, number: int) -> None:
        if self.register.active[number]:
            for place, slot in self._slots.pop(number):
                self.partitions[place].remove(slot)
                if self.partitions[place].is_sparse:
                    self._compact(place)
            self._active -= 1

    def _partition(self, key: Hashable) -> int:
        place = self._partition_of.get(key)
        if place is None:
            place = self._partition_of[key] = len(self.partitions)
            self.partitions.append(Partition(self.criteria))
        return place

    def _compact(self, place: int) -> None:
        self.partitions[place] = self.partitions[place].compacted()
        self._slots.moved(place, self.partitions[place].numbers[: self.partitions[place].size])

    # Asking

    def match(self, listing: Listing) -> Matches:
        """The searches that match a listing: `common.explain.match` is true of them and of no other one."""
        if not listing.active:
            return NO_MATCHES
        question = Question.of(listing, self.criteria)
        for key in looked_up(question.at):
            place = self._partition_of.get(key)
            if place is not None:
                self.partitions[place].ask(question, self._found, self.register.end)
        numbers, flags = self._found.taken()
        return Matches(numbers, flags << _FIRST_COLUMN)


_FIRST_COLUMN: Final = np.uint32(list(Criterion).index(COLUMNS[0].criterion))


class _Slots:
    """By number of a search, in which slots of which partitions it lies: nearly all in one, which takes 8 bytes."""

    def __init__(self) -> None:
        self._only: NDArray[np.int32] = np.zeros((1024, 2), np.int32)
        self.several: dict[int, list[tuple[int, int]]] = {}

    @property
    def bytes_used(self) -> int:
        return self._only.nbytes

    def put(self, number: int, slots: list[tuple[int, int]]) -> None:
        while number >= len(self._only):
            self._only = np.concatenate([self._only, np.zeros_like(self._only)])
        if len(slots) == 1:
            self._only[number] = slots[0]
        else:
            self.several[number] = slots

    def pop(self, number: int) -> list[tuple[int, int]]:
        if number in self.several:
            return self.several.pop(number)
        place, slot = self._only[number].tolist()
        return [(place, slot)]

    def moved(self, place: int, numbers: NDArray[np.int32]) -> None:
        """A partition was compacted: its searches now lie there in this order."""
        self._only[numbers] = np.column_stack([np.full(len(numbers), place), np.arange(len(numbers))])
        for slot, number in enumerate(numbers.tolist()):
            if number in self.several:
                self.several[number] = [(each, slot if each == place else old) for each, old in self.several[number]]
