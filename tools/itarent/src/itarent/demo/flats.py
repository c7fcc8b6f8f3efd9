"""Listings as portals publish them: invented, seeded, with the rents, zones and habits of five Italian cities."""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

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
    ListingFlag,
    ListingStatus,
    Offering,
    Position,
    PropertyType,
    Rent,
    SpeseTerm,
)


class Scene(StrEnum):
    """What happens to a listing."""

    NEW = "new"
    PRICE_DROP = "price drop"
    WITHDRAWN = "withdrawn"
    SECOND_PORTAL = "second portal"
    DOUBTFUL = "doubtful"
    BROKEN = "broken"


@dataclass(frozen=True)
class Played:
    """One record for the listings topic: a listing, or bytes that are none."""

    scene: Scene
    listing: Listing | None = None
    broken: bytes = b""


@dataclass(frozen=True)
class Quarter:
    """A zone of a comune: where it is and what a square metre costs a month, in euro."""

    comune: str
    comune_name: str
    province: str
    zone: str
    latitude: float
    longitude: float
    rent_per_m2: float


QUARTERS: Final = (
    Quarter("015146", "Milano", "MI", "Navigli", 45.4502, 9.1722, 25),
    Quarter("015146", "Milano", "MI", "Porta Romana", 45.4520, 9.2020, 24),
    Quarter("015146", "Milano", "MI", "Isola", 45.4871, 9.1898, 26),
    Quarter("015146", "Milano", "MI", "Lambrate", 45.4838, 9.2420, 20),
    Quarter("015146", "Milano", "MI", "Bicocca", 45.5170, 9.2110, 18),
    Quarter("058091", "Roma", "RM", "Trastevere", 41.8886, 12.4694, 22),
    Quarter("058091", "Roma", "RM", "Testaccio", 41.8767, 12.4756, 19),
    Quarter("058091", "Roma", "RM", "Pigneto", 41.8892, 12.5290, 16),
    Quarter("058091", "Roma", "RM", "Ostiense", 41.8672, 12.4790, 16),
    Quarter("037006", "Bologna", "BO", "Bolognina", 44.5110, 11.3450, 16),
    Quarter("037006", "Bologna", "BO", "San Vitale", 44.4950, 11.3580, 18),
    Quarter("001272", "Torino", "TO", "San Salvario", 45.0550, 7.6800, 13),
    Quarter("001272", "Torino", "TO", "Vanchiglia", 45.0700, 7.6990, 13),
    Quarter("063049", "Napoli", "NA", "Vomero", 40.8440, 14.2300, 15),
    Quarter("063049", "Napoli", "NA", "Chiaia", 40.8330, 14.2400, 17),
)

PORTALS: Final = ("immobiliare.it", "idealista.it", "casa.it")
STREETS: Final = ("Garibaldi", "Mazzini", "Verdi", "Dante", "dell'Orto", "San Martino", "Cavour", "della Repubblica")
AGENCIES: Final = ("Case Serene", "Studio Aurora", "Tetto d'Oro", "Abitare Oggi")
NAMES_BY_ROOMS: Final = {1: "Monolocale", 2: "Bilocale", 3: "Trilocale", 4: "Quadrilocale"}
SCENES: Final = {
    Scene.NEW: 60,
    Scene.SECOND_PORTAL: 12,
    Scene.PRICE_DROP: 12,
    Scene.WITHDRAWN: 8,
    Scene.DOUBTFUL: 5,
    Scene.BROKEN: 3,
}


