"""The versions of one flat, played again in order: what each changed, and what a search is to be told of it. Pure.

This is the plain rule, written a second time on purpose: it shares `common.explain.match` with the matcher, and
nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations_with_replacement
from typing import Final
from uuid import UUID

from common.events import Reason
from common.explain import match
from common.listing import Listing, ListingFlag, ListingStatus, SpeseTerm
from common.search import PriceDrop, Subscription
from itarent.audit.facts import Effect, ListingVersion, Origin, SidesTold

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
    """One version taking effect: the listing as a renter is told of it, the flat before, the advertisement after."""

    effect: Effect
    listing: Listing
    before: Flat
    after: Advertisement
    parted: bool = False
    """The flat was just parted from another one: it is told as new, and as nothing else."""

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


Moment = tuple[Effect, Listing | None] | SidesTold
"""A version that takes effect, None is a tombstone; or that the flat is told as one of its own."""


class Replay:
    """A flat, from how it began; `flat` is how it stands after what was played."""

    def __init__(self, flat: Flat | None = None) -> None:
        self.flat: Flat = flat or {}

    def play(self, moments: Iterable[Moment]) -> Iterator[Turn]:
        """Play what happened. Versions that withdraw what was never offered change nothing."""
        for moment in moments:
            if isinstance(moment, SidesTold):
                yield from self._told(moment)
            else:
                yield from self._version(*moment)

    def _version(self, effect: Effect, listing: Listing | None) -> Iterator[Turn]:
        known = self.flat.get(effect.of.listing_id)
        if listing and listing.active:
            asked = (*(known.asked if known else ()), *_asked(effect, listing))
            now = Advertisement(listing, offered=True, asked=asked)
            yield Turn(effect, listing, self.flat, now)
        elif known:
            gone = known.content.model_copy(update={"status": ListingStatus.WITHDRAWN, "version": effect.of.version})
            now = replace(known, offered=False)
            yield Turn(effect, gone, self.flat, now)
        else:
            return
        self.flat = {**self.flat, effect.of.listing_id: now}

    def _told(self, told: SidesTold) -> Iterator[Turn]:
        """Every offer, one after the other, as if nothing had been known of the flat."""
        before: dict[str, Advertisement] = {}
        for listing_id, advertisement in sorted(self.flat.items()):
            if advertisement.offered:
                of = ListingVersion(listing_id, advertisement.content.version)
                effect = Effect(told.number, of, False, _NO_FLAT, _NO_RECORD, told.position, told.shard)
                yield Turn(effect, advertisement.content, dict(before), advertisement, parted=True)
                before[listing_id] = advertisement


_NO_FLAT: Final = UUID(int=0)
_NO_RECORD: Final = Origin(-1, -1)


def turns(moments: Iterable[Moment]) -> Iterator[Turn]:
    """Play a flat from its beginning."""
    return Replay().play(moments)


def in_other_orders(turn: Turn, turns: Sequence[Turn]) -> Iterator[Turn]:
    """The version as a try may have met it that was not noted: the partitions of the topic have no common order.

    What came before it in its own partition was known; of other partitions a batch may have brought more, or the noted
    try came after more. As many other advertisements as make a difference are taken: one that the search matches, and
    one that a rent is compared with.
    """
    mine, at = turn.effect.origin.partition, turn.effect.origin
    known = dict(turns[0].before)
    known |= {
        each.effect.of.listing_id: each.after
        for each in turns
        if each.effect.origin.partition == mine and each.effect.origin < at
    }
    elsewhere = [each for each in turns if each.effect.origin.partition != mine]
    for one, other in combinations_with_replacement((None, *elsewhere), 2):
        yield replace(turn, before=known | {each.effect.of.listing_id: each.after for each in (one, other) if each})


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
    if now is None or turn.parted:
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
