"""The loops that are compiled: they see arrays only, and know nothing of searches and listings.

Compiled code is kept beside this file or in NUMBA_CACHE_DIR, so that a service does not wait for a compiler when it
starts.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

FAIL: Final = 0
PASS: Final = 1
FLAGGED: Final = 2

Bits = NDArray[np.uint64]
"""Of a row: a bit for each slot."""
Wishes = NDArray[np.uint16] | NDArray[np.uint32]
"""[column, slot]: the number of a wish."""
Numbers = NDArray[np.int32]
Verdicts = NDArray[np.uint8]
Keys = NDArray[np.uint64]
"""[number, 2]: 16 bytes each."""

_ONE: Final = np.uint64(1)
_BITS: Final = 64


@njit(cache=True)
def _low_zeros(word: np.uint64) -> int:
    """The number of zero bits below the lowest one."""
    count = 0
    if word & np.uint64(0xFFFFFFFF) == 0:
        count += 32
        word >>= np.uint64(32)
    if word & np.uint64(0xFFFF) == 0:
        count += 16
        word >>= np.uint64(16)
    if word & np.uint64(0xFF) == 0:
        count += 8
        word >>= np.uint64(8)
    if word & np.uint64(0xF) == 0:
        count += 4
        word >>= np.uint64(4)
    if word & np.uint64(0x3) == 0:
        count += 2
        word >>= np.uint64(2)
    return count + (word & _ONE == 0)


class Asked(NamedTuple):
    """What is asked of every slot."""

    checked: Numbers
    """Columns."""
    place: Verdicts
    """By number of the wish, for column 0."""
    tables: Verdicts
    """By number of the wish, for column after column."""
    starts: NDArray[np.int64]
    """By column, where its verdicts begin in `tables`; below 0 its bounds decide: -1 is for the first that has any."""
    low: NDArray[np.float64]
    """[which bounds, number of the wish]: the lowest value that is wanted."""
    high: NDArray[np.float64]
    terms: NDArray[np.int8]
    """On which terms: rents with or without spese."""
    unknown: NDArray[np.uint8]
    """The verdict where it is not known whether a value lies within."""
    value_low: NDArray[np.float64]
    """[which bounds, terms]: where the listing's value lies at the least."""
    value_high: NDArray[np.float64]


@njit(cache=True)
def _flags_of(
    slot: int,
    wishes: Wishes,
    checked: Numbers,
    place: Verdicts,
    tables: Verdicts,
    starts: NDArray[np.int64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    terms: NDArray[np.int8],
    unknown: NDArray[np.uint8],
    value_low: NDArray[np.float64],
    value_high: NDArray[np.float64],
) -> int:
    """The flagged criteria of a slot as bits by column, or -1 where a checked one fails."""
    flags = 0
    for column in checked:
        wish = wishes[column, slot]
        start = starts[column]
        if column == 0:
            verdict = place[wish]
        elif wish == 0:
            continue
        elif start >= 0:
            verdict = tables[start + wish]
        else:
            which = -1 - start
            value_from = value_low[which, terms[which, wish]]
            value_to = value_high[which, terms[which, wish]]
            if value_to < low[which, wish] or value_from > high[which, wish]:
                verdict = FAIL
            elif low[which, wish] <= value_from and value_to <= high[which, wish]:
                verdict = PASS
            else:
                verdict = unknown[which, wish]
        if verdict == FAIL:
            return -1
        if verdict == FLAGGED:
            flags |= 1 << column
    return flags


@njit(cache=True)
def through_rows(
    rows: Bits,
    chosen: Numbers,
    alive: Bits,
    words: int,
    wishes: Wishes,
    asked: Asked,
    slots: Numbers,
    flags: NDArray[np.uint32],
) -> int:
    """Slots that are alive, in every chosen row, and fail nothing that is checked.

    Args:
        rows: [row, word].
        chosen: which rows.
        alive: a bit for each slot.
        words: how many words to look at.
        wishes: column 0 is the place.
        asked: what is checked.
        slots: where the slots found are written.
        flags: where their flagged columns are written, as bits.

    Returns:
        How many were found.
    """
    checked, place, tables, starts, low, high, terms, unknown, value_low, value_high = asked
    found = 0
    for word in range(words):
        bits = alive[word]
        for row in chosen:
            if bits == 0:
                break
            bits &= rows[row, word]
        while bits != 0:
            slot = word * _BITS + _low_zeros(bits)
            bits &= bits - _ONE
            flagged = _flags_of(
                slot, wishes, checked, place, tables, starts, low, high, terms, unknown, value_low, value_high
            )
            if flagged >= 0:
                slots[found] = slot
                flags[found] = flagged
                found += 1
    return found


@njit(cache=True)
def one_by_one(
    first: int,
    end: int,
    alive: Bits,
    wishes: Wishes,
    asked: Asked,
    slots: Numbers,
    flags: NDArray[np.uint32],
    found: int,
) -> int:
    """As `through_rows`, for the slots from `first` to before `end`, without rows, after those that are found."""
    checked, place, tables, starts, low, high, terms, unknown, value_low, value_high = asked
    for slot in range(first, end):
        if alive[slot // _BITS] >> np.uint64(slot % _BITS) & _ONE:
            flagged = _flags_of(
                slot, wishes, checked, place, tables, starts, low, high, terms, unknown, value_low, value_high
            )
            if flagged >= 0:
                slots[found] = slot
                flags[found] = flagged
                found += 1
    return found


@njit(cache=True)
def fill_row(row: Bits, first: int, end: int, wishes: Wishes, column: int, passing: Verdicts) -> int:
    """Set the bits of the slots from `first` to before `end` whose wish passes; how many. They are clear before."""
    count = 0
    for slot in range(first, end):
        passes = passing[wishes[column, slot]] != 0
        row[slot // _BITS] |= np.uint64(passes) << np.uint64(slot % _BITS)
        count += passes
    return count


FREE: Final = -1
FORGOTTEN: Final = -2


@njit(cache=True)
def find_key(table: Numbers, keys: Keys, key: Keys) -> int:
    """The number whose key it is, or -1. `table` is a power of two long and holds numbers, hashed by their keys."""
    mask = len(table) - 1
    at = _hash(key) & mask
    while table[at] != FREE:
        number = table[at]
        if number >= 0 and keys[number, 0] == key[0] and keys[number, 1] == key[1]:
            return number
        at = (at + 1) & mask
    return -1


@njit(cache=True)
def enter_key(table: Numbers, keys: Keys, number: int) -> bool:
    """Enter a number whose key is not there; whether a place was used that was free before."""
    mask = len(table) - 1
    at = _hash(keys[number]) & mask
    while table[at] >= 0:
        at = (at + 1) & mask
    was_free = table[at] == FREE
    table[at] = number
    return was_free


@njit(cache=True)
def forget_key(table: Numbers, keys: Keys, number: int) -> None:
    mask = len(table) - 1
    at = _hash(keys[number]) & mask
    while table[at] != number:
        at = (at + 1) & mask
    table[at] = FORGOTTEN


@njit(cache=True)
def enter_keys(table: Numbers, keys: Keys, numbers: NDArray[np.int64]) -> None:
    for number in numbers:
        enter_key(table, keys, number)


@njit(cache=True)
def _hash(key: Keys) -> np.int64:
    mixed = (key[0] ^ key[1]) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(20))
