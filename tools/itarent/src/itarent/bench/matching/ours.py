"""The matcher's own index, filled from events as the matcher is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from common.listing import Listing
from itarent.bench.matching.measure import Loaded, memory, one_by_one
from itarent.bench.matching.oracle import Numbers
from itarent.bench.matching.searches import Searches, subscription_id
from matcher.index import Index
from matcher.reading import SearchReader


@contextmanager
def ours(searches: Searches, _: Path) -> Iterator[Loaded]:
    before = memory()
    index = Index()
    reader = SearchReader(index.criteria)
    numbers = range(len(searches))
    for number, value in zip(numbers, searches.saved(numbers), strict=True):
        search = reader.read(value, str(subscription_id(number)).encode())
        assert search, "the benchmark's searches are written as ours are"
        index.put(search)
    number_of = index.register.subscription_ids.view(">u8")[:, 1].astype(np.int32)

    def matching(listing: Listing) -> Numbers:
        return np.sort(number_of[index.match(listing).numbers])

    yield Loaded(memory() - before, one_by_one(matching))
