"""What a new version of an advertisement changes about its flat, and why a search is told. Pure.

A search is told of the difference only: what it matches now and did not match in any advertisement of the flat that
was known. That needs no memory per user, and a search that is saved today is not flooded with the flats of yesterday.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from uuid import UUID

from common.events import Reason
from common.listing import Listing, ListingFlag, ListingId, ListingStatus
from common.search import Alert

DROP_PERCENT: Final = 1
"""By how much a rent must fall to be news."""

ALERT_OF: Final[Mapping[Reason, Alert]] = {
    Reason.NEW: Alert.NEW,
    Reason.RETURNED: Alert.NEW,
    Reason.PRICE_DROP: Alert.PRICE_DROP,
    Reason.WITHDRAWN: Alert.WITHDRAWN,
}
"""What a search must ask for, to be told for a reason."""

Matches = Callable[[Listing], bool]
"""Whether one search matches a listing."""


@dataclass(frozen=True, order=True)
class Origin:
    """The record of the listings' topic that a version came in."""

    partition: int
    offset: int


@dataclass(frozen=True)
class Published:
    """A state of an advertisement that was published; `listing` None is a tombstone."""

    listing_id: ListingId
    listing: Listing | None
    origin: Origin


@dataclass(frozen=True)
class Known:
    """An advertisement at its latest version that took effect.

    `content` is the listing as it was when last active (None: it never was). `lowest_rent_cents` is the lowest rent
    that was ever asked on the terms of `content`, changes below DROP_PERCENT left out.
    """

    listing_id: ListingId
    version: int
    active: bool
    content: Listing | None
    lowest_rent_cents: int | None
    origin: Origin

    @property
    def offered(self) -> Listing | None:
        return self.content if self.active else None

    @property
    def taken_down(self) -> Listing | None:
        return None if self.active else self.content


@dataclass(frozen=True)
class Change:
    """A version that takes effect: the advertisement afterwards, and what was known of its flat before."""

    flat_id: UUID
    listing: Listing | None
    """As it is now. Of a withdrawal: as it last was, marked as withdrawn. None: withdrawn, and never seen active."""
    after: Known
    before: tuple[Known, ...]
    tombstone: bool

    @cached_property
    def announced_by(self) -> tuple[Listing, ...]:
        """The listings of which one at least is matched by every search that may be told."""
        if self.listing is None:
            return ()
        if not self.listing.active:
            return tuple(known.content for known in self.before if known.content) if self._last_one_gone else ()
        return () if self._says_the_same else (self.listing,)

    @cached_property
    def previous_rent_cents(self) -> int | None:
        """If the rent has dropped: the lowest one that was asked for the flat, on the same terms, before."""
        rent = _comparable_rent(self.listing)
        asked = [_lowest_on_terms_of(self.listing, known) for known in self.before if known.active]
        lowest = min((each for each in asked if each is not None), default=None)
        return lowest if rent is not None and lowest is not None and _is_drop(rent, lowest) else None

    @property
    def _last_one_gone(self) -> bool:
        return [known.listing_id for known in self.before if known.active] == [self.after.listing_id]

    @property
    def _says_the_same(self) -> bool:
        """Published again as it was: what matches now has matched before."""
        same = {"version": self.after.version}
        return any(
            known.active
            and known.listing_id == self.after.listing_id
            and known.content
            and known.content.model_copy(update=same) == self.listing
            for known in self.before
        )


def reason_for(change: Change, matches: Matches) -> Reason | None:
    """Why the owner of a search is told of a change, or None."""
    listing = change.listing
    if listing is None or not any(map(matches, change.announced_by)):
        return None
    if not listing.active:
        return Reason.WITHDRAWN
    if any(matches(known.offered) for known in change.before if known.offered):
        return Reason.PRICE_DROP if change.previous_rent_cents is not None else None
    if any(matches(known.taken_down) for known in change.before if known.taken_down):
        return Reason.RETURNED
    return Reason.NEW


@dataclass
class Flat:
    """A flat as it is known; `take` lets versions take effect one after the other."""

    flat_id: UUID
    known: dict[ListingId, Known] = field(default_factory=dict)

    def take(self, published: Published) -> Change | None:
        """What the version changes; None where it is not newer than what is known."""
        known = self.known.get(published.listing_id)
        after = _published(published.listing, known, published.origin) if published.listing else _gone(known, published)
        if after is None:
            return None
        change = Change(
            self.flat_id, _as_it_is_now(after), after, tuple(self.known.values()), tombstone=published.listing is None
        )
        self.known[after.listing_id] = after
        return change


def _published(listing: Listing, known: Known | None, origin: Origin) -> Known | None:
    if known and known.version >= listing.version:
        return None
    if listing.active:
        return Known(listing.listing_id, listing.version, True, listing, _lowest_rent(listing, known), origin)
    content, lowest = (known.content, known.lowest_rent_cents) if known else (None, None)
    return Known(listing.listing_id, listing.version, False, content, lowest, origin)


def _gone(known: Known | None, tombstone: Published) -> Known | None:
    """A tombstone has no version: it withdraws what came before it in its partition, once."""
    if known is None or not known.active:
        return None
    if known.origin.partition == tombstone.origin.partition and known.origin >= tombstone.origin:
        return None
    return Known(known.listing_id, known.version, False, known.content, known.lowest_rent_cents, tombstone.origin)


def _as_it_is_now(after: Known) -> Listing | None:
    if after.active or after.content is None:
        return after.content
    return after.content.model_copy(update={"status": ListingStatus.WITHDRAWN, "version": after.version})


def _lowest_rent(listing: Listing, known: Known | None) -> int | None:
    rent = _comparable_rent(listing)
    lowest = _lowest_on_terms_of(listing, known) if known else None
    if rent is None or lowest is None:
        return rent
    return rent if _is_drop(rent, lowest) else lowest


def _lowest_on_terms_of(listing: Listing | None, known: Known) -> int | None:
    """What was asked, where it can be compared: a rent with spese says nothing about one without."""
    rent, asked = listing and listing.rent, known.content and known.content.rent
    return known.lowest_rent_cents if rent and asked and rent.spese is asked.spese else None


def _comparable_rent(listing: Listing | None) -> int | None:
    """A monthly rent that can be meant: 1 € is a slip of the keyboard, not a bargain."""
    if listing is None or {ListingFlag.RENT_IMPLAUSIBLY_LOW, ListingFlag.RENT_IMPLAUSIBLY_HIGH} & set(listing.flags):
        return None
    return listing.monthly_rent_cents


def _is_drop(rent: int, lowest: int) -> bool:
    return rent < lowest and rent * 100 <= lowest * (100 - DROP_PERCENT)