@dataclass
class Market:
    """A supply of listings: the same seed and clock readings give the same ones."""

    seed: int
    on_offer: list[Listing] = field(default_factory=list)
    _published: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - a film, not a secret

    def play(self, now: dt.datetime) -> Iterator[Played]:
        """What is published next, without end; versions grow with each listing from `now` on."""
        clock = int(now.timestamp() * 1000)
        while True:
            clock += 1
            yield self._next(clock)

    def _next(self, version: int) -> Played:
        (scene,) = self._random.choices(list(SCENES), weights=list(SCENES.values()))
        if scene is Scene.BROKEN:
            return Played(scene, broken=self._random.choice((b"{not json", b'{"listing": {"version": -1}}', b"[]")))
        if scene is Scene.NEW or len(self.on_offer) < 10:  # noqa: PLR2004 - enough to choose from
            return Played(Scene.NEW, self._offer(self._new_flat(version)))
        if scene is Scene.DOUBTFUL:
            return Played(scene, self._doubtful(self._new_flat(version)))
        listing = self._random.choice(self.on_offer)
        match scene:
            case Scene.PRICE_DROP:
                return Played(scene, self._replace(listing, self._cheaper(listing, version)))
            case Scene.WITHDRAWN:
                self.on_offer.remove(listing)
                gone = {"status": ListingStatus.WITHDRAWN, "version": version}
                return Played(scene, listing.model_copy(update=gone))
            case _:
                return Played(Scene.SECOND_PORTAL, self._on_another_portal(listing, version))

    def _offer(self, listing: Listing) -> Listing:
        self.on_offer.append(listing)
        return listing

    def _replace(self, old: Listing, new: Listing) -> Listing:
        self.on_offer[self.on_offer.index(old)] = new
        return new

    def _cheaper(self, listing: Listing, version: int) -> Listing:
        assert listing.rent
        amount = int(round(listing.rent.amount_cents * self._random.uniform(0.85, 0.95), -3))
        rent = listing.rent.model_copy(update={"amount_cents": amount})
        return listing.model_copy(update={"rent": rent, "version": version})

    def _on_another_portal(self, listing: Listing, version: int) -> Listing:
        portal = self._random.choice([each for each in PORTALS if each != listing.source])
        return listing.model_copy(update={**self._address_at(portal), "version": version})

    def _doubtful(self, listing: Listing) -> Listing:
        """Rents as they are really found: 1 € and 12.5 million €, or none at all."""
        amount, flag = self._random.choice(
            (
                (100, ListingFlag.RENT_IMPLAUSIBLY_LOW),
                (1_250_000_000, ListingFlag.RENT_IMPLAUSIBLY_HIGH),
                (None, ListingFlag.RENT_ON_REQUEST),
            )
        )
        return listing.model_copy(update={"rent": Rent(amount_cents=amount) if amount else None, "flags": (flag,)})

    def _address_at(self, portal: str) -> dict[str, str]:
        self._published += 1
        number = 40_000_000 + self.seed % 1000 * 10_000 + self._published
        return {
            "source": portal,
            "listing_id": f"{portal}:{number}",
            "url": f"https://www.{portal}.example/annunci/{number}",
        }

    def _new_flat(self, version: int) -> Listing:
        pick = self._random
        quarter = pick.choice(QUARTERS)
        room = pick.random() < 0.12  # noqa: PLR2004 - about the share of rooms among real listings
        rooms = pick.choices((1, 2, 3, 4, 5), weights=(18, 38, 27, 12, 5))[0]
        area = pick.randint(12, 20) if room else 22 + 24 * (rooms - 1) + pick.randint(0, 20)
        rent = max(300, round(area * quarter.rent_per_m2 * pick.uniform(0.8, 1.15), -1))
        agency = pick.random() < 0.8  # noqa: PLR2004 - likewise
        kind = "Stanza singola" if room else NAMES_BY_ROOMS.get(rooms, f"Appartamento {rooms} locali")
        street = pick.choice(STREETS)
        return Listing(
            **self._address_at(pick.choice(PORTALS)),
            version=version,
            published_at=dt.datetime.fromtimestamp(version / 1000, dt.UTC),
            title=f"{kind} via {street}, {quarter.zone}, {quarter.comune_name}",
            description=f"{kind} in via {street}, zona {quarter.zone}. Luminoso, vicino ai mezzi pubblici.",
            comune=quarter.comune,
            comune_name=quarter.comune_name,
            province=quarter.province,
            zone=quarter.zone,
            address=f"via {street} {pick.randint(1, 120)}",
            position=Position(
                latitude=round(quarter.latitude + pick.gauss(0, 0.004), 6),
                longitude=round(quarter.longitude + pick.gauss(0, 0.005), 6),
            ),
            rent=Rent(amount_cents=int(rent) * 100, spese=pick.choice((SpeseTerm.EXCLUDED, SpeseTerm.INCLUDED))),
            spese_cents=pick.choice((None, 5_000, 8_000, 12_000)),
            contract=pick.choice((None, ContractType.FREE_4_4, ContractType.AGREED_3_2, ContractType.TRANSITORY)),
            offering=Offering.ROOM if room else Offering.WHOLE,
            property_type=PropertyType.STUDIO if rooms == 1 and not room else PropertyType.APARTMENT,
            rooms=rooms,
            bathrooms=1 if rooms < 4 else 2,  # noqa: PLR2004 - from the quadrilocale on
            area_m2=area,
            floor=pick.choice((None, Floor(kind=FloorKind.PIANO_TERRA, number=0), self._numbered_floor())),
            furnishing=pick.choice((None, Furnishing.FURNISHED, Furnishing.UNFURNISHED)),
            features=self._features(),
            energy_class=pick.choice((None, *EnergyClass)),
            advertiser=AdvertiserKind.AGENCY if agency else AdvertiserKind.PRIVATE,
            agency=Agency(name=pick.choice(AGENCIES), reference=f"A-{version % 10_000_000}") if agency else Agency(),
        )

    def _numbered_floor(self) -> Floor:
        return Floor(kind=FloorKind.NUMBERED, number=self._random.randint(1, 7))

    def _features(self) -> dict[Feature, bool]:
        """About half of what a renter would like to know is not said."""
        return {feature: self._random.random() < 0.6 for feature in Feature if self._random.random() < 0.5}  # noqa: PLR2004
