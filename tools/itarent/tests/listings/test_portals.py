"""The portals' payloads, as they were found and as they may come."""

import copy
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.comuni import Comuni
from common.listing import (
    AdvertiserKind,
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
    RentUnit,
    SpeseTerm,
)
from itarent.listings.draft import Judge
from itarent.listings.files import Format, How, opened, outcomes
from itarent.listings.outcomes import Outcome, Refusal, Refused
from matcher.flats import JoinReason, advertisement_of, assign

Payload = dict[str, Any]
Result = Listing | Refused
ReadPayload = Callable[[Payload], Result]


@pytest.fixture(scope="session")
def samples(data: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data / "portal_payload_samples.json").read_text())
    return content


@pytest.fixture
def read(read_text: Callable[..., list[Outcome]]) -> ReadPayload:
    return lambda payload: read_text(json.dumps(payload))[0].result


def _listing(result: Result) -> Listing:
    assert isinstance(result, Listing), result
    return result


def _with(payload: Payload, path: str, value: object) -> Payload:
    """A copy with another value at `a.0.b`."""
    changed = copy.deepcopy(payload)
    *way, last = path.split(".")
    part: Any = changed
    for step in way:
        part = part[int(step)] if step.isdigit() else part[step]
    part[last] = value
    return changed


def test_immobiliare_says_all_of_this(samples: dict[str, Any], read: ReadPayload) -> None:
    listing = _listing(read(samples["immobiliare_it"][0]))
    assert listing.listing_id == "immobiliare.it:131916338"
    assert listing.url == "https://www.immobiliare.it/annunci/131916338/"
    assert (listing.comune, listing.province, listing.zone) == ("058091", "RM", "Monte Mario - Trionfale")
    assert listing.position == Position(latitude=41.9433, longitude=12.4244)
    assert listing.rent == Rent(amount_cents=215_000, per=RentUnit.MONTH)
    assert (listing.rooms, listing.bedrooms, listing.bathrooms, listing.area_m2) == (4, 3, 2, 100)
    assert (listing.property_type, listing.offering) == (PropertyType.APARTMENT, Offering.WHOLE)
    assert listing.floor == Floor(kind=FloorKind.NUMBERED, number=3)
    assert listing.furnishing is Furnishing.FURNISHED
    assert listing.features == {Feature.LIFT: False, Feature.BALCONY: True}
    assert (listing.advertiser, listing.agency.name) == (AdvertiserKind.AGENCY, "Case Investimenti Srls")
    assert listing.flags == ()


def test_casa_says_all_of_this(samples: dict[str, Any], read: ReadPayload) -> None:
    listing = _listing(read(samples["casa_it"][0]))
    assert (listing.listing_id, listing.version) == ("casa.it:54610900", 1_787_704_576_000)
    assert listing.url == "https://www.casa.it/immobile-appartamento-lazio-roma-54610900"
    assert (listing.comune, listing.province, listing.zone) == ("058091", "RM", "Centro Storico")
    assert listing.rent == Rent(amount_cents=350_000)
    assert (listing.rooms, listing.bedrooms, listing.bathrooms, listing.area_m2) == (2, None, 1, 80)
    assert (listing.floor, listing.energy_class, listing.available_from) == (None, None, None)
    assert listing.furnishing is Furnishing.FURNISHED
    assert listing.features == {
        Feature.PETS: False,
        Feature.LIFT: True,
        Feature.GARDEN: False,
        Feature.AIR_CONDITIONING: True,
    }
    assert (listing.advertiser, listing.agency.name) == (AdvertiserKind.AGENCY, "Uniplaces")


def test_idealista_says_all_of_this(samples: dict[str, Any], read: ReadPayload) -> None:
    listing = _listing(read(samples["idealista_it"][1]))
    assert (listing.listing_id, listing.version) == ("idealista.it:36638933", 1_787_677_945_000)
    assert (listing.comune, listing.province, listing.zone) == ("058091", "RM", "Labaro - Prima Porta")
    assert listing.address == "Via Dalmine s.n.c"
    assert listing.rent == Rent(amount_cents=45_000, spese=SpeseTerm.INCLUDED)
    assert (listing.rooms, listing.bathrooms, listing.area_m2) == (1, 1, 25)
    assert listing.property_type is PropertyType.STUDIO
    assert listing.floor == Floor(kind=FloorKind.NUMBERED, number=1)
    assert listing.features[Feature.TERRACE] is False


