"""The renters of the demonstration and what they look for."""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Renter:
    """A renter: `searches` are bodies for `POST /api/v1/subscriptions`. The phones are fictitious."""

    name: str
    email: str
    phone: str
    language: str
    searches: tuple[dict[str, Any], ...]


def _search(name: str, **criteria: Any) -> dict[str, Any]:  # noqa: ANN401 - as JSON
    return {"name": name, "alerts": ["new", "price_drop", "withdrawn"], "search": criteria}


def _comune(code: str, *zones: str) -> dict[str, Any]:
    return {"kind": "comune", "code": code, "zones": list(zones)}


def _up_to(euro: int, spese: str = "excluded") -> dict[str, Any]:
    return {"maximum_cents": euro * 100, "spese": spese}


RENTERS: Final = (
    Renter(
        "Giulia",
        "giulia@renters.example",
        "+393335550101",
        "it",
        (
            _search(
                "Bilocale a Milano",
                places=[_comune("015146")],
                rent=_up_to(1400),
                rooms={"minimum": 2, "maximum": 3},
                offering="whole",
            ),
            _search(
                "Sogno sui Navigli", places=[_comune("015146", "Navigli")], rent=_up_to(2500), features=["balcony"]
            ),
        ),
    ),
    Renter(
        "Marco",
        "marco@renters.example",
        "+393335550102",
        "it",
        (
            _search(
                "Roma sud, con spese",
                places=[_comune("058091", "Testaccio", "Ostiense", "Pigneto")],
                rent=_up_to(1200, "included"),
                unknown={"rent": "flag"},
            ),
        ),
    ),
    Renter(
        "Anna",
        "anna@renters.example",
        "+393335550103",
        "ru",
        (
            _search(
                "Центр Милана",
                places=[
                    {"kind": "circle", "centre": {"latitude": 45.4641, "longitude": 9.1919}, "radius_m": 3000},
                ],
                area_m2={"minimum": 45},
                rent=_up_to(2600),
            ),
        ),
    ),
    Renter(
        "John",
        "john@renters.example",
        "+393335550104",
        "en",
        (
            _search(
                "Bologna for a year",
                places=[_comune("037006")],
                contracts=["transitory", "students", "3+2"],
                rent=_up_to(1300),
                keywords_unwanted=["asta"],
            ),
        ),
    ),
    Renter(
        "Famiglia Conti",
        "conti@renters.example",
        "+393335550105",
        "it",
        (
            _search(
                "Famiglia in Piemonte",
                places=[{"kind": "province", "code": "TO"}],
                rooms={"minimum": 3},
                features=["lift"],
                rent=_up_to(1800),
            ),
        ),
    ),
    Renter(
        "Chiara",
        "chiara@renters.example",
        "+393335550106",
        "it",
        (
            _search("Stanza a Napoli", places=[_comune("063049")], offering="room", rent=_up_to(550)),
            _search("Casa a Napoli", places=[_comune("063049")], offering="whole", rent=_up_to(1100)),
        ),
    ),
)
