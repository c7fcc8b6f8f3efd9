"""The versions of one flat, played again in order: what each changed, and what a search is to be told of it. Pure.

This is the plain rule, written a second time on purpose: it shares `common.explain.match` with the matcher, and
nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from common.events import Reason
from common.explain import match
from common.listing import Listing, ListingFlag, ListingStatus, SpeseTerm
from common.search import PriceDrop, Subscription
from itarent.audit.facts import Effect

_SLIPS: Final = frozenset({ListingFlag.RENT_IMPLAUSIBLY_LOW, ListingFlag.RENT_IMPLAUSIBLY_HIGH})


@dataclass(frozen=True)
class Advertisement:
    """One advertisement of the flat as it stands: how it was when last offered, and every rent it has asked."""

    content: Listing
    offered: bool
    asked: tuple["Asked", ...]


@dataclass(frozen=True)
class Asked:
    """A rent, in cents, from the version that this effect made known."""

    effect: int
    terms: SpeseTerm
    cents: int


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
            asked = (*(known.asked if known else ()), *_asked(effect, listing))
            flat[effect.of.listing_id] = Advertisement(listing, offered=True, asked=asked)
        elif known:
            gone = known.content.model_copy(update={"status": ListingStatus.WITHDRAWN, "version": effect.of.version})
            yield Turn(effect, gone, dict(flat))
            flat[effect.of.listing_id] = replace(known, offered=False)


def said_to(subscription: Subscription, turn: Turn) -> Reason | Known | None:
    """What the owner of a search is to be told; None if the search does not match."""
    search = subscription.search
    if not any(match(search, listing) for listing in turn.concerns):
        return None
    if not turn.listing.active:
        return Reason.WITHDRAWN
    matching = [each for each in turn.before.values() if match(search, each.content)]
    if any(each.offered for each in matching):
        return Reason.PRICE_DROP if _has_dropped(turn, subscription.price_drop) else Known.ALREADY
    return Reason.RETURNED if matching else Reason.NEW


def _has_dropped(turn: Turn, least: PriceDrop) -> bool:
    """Whether the rent is news to who has heard of every earlier one that was news.

    Compared are rents of advertisements that are offered, on the same terms: with or without the spese.
    """
    now = next(iter(_asked(turn.effect, turn.listing)), None)
    if now is None:
        return False
    asked = sorted(
        (each for known in turn.before.values() if known.offered for each in known.asked),
        key=lambda each: each.effect,
    )
    lowest: int | None = None
    news = False
    for each in [*(each for each in asked if each.terms is now.terms), now]:
        news = lowest is not None and _is_news(each.cents, lowest, least)
        if lowest is None or news:
            lowest = each.cents
    return news


def _is_news(rent: int, before: int, least: PriceDrop) -> bool:
    return rent < before and rent <= before - least.cents and 100 * rent <= (100 - least.percent) * before


def _asked(effect: Effect, listing: Listing) -> Iterator[Asked]:
    """The rent that a version asks, unless it asks none that can be compared."""
    rent = None if _SLIPS & set(listing.flags) else listing.monthly_rent_cents
    if rent is not None and listing.rent:
        yield Asked(effect.number, listing.rent.spese, rent)
