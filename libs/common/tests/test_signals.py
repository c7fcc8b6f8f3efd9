"""What is noticed about listings: by table on a map of two zones, and on the real advertisements of Milano."""

import csv
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from common.listing import (
    ContractType,
    ListingFlag,
    Offering,
    Position,
    PropertyType,
    Rent,
    RentUnit,
    Signal,
    SpeseTerm,
)
from common.signals import signals_of
from common.zone_rents import ZoneId, ZoneRents, levels
from testkit.factories import make_listing, monthly

BELOW, ABOVE, SCAM = Signal
LORETO = Position(latitude=45.4803, longitude=9.2188)
UNMEASURED = Position(latitude=45.48, longitude=9.5)
ABROAD = "Al momento lavoro all'estero e spedirò le chiavi."
SEND = "Si paga con BONIFICO INTERNAZIONALE."


def square(west: float, east: float) -> dict[str, Any]:
    ring = [[west, 45.4], [east, 45.4], [east, 45.6], [west, 45.6], [west, 45.4]]
    return {"type": "Polygon", "coordinates": [ring]}


@pytest.fixture
def omi(tmp_path: Path) -> Path:
    """A zone of Milano in which 70 m² are usually asked for 70 times 20 times its level, and one without a level."""
    features = [
        {"properties": {"CODCOM": "F205", "CODZONA": "B17"}, "geometry": square(9.1, 9.3)},
        {"properties": {"CODCOM": "F205", "CODZONA": "R2"}, "geometry": square(9.3, 9.6)},
    ]
    (tmp_path / "omi_zones_milano_2018s2.geojson").write_text(json.dumps({"features": features}))
    rows = [
        ("cadastral_code", "zona", "typology", "condition", "rent_min_eur_m2_month", "rent_max_eur_m2_month"),
        ("F205", "B17", "Abitazioni di tipo economico", "NORMALE", 12, 16),
        ("F205", "B17", "Abitazioni civili", "OTTIMO", 20, 28),
        ("F205", "B17", "Abitazioni civili", "SCADENTE", 5, 9),
        ("F205", "B17", "Ville e Villini", "NORMALE", 40, 50),
        ("F205", "R2", "Abitazioni civili", "NORMALE", 5, 7),
    ]
    with gzip.open(tmp_path / "omi_residential_rent_2018s2.csv.gz", "wt", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


def usual(zone_rents: ZoneRents, area_m2: int = 70) -> float:
    rent = zone_rents.usual_rent(LORETO, area_m2)
    assert rent is not None
    return rent


def test_a_usual_rent_is_the_middle_of_the_flats_band_at_todays_level(omi: Path) -> None:
    zone_rents = ZoneRents.load(omi)
    assert usual(zone_rents) == pytest.approx(70 * 20 * levels()["F205", "B"])
    assert usual(zone_rents, 35) / 35 > usual(zone_rents) / 70  # small flats cost more a square metre
    assert zone_rents.zone_of(UNMEASURED) == ZoneId("F205", "R2")
    assert zone_rents.usual_rent(UNMEASURED, 70) is None
    assert zone_rents.usual_rent(Position(latitude=41.9, longitude=12.5), 70) is None


@pytest.mark.parametrize(
    ("share", "said", "expected"),
    [
        (0.49, {}, (BELOW,)),
        (0.51, {}, ()),
        (2.99, {}, ()),
        (3.01, {}, (ABOVE,)),
        (0.2, {"position": None}, ()),
        (0.2, {"position": UNMEASURED}, ()),
        (0.2, {"area_m2": None}, ()),
        (0.2, {"offering": Offering.ROOM}, ()),
        (0.2, {"offering": None, "title": "Stanza in viale Abruzzi"}, ()),
        (0.2, {"contract": ContractType.SHORT_TERM}, ()),
        (5.0, {"property_type": PropertyType.VILLA}, ()),
        (0.2, {"flags": (ListingFlag.RENT_IMPLAUSIBLY_LOW,)}, ()),
    ],
)
def test_a_rent_is_far_from_its_zone_below_half_and_above_three_times(
    omi: Path, share: float, said: dict[str, Any], expected: tuple[Signal, ...]
) -> None:
    zone_rents = ZoneRents.load(omi)
    listing = make_listing(**{"area_m2": 70, "rent": monthly(round(share * usual(zone_rents)))} | said)
    assert signals_of(listing, zone_rents) == expected


def test_a_rent_that_may_be_usual_is_no_signal(omi: Path) -> None:
    """Without its spese, unknown and up to half of it, it would be far below."""
    zone_rents = ZoneRents.load(omi)
    inclusive = monthly(round(0.7 * usual(zone_rents)), spese=SpeseTerm.INCLUDED)
    assert signals_of(make_listing(area_m2=70, rent=inclusive, spese_cents=None), zone_rents) == ()
    yearly = Rent(amount_cents=100, per=RentUnit.YEAR)
    assert signals_of(make_listing(area_m2=70, rent=yearly), zone_rents) == ()


@pytest.mark.parametrize(
    ("share", "text", "expected"),
    [
        (1.0, "", ()),
        (1.0, ABROAD, ()),
        (1.0, SEND, ()),
        (1.0, f"{ABROAD} {SEND}", (SCAM,)),
        (1.0, "I'm currently abroad; wire the deposit and I ship the keys.", (SCAM,)),
        (1.0, "Non é possibile visitare. Pagamento con Postepay", (SCAM,)),
        (0.4, "", (BELOW,)),
        (0.4, ABROAD, (BELOW, SCAM)),
        (0.4, SEND, (BELOW, SCAM)),
        (0.4, "Visite ogni giorno. Deposito alla firma, con bonifico.", (BELOW,)),
    ],
)
def test_two_of_three_signs_make_a_scam(omi: Path, share: float, text: str, expected: tuple[Signal, ...]) -> None:
    zone_rents = ZoneRents.load(omi)
    rent = monthly(round(share * usual(zone_rents)))
    assert signals_of(make_listing(area_m2=70, rent=rent, description=text), zone_rents) == expected


def test_without_zone_rents_the_text_alone_speaks() -> None:
    assert signals_of(make_listing(rent=monthly(100), description=f"{ABROAD} {SEND}"), None) == (SCAM,)
    assert signals_of(make_listing(rent=monthly(100)), None) == ()


def test_a_directory_without_the_files_says_which_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"omi_residential_rent_\*"):
        ZoneRents.load(tmp_path)


