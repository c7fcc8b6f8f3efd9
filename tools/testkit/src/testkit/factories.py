"""Values for tests, one per type, each overridable field by field: `make_listing(rooms=3)`.

The defaults fit each other: the listing matches the search, which the subscription holds, whose user is the
recipient, who is told of the listing by the notification.
"""

import datetime as dt
from typing import Any, TypeVar
from uuid import UUID

from common.events import (
    MatchedSearch,
    NotificationRequested,
    Reason,
    Recipient,
    card_of,
    notification_id_of,
)
from common.listing import (
    AdvertiserKind,
    Agency,
    ContractType,
    EnergyClass,
    Feature,
    Floor,
    FloorKind,
    Furnishing,
    Listing,
    Offering,
    Position,
    PropertyType,
    Rent,
    RentUnit,
    SpeseTerm,
)
from common.model import Value
from common.search import InComune, Range, RentLimit, Search, Subscription

MILANO = "015146"
NOW = dt.datetime(2026, 11, 20, 9, 30, tzinfo=dt.UTC)
"""The moment at which the defaults are set: a Friday morning."""
USER_ID = UUID("0a7c0f8e-52f4-4c0b-9a0e-3d1f5b6c7d01")
SUBSCRIPTION_ID = UUID("5b1d2c3e-8f60-4a6d-b7c4-2e9f0a1b2c02")
FLAT_ID = UUID("f1a7e2d4-3c5b-4e8f-a9d0-6b7c8d9e0f03")

_V = TypeVar("_V", bound=Value)


def _made(kind: type[_V], defaults: dict[str, Any], changes: dict[str, Any]) -> _V:
    """Build a validated value; a misspelt change is an error, although values ignore what they do not know."""
    if misspelt := changes.keys() - kind.model_fields.keys():
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(misspelt))}")
    return kind.model_validate(defaults | changes)


def monthly(euros: int, *, spese: SpeseTerm = SpeseTerm.EXCLUDED) -> Rent:
    return Rent(amount_cents=euros * 100, per=RentUnit.MONTH, spese=spese)


def make_listing(**changes: Any) -> Listing:  # noqa: ANN401 - whatever the field takes
    """A bilocale near Loreto in Milano: 1,100 € a month and 120 € spese, complete in every field."""
    defaults: dict[str, Any] = {
        "listing_id": "immobiliare.it:104512377",
        "version": 1,
        "source": "immobiliare.it",
        "url": "https://www.immobiliare.it/annunci/104512377/",
        "title": "Bilocale in viale Abruzzi 48, Milano",
        "description": "Luminoso bilocale ristrutturato a due passi dalla metropolitana, con balcone e cucina.",
        "published_at": NOW,
        "comune": MILANO,
        "comune_name": "Milano",
        "province": "MI",
        "zone": "Loreto - Buenos Aires",
        "address": "viale Abruzzi 48",
        "position": Position(latitude=45.4803, longitude=9.2188),
        "rent": monthly(1100),
        "spese_cents": 120_00,
        "deposit_cents": 3300_00,
        "contract": ContractType.FREE_4_4,
        "offering": Offering.WHOLE,
        "property_type": PropertyType.APARTMENT,
        "rooms": 2,
        "bedrooms": 1,
        "bathrooms": 1,
        "area_m2": 55,
        "floor": Floor(kind=FloorKind.NUMBERED, number=3),
        "furnishing": Furnishing.FURNISHED,
        "features": {
            Feature.PETS: True,
            Feature.LIFT: True,
            Feature.BALCONY: True,
            Feature.TERRACE: False,
            Feature.GARDEN: False,
            Feature.PARKING: False,
            Feature.AIR_CONDITIONING: True,
        },
        "energy_class": EnergyClass.D,
        "available_from": dt.date(2026, 12, 1),
        "advertiser": AdvertiserKind.AGENCY,
        "agency": Agency(name="Immobiliare Abruzzi", reference="AB-48-3"),
    }
    return _made(Listing, defaults, changes)


def make_search(**changes: Any) -> Search:  # noqa: ANN401 - whatever the field takes
    """Two or three rooms in Milano for up to 1,200 € without spese, from 45 m²."""
    defaults: dict[str, Any] = {
        "places": (InComune(code=MILANO),),
        "rent": RentLimit(maximum_cents=1200_00),
        "rooms": Range(minimum=2, maximum=3),
        "area_m2": Range(minimum=45),
    }
    return _made(Search, defaults, changes)


def make_subscription(**changes: Any) -> Subscription:  # noqa: ANN401 - whatever the field takes
    defaults: dict[str, Any] = {
        "subscription_id": SUBSCRIPTION_ID,
        "user_id": USER_ID,
        "revision": 1,
        "name": "Bilocale a Milano",
        "search": make_search(),
    }
    return _made(Subscription, defaults, changes)


def make_recipient(**changes: Any) -> Recipient:  # noqa: ANN401 - whatever the field takes
    """A renter whom nothing holds back: phone proven, not stopped, no quiet hours, window open at NOW."""
    defaults: dict[str, Any] = {
        "user_id": USER_ID,
        "revision": 1,
        "phone": "+393335550101",
        "verified": True,
        "window_opened_at": NOW - dt.timedelta(hours=1),
    }
    return _made(Recipient, defaults, changes)


def make_notification(
    listing: Listing | None = None,
    subscription: Subscription | None = None,
    **changes: Any,  # noqa: ANN401 - whatever the field takes
) -> NotificationRequested:
    """The event that tells the subscription's user of the listing; its id follows from flat, user and reason."""
    listing = listing or make_listing()
    subscription = subscription or make_subscription()
    user_id = changes.get("user_id", subscription.user_id)
    flat_id = changes.get("flat_id", FLAT_ID)
    reason = changes.get("reason", Reason.NEW)
    matched = MatchedSearch(
        subscription_id=subscription.subscription_id, revision=subscription.revision, name=subscription.name
    )
    defaults: dict[str, Any] = {
        "notification_id": notification_id_of(flat_id, user_id, reason, listing),
        "user_id": user_id,
        "flat_id": flat_id,
        "reason": reason,
        "searches": (matched,),
        "card": card_of(listing),
        "requested_at": NOW,
    }
    return _made(NotificationRequested, defaults, changes)
