"""The searches of all times: what each subscription was, from which record of its topic until which."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import floor, inf
from typing import Final
from uuid import UUID

from common.comuni import Comuni
from common.geo import Box, box_of
from common.listing import Listing
from common.search import Criterion, InCircle, InComune, InPolygon, InProvince, Subscription, UnknownPolicy

TILES_PER_DEGREE: Final = 4
MOST_TILES: Final = 1000


@dataclass(frozen=True)
class Saved:
    """A record of the subscriptions' topic; None is a deletion."""

    subscription_id: UUID
    subscription: Subscription | None
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A subscription as it was from one record of its partition (inclusive) to another (exclusive)."""

    subscription: Subscription
    partition: int
    since: int
    until: float

    def in_force_at(self, position: Sequence[int]) -> bool:
        """Whether a reader whose next offsets these are has it as the latest state."""
        return self.since < position[self.partition] <= self.until

    def known_at(self, position: Sequence[int]) -> bool:
        """Whether such a reader has seen it, now or earlier."""
        return self.since < position[self.partition]


class Searches:
    """All active searches that ever stood, by where they look and by their owner."""

    def __init__(self, saved: Iterable[Saved]) -> None:
        self._by_place: defaultdict[Hashable, list[Standing]] = defaultdict(list)
        self._by_user: defaultdict[UUID, list[Standing]] = defaultdict(list)
        for standing in _standings(saved):
            if standing.subscription.active:
                self._by_user[standing.subscription.user_id].append(standing)
                for place in _places_of(standing.subscription):
                    self._by_place[place].append(standing)

    def candidates(self, listing: Listing, position: Sequence[int]) -> Iterator[Subscription]:
        """Those in force that look where the listing may be: every one that matches, and others."""
        met: set[UUID] = set()
        for place in _places_of_listing(listing):
            for standing in self._by_place.get(place, ()):
                subscription = standing.subscription
                if standing.in_force_at(position) and subscription.subscription_id not in met:
                    met.add(subscription.subscription_id)
                    yield subscription

    def ever_of(self, user_id: UUID, position: Sequence[int]) -> Iterator[Subscription]:
        """Every active state of a user's searches up to a position."""
        return (each.subscription for each in self._by_user.get(user_id, ()) if each.known_at(position))


def _standings(saved: Iterable[Saved]) -> Iterator[Standing]:
    """In the order of records: a newer revision replaces, an older one changes nothing, a deletion ends."""
    latest: dict[UUID, Saved] = {}
    for each in saved:
        known = latest.get(each.subscription_id)
        before = known.subscription if known else None
        if before and each.subscription and each.subscription.revision <= before.revision:
            continue
        if known and before:
            yield Standing(before, known.partition, known.offset, each.offset)
        latest[each.subscription_id] = each
    for last in latest.values():
        if last.subscription:
            yield Standing(last.subscription, last.partition, last.offset, inf)


_ANYWHERE: Final = "anywhere"
_UNSAID: Final = "unsaid"


def _places_of(subscription: Subscription) -> set[Hashable]:
    """Under which places a search is found; those that let an unknown place pass also under `unsaid`."""
    search = subscription.search
    places: set[Hashable] = set()
    for place in search.places:
        match place:
            case InComune(code=code):
                places.add(("comune", Comuni.load().current(code)))
            case InProvince(code=code):
                places.add(("province", code))
            case InCircle() | InPolygon():
                places |= _tiles_of(box_of(place))
    if search.unknown.get(Criterion.PLACE, UnknownPolicy.FAIL) is not UnknownPolicy.FAIL:
        places.add(_UNSAID)
    return places


def _places_of_listing(listing: Listing) -> Iterator[Hashable]:
    comune = Comuni.load().by_code(listing.comune) if listing.comune else None
    province = comune.province if comune else listing.province
    yield _ANYWHERE
    if listing.comune:
        yield ("comune", Comuni.load().current(listing.comune))
    if province:
        yield ("province", province)
    if position := listing.position:
        yield ("tile", floor(position.latitude * TILES_PER_DEGREE), floor(position.longitude * TILES_PER_DEGREE))
    if not (listing.comune and province and listing.position):
        yield _UNSAID


def _tiles_of(box: Box) -> set[Hashable]:
    rows = range(floor(box.south * TILES_PER_DEGREE), floor(box.north * TILES_PER_DEGREE) + 1)
    columns = range(floor(box.west * TILES_PER_DEGREE), floor(box.east * TILES_PER_DEGREE) + 1)
    if len(rows) * len(columns) > MOST_TILES:
        return {_ANYWHERE}
    return {("tile", row, column) for row in rows for column in columns}
