"""Records of notifications as they travel, written by compiled loops: to the byte what `common.batches` makes of them.

A record is put together of pieces that many share and of what it has of its own: ids, searches, a rent.
"""

from collections.abc import Iterable
from itertools import accumulate
from typing import Final, NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
"""Of anything, or places in a text."""

PIECES: Final = 8
"""Of a shape: before, between and after id, user, searches and rent in the value, and id and user in the headers."""
VALUE_PIECES: Final = 5
SEARCH_PIECES: Final = 4
"""Before, between and after id, revision and name of a search."""

ID_LENGTH: Final = 36
LONGEST_VARINT: Final = 10
BEFORE_VALUE: Final = 2 + ID_LENGTH + 3 * LONGEST_VARINT
"""What a record has before its value, at the most."""


class Texts(NamedTuple):
    """Texts by number, all in one."""

    text: Bytes
    starts: Numbers
    ends: Numbers

    @classmethod
    def of(cls, texts: Iterable[bytes]) -> Self:
        each = list(texts)
        bounds = np.fromiter(accumulate(map(len, each), initial=0), np.int64, len(each) + 1)
        return cls(np.frombuffer(b"".join(each), np.uint8), bounds[:-1], bounds[1:])


class Searches(NamedTuple):
    """By row, those of a notification one after the other."""

    ids: Bytes
    """[row, ID_LENGTH]"""
    revisions: Numbers
    names: Texts
    shapes: Texts
    """SEARCH_PIECES each."""
    shape_of: Numbers


class Notifications(NamedTuple):
    ids: Bytes
    """[row, ID_LENGTH]"""
    user_ids: Bytes
    shapes: Texts
    """PIECES each."""
    shape_of: Numbers
    rents: Texts
    rent_of: Numbers
    first: Numbers
    """By row, the first of its searches; those of the next row follow."""
    searches: Searches


class Batches(NamedTuple):
    """Where batches were written, and how many records each holds."""

    starts: Numbers
    ends: Numbers
    counts: Numbers
    partitions: Numbers


@njit(cache=True)
def _digits(number: int) -> int:
    """How many digits a number has that is not negative."""
    count = 1
    while number >= 10:  # noqa: PLR2004 - a decimal number
        number //= 10
        count += 1
    return count


@njit(cache=True)
def value_sizes(notifications: Notifications) -> Numbers:
    """The bytes that each value has."""
    shapes, rents, first = notifications.shapes, notifications.rents, notifications.first
    searches = notifications.searches
    sizes = np.empty(len(notifications.shape_of), np.int64)
    for row in range(len(sizes)):
        piece = notifications.shape_of[row] * PIECES
        size = shapes.ends[piece + VALUE_PIECES - 1] - shapes.starts[piece] + 2 * ID_LENGTH
        rent = notifications.rent_of[row]
        size += rents.ends[rent] - rents.starts[rent] + first[row + 1] - first[row] - 1
        for search in range(first[row], first[row + 1]):
            piece = searches.shape_of[search] * SEARCH_PIECES
            size += searches.shapes.ends[piece + SEARCH_PIECES - 1] - searches.shapes.starts[piece]
            size += ID_LENGTH + _digits(searches.revisions[search])
            size += searches.names.ends[search] - searches.names.starts[search]
        sizes[row] = size
    return sizes


@njit(cache=True)
def _put(out: Bytes, at: int, text: Bytes, start: int, end: int) -> int:
    out[at : at + end - start] = text[start:end]
    return at + end - start


@njit(cache=True)
def _put_id(out: Bytes, at: int, ids: Bytes, row: int) -> int:
    out[at : at + ID_LENGTH] = ids[row]
    return at + ID_LENGTH


@njit(cache=True)
def _put_number(out: Bytes, at: int, number: int) -> int:
    end = at + _digits(number)
    for place in range(end - 1, at - 1, -1):
        out[place] = ord("0") + number % 10
        number //= 10
    return end


@njit(cache=True)
def _put_varint(out: Bytes, at: int, number: int) -> int:
    """As `common.batches.varint`."""
    number <<= 1
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out[at] = number & 0x7F | 0x80
        number >>= 7
        at += 1
    out[at] = number
    return at + 1


@njit(cache=True)
def _varint_size(number: int) -> int:
    size, number = 1, number << 1
    while number > 0x7F:  # noqa: PLR2004 - as above
        number >>= 7
        size += 1
    return size


