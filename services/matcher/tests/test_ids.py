"""Ids by the column are what `uuid` and Kafka's clients make of each."""

from collections.abc import Sequence
from uuid import UUID, uuid5

import numpy as np
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from matcher import ids


def columns_of(values: Sequence[UUID]) -> ids.Ids:
    return np.frombuffer(b"".join(each.bytes for each in values), np.uint8).reshape(-1, 16)


some_ids = st.lists(st.uuids(), max_size=20)


@given(some_ids)
def test_ids_are_written_as_uuid_writes_them(values: list[UUID]) -> None:
    assert ids.as_bytes(ids.texts(columns_of(values))) == [str(each).encode() for each in values]


@given(some_ids, st.uuids(), st.text(max_size=40))
def test_derived_ids_are_those_that_uuid5_derives(values: list[UUID], namespace: UUID, before: str) -> None:
    names = [f"{before}{each}/new" for each in values]
    derived = ids.derived(namespace, [name.encode() for name in names])
    expected = [uuid5(namespace, name) for name in names]
    assert [UUID(bytes=row.tobytes()) for row in derived] == expected


@given(some_ids, st.integers(1, 50))
def test_a_key_goes_to_the_partition_that_the_client_chooses(values: list[UUID], partitions: int) -> None:
    chosen = [DefaultPartitioner()(str(each).encode(), list(range(partitions)), []) for each in values]
    assert ids.partitions_of(ids.texts(columns_of(values)), partitions).tolist() == chosen
