"""Kafka's batches of records as they travel (message format 2), for records that are made by the thousand.

The client appends records to a batch one by one, each as an object with objects in it. Where thousands differ in a few
bytes, whoever makes them writes them as they travel at once; a batch then only gets its header.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from aiokafka.codec import zstd_encode
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

LARGEST_BATCH: Final = 768 * 1024
"""Bytes, before it is compressed: Kafka takes 1 MiB, and a record may be longer than foreseen."""

PLAIN, ZSTD = 0, 4
"""Kafka's numbers of codecs."""

Ready = tuple[bytes, bytes, Mapping[str, bytes]]
"""Key, value and headers."""


@dataclass(frozen=True, slots=True)
class Written:
    """The records of one batch, one after the other."""

    records: bytes
    count: int


@lru_cache(maxsize=2**16)
def varint(number: int) -> bytes:
    """A number from 0 as Kafka writes it: seven bits a byte, the lowest first, the sign below them."""
    number <<= 1
    written = bytearray()
    while number > _SEVEN_BITS:
        written.append(number & _SEVEN_BITS | _MORE)
        number >>= 7
    written.append(number)
    return bytes(written)


_SEVEN_BITS, _MORE = 0x7F, 0x80


def headers(named: Mapping[str, bytes]) -> bytes:
    """A record's headers, which end it."""
    pairs = b"".join(_sized(name.encode()) + _sized(value) for name, value in named.items())
    return varint(len(named)) + pairs


def record(offset: int, key: bytes, value: bytes, named: Mapping[str, bytes]) -> bytes:
    """The record with this number in its batch."""
    return framed(offset, _sized(key) + _sized(value) + headers(named))


def framed(offset: int, keyed: bytes) -> bytes:
    """A record, of what begins with its key. It is of the batch's own time."""
    body = _NO_ATTRIBUTES_AND_AT_ONCE + varint(offset) + keyed
    return varint(len(body)) + body


_NO_ATTRIBUTES_AND_AT_ONCE: Final = b"\0\0"


def written(records: Iterable[Ready]) -> Written:
    """Records as one batch."""
    each = [record(offset, *ready) for offset, ready in enumerate(records)]
    return Written(b"".join(each), len(each))


def read(batch: Written) -> list[Ready]:
    """The records again, as a consumer reads them."""
    records = MemoryRecords(WrittenBatch(batch, PLAIN, 0).as_sent()).next_batch()
    return [(record.key, record.value, dict(record.headers)) for record in records]


def _sized(data: bytes) -> bytes:
    return varint(len(data)) + data


class WrittenBatch(BatchBuilder):  # type: ignore[misc] # the client has no types
    """A batch that the client sends as one of its own, which is numbered and acknowledged."""

    def __init__(self, written: Written, codec: int, now_ms: int) -> None:
        self._written = written
        self._codec = codec
        self._now_ms = now_ms
        self._producer = (-1, -1, -1)
        self._buffer: bytes | None = None

    def record_count(self) -> int:
        return self._written.count

    def closed(self) -> bool:
        return True

    def close(self) -> None:
        """It always is."""

    def size(self) -> int:
        return len(self._written.records)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        return self.as_sent()

    def as_sent(self) -> bytes:
        """Made once: a batch that is sent again is the same."""
        if self._buffer is None:
            codec, records = self._compressed()
            last, now_ms = self._written.count - 1, self._now_ms
            summed = _SUMMED.pack(codec, last, now_ms, now_ms, *self._producer, self._written.count) + records
            length = len(summed) + _HEADER.size - _UNCOUNTED
            self._buffer = _HEADER.pack(0, length, -1, _FORMAT, calc_crc32c(summed)) + summed
        return self._buffer

    def _compressed(self) -> tuple[int, bytes]:
        """Where that makes it shorter."""
        records = self._written.records
        if self._codec == ZSTD and len(shorter := bytes(zstd_encode(records))) < len(records):
            return ZSTD, shorter
        return PLAIN, records


_FORMAT: Final = 2
_HEADER: Final = struct.Struct(">qiibI")
"""Base offset and length (which are not counted in the length), leader's epoch, format, check sum."""
_UNCOUNTED: Final = 12
_SUMMED: Final = struct.Struct(">hiqqqhii")
"""What is summed begins with codec, last offset, first and last time, producer, its epoch, sequence, count."""
