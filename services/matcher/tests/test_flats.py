"""Which advertisements are of one flat, and which are not."""

import itertools
import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from common.listing import Agency, Floor, FloorKind, Listing, Position, Rent
from matcher.flats import (
    Advertisement,
    Apart,
    Joined,
    JoinReason,
    advertisement_of,
    assign,
    block_of,
    flat_of,
    parted_flats,
    same_flat,
)
from testkit.factories import FLAT_ID, make_listing, monthly

DATA = Path(os.environ.get("ITARENT_DATA", Path(__file__).parents[3].parent / "shared" / "data"))
NEARBY = Position(latitude=45.4805, longitude=9.2190)  # 27 m from the factory's flat
AROUND_THE_CORNER = Position(latitude=45.4812, longitude=9.2188)  # 100 m


def advertised(**changes: Any) -> Advertisement:
    return advertisement_of(make_listing(**changes))


def elsewhere(**changes: Any) -> Advertisement:
    """The factory's flat on another portal, by nobody in particular."""
    defaults: dict[str, Any] = {
        "listing_id": "idealista.it:1",
        "source": "idealista.it",
        "agency": Agency(),
        "position": NEARBY,
    }
    return advertised(**defaults | changes)


def flats_of(*advertisements: Advertisement, apart: Apart | None = None) -> set[UUID]:
    return {joined.flat_id for joined in assign(advertisements, {}, apart or {}).values()}


def numbered(number: int) -> Floor:
    return Floor(kind=FloorKind.NUMBERED, number=number)


@pytest.mark.parametrize("missing", ["comune", "area_m2", "rooms"])
def test_a_flat_of_which_too_little_is_known_stays_alone(missing: str) -> None:
    assert block_of(make_listing(**{missing: None})) is None
    assert same_flat(advertised(**{missing: None}), elsewhere(**{missing: None})) is None


def test_an_agencys_reference_joins_its_advertisements_on_two_portals_wherever_they_put_the_flat() -> None:
    agency = Agency(name="IMMOBILIARE ABRUZZI S.r.l.", reference="Ab 48/3")
    assert same_flat(advertised(), elsewhere(agency=agency, position=None, rent=None)) is JoinReason.REFERENCE


def test_a_reference_joins_nothing_outside_the_block() -> None:
    assert same_flat(advertised(), advertised(listing_id="idealista.it:1", source="idealista.it", area_m2=56)) is None


def test_two_agencies_may_use_one_reference() -> None:
    other = Agency(name="Casa Loreto", reference="AB-48-3")
    assert same_flat(advertised(), elsewhere(agency=other, position=None)) is None


@pytest.mark.parametrize(("reference", "joined"), [("AB-48-3", JoinReason.REFERENCE), ("12", None)])
def test_a_reference_without_an_agency_counts_if_it_is_a_long_one(reference: str, joined: JoinReason | None) -> None:
    here = advertised(agency=Agency(name="Immobiliare Abruzzi", reference=reference))
    assert same_flat(here, elsewhere(agency=Agency(reference=reference), position=None)) is joined


@pytest.mark.parametrize(
    ("changes", "joined"),
    [
        ({}, JoinReason.PLACE),
        ({"floor": None}, JoinReason.PLACE),
        ({"rent": monthly(1080)}, JoinReason.PLACE),
        ({"floor": Floor(kind=FloorKind.ATTICO)}, JoinReason.PLACE),  # an attico may be on the third floor
        ({"floor": numbered(4)}, None),
        ({"floor": Floor(kind=FloorKind.PIANO_TERRA)}, None),
        ({"rent": monthly(1050)}, None),
        ({"rent": None}, None),
        ({"rent": Rent(amount_cents=1100_00, per="year")}, None),
        ({"position": None}, None),
        ({"position": AROUND_THE_CORNER}, None),
        ({"source": "immobiliare.it", "listing_id": "immobiliare.it:2"}, None),
        ({"agency": Agency(name="Immobiliare Abruzzi", reference="AB-48-4")}, None),
    ],
)
def test_another_portal_joins_by_place_floor_and_rent_together(
    changes: dict[str, Any], joined: JoinReason | None
) -> None:
    assert same_flat(advertised(), elsewhere(**changes)) is joined
    assert same_flat(elsewhere(**changes), advertised()) is joined


def test_two_flats_of_one_agency_whose_texts_begin_alike_stay_two() -> None:
    """Agencies write one text for a whole building; here 186 characters are the same."""
    alike = "Nel cuore di Milano, in un contesto signorile e ben servito, proponiamo in locazione un luminoso bilocale "
    alike = f"{alike:.<186}"
    agency = Agency(name="Immobiliare Abruzzi")
    one = advertised(agency=agency, description=f"{alike} Interno 4.", position=None, floor=None)
    two = advertised(
        agency=agency, description=f"{alike} Interno 5.", position=None, floor=None, listing_id="idealista.it:5"
    )
    assert len(flats_of(one, two)) == 2


def test_two_floors_of_one_building_stay_two() -> None:
    assert len(flats_of(advertised(), elsewhere(floor=numbered(4)))) == 2


