import datetime as dt
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from common.listing import ContractType, Feature, Floor, FloorKind, Furnishing, ListingFlag, Rent, SpeseTerm
from itarent.listings.columns import ROME, Column
from itarent.listings.outcomes import Refusal, RefusedError
from itarent.listings.reading import NOTHING, Reading

_COLUMN: TypeAdapter[Any] = TypeAdapter(Column)
RENT = {"as": "rent"}
AREA = {"as": "area"}
ROOMS = {"as": "rooms"}
EXCHANGED = {"as": "date", "field": "published_at", "not_after": dt.date(2023, 7, 6), "exchanged": True}
LOFT = {"as": "choice", "field": "property_type", "values": {"1": "loft"}, "unknown": ["0"]}


def _read(options: dict[str, Any], cell: str) -> Reading:
    reading: Reading = _COLUMN.validate_python(options).read(cell)
    return reading


def _midnight(*day: int) -> dt.datetime:
    return dt.datetime(*day, tzinfo=ROME)  # type: ignore[misc,arg-type] # year, month, day


@pytest.mark.parametrize(
    ("options", "cell", "fields", "flags"),
    [
        (RENT, "1800.0", {"rent": Rent(amount_cents=180_000)}, ()),
        (RENT, "833.33", {"rent": Rent(amount_cents=83_333)}, ()),
        (RENT, "50", {"rent": Rent(amount_cents=5_000)}, ()),
        (RENT, "49.99", {"rent": Rent(amount_cents=4_999)}, (ListingFlag.RENT_IMPLAUSIBLY_LOW,)),
        (RENT, "1.0", {"rent": Rent(amount_cents=100)}, (ListingFlag.RENT_IMPLAUSIBLY_LOW,)),
        (RENT, "20000", {"rent": Rent(amount_cents=2_000_000)}, ()),
        (RENT, "12500000.0", {"rent": Rent(amount_cents=1_250_000_000)}, (ListingFlag.RENT_IMPLAUSIBLY_HIGH,)),
        (RENT | {"spese": "excluded"}, "700", {"rent": Rent(amount_cents=70_000, spese=SpeseTerm.EXCLUDED)}, ()),
        (ROOMS, "3", {"rooms": 3, "rooms_or_more": False}, ()),
        (ROOMS, "3.0", {"rooms": 3, "rooms_or_more": False}, ()),
        (ROOMS, "5+", {"rooms": 5, "rooms_or_more": True}, ()),
        (ROOMS | {"capped_at": 5}, "5.0", {"rooms": 5, "rooms_or_more": True}, ()),
        (ROOMS | {"capped_at": 5}, "4.0", {"rooms": 4, "rooms_or_more": False}, ()),
        ({"as": "count", "field": "bathrooms"}, "3+", {"bathrooms": 3}, ()),
        (AREA, "85.0", {"area_m2": 85}, ()),
        (AREA, "85.6", {"area_m2": 86}, ()),
        (AREA, "0", {"area_m2": None}, (ListingFlag.AREA_IMPLAUSIBLE,)),
        (AREA, "1.0", {"area_m2": 1}, (ListingFlag.AREA_IMPLAUSIBLE,)),
        (AREA, "2.707", {"area_m2": None}, (ListingFlag.AREA_IMPLAUSIBLE,)),
        (AREA, "30000", {"area_m2": 30_000}, (ListingFlag.AREA_IMPLAUSIBLE,)),
        # Day and month cannot be exchanged, are the same, may be, must be, and make no date that is possible.
        (EXCHANGED, "2023-06-28", {"published_at": _midnight(2023, 6, 28)}, ()),
        (EXCHANGED, "2023-05-05", {"published_at": _midnight(2023, 5, 5)}, ()),
        (EXCHANGED, "2023-06-05", {"published_at": _midnight(2023, 6, 5)}, (ListingFlag.DATE_AMBIGUOUS,)),
        (EXCHANGED, "2023-06-12", {"published_at": _midnight(2023, 6, 12)}, ()),
        (EXCHANGED, "2023-12-05", {"published_at": _midnight(2023, 5, 12)}, (ListingFlag.DATE_SWAPPED,)),
        (EXCHANGED, "2023-12-28", {"published_at": None}, (ListingFlag.DATE_AMBIGUOUS,)),
        (LOFT, "1", {"property_type": "loft"}, ()),
        (
            {"as": "choice", "field": "contract", "values": {"rent | 3+2": "3+2"}},
            "rent | 3+2",
            {"contract": ContractType.AGREED_3_2},
            (),
        ),
        ({"as": "floor"}, "Mezzanine", {"floor": Floor(kind=FloorKind.AMMEZZATO)}, ()),
        ({"as": "floor"}, "0", {"floor": Floor(kind=FloorKind.PIANO_TERRA, number=0)}, ()),
        ({"as": "floor"}, "terzo piano", {"floor": Floor(kind=FloorKind.NUMBERED, number=3)}, ()),
        ({"as": "text", "field": "zone"}, "\n   VIA\tMILANO \n", {"zone": "VIA MILANO"}, ()),
        (
            {"as": "date", "field": "available_from", "format": "%d/%m/%Y"},
            "01/05/2024",
            {"available_from": dt.date(2024, 5, 1)},
            (),
        ),
    ],
)
def test_a_cell_means_these_fields_and_doubts(
    options: dict[str, Any], cell: str, fields: dict[str, Any], flags: tuple[ListingFlag, ...]
) -> None:
    assert _read(options, cell) == Reading(fields, flags=flags)


