"""What is known of every search besides what it wants: whose it is, its name, its alerts. In columns, by number."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matcher.kernels import FREE, enter_key, enter_keys, find_key, forget_key
from matcher.wanted_places import PlaceWish
from matcher.writing import Texts

UUID_BYTES: Final = 16
_ROOM: Final = 1024


class Filed(NamedTuple):
    """A search as the index takes it."""

    subscription_id: bytes
    user_id: bytes
    revision: int
    active: bool
    alerts: int
    """Bits by place in `Alert`."""
    price_drop: tuple[int, int]
    """Percent and cents, as in `PriceDrop`."""
    name: bytes
    """A JSON string."""
    place: PlaceWish
    wishes: Mapping[int, int]
    """By column, numbers of `Index.criteria`, where it wants something; the place is none of them."""


class Register:
    """Searches by number; numbers of removed ones are given again. 84 to 122 bytes for each search, as seen.

    Columns are longer than what is registered: only numbers that were given mean something.
    """

    def __init__(self) -> None:
        self.subscription_ids: NDArray[np.uint8] = np.zeros((_ROOM, UUID_BYTES), np.uint8)
        self.user_ids: NDArray[np.uint8] = np.zeros((_ROOM, UUID_BYTES), np.uint8)
        self.revisions: NDArray[np.int64] = np.zeros(_ROOM, np.int64)
        self.alerts: NDArray[np.uint8] = np.zeros(_ROOM, np.uint8)
        self.drop_percents: NDArray[np.uint8] = np.zeros(_ROOM, np.uint8)
        self.drop_cents: NDArray[np.int32] = np.zeros(_ROOM, np.int32)
        self.active: NDArray[np.bool_] = np.zeros(_ROOM, np.bool_)
        self._names = _Texts(_ROOM)
        self._table = np.full(4 * _ROOM, FREE, np.int32)
        self._used = 0
        self.end = 0
        """All numbers are below it."""
        self._given_back: list[int] = []

    def __len__(self) -> int:
        return self.end - len(self._given_back)

    @property
    def bytes_used(self) -> int:
        columns: list[NDArray[Any]] = [self._table, *(getattr(self, name) for name in _COLUMNS)]
        return sum(column.nbytes for column in columns) + self._names.bytes_used

    def find(self, subscription_id: bytes) -> int | None:
        """The number of a search, by the 16 bytes of its id."""
        number = find_key(self._table, self.subscription_ids.view(np.uint64), np.frombuffer(subscription_id, np.uint64))
        return int(number) if number >= 0 else None

    def add(self, subscription_id: bytes) -> int:
        """Give a number to a search that has none; `set` says the rest."""
        if self._given_back:
            number = self._given_back.pop()
        else:
            number = self.end
            self.end += 1
            if number == len(self.revisions):
                self._make_room()
        self.subscription_ids[number] = np.frombuffer(subscription_id, np.uint8)
        self._used += enter_key(self._table, self.subscription_ids.view(np.uint64), number)
        if 4 * self._used > 3 * len(self._table):
            self._hash_anew()
        return number

    def set(self, number: int, search: Filed) -> None:
        self.user_ids[number] = np.frombuffer(search.user_id, np.uint8)
        self.revisions[number] = search.revision
        self.alerts[number] = search.alerts
        self.drop_percents[number], self.drop_cents[number] = search.price_drop
        self.active[number] = search.active
        self._names[number] = search.name

    def remove(self, number: int) -> None:
        forget_key(self._table, self.subscription_ids.view(np.uint64), number)
        self.active[number] = False
        self._given_back.append(number)

    def names(self, numbers: NDArray[np.int32]) -> Texts:
        """The searches' names, each as a JSON string with its quotes, in UTF-8. While they are held none may change."""
        return self._names.at(numbers)

    def _make_room(self) -> None:
        for name in _COLUMNS:
            setattr(self, name, _doubled(getattr(self, name)))
        self._names.make_room()

    def _hash_anew(self) -> None:
        room = len(self._table)
        while room < 2 * len(self):
            room *= 2
        self._table = np.full(room, FREE, np.int32)
        given = np.ones(self.end, np.bool_)
        given[self._given_back] = False
        enter_keys(self._table, self.subscription_ids.view(np.uint64), np.flatnonzero(given))
        self._used = len(self)


_COLUMNS: Final = ("subscription_ids", "user_ids", "revisions", "alerts", "drop_percents", "drop_cents", "active")


def _doubled(column: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([column, np.zeros_like(column)])


class _Texts:
    """Short byte strings by number, end to end: a `bytes` each would cost 40 more."""

    def __init__(self, room: int) -> None:
        self._heap = bytearray()
        self._starts: NDArray[np.int64] = np.zeros(room, np.int64)
        self._lengths: NDArray[np.uint16] = np.zeros(room, np.uint16)
        self._wasted = 0

    @property
    def bytes_used(self) -> int:
        return len(self._heap) + self._starts.nbytes + self._lengths.nbytes

    def __getitem__(self, number: int) -> bytes:
        start = self._starts[number]
        return bytes(self._heap[start : start + self._lengths[number]])

    def at(self, numbers: NDArray[np.int32]) -> Texts:
        starts = self._starts[numbers]
        return Texts(np.frombuffer(self._heap, np.uint8), starts, starts + self._lengths[numbers])

    def __setitem__(self, number: int, text: bytes) -> None:
        self._wasted += int(self._lengths[number])
        self._starts[number] = len(self._heap)
        self._lengths[number] = len(text)
        self._heap += text
        if 2 * self._wasted > len(self._heap) > _COMPACTED_FROM:
            self._compact()

    def make_room(self) -> None:
        self._starts = _doubled(self._starts)
        self._lengths = _doubled(self._lengths)

    def _compact(self) -> None:
        kept = bytearray()
        for number in np.flatnonzero(self._lengths).tolist():
            text = self[number]
            self._starts[number] = len(kept)
            kept += text
        self._heap, self._wasted = kept, 0


_COMPACTED_FROM: Final = 1 << 16