@pytest.fixture
def data(pytestconfig: pytest.Config) -> Path:
    root = Path(os.environ.get("ITARENT_DATA", pytestconfig.rootpath.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"the data sets are not at {root}: set ITARENT_DATA")
    return root


def test_of_the_real_rents_of_milano_of_2025_about_one_in_a_hundred_is_far_off(data: Path) -> None:
    """The levels are measured on listings of 2023: these are others."""
    zone_rents = ZoneRents.load(data / "geo" / "omi")
    listings = data / "listings" / "milan_rent_2025"
    with (listings / "zones_coordinares.csv").open(encoding="utf-8", newline="") as file:
        at = {
            row["zone"]: Position(latitude=float(row["latitude"]), longitude=float(row["longitude"]))
            for row in csv.DictReader(file)
        }
    with (listings / "train_raw.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["zone"] in at and row["square_meters"] != "NA"]
    told = [
        signals_of(
            make_listing(
                position=at[row["zone"]], area_m2=int(float(row["square_meters"])), rent=monthly(int(float(row["y"])))
            ),
            zone_rents,
        )
        for row in rows
    ]
    assert len(told) > 4000
    assert 0.005 < told.count((BELOW,)) / len(told) < 0.015
    assert 0.005 < told.count((ABOVE,)) / len(told) < 0.015