def test_one_flat_on_two_portals_agrees_in_what_tells_flats_apart(samples: dict[str, Any], read: ReadPayload) -> None:
    casa, idealista = _listing(read(samples["casa_it"][0])), _listing(read(samples["idealista_it"][0]))
    assert casa.agency.reference == idealista.agency.reference == "648629"
    for field in ("comune", "rent", "rooms", "area_m2", "address"):
        assert getattr(casa, field) == getattr(idealista, field)


@pytest.mark.parametrize(
    ("portal", "number", "path", "value", "field", "expected"),
    [
        ("immobiliare_it", 0, "realEstate.price.visible", False, "rent", None),
        (
            "immobiliare_it",
            0,
            "realEstate.price.formattedValue",
            "€ 12/m²",
            "flags",
            (ListingFlag.RENT_NOT_MONTHLY,),
        ),
        ("immobiliare_it", 0, "realEstate.properties.0.rooms", "5+", "rooms_or_more", True),
        ("immobiliare_it", 0, "realEstate.properties.0.surface", "1.250 m²", "area_m2", 1250),
        ("immobiliare_it", 0, "realEstate.properties.0.typology", {"name": "Stanza singola"}, "offering", "room"),
        (
            "immobiliare_it",
            0,
            "realEstate.properties.0.floor",
            {"abbreviation": "R", "value": "Piano rialzato"},
            "floor",
            Floor(kind=FloorKind.RIALZATO),
        ),
        ("immobiliare_it", 0, "realEstate.properties.0.location.city", "Atlantide", "comune", None),
        ("casa_it", 0, "transaction.price.show_price", False, "flags", (ListingFlag.RENT_ON_REQUEST,)),
        ("casa_it", 0, "meta.deleted", True, "status", ListingStatus.WITHDRAWN),
        ("casa_it", 0, "active", False, "status", ListingStatus.WITHDRAWN),
        ("casa_it", 0, "property.geo.city_id", None, "comune", "058091"),
        (
            "casa_it",
            0,
            "property.characteristic.level",
            "piano rialzato",
            "floor",
            Floor(kind=FloorKind.RIALZATO),
        ),
        ("casa_it", 0, "publisher.type", "Private", "advertiser", AdvertiserKind.PRIVATE),
        ("idealista_it", 1, "floor", "bj", "floor", Floor(kind=FloorKind.PIANO_TERRA, number=0)),
        ("idealista_it", 1, "floor", "ss", "floor", Floor(kind=FloorKind.SEMINTERRATO)),
        ("idealista_it", 1, "propertyType", "room", "offering", Offering.ROOM),
        ("idealista_it", 1, "size", 0, "flags", (ListingFlag.AREA_IMPLAUSIBLE,)),
        ("idealista_it", 1, "description", "Spese condominiali escluse.", "rent", Rent(amount_cents=45_000)),
        ("idealista_it", 1, "description", "Spese condominiali non comprese.", "rent", Rent(amount_cents=45_000)),
        ("idealista_it", 1, "description", "Alcune spese condominiali incluse", "rent", Rent(amount_cents=45_000)),
    ],
)
def test_a_payload_that_differs_here_means_that(
    samples: dict[str, Any],
    read: ReadPayload,
    *,
    portal: str,
    number: int,
    path: str,
    value: object,
    field: str,
    expected: object,
) -> None:
    listing = _listing(read(_with(samples[portal][number], path, value)))
    assert getattr(listing, field) == expected


