"""Which advertisements are of one flat. Pure: the store asks with what it has read.

Joining two flats hides one of them from a renter, keeping one flat apart shows it twice; the first is worse. So
advertisements meet only within a block (comune, area, rooms), on an agency's reference or on place, floor and rent
together, and whatever contradicts keeps them apart. Texts do not count: agencies use one text for many flats.

Where this was wrong all the same, an operator parts an advertisement from others. Then both sides are flats under new
ids: under the old one a renter may have been told of either.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from common.comuni import Comuni
from common.events import NAMESPACE
from common.geo import distance_m
from common.listing import Cents, Floor, FloorKind, Listing, ListingId, Position
from common.model import Value
from common.text import fold

NEAR_M: Final = 50
"""How far apart two portals may put one flat."""

NEAR_DEGREES: Final = 0.0007
"""At least NEAR_M in both directions, anywhere in Italy: for looking up what may be near."""

RENT_TOLERANCE_PERCENT: Final = 2
"""How far the rents of one flat on two portals may differ: one of them rounds, or is a day behind."""

DISTINCT_REFERENCE_LENGTH: Final = 5
"""A reference this long says enough even where an advertisement does not name its agency; `12` does not."""


class Advertisement(Value):
    """What of a listing tells whether it is of the same flat as another. References and names are folded."""

    listing_id: ListingId
    source: str
    block: str | None
    agency: str | None
    reference: str | None
    position: Position | None
    floor: Floor | None
    rent_cents: Cents | None


class JoinReason(StrEnum):
    REFERENCE = "reference"
    PLACE = "place"


Apart = Mapping[ListingId, Collection[ListingId]]
"""With which others an advertisement is not to be joined, because somebody has said so."""


@dataclass(frozen=True)
class Joined:
    """The flat that an advertisement is of: by which reason, and like which other; None: it is the flat's first."""

    flat_id: UUID
    reason: JoinReason | None = None
    like: ListingId | None = None


def advertisement_of(listing: Listing) -> Advertisement:
    return Advertisement(
        listing_id=listing.listing_id,
        source=listing.source,
        block=block_of(listing),
        agency=fold(listing.agency.name or "") or None,
        reference=fold(listing.agency.reference or "").replace(" ", "") or None,
        position=listing.position,
        floor=listing.floor,
        rent_cents=listing.monthly_rent_cents,
    )


def block_of(listing: Listing) -> str | None:
    """What all advertisements of one flat share. None where too little is known: such a flat stays alone."""
    if listing.comune is None or listing.area_m2 is None or listing.rooms is None:
        return None
    return f"{Comuni.load().current(listing.comune)}/{listing.area_m2}/{listing.rooms}"


def same_flat(one: Advertisement, other: Advertisement) -> JoinReason | None:
    """Why two advertisements are of one flat, or None."""
    if one.block is None or one.block != other.block or _contradict(one, other):
        return None
    if _share_reference(one, other):
        return JoinReason.REFERENCE
    if one.source != other.source and _near(one, other) and _cost_the_same(one, other):
        return JoinReason.PLACE
    return None


def assign(
    new: Iterable[Advertisement], flats: Mapping[UUID, Collection[Advertisement]], apart: Apart
) -> dict[ListingId, Joined]:
    """The flat of each new advertisement, one after the other, so that two of one batch may meet as well."""
    members = {flat_id: list(each) for flat_id, each in flats.items()}
    in_block: defaultdict[str | None, set[UUID]] = defaultdict(set)
    for flat_id, each in flats.items():
        for advertisement in each:
            in_block[advertisement.block].add(flat_id)
    assigned: dict[ListingId, Joined] = {}
    for advertisement in new:
        near = {known: members[known] for known in in_block[advertisement.block]}
        joined = flat_of(advertisement, near, apart.get(advertisement.listing_id, ()))
        members.setdefault(joined.flat_id, []).append(advertisement)
        in_block[advertisement.block].add(joined.flat_id)
        assigned[advertisement.listing_id] = joined
    return assigned


def flat_of(
    new: Advertisement, flats: Mapping[UUID, Collection[Advertisement]], apart: Collection[ListingId] = ()
) -> Joined:
    """The flat, of those that are known in its block, that a new advertisement is of; else a flat of its own.

    It must be at one with every advertisement of the flat, not only with the one that it resembles.
    """
    if new.block is None:
        return _own_flat(new)
    joined = [joined for flat_id, members in flats.items() if (joined := _joins(new, flat_id, members, apart))]
    for reason in JoinReason:
        if fitting := [each for each in joined if each.reason is reason]:
            return min(fitting, key=lambda each: each.flat_id)
    return _own_flat(new)


def parted_flats(flat_id: UUID, listing_id: ListingId) -> tuple[UUID, UUID]:
    """The flats of an advertisement that is parted from the others of its flat, and of the others."""
    return uuid5(NAMESPACE, f"flat/{flat_id}/parted/{listing_id}"), uuid5(
        NAMESPACE, f"flat/{flat_id}/without/{listing_id}"
    )


def _own_flat(advertisement: Advertisement) -> Joined:
    return Joined(uuid5(NAMESPACE, f"flat/{advertisement.listing_id}"))


def _joins(
    new: Advertisement, flat_id: UUID, members: Collection[Advertisement], apart: Collection[ListingId]
) -> Joined | None:
    if any(_contradict(new, member) or member.listing_id in apart for member in members):
        return None
    like: dict[JoinReason | None, ListingId] = {}
    for member in members:
        like.setdefault(same_flat(new, member), member.listing_id)
    if JoinReason.REFERENCE in like:
        return Joined(flat_id, JoinReason.REFERENCE, like[JoinReason.REFERENCE])
    # One portal's second advertisement at the same place is the flat next door.
    if JoinReason.PLACE in like and new.source not in {member.source for member in members}:
        return Joined(flat_id, JoinReason.PLACE, like[JoinReason.PLACE])
    return None


def _contradict(one: Advertisement, other: Advertisement) -> bool:
    return _floors_differ(one.floor, other.floor) or _references_differ(one, other)


def _floors_differ(one: Floor | None, other: Floor | None) -> bool:
    if one is None or other is None:
        return False
    if one.number is not None and other.number is not None:
        return one.number != other.number
    return one.kind is not other.kind and FloorKind.ATTICO not in (one.kind, other.kind)  # an attico is on some floor


def _references_differ(one: Advertisement, other: Advertisement) -> bool:
    if one.reference is None or other.reference is None or one.reference == other.reference:
        return False
    return _names_agree(one.agency, other.agency)


def _share_reference(one: Advertisement, other: Advertisement) -> bool:
    if one.reference is None or one.reference != other.reference:
        return False
    if one.agency and other.agency:
        return _names_agree(one.agency, other.agency)
    return len(one.reference) >= DISTINCT_REFERENCE_LENGTH


def _names_agree(one: str | None, other: str | None) -> bool:
    """`Uniplaces` is `Uniplaces S.r.l.`: the words of the shorter name all occur in the longer one."""
    if one is None or other is None:
        return False
    shorter, longer = sorted((set(one.split()), set(other.split())), key=len)
    return shorter <= longer


def _near(one: Advertisement, other: Advertisement) -> bool:
    if one.position is None or other.position is None:
        return False
    return distance_m(one.position, other.position) <= NEAR_M


def _cost_the_same(one: Advertisement, other: Advertisement) -> bool:
    if one.rent_cents is None or other.rent_cents is None:
        return False
    lower, higher = sorted((one.rent_cents, other.rent_cents))
    return higher * 100 <= lower * (100 + RENT_TOLERANCE_PERCENT)
