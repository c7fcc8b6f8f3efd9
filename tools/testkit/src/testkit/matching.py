"""The matcher without its servers: an index of subscriptions, and notifications read back from their records."""

import datetime as dt
from collections.abc import Iterable, Sequence

from common.batches import read
from common.events import NotificationRequested
from common.search import Subscription
from common.topics import Topics
from matcher.difference import Change
from matcher.encoding import Encoder
from matcher.index import Index
from matcher.reading import SearchReader
from matcher.telling import told
from testkit.factories import NOW


def index_of(subscriptions: Iterable[Subscription]) -> Index:
    index = Index()
    reader = SearchReader(index.criteria)
    for subscription in subscriptions:
        index.put(reader.filed(subscription))
    return index


def notifications_of(changes: Sequence[Change], index: Index, at: dt.datetime = NOW) -> list[NotificationRequested]:
    """What the records hold that the changes make, those of one change in no particular order."""
    encoder = Encoder(index.register, Topics.within("test").notifications, 3, "matcher")
    slices = (each for change in changes for each in encoder.slices(told(change, index), at))
    return [
        NotificationRequested.model_validate_json(value)
        for each in slices
        for batches in each.batches
        for batch in batches
        for _, value, _ in read(batch)
    ]
