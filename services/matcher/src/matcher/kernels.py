"""The loops that are compiled: they see arrays only, and know nothing of searches and listings.

Compiled code is kept beside this file or in NUMBA_CACHE_DIR, so that a service does not wait for a compiler when it
starts.
"""

from math import asin, cos, pi, radians, sin, sqrt
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from common.geo import EARTH_RADIUS_M

FAIL: Final = 0
FLAGGED: Final = 1
PASS: Final = 2
OPEN: Final = 3
"""The kernels cannot tell: the rule must be asked."""

NAMED: Final = 0
CIRCLE: Final = 1
POLYGON: Final = 2
"""Kinds of places. What is named was judged before, what has a shape is measured."""

VIOLATED: Final = 0
UNKNOWN: Final = 1
AT_THE_EDGE: Final = 2
SATISFIED: Final = 3
"""What a place is to a listing; the best of several counts."""

IN_NO_TABLE: Final = -1

MEASURED_BIT: Final = 1 << 29
"""Set in the flags of a search whose place must be measured; it stays set where the listing lies at an edge."""

OPEN_BIT: Final = 1 << 30
"""Set in the flags of a search that is found if the rules agree."""

BORDER_M: Final = 0.01
BORDER_DEGREES: Final = 1e-9
"""Nearer to an edge than this, the rule itself decides: compiled and interpreted functions may round differently."""

METRES_PER_DEGREE: Final = pi * EARTH_RADIUS_M / 180

Bits = NDArray[np.uint64]
"""Of a row: a bit for each slot."""
WishNumbers = NDArray[np.uint16] | NDArray[np.uint32]
"""[column, slot]: the number of a wish."""
Numbers = NDArray[np.int32]
Verdicts = NDArray[np.uint8]
Keys = NDArray[np.uint64]
"""[number, 2]: 16 bytes each."""

_ONE: Final = np.uint64(1)
_BITS: Final = 64


class Held(NamedTuple):
    """The searches of a partition, by slot."""

    alive: Bits
    """A bit for each slot."""
    wishes: WishNumbers
    """Column 0 is the place."""
    seldom: NDArray[np.bool_]
    """Whether a search wants something that is seldom wanted."""
    numbers: Numbers
    """Of the searches, in the whole index."""


class Places(NamedTuple):
    """Where the searches of a partition look. A wish has parts: one that a listing lies in is enough."""

    starts: Numbers
    """By wish, its first part; those of the next wish follow."""
    unknown: Verdicts
    """By wish, the verdict where no part is certain."""
    kinds: Verdicts
    """By part."""
    shapes: Numbers
    """By part, the number of its name, circle or polygon."""
    circles: NDArray[np.float64]
    """[circle, (latitude, longitude, radius in metres)]"""
    rings: Numbers
    """By polygon, its first corner; those of the next polygon follow."""
    corners: NDArray[np.float64]
    """[corner, (latitude, longitude)]"""


class At(NamedTuple):
    """Where a listing lies, as the partition that is asked sees it."""

    table: Verdicts
    """By wish; OPEN where shapes must be measured."""
    findings: Verdicts
    """By name."""
    latitude: float
    longitude: float


class Asked(NamedTuple):
    """What is asked of every slot besides the place."""

    after_rows: Numbers
    """Columns that are not certain of a search in all rows, or flagged; those that are seldom wanted are last."""
    often_after_rows: int
    """How many of them are not seldom wanted."""
    without_rows: Numbers
    """Columns that are not certain of any search, or flagged; ordered so too."""
    often_without_rows: int
    tables: Verdicts
    """By number of the wish, for column after column."""
    starts: Numbers
    """By column, where its verdicts begin in `tables`, or IN_NO_TABLE."""


class Answer(NamedTuple):
    """Where the searches found are written, one partition's behind the other's."""

    slots: Numbers
    """Where each lies in the partition in which it was found."""
    numbers: Numbers
    flags: NDArray[np.uint32]
    """Flagged columns as bits, and OPEN_BIT."""
    seen: NDArray[np.bool_]
    """By number, whether it is among them."""


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


# Places


@njit(cache=True)
def _in_circle(circles: NDArray[np.float64], circle: int, latitude: float, longitude: float) -> int:
    """As `common.geo.in_circle`."""
    centre, radius_m = circles[circle, 0], circles[circle, 2]
    if abs(latitude - centre) * METRES_PER_DEGREE > radius_m + BORDER_M:
        return VIOLATED
    here, there = radians(latitude), radians(centre)
    north, east = sin((there - here) / 2), sin(radians(circles[circle, 1] - longitude) / 2)
    chord = north * north + cos(here) * cos(there) * east * east
    beyond_m = 2 * EARTH_RADIUS_M * asin(sqrt(min(1.0, chord))) - radius_m
    if abs(beyond_m) <= BORDER_M:
        return AT_THE_EDGE
    return VIOLATED if beyond_m > 0 else SATISFIED