@pytest.mark.parametrize(("options", "cell"), [(LOFT, "0"), ({"as": "floor"}, "3 - 4")])
def test_a_cell_that_the_source_fills_in_for_unknown_says_nothing(options: dict[str, Any], cell: str) -> None:
    assert _read(options, cell) is NOTHING


@pytest.mark.parametrize(
    ("options", "cell", "reason"),
    [
        (RENT, "-5", Refusal.UNREADABLE_NUMBER),
        (RENT, "1.800,00", Refusal.UNREADABLE_NUMBER),
        (RENT, "1e5", Refusal.UNREADABLE_NUMBER),
        (RENT, "inf", Refusal.UNREADABLE_NUMBER),
        (RENT, "1_000", Refusal.UNREADABLE_NUMBER),
        (RENT, "१२३", Refusal.UNREADABLE_NUMBER),
        (ROOMS, "2.5", Refusal.UNREADABLE_NUMBER),
        (ROOMS, "many", Refusal.UNREADABLE_NUMBER),
        (EXCHANGED, "05/06/2023", Refusal.UNREADABLE_DATE),
        (EXCHANGED, "2023-02-30", Refusal.UNREADABLE_DATE),
        (LOFT, "yes", Refusal.UNKNOWN_WORD),
        ({"as": "feature", "feature": "lift", "yes": ["yes"], "no": ["no"]}, "maybe", Refusal.UNKNOWN_WORD),
    ],
)
def test_a_cell_that_cannot_be_read_is_refused_with_its_value(
    options: dict[str, Any], cell: str, reason: Refusal
) -> None:
    with pytest.raises(RefusedError) as raised:
        _read(options, cell)
    assert (raised.value.refused.reason, raised.value.refused.value) == (reason, cell)


def test_an_empty_rent_means_on_request() -> None:
    assert _COLUMN.validate_python(RENT).absent().flags == (ListingFlag.RENT_ON_REQUEST,)


def test_a_feature_is_yes_no_or_unknown() -> None:
    lift = {"as": "feature", "feature": "lift", "yes": ["yes"], "no": ["no"], "unknown": ["?"]}
    assert _read(lift, "yes").features == {Feature.LIFT: True}
    assert _read(lift, "no").features == {Feature.LIFT: False}
    assert _read(lift, "?") is NOTHING


def test_words_of_a_list_become_features_and_furnishing() -> None:
    words = {
        "as": "words",
        "separator": " | ",
        "features": {"balcony": "balcony"},
        "furnishing": {"bare": "unfurnished"},
    }
    assert _read(words, "closet | balcony | bare") == Reading(
        {"furnishing": Furnishing.UNFURNISHED}, {Feature.BALCONY: True}
    )


@pytest.mark.parametrize(
    "options",
    [
        {"as": "rents"},
        {"as": "rent", "currency": "EUR"},
        {"as": "choice", "field": "property_type", "values": {"1": "castle"}},
        {"as": "pattern", "pattern": "(?P<a>x)", "groups": {"b": {"as": "rooms"}}},
        {"as": "pattern", "pattern": "(", "groups": {}},
    ],
)
def test_a_mapping_with_a_column_that_makes_no_sense_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _COLUMN.validate_python(options)
