"""Compiles the kernels before the first listing waits for them, by using each as the index does.

`python -m matcher.compiling` does it while an image is built: compiled code is kept in NUMBA_CACHE_DIR.
"""

import datetime as dt
from uuid import UUID

import numpy as np

from common.listing import Listing, Rent
from common.search import InComune, Range, RentLimit, Search, Subscription
from common.topics import Topics
from matcher.difference import Change, Known, Origin
from matcher.encoding import Encoder
from matcher.index import Index
from matcher.kernels import FREE, enter_keys
from matcher.partition import ONE_BY_ONE
from matcher.reading import SearchReader
from matcher.telling import told

_ROMA = "058091"
_NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def compile_kernels() -> None:
    """Match a listing with more searches than are looked at one by one, with short and with long numbers of wishes."""
    listing = Listing(
        listing_id="kernels:1",
        version=1,
        source="kernels",
        comune=_ROMA,
        rent=Rent(amount_cents=1000_00),
        area_m2=50,
        description="balcone",
    )
    index = Index()
    reader = SearchReader(index.criteria)
    for number in range(ONE_BY_ONE + 64):
        index.put(reader.filed(_subscription(number)))
    change = Change(UUID(int=0), listing, Known(listing.listing_id, 1, True, listing, (), Origin(0, 0)), (), False)
    topic = Topics.within("kernels").notifications
    for _ in Encoder(index.register, topic, 1, "kernels").slices(told(change, index), _NOW):
        pass
    for partition in index.partitions:
        partition.wishes = partition.wishes.astype(np.uint32)
    index.match(listing)
    index.remove(UUID(int=0).bytes)
    enter_keys(np.full(2, FREE, np.int32), np.zeros((1, 2), np.uint64), np.zeros(1, np.int64))


def _subscription(number: int) -> Subscription:
    search = Search(
        places=(InComune(code=_ROMA),),
        rent=RentLimit(maximum_cents=50_00 * (number % 40 + 1)),
        area_m2=Range(minimum=20),
        keywords_wanted=("balcone",),
    )
    return Subscription(
        subscription_id=UUID(int=number), user_id=UUID(int=number), revision=1, name="kernels", search=search
    )


if __name__ == "__main__":
    compile_kernels()