@njit(cache=True)
def _in_polygon(corners: NDArray[np.float64], first: int, end: int, latitude: float, longitude: float) -> int:
    """As `common.geo.in_polygon`: a ray to the east crosses the ring an odd number of times. The ring is closed."""
    inside = False
    for corner in range(first, end - 1):
        south, north = corners[corner, 0], corners[corner + 1, 0]
        if min(south, north) - BORDER_DEGREES <= latitude <= max(south, north) + BORDER_DEGREES:
            west, east = corners[corner, 1], corners[corner + 1, 1]
            side = (east - west) * (latitude - south) - (longitude - west) * (north - south)
            if (
                abs(side) <= BORDER_DEGREES * (abs(east - west) + abs(north - south))
                and min(west, east) - BORDER_DEGREES <= longitude <= max(west, east) + BORDER_DEGREES
            ):
                return AT_THE_EDGE
            if (south > latitude) != (north > latitude) and (side > 0) == (north > south):
                inside = not inside
    return SATISFIED if inside else VIOLATED


@njit(cache=True)
def judge_names(first: int, places: Places, findings: Verdicts, located: bool, table: Verdicts) -> None:
    """Write the verdicts on wishes from the number `first` on, as far as names decide them.

    Args:
        first: the number of a wish.
        places: the wishes.
        findings: by name.
        located: whether it is known at which point the listing lies; if not, whether it is in a shape is unknown.
        table: where the verdict on `first` is written, and those on the next ones.
    """
    for wish in range(first, len(places.unknown)):
        best, measured = VIOLATED, False
        for part in range(places.starts[wish], places.starts[wish + 1]):
            if places.kinds[part] != NAMED:
                measured = True
            elif findings[places.shapes[part]] > best:
                best = findings[places.shapes[part]]
        if best == SATISFIED:
            table[wish - first] = PASS
        elif measured and located:
            table[wish - first] = OPEN
        elif measured or best == UNKNOWN:
            table[wish - first] = places.unknown[wish]
        else:
            table[wish - first] = FAIL


@njit(cache=True)
def _measure(held: Held, places: Places, at: At, answer: Answer, first: int, end: int) -> int:
    """Measure where those from `first` on look that are to be measured, and close up over those that look elsewhere."""
    wishes, (slots, numbers, flags, seen) = held.wishes, answer
    starts, unknown, kinds, shapes, circles, rings, corners = places
    findings, latitude, longitude = at.findings, at.latitude, at.longitude
    kept = first
    for found in range(first, end):
        flagged = flags[found]
        if flagged & MEASURED_BIT:
            wish = wishes[0, slots[found]]
            best = VIOLATED
            for part in range(starts[wish], starts[wish + 1]):
                shape = shapes[part]
                if kinds[part] == CIRCLE:
                    finding = _in_circle(circles, shape, latitude, longitude)
                elif kinds[part] == POLYGON:
                    finding = _in_polygon(corners, rings[shape], rings[shape + 1], latitude, longitude)
                else:
                    finding = findings[shape]
                best = max(best, finding)
                if best == SATISFIED:
                    break
            if best == AT_THE_EDGE:
                flagged |= OPEN_BIT
            else:
                flagged ^= MEASURED_BIT
            if best == UNKNOWN and unknown[wish] == FLAGGED:
                flagged |= 1
            elif best == VIOLATED or (best == UNKNOWN and unknown[wish] == FAIL):
                seen[numbers[found]] = False
                continue
        slots[kept], numbers[kept], flags[kept] = slots[found], numbers[found], flagged
        kept += 1
    return kept


# Searches


@njit(cache=True)
def _through_rows(rows: Bits, chosen: Numbers, alive: Bits, words: int, slots: Numbers, count: int) -> int:
    """Write the slots that are alive and in every chosen row behind those that are there; how many there are then."""
    for word in range(words):
        bits = alive[word]
        for row in chosen:
            if bits == 0:
                break
            bits &= rows[row, word]
        while bits != 0:
            slots[count] = word * _BITS + _low_zeros(bits)
            bits &= bits - _ONE
            count += 1
    return count


