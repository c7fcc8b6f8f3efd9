"""What a new version of an advertisement changes about its flat, and why a search is told. Pure.

A search is told of the difference only: what it matches now and did not match in any advertisement of the flat that
was known. That needs no memory per user, and a search that is saved today is not flooded with the flats of yesterday.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from uuid import UUID

from common.events import Parted, Reason
from common.listing import Listing, ListingFlag, ListingId, ListingStatus
from common.search import Alert, PriceDrop
from matcher.drops import Asked, is_drop, last_heard

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

    `content` is the listing as it was when last active (None: it never was). `asked` are the rents that were its
    lowest so far, in their order: what a drop is measured from.
    """

    listing_id: ListingId
    version: int
    active: bool
    content: Listing | None
    asked: tuple[Asked, ...]
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
    parted: Parted | None = None
    """The flat was just parted from another one: it is told as new, whatever its advertisements were known for."""

    @cached_property
    def announced_by(self) -> tuple[Listing, ...]:
        """The listings of which one at least is matched by every search that may be told."""
        if self.listing is None:
            return ()
        if not self.listing.active:
            return tuple(known.content for known in self.before if known.content) if self._last_one_gone else ()
        return () if self._says_the_same else (self.listing,)

    def dropped_from(self, least: PriceDrop) -> int | None:
        """If the rent has dropped by so much: the one, in cents, of which who waits for such a drop last heard."""
        rent, heard = _comparable_rent(self.listing), last_heard(self._asked_before, least)
        return heard if rent is not None and heard is not None and is_drop(rent, heard, least) else None

    @cached_property
    def _asked_before(self) -> tuple[int, ...]:
        """The rents, in cents and in order, that the flat's offers had asked on the terms of this one."""
        if self.parted:
            return ()
        asked = sorted(each for known in self.before if known.active for each in known.asked)
        return tuple(each.cents for each in asked if _on_terms_of(self.listing, each))

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


def reason_for(change: Change, matches: Matches, least_drop: PriceDrop) -> Reason | None:
    """Why the owner of a search is told of a change, or None."""
    listing = change.listing
    if listing is None or not any(map(matches, change.announced_by)):
        return None
    if not listing.active:
        return Reason.WITHDRAWN
    if any(matches(known.offered) for known in change.before if known.offered):
        return Reason.PRICE_DROP if change.dropped_from(least_drop) is not None else None
    if any(matches(known.taken_down) for known in change.before if known.taken_down):
        return Reason.RETURNED
    return Reason.NEW


def parted_changes(flat_id: UUID, members: Sequence[Known], parted: Parted) -> Iterator[Change]:
    """Tell of every offer of a flat that was parted from another; a search is told once, by the first that fits."""
    offers = [known for known in members if known.offered]
    for number, known in enumerate(offers):
        yield Change(flat_id, known.offered, known, tuple(offers[:number]), tombstone=False, parted=parted)


@dataclass
class Flat:
    """A flat as it is known; `take` lets versions take effect one after the other."""

    flat_id: UUID
    known: dict[ListingId, Known] = field(default_factory=dict)

    def take(self, published: Published) -> Change | None:
        """What the version changes; None where it is not newer than what is known."""
        known = self.known.get(published.listing_id)
        after = (
            self._published(published.listing, known, published.origin)
            if published.listing
            else _gone(known, published)
        )
        if after is None:
            return None
        change = Change(
            self.flat_id, _as_it_is_now(after), after, tuple(self.known.values()), tombstone=published.listing is None
        )
        self.known[after.listing_id] = after
        return change

    def _published(self, listing: Listing, known: Known | None, origin: Origin) -> Known | None:
        if known and known.version >= listing.version:
            return None
        content, asked = (known.content, known.asked) if known else (None, ())
        if listing.active:
            content, asked = listing, _asked(listing, asked, self._turn())
        return Known(listing.listing_id, listing.version, listing.active, content, asked, origin)

    def _turn(self) -> int:
        return 1 + max((each.turn for known in self.known.values() for each in known.asked), default=0)


def _gone(known: Known | None, tombstone: Published) -> Known | None:
    """A tombstone has no version: it withdraws what came before it in its partition, once."""
    if known is None or not known.active:
        return None
    if known.origin.partition == tombstone.origin.partition and known.origin >= tombstone.origin:
        return None
    return Known(known.listing_id, known.version, False, known.content, known.asked, tombstone.origin)


def _as_it_is_now(after: Known) -> Listing | None:
    if after.active or after.content is None:
        return after.content
    return after.content.model_copy(update={"status": ListingStatus.WITHDRAWN, "version": after.version})


def _asked(listing: Listing, before: tuple[Asked, ...], turn: int) -> tuple[Asked, ...]:
    rent = _comparable_rent(listing)
    if rent is None or listing.rent is None:
        return before
    if any(each.cents <= rent for each in before if _on_terms_of(listing, each)):
        return before
    return (*before, Asked(turn, listing.rent.spese, rent))


def _on_terms_of(listing: Listing | None, asked: Asked) -> bool:
    """Whether they can be compared: a rent with spese says nothing about one without."""
    return bool(listing and listing.rent and listing.rent.spese is asked.spese)


def _comparable_rent(listing: Listing | None) -> int | None:
    """A monthly rent that can be meant: 1 € is a slip of the keyboard, not a bargain."""
    if listing is None or {ListingFlag.RENT_IMPLAUSIBLY_LOW, ListingFlag.RENT_IMPLAUSIBLY_HIGH} & set(listing.flags):
        return None
    return listing.monthly_rent_cents
