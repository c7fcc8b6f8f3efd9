"""The matcher's own index, filled from events as the matcher is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from common.events import SubscriptionSaved
from common.explain import match
from common.listing import Listing
from itarent.bench.matching.measure import Loaded, memory, one_by_one
from itarent.bench.matching.oracle import Numbers
from itarent.bench.matching.searches import Searches, number_of
from matcher.index import Index


@contextmanager
def ours(searches: Searches, _: Path) -> Iterator[Loaded]:
    before = memory()
    index = Index()
    for value in searches.saved(range(len(searches))):
        index.add(SubscriptionSaved.model_validate_json(value).subscription)

    def matching(listing: Listing) -> Numbers:
        found = [each for each in index.candidates(listing) if match(each.search, listing)]
        return np.sort(np.array([number_of(each.subscription_id) for each in found], np.int32))

    yield Loaded(memory() - before, one_by_one(matching))
