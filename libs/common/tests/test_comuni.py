import csv
import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from common.comuni import Ambiguous, Comune, Comuni

COMUNI = Comuni.load()
DATA = Path(os.environ.get("ITARENT_DATA", Path(__file__).parents[3].parent / "shared" / "data"))


def code_of(name: str, province: str | None = None) -> str | None:
    found = COMUNI.find(name, province)
    return found.code if isinstance(found, Comune) else None


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Roma", "058091"),
        ("ROMA", "058091"),
        (" roma ", "058091"),
        ("Rome", "058091"),
        ("Roma (RM)", "058091"),
        ("Roma, RM", "058091"),
        ("Roma (Roma)", "058091"),
        ("Bolzano", "021008"),
        ("Bozen", "021008"),
        ("Bolzano/Bozen", "021008"),
        ("Bozen - Bolzano", "021008"),
        ("Merano", "021051"),
        ("Meran", "021051"),
        ("Reggio Emilia", "035033"),
        ("Reggio nell'Emilia", "035033"),
        ("Reggio nell\N{RIGHT SINGLE QUOTATION MARK}Emilia", "035033"),
        ("Reggio Calabria", "080063"),
        ("Reggio di Calabria", "080063"),
        ("Forlì", "040012"),
        ("Forli'", "040012"),
        ("FORLI", "040012"),
        ("L'Aquila", "066049"),
        ("San Remo", "008055"),
        ("S. Donato Milanese", "015192"),
        ("Montescudo - Montecolombo", "099029"),
        ("Pré-Saint-Didier", "007053"),
    ],
)
def test_a_comune_is_found_by_every_way_of_writing_it(name: str, code: str) -> None:
    assert code_of(name) == code


@pytest.mark.parametrize(
    ("name", "province", "today"),
    [
        ("Rossano", None, "Corigliano-Rossano"),
        ("Corigliano Calabro", "CS", "Corigliano-Rossano"),
        ("Bazzano", None, "Valsamoggia"),
        ("Figline Valdarno", None, "Figline e Incisa Valdarno"),
        ("Incisa in Val d'Arno", None, "Figline e Incisa Valdarno"),
        ("Quero Vas", None, "Setteville"),
        ("Monteciccardo", None, "Pesaro"),
        ("Salorno", None, "Salorno sulla strada del vino"),
        ("Popoli", None, "Popoli Terme"),
        ("Calliano", "AT", "Calliano Monferrato"),
        ("Valverde", "PV", "Colli Verdi"),
    ],
)
def test_a_comune_that_has_gone_is_found_as_what_it_is_today(name: str, province: str | None, today: str) -> None:
    found = COMUNI.find(name, province)
    assert isinstance(found, Comune)
    assert found.name == today


def test_a_name_of_today_comes_before_one_that_has_gone() -> None:
    assert code_of("Valverde") == "087052"


@pytest.mark.parametrize("name", ["San Teodoro", "Castro", "Samone", "Livo", "Peglio", "Paterno"])
def test_a_name_that_several_comuni_bear_is_never_guessed(name: str) -> None:
    found = COMUNI.find(name)
    assert isinstance(found, Ambiguous)
    assert len({comune.code for comune in found.candidates}) == 2


def test_the_province_decides_between_comuni_of_one_name() -> None:
    assert code_of("Castro", "LE") == "075096"
    assert code_of("Castro", "Bergamo") == "016065"
    assert code_of("Castro (LE)") == "075096"
    assert code_of("San Teodoro", "OT") == "090092", "its province until 2016"


def test_an_accent_decides_between_names_that_differ_by_it() -> None:
    assert code_of("Paternò") == "087033"


@pytest.mark.parametrize(
    ("name", "province"), [("Milano", "BG"), ("San Marino", None), ("", None), ("(RM)", None), ("Rom", None)]
)
def test_what_is_no_comune_is_not_found(name: str, province: str | None) -> None:
    assert COMUNI.find(name, province) is None


@pytest.mark.parametrize(
    ("code", "today"),
    [("078044", "078157"), ("078108", "078157"), ("037004", "037061"), ("015149", "108033"), ("058091", "058091")],
)
def test_a_former_code_leads_to_the_code_of_today(code: str, today: str) -> None:
    assert COMUNI.current(code) == today


def test_every_former_code_leads_to_a_comune_of_today_and_none_is_in_use() -> None:
    in_use = {comune.code for comune in COMUNI}
    former = COMUNI._current_code
    assert len(former) > 500
    assert set(former.values()) <= in_use
    assert not former.keys() & in_use


def test_provinces_are_known_by_sigla_and_by_name() -> None:
    for said in ("BZ", "Bolzano", "bozen", "Bolzano/Bozen"):
        assert (province := COMUNI.province(said)) is not None
        assert province.code == "BZ"
    assert COMUNI.province("Roma") != COMUNI.province("RO")
    assert COMUNI.province("XX") is None


def test_every_comune_is_found_by_its_own_name_and_province() -> None:
    missed = [comune.name for comune in COMUNI if code_of(comune.name, comune.province) != comune.code]
    assert missed == []


@pytest.mark.skipif(not DATA.exists(), reason="the shared data are not beside the project")
def test_every_city_of_seventy_thousand_rentals_is_known_or_honestly_ambiguous() -> None:
    with gzip.open(DATA / "listings" / "italy_rentals_2023.csv.gz", "rt", encoding="utf-8", newline="") as file:
        cities = Counter(row["citta"] for row in csv.DictReader(file))
    found = {city: COMUNI.find(city) for city in cities}
    assert [city for city, comune in found.items() if comune is None] == ["San Marino"], "which is not in Italy"
    ambiguous = {city for city, comune in found.items() if isinstance(comune, Ambiguous)}
    assert ambiguous == {"San Teodoro", "Castro", "Samone"}


@pytest.mark.skipif(not DATA.exists(), reason="the shared data are not beside the project")
def test_every_comune_that_has_gone_since_2023_is_known_by_its_code() -> None:
    with (DATA / "comuni" / "comuni_centroids_openpolis_2023.csv").open(encoding="utf-8", newline="") as file:
        codes = [row["istat_code"] for row in csv.DictReader(file)]
    assert [code for code in codes if COMUNI.by_code(code) is None] == []
