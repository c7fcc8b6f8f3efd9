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


class Ours:
    """The index with all of the searches, which speaks of them by the benchmark's numbers."""

    def __init__(self, searches: Searches) -> None:
        self._index = Index()
        self._reader = SearchReader(self._index.criteria)
        numbers = range(len(searches))
        for number, value in zip(numbers, searches.saved(numbers), strict=True):
            self.save(number, value)
        self._number_of = self._index.register.subscription_ids.view(">u8")[:, 1].astype(np.int32)

    def save(self, number: int, value: bytes) -> None:
        search = self._reader.read(value, str(subscription_id(number)).encode())
        assert search, "the benchmark's searches are written as ours are"
        self._index.put(search)

    def match(self, listing: Listing) -> Numbers:
        return np.sort(self._number_of[self._index.match(listing).numbers])


@contextmanager
def ours(searches: Searches, _: Path) -> Iterator[Loaded]:
    before = memory()
    index = Ours(searches)
    yield Loaded(memory() - before, one_by_one(index.match))
