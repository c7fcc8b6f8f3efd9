"""The searches that ask how long the way to work is: a routing engine is asked for those that fit in all else."""

from collections.abc import Iterator

from common.listing import Listing
from common.search import Criterion, Search, Subscription, UnknownPolicy
from matcher.index import Index
from matcher.reading import SearchReader


class Asking:
    """Few searches, each with its model, in an index of their own in which every way that is unknown passes."""

    def __init__(self) -> None:
        self._index = Index()
        self._reader = SearchReader(self._index.criteria)
        self._searches: dict[bytes, Search] = {}

    def put(self, subscription: Subscription) -> None:
        """Take a subscription as it now is, whether it asks or not."""
        self.remove(subscription.subscription_id.bytes)
        if subscription.active and subscription.search.asks_the_way:
            lenient = subscription.search.under(Criterion.COMMUTE, UnknownPolicy.PASS)
            self._index.put(self._reader.filed(subscription.model_copy(update={"search": lenient})))
            self._searches[subscription.subscription_id.bytes] = subscription.search

    def remove(self, subscription_id: bytes) -> None:
        if self._searches.pop(subscription_id, None):
            self._index.remove(subscription_id)

    def of(self, listing: Listing) -> Iterator[Search]:
        """Those that a listing fits, if the way is short enough."""
        for number in self._index.match(listing).numbers:
            yield self._searches[self._index.register.subscription_ids[number].tobytes()]
