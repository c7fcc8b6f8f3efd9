"""The versions of one flat, played again in order: what each changed, and what a search is to be told of it. Pure.

This is the plain rule, written a second time on purpose: it shares `common.explain.match` with the matcher, and
nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from common.events import Reason
from common.explain import match
from common.listing import Listing, ListingFlag, ListingStatus
from common.search import Search
from itarent.audit.facts import Effect

LEAST_DROP_PERCENT: Final = 1
"""A rent that falls by less is no news."""

_SLIPS: Final = frozenset({ListingFlag.RENT_IMPLAUSIBLY_LOW, ListingFlag.RENT_IMPLAUSIBLY_HIGH})


@dataclass(frozen=True)
class Advertisement:
    """One advertisement of the flat as it stands: how it was when last offered, and the lowest rent it ever asked."""

    content: Listing
    offered: bool
    lowest_rent_cents: int | None


Flat = Mapping[str, Advertisement]
"""What is known of a flat, by listing_id."""


@dataclass(frozen=True)
class Turn:
    """One version taking effect: the listing as a renter is told of it, and the flat before."""

    effect: Effect
    listing: Listing
    before: Flat

    @property
    def ends_the_offer(self) -> bool:
        """Whether the last advertisement of the flat that was offered is gone."""
        offered = [listing_id for listing_id, advertisement in self.before.items() if advertisement.offered]
        return not self.listing.active and offered == [self.effect.of.listing_id]

    @property
    def concerns(self) -> Sequence[Listing]:
        """The listings of which a search must match one to be concerned."""
        if self.listing.active:
            return (self.listing,)
        return [each.content for each in self.before.values()] if self.ends_the_offer else ()


class Known(Enum):
    """A search matches, and has matched before what was known: nothing new is to be said."""

    ALREADY = "already_known"


def turns(effects: Iterable[tuple[Effect, Listing | None]]) -> Iterator[Turn]:
    """Play a flat's versions; None is a tombstone. Those that withdraw what was never offered change nothing."""
    flat: dict[str, Advertisement] = {}
    for effect, listing in effects:
        known = flat.get(effect.of.listing_id)
        if listing and listing.active:
            yield Turn(effect, listing, dict(flat))
            flat[effect.of.listing_id] = Advertisement(listing, offered=True, lowest_rent_cents=_lowest(listing, known))
        elif known:
            gone = known.content.model_copy(update={"status": ListingStatus.WITHDRAWN, "version": effect.of.version})
            yield Turn(effect, gone, dict(flat))
            flat[effect.of.listing_id] = Advertisement(
                known.content, offered=False, lowest_rent_cents=known.lowest_rent_cents
            )


def said_to(search: Search, turn: Turn) -> Reason | Known | None:
    """What the owner of a search is to be told; None if the search does not match."""
    if not any(match(search, listing) for listing in turn.concerns):
        return None
    if not turn.listing.active:
        return Reason.WITHDRAWN
    matching = [each for each in turn.before.values() if match(search, each.content)]
    if any(each.offered for each in matching):
        return Reason.PRICE_DROP if _dropped(turn) else Known.ALREADY
    return Reason.RETURNED if matching else Reason.NEW


def _dropped(turn: Turn) -> bool:
    """Whether the rent is below every rent that offered advertisements have asked on the same terms."""
    rent = _rent(turn.listing)
    asked = [_asked(turn.listing, each) for each in turn.before.values() if each.offered]
    lowest = min((each for each in asked if each is not None), default=None)
    return rent is not None and lowest is not None and _is_drop(rent, lowest)


def _lowest(listing: Listing, known: Advertisement | None) -> int | None:
    """The lowest rent asked so far; what is lower by less than a drop does not count, so that small steps add up."""
    rent = _rent(listing)
    lowest = _asked(listing, known) if known else None
    if rent is None or lowest is None or _is_drop(rent, lowest):
        return rent
    return lowest


def _asked(listing: Listing, known: Advertisement) -> int | None:
    """The lowest rent of an advertisement, if it is on the terms of this one: with or without the spese."""
    if not (listing.rent and known.content.rent and listing.rent.spese is known.content.rent.spese):
        return None
    return known.lowest_rent_cents


def _is_drop(rent: int, lowest: int) -> bool:
    return rent < lowest and 100 * (lowest - rent) >= LEAST_DROP_PERCENT * lowest


def _rent(listing: Listing) -> int | None:
    return None if _SLIPS & set(listing.flags) else listing.monthly_rent_cents