@njit(cache=True)
def _without_rows(alive: Bits, first: int, end: int, slots: Numbers, count: int) -> int:
    for slot in range(first, end):
        if alive[slot // _BITS] >> np.uint64(slot % _BITS) & _ONE:
            slots[count] = slot
            count += 1
    return count


@njit(cache=True)
def _flagged_columns(
    slot: int, wishes: WishNumbers, columns: Numbers, end: int, tables: Verdicts, starts: Numbers
) -> int:
    """The flagged ones of the columns before `end` as bits, and OPEN_BIT; -1 where one fails.

    It takes arrays one by one: those of a tuple would be copied for each slot.
    """
    flags = 0
    for looked_at in range(end):
        column = columns[looked_at]
        wish = wishes[column, slot]
        if wish != 0:
            verdict = OPEN if starts[column] == IN_NO_TABLE else tables[starts[column] + wish]
            if verdict == FAIL:
                return -1
            if verdict == FLAGGED:
                flags |= 1 << column
            elif verdict == OPEN:
                flags |= OPEN_BIT
    return flags


@njit(cache=True)
def _keep_fitting(
    held: Held,
    place: Verdicts,
    in_place: bool,
    columns: Numbers,
    often: int,
    asked: Asked,
    answer: Answer,
    first: int,
    end: int,
) -> int:
    """Close up over slots that fail or were seen; how many are left."""
    wishes, seldom, numbers = held.wishes, held.seldom, held.numbers
    slots, numbers_found, flags_found, seen = answer
    tables, starts = asked.tables, asked.starts
    kept = first
    for found in range(first, end):
        slot = slots[found]
        verdict = PASS if in_place else place[wishes[0, slot]]
        if verdict == FAIL or seen[numbers[slot]]:
            continue
        looked_at = len(columns) if seldom[slot] else often
        flags = _flagged_columns(slot, wishes, columns, looked_at, tables, starts)
        if flags >= 0:
            if verdict == FLAGGED:
                flags |= 1
            elif verdict == OPEN:
                flags |= MEASURED_BIT
            seen[numbers[slot]] = True
            slots[kept], numbers_found[kept], flags_found[kept] = slot, numbers[slot], flags
            kept += 1
    return kept


@njit(cache=True)
def ask(
    held: Held,
    size: int,
    rows: Bits,
    chosen: Numbers,
    covered: int,
    places: Places,
    at: At,
    in_place: tuple[bool, bool],
    asked: Asked,
    answer: Answer,
    first: int,
) -> int:
    """Find the slots that are alive, in every chosen row, and fail nothing, as far as can be told.

    Args:
        held: the searches.
        size: how many slots there are.
        rows: [row, word].
        chosen: which rows.
        covered: so many slots have rows; the others are looked at one by one.
        places: where searches look.
        at: where the listing lies.
        in_place: whether the place of slots that are in all rows is certain; and whether that of all others is.
        asked: what else is asked.
        answer: where those found are written, unless they are there; with room for all slots.
        first: how many are there.

    Returns:
        How many are there now.
    """
    count = _through_rows(rows, chosen, held.alive, covered // _BITS, answer.slots, first)
    count = _keep_fitting(
        held, at.table, in_place[0], asked.after_rows, asked.often_after_rows, asked, answer, first, count
    )
    others = count
    count = _without_rows(held.alive, covered, size, answer.slots, others)
    count = _keep_fitting(
        held, at.table, in_place[1], asked.without_rows, asked.often_without_rows, asked, answer, others, count
    )
    return _measure(held, places, at, answer, first, count)


@njit(cache=True)
def judge_bounds(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    terms: NDArray[np.int8],
    unknown: Verdicts,
    values_low: NDArray[np.float64],
    values_high: NDArray[np.float64],
    table: Verdicts,
) -> tuple[bool, bool]:
    """Write the verdict on each wish that has bounds.

    Args:
        low: by wish, the lowest value that is wanted.
        high: the highest one.
        terms: on which terms they are meant: rents with or without spese.
        unknown: the verdict where it is not known whether the value lies within.
        values_low: by terms, where the value lies at the least.
        values_high: at the most.
        table: where the verdicts are written.

    Returns:
        Whether one fails, and whether one is flagged.
    """
    fails, flags = False, False
    low_on_one, low_on_other = values_low[0], values_low[-1]
    high_on_one, high_on_other = values_high[0], values_high[-1]
    for wish in range(len(low)):  # without branches: several at a time
        value_low = low_on_other if terms[wish] else low_on_one
        value_high = high_on_other if terms[wish] else high_on_one
        outside = (value_high < low[wish]) | (value_low > high[wish])
        inside = (low[wish] <= value_low) & (value_high <= high[wish])
        verdict = FAIL if outside else (PASS if inside else unknown[wish])
        table[wish] = verdict
        fails |= verdict == FAIL
        flags |= verdict == FLAGGED
    return fails, flags


@njit(cache=True)
def judge_phrases(wanting: Numbers, counts: Numbers, some: Verdicts, every: Verdicts, table: Verdicts) -> None:
    """Write the verdicts on wishes of which a text holds phrases.

    Args:
        wanting: numbers of wishes, each as often as the text holds one of its phrases; sorted here.
        counts: by wish, how many phrases it has.
        some: the verdict where the text holds some of them.
        every: where it holds all.
        table: where the verdicts are written.
    """
    wanting.sort()
    held = 0
    for place, wish in enumerate(wanting):
        held += 1
        if place + 1 == len(wanting) or wanting[place + 1] != wish:
            table[wish] = every[wish] if held == counts[wish] else some[wish]
            held = 0


@njit(cache=True)
def fill_row(row: Bits, first: int, end: int, wishes: WishNumbers, column: int, passing: Verdicts) -> int:
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