def test_an_advertisement_must_agree_with_all_of_a_flat() -> None:
    """The one in the middle names no floor: it must not join the third floor with the fourth."""
    third, unnamed = advertised(), elsewhere(floor=None)
    fourth = elsewhere(listing_id="casa.it:1", source="casa.it", floor=numbered(4))
    assigned = assign([third, unnamed, fourth], {}, {})
    flats = {each: joined.flat_id for each, joined in assigned.items()}
    assert flats[third.listing_id] == flats[unnamed.listing_id] != flats[fourth.listing_id]


def test_one_portals_second_advertisement_at_a_place_is_the_flat_next_door() -> None:
    first, other_portal = advertised(agency=Agency()), elsewhere()
    second = advertised(agency=Agency(), listing_id="immobiliare.it:2")
    assert flat_of(second, {FLAT_ID: [first, other_portal]}).flat_id != FLAT_ID


def test_a_reference_decides_between_flats_before_a_place_does() -> None:
    by_place, by_reference = UUID(int=1), UUID(int=2)
    flats = {
        by_place: [elsewhere()],
        by_reference: [
            elsewhere(listing_id="casa.it:2", source="casa.it", position=None, agency=make_listing().agency)
        ],
    }
    assert flat_of(advertised(), flats) == Joined(by_reference, JoinReason.REFERENCE, "casa.it:2")


def test_a_flat_has_the_same_id_however_often_it_is_created() -> None:
    assert assign([advertised()], {}, {}) == assign([advertised()], {}, {})


def test_why_an_advertisement_joined_and_like_which_one_is_said() -> None:
    first, by_place = advertised(agency=Agency()), elsewhere()
    by_reference = elsewhere(listing_id="casa.it:1", source="casa.it", position=None, agency=make_listing().agency)
    joined = assign([first, by_place, advertised(listing_id="immobiliare.it:2"), by_reference], {}, {})
    assert list(joined.values()) == [
        Joined(joined[first.listing_id].flat_id),
        Joined(joined[first.listing_id].flat_id, JoinReason.PLACE, first.listing_id),
        Joined(joined["immobiliare.it:2"].flat_id),
        Joined(joined["immobiliare.it:2"].flat_id, JoinReason.REFERENCE, "immobiliare.it:2"),
    ]


def test_what_somebody_has_parted_is_never_joined_again_in_whatever_order_it_comes() -> None:
    one, other, third = advertised(), elsewhere(), elsewhere(listing_id="casa.it:1", source="casa.it")
    apart = {one.listing_id: {other.listing_id}, other.listing_id: {one.listing_id}}
    assert len(flats_of(one, other)) == 1
    for order in itertools.permutations([one, other, third]):
        assert len(flats_of(*order, apart=apart)) == 2


def test_the_two_sides_of_a_parted_flat_have_ids_of_their_own_that_are_always_the_same() -> None:
    own, others = parted_flats(FLAT_ID, "casa.it:1")
    assert len({FLAT_ID, own, others, *parted_flats(own, "casa.it:1"), *parted_flats(FLAT_ID, "casa.it:2")}) == 7
    assert (own, others) == parted_flats(FLAT_ID, "casa.it:1")


def test_one_flat_of_two_real_portals_is_joined() -> None:
    """Casa.it's first sample and idealista's first are one flat, as the portals' own identifiers say."""
    samples = json.loads((DATA / "listings/portal_payload_samples.json").read_text())
    casa, idealista = samples["casa_it"][0], samples["idealista_it"][0]
    assert same_flat(advertisement_of(_of_casa(casa)), advertisement_of(_of_idealista(idealista))) is (
        JoinReason.REFERENCE
    )
    assert (
        same_flat(advertisement_of(_of_idealista(samples["idealista_it"][1])), advertisement_of(_of_casa(casa))) is None
    )


def _of_casa(sample: dict[str, Any]) -> Listing:
    flat, where = sample["property"]["characteristic"], sample["property"]["geo"]
    return make_listing(
        listing_id=f"casa.it:{sample['listing_id']}",
        source="casa.it",
        comune=where["city_id"].rpartition("-")[2],
        area_m2=flat["property_surface"],
        rooms=flat["rooms_count"],
        floor=None,
        position=Position(latitude=where["lat"], longitude=where["lon"]),
        rent=monthly(sample["transaction"]["price"]["value"]),
        agency=Agency(name=sample["publisher"]["name"], reference=sample["ref_publisher"]),
    )


def _of_idealista(sample: dict[str, Any]) -> Listing:
    return make_listing(
        listing_id=f"idealista.it:{sample['propertyCode']}",
        source="idealista.it",
        comune="058091",
        area_m2=sample["size"],
        rooms=sample["rooms"],
        floor=None,
        position=Position(latitude=sample["latitude"], longitude=sample["longitude"]),
        rent=monthly(sample["price"]),
        agency=Agency(name=sample["contactInfo"].get("commercialName"), reference=sample.get("externalReference")),
    )
