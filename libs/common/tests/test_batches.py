"""Batches that are written by us are those of the client, to the byte."""

from collections.abc import Sequence

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from common.batches import PLAIN, ZSTD, Ready, WrittenBatch, read, varint, written

AT_MS = 1_764_400_000_000

sizes = st.sampled_from([0, 1, 62, 63, 64, 65, 8190, 8192, 9000])
data = st.binary(max_size=20) | sizes.map(bytes)
records = st.lists(
    st.tuples(data, data, st.dictionaries(st.text(max_size=70), data, max_size=3)), min_size=1, max_size=150
)


def of_client(records: Sequence[Ready], codec: int) -> bytes:
    builder = BatchBuilder(2**30, codec)
    for key, value, named in records:
        builder.append(timestamp=AT_MS, key=key, value=value, headers=list(named.items()))
    builder._set_producer_state(7, 1, 2)
    return bytes(builder._build())


@pytest.mark.parametrize("codec", [PLAIN, ZSTD])
@given(records)
def test_a_batch_is_what_the_client_makes_of_its_records(codec: int, records: list[Ready]) -> None:
    records.append((b"what is worth compressing", bytes(9000), {}))
    batch = WrittenBatch(written(records), codec, AT_MS)
    batch._set_producer_state(7, 1, 2)
    assert batch.record_count() == len(records)
    assert batch.as_sent() == of_client(records, codec)
    assert MemoryRecords(batch.as_sent()).next_batch().validate_crc()


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "00"), (63, "7e"), (64, "8001"), (8191, "fe7f"), (8192, "808001")]
)
def test_numbers_are_written_in_as_few_bytes_as_they_need(number: int, expected: str) -> None:
    assert varint(number).hex() == expected


@given(records)
def test_records_are_read_as_they_were_written(records: list[Ready]) -> None:
    assert read(written(records)) == records
