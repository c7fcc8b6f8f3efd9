"""What there is to tell, and to whom: notifications as the matcher makes them, recipients as the api does."""

import datetime as dt
import random
from collections.abc import Sequence
from uuid import UUID, uuid5

from common.comuni import Comune, Comuni
from common.events import (
    NAMESPACE,
    MatchedSearch,
    NotificationRequested,
    Reason,
    Recipient,
    card_of,
    notification_id_of,
)
from common.listing import Listing, PropertyType, Rent, SpeseTerm
from itarent.bench.demand import recipient, user_id


def recipients(count: int, now: dt.datetime) -> list[Recipient]:
    return [recipient(number, now) for number in range(count)]


def listings(count: int, chance: random.Random) -> list[Listing]:
    """Flats of many sizes in the comuni of Italy."""
    comuni = list(Comuni.load())
    return [_listing(number, chance.choice(comuni), chance) for number in range(count)]


def _listing(number: int, comune: Comune, chance: random.Random) -> Listing:
    rooms = chance.randint(1, 5)
    return Listing(
        listing_id=f"bench:{number}",
        version=1,
        source="bench",
        url=f"https://bench.example/annunci/{number}/",
        title="Appartamento ristrutturato con balcone, a due passi dalla metropolitana",
        comune=comune.code,
        comune_name=comune.name,
        property_type=PropertyType.APARTMENT,
        rent=Rent(amount_cents=chance.randint(400, 2_000) * 100, spese=SpeseTerm.EXCLUDED),
        spese_cents=chance.randint(30, 200) * 100,
        rooms=rooms,
        area_m2=20 * rooms + chance.randint(5, 25),
    )


def notifications(flats: Sequence[Listing], users: Sequence[int], now: dt.datetime) -> list[NotificationRequested]:
    """Each of the flats for each of the users, flat by flat, as they come from the matcher."""
    return [notification(flat, number, now) for flat in flats for number in users]


def notification(flat: Listing, number: int, now: dt.datetime) -> NotificationRequested:
    """A flat for the user of this number, who has one search."""
    user, flat_id = user_id(number), flat_id_of(flat)
    search = MatchedSearch(
        subscription_id=uuid5(NAMESPACE, f"bench/subscription/{number}"), revision=1, name=f"Ricerca {number}"
    )
    return NotificationRequested(
        notification_id=notification_id_of(flat_id, user, Reason.NEW, flat),
        user_id=user,
        flat_id=flat_id,
        reason=Reason.NEW,
        searches=(search,),
        card=card_of(flat),
        requested_at=now,
    )


def flat_id_of(flat: Listing) -> UUID:
    return uuid5(NAMESPACE, f"bench/flat/{flat.listing_id}")
