"""The plain loop over `common.explain.match`: what the rules say, search by search."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from common.explain import match
from common.listing import Listing
from itarent.bench.matching.measure import Loaded, memory, one_by_one
from itarent.bench.matching.oracle import Numbers
from itarent.bench.matching.searches import Searches


@contextmanager
def loop(searches: Searches, _: Path) -> Iterator[Loaded]:
    before = memory()
    all_of_them = list(searches.searches())

    def matching(listing: Listing) -> Numbers:
        return np.array([number for number, search in enumerate(all_of_them) if match(search, listing)], np.int32)

    yield Loaded(memory() - before, one_by_one(matching))
