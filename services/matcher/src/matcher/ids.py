"""Ids by the column: as texts, derived (uuid5), and the partition that a key belongs to. Pure, and exact to the bit."""

from collections.abc import Iterable
from hashlib import sha1
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint8]
"""[n, 16]: the bytes of ids, as `UUID.bytes` has them."""

TEXT_LENGTH: Final = 36

_HEX: Final = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), np.uint16)
"""The two digits of each byte."""

_GROUPS: Final = ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36))
"""Where the digits of an id stand in its text; hyphens stand between."""


def texts(ids: Ids) -> NDArray[np.uint8]:
    """Ids as `str` writes them: [n, 36], ASCII."""
    digits = _HEX[ids].view(np.uint8)
    written = np.full((len(ids), TEXT_LENGTH), ord("-"), np.uint8)
    read = 0
    for begin, end in _GROUPS:
        written[:, begin:end] = digits[:, read : read + end - begin]
        read += end - begin
    return written


def as_bytes(written: NDArray[np.uint8]) -> list[bytes]:
    """The rows of `texts`, each as a value of its own."""
    column: list[bytes] = written.view(f"S{TEXT_LENGTH}").ravel().tolist()
    return column


def derived(namespace: UUID, names: Iterable[bytes]) -> Ids:
    """`uuid5(namespace, name)` of each name."""
    space = namespace.bytes
    digests = b"".join([sha1(space + name, usedforsecurity=False).digest() for name in names])
    ids = np.frombuffer(digests, np.uint8).reshape(-1, 20)[:, :16].copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x50  # the version
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80  # the variant
    return ids


_SEED: Final = np.uint32(0x9747B28C)
_MIX: Final = np.uint32(0x5BD1E995)


def partitions_of(written: NDArray[np.uint8], count: int) -> NDArray[np.uint32]:
    """The partition of each key, of `count`: where Kafka's default partitioner puts it (murmur2).

    `written` are keys of one length, a multiple of four bytes.
    """
    words = np.ascontiguousarray(written).view("<u4")
    hashed = np.full(len(words), _SEED ^ np.uint32(written.shape[1]), np.uint32)
    for column in words.T:
        word = column * _MIX
        word ^= word >> np.uint32(24)
        hashed = hashed * _MIX ^ word * _MIX
    hashed ^= hashed >> np.uint32(13)
    hashed *= _MIX
    hashed ^= hashed >> np.uint32(15)
    partitions: NDArray[np.uint32] = (hashed & np.uint32(0x7FFFFFFF)) % np.uint32(count)
    return partitions
