"""The suite's malformed records are what their names say."""

import datetime as dt
import random

import pytest
from aiokafka import ConsumerRecord

from common.kafka import Invalid, decode
from common.topics import LARGEST_RECORD, Topics
from itarent.faults.adversarial import Case, Fate, cases

TOPICS = Topics.within("adversary")
CASES = cases(TOPICS, random.Random(1), dt.datetime(2026, 11, 29, tzinfo=dt.UTC))


def is_invalid(case: Case) -> bool:
    record = case.record
    headers = tuple((name, value) for name, value in record.headers)
    at = ConsumerRecord(record.topic, 0, 0, 0, 0, record.key, record.value, None, -1, -1, headers)
    return isinstance(decode(at, {each.type: each for each in case.topic.events}), Invalid)


@pytest.mark.parametrize(("fate", "invalid"), [(Fate.DEAD, True), (Fate.PASSED, False)])
def test_what_must_be_a_dead_letter_cannot_be_read_and_what_must_pass_can(fate: Fate, invalid: bool) -> None:
    wrong = [f"{case.topic.name}: {case.name}" for case in CASES if case.fate is fate and is_invalid(case) != invalid]
    assert not wrong


def test_every_topic_that_is_read_gets_every_kind() -> None:
    kinds = {topic: {case.name for case in CASES if case.topic == topic} for topic in TOPICS.own()}
    for name in ("not JSON", "version 1.1", "version 2", "no key", "a tombstone of nothing", "10 MB", "deep"):
        assert all(name in of_topic for of_topic in kinds.values()), name


def test_the_largest_records_are_ones_that_kafka_takes() -> None:
    sizes = [len(case.record.value or b"") for case in CASES if case.fate is not Fate.REFUSED]
    assert LARGEST_RECORD * 0.99 < max(sizes) < LARGEST_RECORD
