"""Files as they come: broken quotes, wrong columns, other encodings, JSON in lines and in documents."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common.comuni import Comuni
from common.listing import Listing
from itarent.listings.draft import Judge
from itarent.listings.files import Format, How, UnusableFileError, files_in, opened, outcomes
from itarent.listings.json_items import LONGEST_LINE
from itarent.listings.mapping import Mapping, load_mapping, load_points
from itarent.listings.outcomes import Outcome, Refusal, Refused
from testkit.factories import make_listing

ReadText = Callable[..., list[Outcome]]
MAPPING = Mapping.model_validate(
    {
        "name": "small",
        "about": "a mapping for tests",
        "source": "small.it",
        "columns": {
            "city": {"as": "place", "field": "comune_name"},
            "rent": {"as": "rent"},
            "zone": {"as": "text", "field": "zone"},
            "rooms": {"as": "rooms"},
        },
    }
)


@pytest.fixture
def read_csv(read_text: ReadText) -> Callable[[str | bytes], list[Outcome]]:
    return lambda content: read_text(content, Format.AUTO, MAPPING)


ReadCsv = Callable[[str | bytes], list[Outcome]]


def _refusals(found: list[Outcome]) -> list[tuple[int, Refusal, str, str]]:
    return [
        (outcome.line, outcome.result.reason, outcome.result.field, outcome.result.value)
        for outcome in found
        if isinstance(outcome.result, Refused)
    ]


def test_a_refusal_names_line_field_value_and_reason_also_after_quoted_line_breaks(read_csv: ReadCsv) -> None:
    found = read_csv('city,rent,zone,rooms\nRoma,900,"\n Prati\n",2\nRoma,cheap,Prati,2\n\nMilano,1000,,x\n')
    assert _refusals(found) == [
        (5, Refusal.UNREADABLE_NUMBER, "rent", "cheap"),
        (7, Refusal.UNREADABLE_NUMBER, "rooms", "x"),
    ]
    assert found[0].line == 2
    assert isinstance(found[0].result, Listing)
    assert found[0].result.zone == "Prati"


def test_a_row_of_another_width_is_refused(read_csv: ReadCsv) -> None:
    found = read_csv("city,rent,zone,rooms\nRoma,900\nRoma,900,Prati,2,more\n")
    assert [(line, reason) for line, reason, *_ in _refusals(found)] == [
        (2, Refusal.WRONG_COLUMN_COUNT),
        (3, Refusal.WRONG_COLUMN_COUNT),
    ]


@pytest.mark.parametrize("rows_after", [1, 20_000])
def test_a_quote_that_is_never_closed_costs_one_line(read_csv: ReadCsv, rows_after: int) -> None:
    found = read_csv('city,rent,zone,rooms\nRoma,900,"Prati,2\n' + "Roma,800,Trastevere,3\n" * rows_after)
    assert [(line, reason) for line, reason, *_ in _refusals(found)] == [(2, Refusal.BROKEN_QUOTES)]
    assert len(found) == 1 + rows_after
    assert found[-1].line == 2 + rows_after


def test_a_row_that_is_not_utf8_is_refused_and_the_next_one_is_read(read_csv: ReadCsv) -> None:
    found = read_csv(b"\xef\xbb\xbfcity,rent,zone,rooms\nRoma,900,Citt\xe0,2\nRoma,900,Citt\xc3\xa0,2\n")
    assert _refusals(found) == [(2, Refusal.NOT_UTF8, "", "")]
    assert isinstance(found[1].result, Listing)


def test_a_row_without_place_rent_and_size_is_refused(read_csv: ReadCsv) -> None:
    assert _refusals(read_csv("city,rent,zone,rooms\n,,,\n")) == [(2, Refusal.NO_PLACE_RENT_OR_SIZE, "", "")]


def test_the_same_row_has_the_same_id_in_every_file_and_another_row_another(read_csv: ReadCsv) -> None:
    header = "city,rent,zone,rooms\n"
    one, other = (outcome.result for outcome in read_csv(header + "Roma,900,Prati,2\nRoma,901,Prati,2\n"))
    (again,) = (outcome.result for outcome in read_csv(header + "Roma,900,Prati,2\n"))
    assert isinstance(one, Listing)
    assert isinstance(other, Listing)
    assert one == again
    assert one.listing_id != other.listing_id


@pytest.mark.parametrize(
    ("city", "code"),
    [
        ("Bolzano", "021008"),
        ("Bozen", "021008"),
        ("Reggio Emilia", "035033"),
        ("Merano", "021051"),
        ("REGGIO NELL'EMILIA", "035033"),
        ("Castro", None),  # in Lombardia and in Puglia
        ("Atlantide", None),
    ],
)
def test_a_comune_is_found_by_every_name_it_has_and_never_guessed(
    read_csv: ReadCsv, city: str, code: str | None
) -> None:
    listing = read_csv(f"city,rent,zone,rooms\n{city},900,,2\n")[0].result
    assert isinstance(listing, Listing)
    assert (listing.comune, listing.comune_name) == (code, city)
    assert listing.flags == (() if code else ("comune_unknown",))


def test_json_lines_of_the_contract_are_taken_as_they_are(read_text: ReadText) -> None:
    listing = make_listing()
    found = read_text(f"{listing.model_dump_json()}\n\nnot json\n[1]\n{{}}\n")
    assert found[0].result == listing
    assert [(line, reason) for line, reason, *_ in _refusals(found)] == [
        (3, Refusal.NOT_JSON),
        (4, Refusal.UNKNOWN_SHAPE),
        (5, Refusal.UNKNOWN_SHAPE),
    ]


def test_a_line_of_the_contract_with_a_wrong_value_is_refused_by_its_field(read_text: ReadText) -> None:
    row = make_listing().model_dump(mode="json")
    good, bad = json.dumps(row), json.dumps(row | {"rooms": 0})
    ((line, reason, field, _),) = _refusals(read_text(f"{good}\n{bad}\n"))
    assert (line, reason, field) == (2, Refusal.BREAKS_THE_CONTRACT, "rooms")


@pytest.mark.parametrize("line", ["NaN", '{"rooms": Infinity}', "[" * 100_000, "x" * (LONGEST_LINE + 10), "\udc80"])
def test_a_line_that_is_no_json_is_refused_and_the_next_one_is_read(read_text: ReadText, line: str) -> None:
    good = make_listing()
    content = f"{good.model_dump_json()}\n{line}\n{good.model_dump_json()}\n"
    found = read_text(content.encode(errors="surrogateescape"))
    assert [outcome.line for outcome in found] == [1, 2, 3]
    assert isinstance(found[1].result, Refused)
    assert found[2].result == good


@pytest.mark.parametrize("indent", [None, 1])
def test_items_of_a_document_are_known_by_the_line_they_begin_at(read_text: ReadText, indent: int | None) -> None:
    listings = [make_listing(listing_id=f"casa.it:{number}") for number in range(3)]
    rows = [listing.model_dump(mode="json", exclude_defaults=True) for listing in listings]
    text = json.dumps({"_about": "a\nb", "one": rows[:2], "two": rows[2:]}, indent=indent)
    found = read_text(text)
    assert [outcome.result for outcome in found] == listings
    lines = text.splitlines()
    assert [lines[outcome.line - 1].strip()[-1] for outcome in found] == (["{"] * 3 if indent else ["}"] * 3)


@pytest.mark.parametrize("content", ["[{}, ", "[1 2]", '{"a": [}', "[] []"])
def test_a_document_that_breaks_off_is_an_unusable_file(read_text: ReadText, content: str) -> None:
    with pytest.raises(UnusableFileError, match="not JSON"):
        read_text(content)


def test_a_csv_whose_columns_no_mapping_knows_is_an_unusable_file(read_text: ReadText) -> None:
    with pytest.raises(UnusableFileError, match=r"no mapping is known for the columns a, b.*--mapping"):
        read_text("a,b\n1,2\n")


def test_a_mapping_that_does_not_fit_names_the_columns_it_misses(read_csv: ReadCsv) -> None:
    with pytest.raises(UnusableFileError, match="columns that are not there: rooms, zone"):
        read_csv("city,rent\nRoma,900\n")


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_unusable(read_text: ReadText, content: str) -> None:
    with pytest.raises(UnusableFileError, match="no header"):
        read_text(content)


def test_a_packed_file_that_was_cut_short_is_unusable(read_text: ReadText) -> None:
    packed = gzip.compress(b"city,rent,zone,rooms\n" + b"Roma,900,Prati,2\n" * 1000)
    with pytest.raises(UnusableFileError):
        read_text(packed[:-20], Format.AUTO, MAPPING)


def test_a_directory_means_its_files_of_listings(data: Path) -> None:
    assert [path.name for path in files_in([data / "milan_rent_2025"])] == ["train_raw.csv"]
    assert len(files_in([data])) == 1 + 1 + 15 + 1
    with pytest.raises(UnusableFileError, match="no such file"):
        files_in([data / "nowhere"])


def test_points_of_zones_are_read_on_request_only(data: Path) -> None:
    mapping = load_mapping("milan_rent_2025")
    points = load_points(mapping, data / "milan_rent_2025" / "zones_coordinares.csv")
    path = data / "milan_rent_2025" / "train_raw.csv"
    for how, expected in ((How(Judge(Comuni.load()), points=points), True), (How(Judge(Comuni.load())), False)):
        with opened(path) as file:
            first = next(outcomes(path, file, how)).result
        assert isinstance(first, Listing)
        assert (first.position is not None) is expected