@njit(cache=True)
def _put_searches(
    out: Bytes,
    at: int,
    begin: int,
    end: int,
    ids: Bytes,
    revisions: Numbers,
    names: Texts,
    shapes: Texts,
    shape_of: Numbers,
) -> int:
    text, starts, ends = shapes
    for search in range(begin, end):
        if search > begin:
            out[at] = ord(",")
            at += 1
        piece = shape_of[search] * SEARCH_PIECES
        at = _put(out, at, text, starts[piece], ends[piece])
        at = _put_id(out, at, ids, search)
        at = _put(out, at, text, starts[piece + 1], ends[piece + 1])
        at = _put_number(out, at, revisions[search])
        at = _put(out, at, text, starts[piece + 2], ends[piece + 2])
        at = _put(out, at, names.text, names.starts[search], names.ends[search])
        at = _put(out, at, text, starts[piece + 3], ends[piece + 3])
    return at


@njit(cache=True)
def _close(batches: Batches, batch: int, begin: int, end: int, count: int, partition: int) -> int:
    """Write down what is in a batch; the number of the next one."""
    batches.starts[batch], batches.ends[batch] = begin, end
    batches.counts[batch], batches.partitions[batch] = count, partition
    return batch + 1


@njit(cache=True)
def write(
    notifications: Notifications,
    sizes: Numbers,
    order: Numbers,
    partition_ends: Numbers,
    largest: int,
    out: Bytes,
    batches: Batches,
) -> int:
    """Write records, partition after partition, in as few batches as they fit into.

    Args:
        notifications: what is written.
        sizes: `value_sizes` of them.
        order: rows, those of a partition one after the other.
        partition_ends: by partition, where its rows end in `order`.
        largest: bytes that a batch of several records has at the most.
        out: where the records are written.
        batches: where it is written which batches there are; with room for as many as there are records.

    Returns:
        How many batches there are.
    """
    text, starts, ends = notifications.shapes
    ids, user_ids, first = notifications.ids, notifications.user_ids, notifications.first
    rents, searches = notifications.rents, notifications.searches
    at, batch, place = 0, 0, 0
    for partition in range(len(partition_ends)):
        begin, count = at, 0
        while place < partition_ends[partition]:
            row = order[place]
            place += 1
            piece, rent = notifications.shape_of[row] * PIECES, notifications.rent_of[row]
            headers = ends[piece + PIECES - 1] - starts[piece + VALUE_PIECES] + 2 * ID_LENGTH
            if count and at - begin + sizes[row] + headers > largest:
                batch = _close(batches, batch, begin, at, count, partition)
                begin, count = at, 0
            rest = 2 + _varint_size(count) + _varint_size(ID_LENGTH) + ID_LENGTH
            at = _put_varint(out, at, rest + _varint_size(sizes[row]) + sizes[row] + headers)
            out[at] = out[at + 1] = 0  # neither attributes nor a time of its own
            at = _put_varint(out, at + 2, count)
            at = _put_varint(out, at, ID_LENGTH)
            at = _put_id(out, at, user_ids, row)
            at = _put_varint(out, at, sizes[row])
            at = _put(out, at, text, starts[piece], ends[piece])
            at = _put_id(out, at, ids, row)
            at = _put(out, at, text, starts[piece + 1], ends[piece + 1])
            at = _put_id(out, at, user_ids, row)
            at = _put(out, at, text, starts[piece + 2], ends[piece + 2])
            at = _put_searches(
                out, at, first[row], first[row + 1],
                searches.ids, searches.revisions, searches.names, searches.shapes, searches.shape_of,
            )  # fmt: skip
            at = _put(out, at, text, starts[piece + 3], ends[piece + 3])
            at = _put(out, at, rents.text, rents.starts[rent], rents.ends[rent])
            at = _put(out, at, text, starts[piece + 4], ends[piece + 4])
            at = _put(out, at, text, starts[piece + 5], ends[piece + 5])
            at = _put_id(out, at, ids, row)
            at = _put(out, at, text, starts[piece + 6], ends[piece + 6])
            at = _put_id(out, at, user_ids, row)
            at = _put(out, at, text, starts[piece + 7], ends[piece + 7])
            count += 1
        if count:
            batch = _close(batches, batch, begin, at, count, partition)
    return batch
