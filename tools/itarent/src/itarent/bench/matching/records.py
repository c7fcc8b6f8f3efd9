"""Drawn searches as records, ready to be published."""

from collections.abc import Iterator
from typing import Final

from common.batches import Written, record
from common.events import SubscriptionSaved
from common.kafka import encode
from common.topics import Topic
from itarent.bench.matching.searches import Searches, subscription_id

OF_A_BATCH: Final = 400
"""Records; the largest has somewhat more than a kilobyte."""


def slices(searches: Searches, topic: Topic, numbers: range, *, revision: int = 1) -> Iterator[list[list[Written]]]:
    """A batch for each partition at a time: a search always has the same one."""
    (first,) = searches.saved(range(1))
    headers = encode(topic, SubscriptionSaved.model_validate_json(first), "bench").headers
    at_once = OF_A_BATCH * topic.partitions
    for start in range(numbers.start, numbers.stop, at_once):
        some = range(start, min(start + at_once, numbers.stop))
        partitions: list[list[bytes]] = [[] for _ in range(topic.partitions)]
        for number, value in zip(some, searches.saved(some, revision=revision), strict=True):
            key = str(subscription_id(number))
            own = {**headers, "ce_id": f"{key}/{revision}", "ce_subject": key}
            batch = partitions[number % topic.partitions]
            batch.append(record(len(batch), key.encode(), value, {name: text.encode() for name, text in own.items()}))
        yield [[Written(b"".join(records), len(records))] if records else [] for records in partitions]