@pytest.mark.parametrize(
    ("portal", "path", "value", "reason"),
    [
        ("immobiliare_it", "realEstate.contract", "sale", Refusal.NOT_TO_LET),
        ("immobiliare_it", "realEstate.price.value", "a lot", Refusal.UNREADABLE_NUMBER),
        ("casa_it", "transaction.price.type", "vendita", Refusal.NOT_TO_LET),
        ("casa_it", "category.type", "commercial", Refusal.NOT_TO_LET),
        ("casa_it", "modified", "yesterday", Refusal.UNREADABLE_DATE),
        ("casa_it", "property.characteristic.rooms_count", [2], Refusal.UNREADABLE_NUMBER),
        ("idealista_it", "operation", "sale", Refusal.NOT_TO_LET),
        ("idealista_it", "propertyType", "garage", Refusal.NOT_TO_LET),
        ("idealista_it", "priceInfo.price.currencySuffix", "£/week", Refusal.UNKNOWN_WORD),
    ],
)
def test_a_payload_that_cannot_be_a_listing_is_refused_by_its_own_field(
    samples: dict[str, Any], read: ReadPayload, *, portal: str, path: str, value: object, reason: Refusal
) -> None:
    assert read(_with(samples[portal][0], path, value)) == Refused(reason, path, str(value))


@pytest.mark.parametrize(
    ("portal", "path", "value"),
    [
        ("idealista_it", "priceInfo.price.amount", -5),
        ("idealista_it", "priceInfo.price.amount", 10**30),
        ("idealista_it", "latitude", 999),
        ("idealista_it", "externalReference", "x" * 101),
        ("idealista_it", "url", "javascript:alert(1)"),
        ("idealista_it", "propertyCode", "36 39"),
    ],
)
def test_a_value_that_no_listing_may_have_is_refused(
    samples: dict[str, Any], read: ReadPayload, portal: str, path: str, value: object
) -> None:
    result = read(_with(samples[portal][0], path, value))
    assert isinstance(result, Refused)
    assert result.reason is Refusal.BREAKS_THE_CONTRACT


def test_a_payload_without_id_gets_one_of_its_content(samples: dict[str, Any], read: ReadPayload) -> None:
    nameless = _with(samples["idealista_it"][0], "propertyCode", None)
    first, again = _listing(read(nameless)), _listing(read(nameless))
    assert first == again
    assert first.listing_id != _listing(read(_with(nameless, "price", 3400))).listing_id


def test_a_payload_without_a_time_of_change_is_as_new_as_when_it_was_seen(data: Path) -> None:
    seen_at = dt.datetime(2026, 8, 27, 10, tzinfo=dt.UTC)
    path = data / "portal_payload_samples.json"
    with opened(path) as file:
        versions = [_listing(each.result).version for each in outcomes(path, file, How(Judge(Comuni.load(), seen_at)))]
    seen = int(seen_at.timestamp() * 1000)
    assert versions == [seen, 1_787_704_576_000, seen, seen]  # casa.it tells when it was modified


def test_a_portal_that_is_asked_for_is_the_only_one_taken(
    samples: dict[str, Any], read_text: Callable[..., list[Outcome]]
) -> None:
    results = [outcome.result for outcome in read_text(json.dumps(samples), Format.CASA)]
    assert [isinstance(result, Listing) for result in results] == [False, True, False, False]


@pytest.mark.parametrize(
    "rubbish",
    [{"realEstate": None}, {"propertyCode": {}}, {"transaction": 5, "property": []}, {"realEstate": {"properties": 1}}],
)
def test_a_payload_of_another_shape_is_refused_and_not_an_error(read: ReadPayload, rubbish: Payload) -> None:
    assert isinstance(read(rubbish), Refused)


def test_one_flat_on_two_portals_is_imported_as_two_advertisements_of_one_flat(
    samples: dict[str, Any], read: ReadPayload
) -> None:
    """Casa.it's advertisement names idealista's as its own; the other ones of the same city are other flats."""
    payloads = [*samples["casa_it"], *samples["idealista_it"], *samples["immobiliare_it"]]
    listings = [_listing(read(payload)) for payload in payloads]
    joined = assign(map(advertisement_of, listings), {}, {})
    casa, same, *others = (joined[each.listing_id] for each in listings)
    assert (same.flat_id, same.reason, same.like) == (casa.flat_id, JoinReason.REFERENCE, listings[0].listing_id)
    assert len({each.flat_id for each in (casa, *others)}) == 1 + len(others) == 3
