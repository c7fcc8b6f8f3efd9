"""The real file of rentals: what searches are drawn from, and a sample of it to match.

The file says nothing about some of what listings may say; the sample gets that by the seed.
"""

import datetime as dt
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.comuni import Comuni
from common.listing import (
    AdvertiserKind,
    ContractType,
    EnergyClass,
    Feature,
    Floor,
    FloorKind,
    Listing,
    Position,
    SpeseTerm,
)
from itarent.bench.demand import listings_in

SOURCES: Final = ("immobiliare.it", "idealista.it", "casa.it", "subito.it")
PHRASES: Final = (
    "luminoso", "vista mare", "ultimo piano", "cucina abitabile", "aria condizionata", "doppi vetri", "parquet",
    "riscaldamento autonomo", "riscaldamento centralizzato", "portineria", "cantina", "box auto", "posto auto",
    "animali ammessi", "no animali", "solo referenziati", "studenti", "lavoratori", "vicino alla metropolitana",
    "università", "centro storico", "ristrutturato", "nuova costruzione", "da ristrutturare", "piano alto",
    "silenzioso", "giardino condominiale", "terrazzo panoramico", "due bagni", "lavatrice", "lavastoviglie",
    "fibra ottica", "spese incluse", "contratto transitorio", "cedolare secca", "senza ascensore", "dell'orto",
    "caffè", "bilocale", "trilocale",
)  # fmt: skip
"""What descriptions say, and what renters ask for."""

AWAY_DEGREES: Final = 0.03
"""How far flats lie from the centre of their comune: about 3 km."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Market:
    """What the listings of the file say, as far as searches are drawn from it; a row for each listing."""

    comune: Sequence[str]
    zone: Sequence[str | None]
    rent_eur: NDArray[np.int64]
    rooms: NDArray[np.int64]
    area_m2: NDArray[np.int64]


def supply(file: Path, count: int, seed: int) -> tuple[Market, list[Listing]]:
    """The market of the file, and at most `count` of its listings in random order, completed."""
    listings = [listing for listing in listings_in(file) if listing.comune or listing.province]
    chance = random.Random(seed)  # noqa: S311 - seeded
    chosen = chance.sample(listings, min(count, len(listings)))
    sample = [completed(listing, seed + number) for number, listing in enumerate(chosen)]
    return market_of(listings), sample


def market_of(listings: Sequence[Listing]) -> Market:
    """Those that say their comune; where one does not say more, a common value."""
    listings = [listing for listing in listings if listing.comune]
    return Market(
        comune=[listing.comune or "" for listing in listings],
        zone=[listing.zone for listing in listings],
        rent_eur=np.array([min(listing.monthly_rent_cents or 85_000, 2_000_000) // 100 for listing in listings]),
        rooms=np.array([min(listing.rooms or 2, 6) for listing in listings]),
        area_m2=np.array([min(listing.area_m2 or 70, 500) for listing in listings]),
    )


def completed(listing: Listing, seed: int) -> Listing:
    """With what the file does not say."""
    return listing.model_copy(update=_extras(listing, random.Random(seed)))  # noqa: S311 - seeded


def _extras(listing: Listing, chance: random.Random) -> Mapping[str, Any]:
    rent = listing.rent and listing.rent.model_copy(update={"spese": chance.choice(list(SpeseTerm))})
    return {
        "source": chance.choice(SOURCES),
        "position": _perhaps(0.85, near(listing.comune, chance), chance),
        "rent": rent,
        "spese_cents": _perhaps(0.4, chance.randrange(2_000, 20_000, 500), chance),
        "deposit_cents": _perhaps(0.3, 2 * (listing.monthly_rent_cents or 80_000), chance),
        "contract": _perhaps(0.6, chance.choice(list(ContractType)), chance),
        "bedrooms": _perhaps(0.5, max(0, (listing.rooms or 2) - 1), chance),
        "floor": _perhaps(0.7, _floor(chance), chance),
        "features": {**listing.features, **_more_features(chance)},
        "energy_class": _perhaps(0.1, chance.choice(list(EnergyClass)), chance) or listing.energy_class,
        "advertiser": _perhaps(0.8, chance.choices(list(AdvertiserKind), (4, 1))[0], chance),
        "available_from": _perhaps(0.4, dt.date(2026, 12, 1) + dt.timedelta(days=chance.randrange(120)), chance),
        "description": _perhaps(0.95, ". ".join(chance.sample(PHRASES, chance.randint(5, 12))), chance) or "",
    }


def near(comune: str | None, chance: random.Random) -> Position | None:
    """A point within a few kilometres of a comune's centre."""
    found = Comuni.load().by_code(comune) if comune else None
    if not found or not found.centre:
        return None
    return Position(
        latitude=found.centre.latitude + chance.uniform(-AWAY_DEGREES, AWAY_DEGREES),
        longitude=found.centre.longitude + chance.uniform(-AWAY_DEGREES, AWAY_DEGREES),
    )


def _floor(chance: random.Random) -> Floor:
    kind = chance.choices(list(FloorKind), (1, 4, 3, 1, 20, 2))[0]
    return Floor(kind=kind, number=chance.randint(1, 9) if kind is FloorKind.NUMBERED else None)


def _more_features(chance: random.Random) -> Mapping[Feature, bool]:
    features = (Feature.PETS, Feature.LIFT, Feature.TERRACE, Feature.AIR_CONDITIONING)
    said = {feature: _perhaps(0.4, chance.choice((True, True, False)), chance) for feature in features}
    return {feature: has for feature, has in said.items() if has is not None}


def _perhaps(share: float, value: _T, chance: random.Random) -> _T | None:
    return value if chance.random() < share else None
