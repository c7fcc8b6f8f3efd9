"""Listings of a real file, and searches as renters would save them, drawn from these: busy cities get more of them."""

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID, uuid5

from common.comuni import Comuni
from common.events import NAMESPACE, Recipient
from common.listing import Listing
from common.search import InComune, Range, RentLimit, Search, Subscription
from itarent.listings.draft import Judge
from itarent.listings.files import Format, How, opened, outcomes
from itarent.listings.mapping import load_mapping

MAPPING: Final = "italy_rentals_2023"


def listings_in(file: Path) -> Iterator[Listing]:
    how = How(Judge(Comuni.load(), None), Format.AUTO, load_mapping(MAPPING), None)
    with opened(file) as rows:
        for outcome in outcomes(file, rows, how):
            if isinstance(outcome.result, Listing):
                yield outcome.result


def as_new(listing: Listing, number: int) -> Listing:
    """The same offer as another advertisement, so that those who wanted the first want this one too."""
    return listing.model_copy(
        update={"listing_id": f"bench:{number}", "source": "bench", "url": f"https://bench.example/{number}"}
    )


def searches(listings: Sequence[Listing], count: int, chance: random.Random) -> Iterator[tuple[Listing, Search]]:
    """Searches, each with the listing that it was drawn from and that it matches."""
    suitable = [listing for listing in listings if listing.comune and listing.monthly_rent_cents and listing.rooms]
    for listing in chance.choices(suitable, k=count):
        yield listing, _search_for(listing, chance)


def _search_for(listing: Listing, chance: random.Random) -> Search:
    """The listing's quarter if it has one, its number of rooms, and a round limit a little above its rent."""
    assert listing.comune
    assert listing.monthly_rent_cents
    step = 5_000
    limit = (int(listing.monthly_rent_cents * chance.uniform(1.0, 1.15)) // step + 1) * step
    return Search(
        places=(InComune(code=listing.comune, zones=(listing.zone,) if listing.zone else ()),),
        rent=RentLimit(maximum_cents=limit),
        rooms=Range(minimum=listing.rooms, maximum=listing.rooms),
        area_m2=Range(minimum=int(listing.area_m2 * chance.uniform(0.7, 1.0))) if listing.area_m2 else None,
    )


def subscription(number: int, search: Search) -> Subscription:
    """Everybody has one search."""
    return Subscription(
        subscription_id=uuid5(NAMESPACE, f"bench/subscription/{number}"),
        user_id=user_id(number),
        revision=1,
        name=f"Ricerca {number}",
        search=search,
    )


def recipient(number: int, now: dt.datetime) -> Recipient:
    """A proven, fictitious phone whose window is open."""
    return Recipient(user_id=user_id(number), revision=1, phone=phone(number), verified=True, window_opened_at=now)


def user_id(number: int) -> UUID:
    return uuid5(NAMESPACE, f"bench/user/{number}")


def phone(number: int) -> str:
    return f"+39333555{number:05}"
