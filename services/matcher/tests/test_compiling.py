"""What is compiled while an image is built is all that a matcher uses: no listing waits for a compiler."""

import subprocess
import sys
from pathlib import Path
from uuid import UUID

from common.search import InCircle, Search
from common.topics import Topics
from matcher import kernels, writing
from matcher.difference import Flat, Origin, Published
from matcher.encoding import Encoder
from matcher.index import Index
from matcher.reading import SearchReader
from matcher.telling import told
from testkit.factories import FLAT_ID, NOW, make_listing, make_search, make_subscription

SEARCHES = 3200


def variants() -> dict[str, int]:
    """How often each kernel was compiled, each time for other types."""
    compiled = {**vars(kernels), **vars(writing)}
    return {name: len(each.signatures) for name, each in compiled.items() if hasattr(each, "nopython_signatures")}


def use_all() -> None:
    index = Index()
    reader = SearchReader(index.criteria)
    listing = make_listing()
    assert listing.position
    around = make_search(places=(InCircle(centre=listing.position, radius_m=500),))
    for number in range(SEARCHES):
        search: Search = around if number % 2 else make_search(keywords_wanted=("balcone", "vista"), area_m2=None)
        index.put(reader.filed(make_subscription(subscription_id=UUID(int=number), search=search)))
    change = Flat(FLAT_ID).take(Published(listing.listing_id, listing, Origin(0, 1)))
    assert change
    encoder = Encoder(index.register, Topics.within("test").notifications, 6, "matcher")
    assert sum(map(len, encoder.slices(told(change, index), NOW)))
    for number in range(0, SEARCHES, 3):
        index.remove(UUID(int=number).bytes)
    index.match(make_listing(rent=None, description="", position=None))


def test_nothing_is_compiled_that_was_not_compiled_before() -> None:
    """In a process of its own: in this one other tests have compiled more."""
    script = f"""
from matcher.compiling import compile_kernels
from {Path(__file__).stem} import use_all, variants
compile_kernels()
before = variants()
assert len(before) > 5, before
use_all()
assert variants() == before, (before, variants())
"""
    subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, check=True)
