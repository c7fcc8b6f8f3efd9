"""The data sets as they are, read whole. Expected counts are taken from the files by other means where they can be."""

import collections
import csv
import datetime as dt
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.comuni import Comuni
from common.listing import ContractType, EnergyClass, Listing, ListingFlag, PropertyType
from itarent.listings.draft import Judge
from itarent.listings.files import How, files_in, opened, outcomes
from itarent.listings.outcomes import Outcome

SCRAPE_ENDED = dt.date(2023, 7, 6)


def _read(path: Path) -> list[Outcome]:
    how = How(Judge(Comuni.load()))
    found: list[Outcome] = []
    for file in files_in([path]):
        with opened(file) as open_file:
            found += outcomes(file, open_file, how)
    return found


def _listings(found: list[Outcome]) -> Iterator[Listing]:
    for outcome in found:
        assert isinstance(outcome.result, Listing)
        yield outcome.result


@pytest.fixture(scope="module")
def italy(data: Path) -> list[Outcome]:
    return _read(data / "italy_rentals_2023.csv.gz")


@pytest.fixture(scope="module")
def italy_rows(data: Path) -> list[dict[str, str]]:
    with gzip.open(data / "italy_rentals_2023.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cities(data: Path) -> list[Listing]:
    return list(_listings(_read(data / "rent_20_cities")))


@pytest.fixture(scope="module")
def milan(data: Path) -> list[Listing]:
    return list(_listings(_read(data / "milan_rent_2025")))


def test_all_of_italy_is_read_and_exact_repeats_are_one_listing(italy: list[Outcome]) -> None:
    assert len(italy) == 72_164
    assert len(set(_listings_by_id(italy))) == 72_164 - 685


def _listings_by_id(found: list[Outcome]) -> dict[str, str]:
    """The content of each id; the same id never has another content."""
    content: dict[str, str] = {}
    for listing in _listings(found):
        assert content.setdefault(listing.listing_id, listing.model_dump_json()) == listing.model_dump_json()
    return content


def test_lines_are_counted_as_in_the_file_also_after_quoted_line_breaks(italy: list[Outcome], data: Path) -> None:
    with gzip.open(data / "italy_rentals_2023.csv.gz", "rt", encoding="utf-8") as file:
        lines = file.readlines()
    last = italy[-1]
    assert len(lines) > 72_165
    assert last.line == len(lines)
    assert isinstance(last.result, Listing)
    assert last.result.comune_name in lines[last.line - 1]


def test_doubts_are_flagged_as_often_as_the_file_gives_reason_to(
    italy: list[Outcome], italy_rows: list[dict[str, str]]
) -> None:
    flags = collections.Counter(flag for listing in _listings(italy) for flag in listing.flags)
    rents = [float(row["prezzo"]) for row in italy_rows if row["prezzo"]]
    days = [dt.date.fromisoformat(row["datetime"]) for row in italy_rows]
    assert flags[ListingFlag.RENT_ON_REQUEST] == len(italy_rows) - len(rents) == 3_761
    assert flags[ListingFlag.RENT_IMPLAUSIBLY_LOW] == sum(rent < 50 for rent in rents) == 181
    assert flags[ListingFlag.RENT_IMPLAUSIBLY_HIGH] == sum(rent > 20_000 for rent in rents) == 370
    assert flags[ListingFlag.DATE_SWAPPED] == sum(day > SCRAPE_ENDED for day in days)
    assert flags[ListingFlag.DATE_AMBIGUOUS] == sum(_is_ambiguous(day) for day in days)
    assert flags[ListingFlag.RENT_NOT_MONTHLY] == 0


def _is_ambiguous(day: dt.date) -> bool:
    if day > SCRAPE_ENDED or day.day > 12 or day.day == day.month:
        return False
    return dt.date(day.year, day.day, day.month) <= SCRAPE_ENDED


def test_no_date_is_later_than_the_day_it_was_read_on(italy: list[Outcome]) -> None:
    dates = [listing.published_at for listing in _listings(italy)]
    assert all(date and date.date() <= SCRAPE_ENDED for date in dates)


def test_every_comune_of_italy_is_found(italy: list[Outcome]) -> None:
    unknown = {listing.comune_name for listing in _listings(italy) if listing.comune is None}
    assert unknown == {"San Marino"}  # another state
    bolzano = {listing.comune for listing in _listings(italy) if listing.comune_name == "Bolzano"}
    assert bolzano == {"021008"}


def test_a_feature_that_is_not_mentioned_is_unknown(italy: list[Outcome]) -> None:
    assert {has for listing in _listings(italy) for has in listing.features.values()} == {True}


def test_types_of_one_hot_columns_are_counted_once(italy: list[Outcome]) -> None:
    types = collections.Counter(listing.property_type for listing in _listings(italy))
    assert types == {
        PropertyType.APARTMENT: 63_711 + 441,  # of which 441 are also `villa`: an appartamento in villa
        PropertyType.VILLA: 3_763,
        PropertyType.ATTICO: 1_289,
        PropertyType.MANSARDA: 787,
        PropertyType.LOFT: 255,
        None: 1_918,
    }


def test_fifteen_cities_are_read_from_their_titles(cities: list[Listing]) -> None:
    assert len(cities) == 8_272
    assert len({listing.listing_id for listing in cities}) == 8_180
    by_city = collections.Counter(listing.comune_name for listing in cities)
    assert by_city.most_common(3) == [("Milano", 2000), ("Roma", 2000), ("Bologna", 841)]
    assert all(listing.comune and listing.property_type for listing in cities)
    assert sum(listing.rooms_or_more for listing in cities) == 681
    assert sum(listing.rent is None for listing in cities) == 140


def test_titles_of_cities_rarely_leave_the_zone_open(cities: list[Listing]) -> None:
    assert sum(listing.zone is None for listing in cities) < 40
    assert not [listing.zone for listing in cities if listing.zone and listing.zone[0].isdigit()]


def test_milan_tells_contracts_spese_and_rooms(milan: list[Listing]) -> None:
    assert len(milan) == 4_500
    assert len({listing.listing_id for listing in milan}) == 4_410
    contracts = collections.Counter(listing.contract for listing in milan)
    assert contracts == {
        ContractType.FREE_4_4: 1_883,
        ContractType.TRANSITORY: 1_135,
        ContractType.AGREED_3_2: 24,
        ContractType.STUDENTS: 15,
        ContractType.OTHER: 13,
        None: 1_122 + 308,
    }
    assert sum(listing.spese_cents is None for listing in milan) == 197
    assert all(listing.rooms for listing in milan)
    assert sum(listing.available_from is not None for listing in milan) == 842
    assert sum(listing.energy_class is EnergyClass.G for listing in milan) == 1_275
    assert sum(listing.floor is None for listing in milan) == 6


def test_payloads_of_portals_are_told_apart_in_one_document(data: Path) -> None:
    found = _read(data / "portal_payload_samples.json")
    assert [listing.source for listing in _listings(found)] == [
        "immobiliare.it",
        "casa.it",
        "idealista.it",
        "idealista.it",
    ]
    document = (data / "portal_payload_samples.json").read_text().splitlines()
    assert {document[outcome.line - 1].strip() for outcome in found} == {"{"}
    assert json.loads("\n".join(document))
