"""The rule by table: every criterion at its bounds and where the listing does not say, under each policy."""

import datetime as dt
from typing import Any

import pytest

from common.explain import Decision, explain, match
from common.geo import cell_of
from common.listing import (
    Appraisal,
    EnergyClass,
    Feature,
    Floor,
    FloorKind,
    Journey,
    ListingStatus,
    Position,
    Rent,
    RentUnit,
    Signal,
    SpeseTerm,
    TravelMode,
)
from common.rules import DESTINATION_DEGREES, RULES, Finding, left_to_ask
from common.search import (
    Commute,
    Criterion,
    FloorWish,
    InCircle,
    InComune,
    InPolygon,
    InProvince,
    Range,
    RentLimit,
    Search,
    UnknownPolicy,
)
from testkit.factories import MILANO, make_listing, make_search

YES, NO, MAYBE = Finding.SATISFIED, Finding.VIOLATED, Finding.UNKNOWN
RULE = {rule.criterion: rule for rule in RULES}
Fields = dict[str, Any]

LORETO = Position(latitude=45.4803, longitude=9.2188)
SQUARE = tuple(
    Position(latitude=latitude, longitude=longitude)
    for latitude, longitude in ((45.4, 9.1), (45.4, 9.3), (45.6, 9.3), (45.6, 9.1))
)


def finding(criterion: Criterion, wanted: Fields, said: Fields) -> Finding | None:
    return RULE[criterion].find(make_search(**wanted), make_listing(**said))


def flat(kind: FloorKind, number: int | None = None) -> Fields:
    return {"floor": Floor(kind=kind, number=number)}


def rent(euros: int, spese: SpeseTerm, spese_euros: int | None = None, per: RentUnit = RentUnit.MONTH) -> Fields:
    amount = Rent(amount_cents=euros * 100, per=per, spese=spese)
    return {"rent": amount, "spese_cents": None if spese_euros is None else spese_euros * 100}


def limit(low: int | None, high: int | None, spese: str) -> Fields:
    cents = {"minimum_cents": low and low * 100, "maximum_cents": high and high * 100}
    return {"rent": RentLimit.model_validate({**cents, "spese": spese})}


def test_there_is_one_rule_for_each_criterion_in_their_order() -> None:
    assert [rule.criterion for rule in RULES] == list(Criterion)


def test_the_status_of_a_withdrawn_listing_never_fits() -> None:
    assert finding(Criterion.STATUS, {}, {"status": ListingStatus.ACTIVE}) is YES
    assert finding(Criterion.STATUS, {}, {"status": ListingStatus.WITHDRAWN}) is NO


@pytest.mark.parametrize(
    ("place", "said", "expected"),
    [
        (InComune(code=MILANO), {"comune": MILANO}, YES),
        (InComune(code=MILANO), {"comune": "058091"}, NO),
        (InComune(code=MILANO), {"comune": None, "province": None}, MAYBE),
        (InComune(code=MILANO), {"comune": None, "province": "MI"}, MAYBE),
        (InComune(code=MILANO), {"comune": None, "province": "RM"}, NO),
        (InComune(code="108033"), {"comune": None, "province": "MI"}, MAYBE),  # Monza, once in the province of Milano
        (InComune(code="078157"), {"comune": "078108"}, YES),  # Rossano, merged
        (InComune(code="078044"), {"comune": "078108"}, YES),  # Corigliano, merged with it
        (InComune(code=MILANO, zones=("Loreto",)), {"zone": "Loreto - Buenos Aires"}, YES),
        (InComune(code=MILANO, zones=("Isola", "buenos aires")), {"zone": "Loreto - Buenos Aires"}, YES),
        (InComune(code=MILANO, zones=("Loreto - Buenos Aires",)), {"zone": "Loreto"}, YES),
        (InComune(code=MILANO, zones=("Trionfale",)), {"zone": "Monte Mario - Trionfale"}, YES),
        (InComune(code=MILANO, zones=("Citta Studi",)), {"zone": "Città Studi"}, YES),
        (InComune(code=MILANO, zones=("Centro",)), {"zone": "Centro Storico"}, YES),
        (InComune(code=MILANO, zones=("Centro Storico",)), {"zone": "Centro"}, NO),
        (InComune(code=MILANO, zones=("Lore",)), {"zone": "Loreto"}, NO),
        (InComune(code=MILANO, zones=("Loreto",)), {"zone": None}, MAYBE),
        (InComune(code=MILANO, zones=("Loreto",)), {"zone": None, "comune": "058091"}, NO),
        (InProvince(code="MI"), {"comune": MILANO, "province": None}, YES),
        (InProvince(code="MB"), {"comune": "108033", "province": "MI"}, YES),  # the comune's province of today counts
        (InProvince(code="MI"), {"comune": None, "province": "MI"}, YES),
        (InProvince(code="MI"), {"comune": "999999", "province": "MI"}, YES),  # a code that ISTAT does not know
        (InProvince(code="MI"), {"comune": None, "province": "RM"}, NO),
        (InProvince(code="MI"), {"comune": None, "province": None}, MAYBE),
        (InCircle(centre=LORETO, radius_m=1), {"position": LORETO}, YES),
        (InCircle(centre=LORETO, radius_m=500), {"position": Position(latitude=45.4903, longitude=9.2188)}, NO),
        (InCircle(centre=LORETO, radius_m=500), {"position": None}, MAYBE),
        (InPolygon(ring=SQUARE), {"position": LORETO}, YES),
        (InPolygon(ring=SQUARE), {"position": SQUARE[0]}, YES),
        (InPolygon(ring=SQUARE), {"position": Position(latitude=45.39, longitude=9.2)}, NO),
        (InPolygon(ring=SQUARE), {"position": None}, MAYBE),
    ],
)
def test_place(place: object, said: Fields, expected: Finding) -> None:
    assert finding(Criterion.PLACE, {"places": (place,)}, said) is expected


def test_one_certain_place_is_enough_and_an_undecided_one_counts_only_without_it() -> None:
    circle, milano, roma = InCircle(centre=LORETO, radius_m=9), InComune(code=MILANO), InComune(code="058091")
    nowhere = {"position": None}
    assert finding(Criterion.PLACE, {"places": (circle, roma, milano)}, nowhere) is YES
    assert finding(Criterion.PLACE, {"places": (circle, roma)}, nowhere) is MAYBE
    assert finding(Criterion.PLACE, {"places": (roma,)}, nowhere) is NO


@pytest.mark.parametrize(
    ("wanted", "said", "expected"),
    [
        # The canone alone: what does not say whether spese are in it is the canone.
        (limit(None, 1200, "excluded"), rent(1199, SpeseTerm.EXCLUDED), YES),
        (limit(None, 1200, "excluded"), rent(1200, SpeseTerm.EXCLUDED), YES),
        (limit(None, 1200, "excluded"), rent(1201, SpeseTerm.EXCLUDED), NO),
        (limit(800, None, "excluded"), rent(799, SpeseTerm.UNKNOWN), NO),
        (limit(800, None, "excluded"), rent(800, SpeseTerm.UNKNOWN), YES),
        (limit(None, 1200, "excluded"), rent(1201, SpeseTerm.UNKNOWN, 100), NO),
        (limit(None, 1200, "excluded"), rent(1200, SpeseTerm.EXCLUDED, 500), YES),
        # Spese are in the amount: known ones are taken off, unknown ones are at most half of it.
        (limit(None, 1200, "excluded"), rent(1300, SpeseTerm.INCLUDED, 100), YES),
        (limit(None, 1200, "excluded"), rent(1301, SpeseTerm.INCLUDED, 100), NO),
        (limit(None, 1200, "excluded"), rent(1200, SpeseTerm.INCLUDED), YES),
        (limit(None, 1200, "excluded"), rent(1201, SpeseTerm.INCLUDED), MAYBE),
        (limit(None, 1200, "excluded"), rent(2400, SpeseTerm.INCLUDED), MAYBE),
        (limit(None, 1200, "excluded"), rent(2401, SpeseTerm.INCLUDED), NO),
        (limit(800, None, "excluded"), rent(799, SpeseTerm.INCLUDED), NO),
        (limit(800, None, "excluded"), rent(900, SpeseTerm.INCLUDED), MAYBE),
        (limit(800, None, "excluded"), rent(1600, SpeseTerm.INCLUDED), YES),
        # The total is limited: known spese are added, unknown ones lie between nothing and the canone.
        (limit(None, 1200, "included"), rent(1100, SpeseTerm.EXCLUDED, 100), YES),
        (limit(None, 1200, "included"), rent(1100, SpeseTerm.EXCLUDED, 101), NO),
        (limit(None, 1200, "included"), rent(1201, SpeseTerm.EXCLUDED), NO),
        (limit(None, 1200, "included"), rent(1200, SpeseTerm.EXCLUDED), MAYBE),
        (limit(None, 1200, "included"), rent(601, SpeseTerm.EXCLUDED), MAYBE),
        (limit(None, 1200, "included"), rent(600, SpeseTerm.EXCLUDED), YES),
        (limit(800, None, "included"), rent(800, SpeseTerm.EXCLUDED), YES),
        (limit(None, 1200, "included"), rent(1200, SpeseTerm.INCLUDED, 300), YES),
        (limit(None, 1200, "included"), rent(1201, SpeseTerm.INCLUDED), NO),
        (limit(None, 1200, "included"), rent(1100, SpeseTerm.UNKNOWN, 100), YES),
        (limit(None, 1200, "included"), rent(1150, SpeseTerm.UNKNOWN, 100), MAYBE),
        (limit(None, 1200, "included"), rent(1201, SpeseTerm.UNKNOWN, 100), NO),
        (limit(None, 1200, "included"), rent(1100, SpeseTerm.UNKNOWN), MAYBE),
        # What is not a monthly rent is never made one.
        (limit(None, 1200, "excluded"), {"rent": None}, MAYBE),
        (limit(None, 1200, "excluded"), rent(15, SpeseTerm.EXCLUDED, per=RentUnit.SQUARE_METRE_MONTH), MAYBE),
        (limit(None, 1200, "excluded"), rent(12_000, SpeseTerm.EXCLUDED, per=RentUnit.YEAR), MAYBE),
        (limit(None, None, "excluded"), rent(1200, SpeseTerm.EXCLUDED), None),
    ],
)
def test_rent(wanted: Fields, said: Fields, expected: Finding | None) -> None:
    assert finding(Criterion.RENT, wanted, said) is expected


@pytest.mark.parametrize(
    ("criterion", "wanted", "said"),
    [
        (Criterion.ROOMS, "rooms", "rooms"),
        (Criterion.BEDROOMS, "bedrooms", "bedrooms"),
        (Criterion.BATHROOMS, "bathrooms", "bathrooms"),
        (Criterion.AREA, "area_m2", "area_m2"),
    ],
)
def test_a_range_holds_both_its_bounds(criterion: Criterion, wanted: str, said: str) -> None:
    between = {wanted: Range(minimum=2, maximum=4)}
    expected = {1: NO, 2: YES, 3: YES, 4: YES, 5: NO, None: MAYBE}
    assert {value: finding(criterion, between, {said: value}) for value in expected} == expected
    assert finding(criterion, {wanted: Range(minimum=2)}, {said: 99}) is YES
    assert finding(criterion, {wanted: Range(maximum=4)}, {said: 1}) is YES
    assert finding(criterion, {wanted: Range()}, {said: None}) is None


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Range(minimum=4), YES),
        (Range(minimum=5), YES),
        (Range(minimum=6), MAYBE),
        (Range(maximum=4), NO),
        (Range(maximum=5), MAYBE),
        (Range(maximum=6), MAYBE),
        (Range(minimum=5, maximum=5), MAYBE),
    ],
)
def test_five_or_more_rooms_are_five_or_any_number_above(wanted: Range, expected: Finding) -> None:
    assert finding(Criterion.ROOMS, {"rooms": wanted}, {"rooms": 5, "rooms_or_more": True}) is expected


@pytest.mark.parametrize(
    ("criterion", "wanted", "said", "expected"),
    [
        (Criterion.SOURCE, {"sources": {"immobiliare.it"}}, {}, YES),
        (Criterion.SOURCE, {"sources": {"casa.it"}}, {}, NO),
        (Criterion.DEPOSIT, {"deposit_max_cents": 3300_00}, {"deposit_cents": 3300_00}, YES),
        (Criterion.DEPOSIT, {"deposit_max_cents": 3300_00}, {"deposit_cents": 3300_01}, NO),
        (Criterion.DEPOSIT, {"deposit_max_cents": 0}, {"deposit_cents": 1}, NO),
        (Criterion.DEPOSIT, {"deposit_max_cents": 3300_00}, {"deposit_cents": None}, MAYBE),
        (Criterion.CONTRACT, {"contracts": {"4+4", "3+2"}}, {"contract": "3+2"}, YES),
        (Criterion.CONTRACT, {"contracts": {"4+4"}}, {"contract": "transitory"}, NO),
        (Criterion.CONTRACT, {"contracts": {"4+4"}}, {"contract": None}, MAYBE),
        (Criterion.OFFERING, {"offering": "room"}, {"offering": "room"}, YES),
        (Criterion.OFFERING, {"offering": "room"}, {"offering": "whole"}, NO),
        (Criterion.OFFERING, {"offering": "room"}, {"offering": None}, MAYBE),
        (Criterion.PROPERTY_TYPE, {"property_types": {"loft", "attico"}}, {"property_type": "loft"}, YES),
        (Criterion.PROPERTY_TYPE, {"property_types": {"loft"}}, {"property_type": "villa"}, NO),
        (Criterion.PROPERTY_TYPE, {"property_types": {"loft"}}, {"property_type": None}, MAYBE),
        (Criterion.FURNISHING, {"furnishing": {"furnished", "partly"}}, {"furnishing": "partly"}, YES),
        (Criterion.FURNISHING, {"furnishing": {"furnished"}}, {"furnishing": "partly"}, NO),
        (Criterion.FURNISHING, {"furnishing": {"furnished"}}, {"furnishing": None}, MAYBE),
        (Criterion.ADVERTISER, {"advertiser": "private"}, {"advertiser": "private"}, YES),
        (Criterion.ADVERTISER, {"advertiser": "private"}, {"advertiser": "agency"}, NO),
        (Criterion.ADVERTISER, {"advertiser": "private"}, {"advertiser": None}, MAYBE),
    ],
)
def test_a_value_among_the_wanted_ones(criterion: Criterion, wanted: Fields, said: Fields, expected: Finding) -> None:
    assert finding(criterion, wanted, said) is expected


@pytest.mark.parametrize(
    ("wish", "said", "expected"),
    [
        (FloorWish(), flat(FloorKind.SEMINTERRATO), None),
        (FloorWish(minimum=1), {"floor": None}, MAYBE),
        (FloorWish(minimum=2, maximum=4), flat(FloorKind.NUMBERED, 1), NO),
        (FloorWish(minimum=2, maximum=4), flat(FloorKind.NUMBERED, 2), YES),
        (FloorWish(minimum=2, maximum=4), flat(FloorKind.NUMBERED, 4), YES),
        (FloorWish(minimum=2, maximum=4), flat(FloorKind.NUMBERED, 5), NO),
        (FloorWish(minimum=1), flat(FloorKind.NUMBERED), YES),
        (FloorWish(minimum=2), flat(FloorKind.NUMBERED), MAYBE),
        (FloorWish(minimum=0), flat(FloorKind.PIANO_TERRA), YES),
        (FloorWish(minimum=1), flat(FloorKind.PIANO_TERRA), NO),
        (FloorWish(minimum=-1), flat(FloorKind.SEMINTERRATO), YES),
        (FloorWish(minimum=0), flat(FloorKind.SEMINTERRATO), NO),
        (FloorWish(minimum=0), flat(FloorKind.RIALZATO), YES),
        (FloorWish(minimum=1), flat(FloorKind.RIALZATO), MAYBE),
        (FloorWish(minimum=2), flat(FloorKind.RIALZATO), NO),
        (FloorWish(maximum=0), flat(FloorKind.AMMEZZATO), MAYBE),
        (FloorWish(maximum=1), flat(FloorKind.AMMEZZATO), YES),
        (FloorWish(minimum=3), flat(FloorKind.ATTICO, 6), YES),
        (FloorWish(minimum=3), flat(FloorKind.ATTICO), MAYBE),
        (FloorWish(maximum=0), flat(FloorKind.ATTICO), NO),
        (FloorWish(kinds={FloorKind.ATTICO}), flat(FloorKind.ATTICO), YES),
        (FloorWish(kinds={FloorKind.ATTICO}), flat(FloorKind.NUMBERED, 9), NO),
        (FloorWish(kinds={FloorKind.ATTICO}, minimum=5), flat(FloorKind.ATTICO, 3), NO),
        (FloorWish(kinds={FloorKind.PIANO_TERRA, FloorKind.NUMBERED}, minimum=3), flat(FloorKind.PIANO_TERRA), YES),
        (FloorWish(kinds={FloorKind.PIANO_TERRA, FloorKind.NUMBERED}, minimum=3), flat(FloorKind.NUMBERED, 2), NO),
    ],
)
def test_floor(wish: FloorWish, said: Fields, expected: Finding | None) -> None:
    assert finding(Criterion.FLOOR, {"floor": wish}, said) is expected


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({Feature.LIFT: True, Feature.PETS: True}, YES),
        ({Feature.LIFT: True, Feature.PETS: False}, NO),
        ({Feature.PETS: False}, NO),
        ({Feature.LIFT: True}, MAYBE),
        ({}, MAYBE),
    ],
)
def test_all_wanted_features_are_needed(features: dict[Feature, bool], expected: Finding) -> None:
    assert finding(Criterion.FEATURES, {"features": {Feature.LIFT, Feature.PETS}}, {"features": features}) is expected


@pytest.mark.parametrize(
    ("wanted", "said", "expected"),
    [
        (EnergyClass.C, EnergyClass.B, YES),
        (EnergyClass.C, EnergyClass.C, YES),
        (EnergyClass.C, EnergyClass.D, NO),
        (EnergyClass.C, None, MAYBE),
        (EnergyClass.A1, EnergyClass.A4, YES),
        (EnergyClass.A2, EnergyClass.A1, NO),
        (EnergyClass.A1, EnergyClass.B, NO),
        (EnergyClass.B, EnergyClass.A_PLUS, YES),
        (EnergyClass.A, EnergyClass.A1, YES),
        (EnergyClass.A_PLUS, EnergyClass.A, NO),
        (EnergyClass.A1, EnergyClass.A_PLUS, MAYBE),  # an old certificate in terms of the new classes
    ],
)
def test_energy_class(wanted: EnergyClass, said: EnergyClass | None, expected: Finding) -> None:
    assert finding(Criterion.ENERGY_CLASS, {"energy_class": wanted}, {"energy_class": said}) is expected


def test_availability_includes_the_day() -> None:
    day = dt.date(2027, 1, 1)
    for days, expected in {-1: YES, 0: YES, 1: NO}.items():
        said = {"available_from": day + dt.timedelta(days=days)}
        assert finding(Criterion.AVAILABILITY, {"available_by": day}, said) is expected
    assert finding(Criterion.AVAILABILITY, {"available_by": day}, {"available_from": None}) is MAYBE


DUOMO = Position(latitude=45.4642, longitude=9.19)
DISTANCE_M = 2872
"""From the Duomo to the listing of the factory, as the crow flies."""


def commute(**limits: Any) -> Fields:
    return {"commutes": (Commute(to=DUOMO, **limits),)}


def reached(seconds: int | None, by: TravelMode = TravelMode.TRANSIT) -> Fields:
    """A listing of which an engine has told the way to the Duomo."""
    journey = Journey(to=cell_of(DUOMO, DESTINATION_DEGREES), by=by, seconds=seconds)
    return {"appraisal": Appraisal(journeys=(journey,))}


@pytest.mark.parametrize(
    ("wanted", "said", "expected"),
    [
        (commute(max_distance_m=DISTANCE_M), {}, YES),
        (commute(max_distance_m=DISTANCE_M - 1), {}, NO),
        (commute(max_distance_m=1), {"position": None}, MAYBE),
        (commute(minutes=20), reached(20 * 60), YES),
        (commute(minutes=20), reached(20 * 60 + 1), NO),
        (commute(minutes=20), reached(None), NO),  # an engine knows that there is no way
        (commute(minutes=20), reached(60, TravelMode.CAR), MAYBE),
        (commute(minutes=20), {}, MAYBE),
        (commute(minutes=20), {"position": None, **reached(60)}, MAYBE),
        (commute(minutes=20, by="walk"), {}, NO),  # nobody walks that fast, and no engine need be asked
        (commute(minutes=22, by="walk"), {}, MAYBE),
        (commute(minutes=20, max_distance_m=2000), reached(60), NO),
        ({"commutes": commute(max_distance_m=9000)["commutes"] + commute(minutes=20)["commutes"]}, {}, MAYBE),
        ({"commutes": commute(max_distance_m=2000)["commutes"] + commute(minutes=20)["commutes"]}, {}, NO),
    ],
)
def test_a_commute_is_measured_in_minutes_and_metres(wanted: Fields, said: Fields, expected: Finding) -> None:
    assert finding(Criterion.COMMUTE, wanted, said) is expected


def test_only_what_an_engine_alone_can_decide_is_asked() -> None:
    near, far = Commute(to=DUOMO, minutes=20), Commute(to=Position(latitude=41.9, longitude=12.5), minutes=20)
    in_metres = Commute(to=DUOMO, max_distance_m=9000)
    assert left_to_ask(make_search(commutes=(near, in_metres)), make_listing()) == [near]
    assert left_to_ask(make_search(commutes=(near, far)), make_listing()) == []
    assert left_to_ask(make_search(commutes=(near,)), make_listing(**reached(900))) == []
    assert left_to_ask(make_search(commutes=(near,)), make_listing(position=None)) == []


def test_an_explanation_says_the_way_and_who_calls_its_end_what() -> None:
    search = make_search(commutes=(Commute(to=DUOMO, label="Ufficio", minutes=20, max_distance_m=5000),))
    sentences = [verdict.why for verdict in explain(search, make_listing(**reached(1234))).verdicts]
    assert (
        "Wanted at most 20 minutes by transit and 5,000 m to Ufficio; found 2,872 m, 21 minutes by transit."
        in sentences
    )


def test_signals_exclude_a_listing_only_where_a_search_says_so() -> None:
    scam = {"appraisal": Appraisal(signals=(Signal.SCAM_SIGNS,))}
    assert finding(Criterion.SIGNALS, {}, scam) is None
    assert finding(Criterion.SIGNALS, {"signals_unwanted": {Signal.SCAM_SIGNS}}, scam) is NO
    assert finding(Criterion.SIGNALS, {"signals_unwanted": {Signal.RENT_FAR_ABOVE_ZONE}}, scam) is YES
    assert finding(Criterion.SIGNALS, {"signals_unwanted": {Signal.SCAM_SIGNS}}, {}) is YES


@pytest.mark.parametrize(
    ("keywords", "title", "description", "wanted", "unwanted"),
    [
        (("balcone",), "Bilocale", "Con BALCONE.", YES, NO),
        (("balcone", "cantina"), "Bilocale con cantina", "Con balcone.", YES, NO),
        (("balcone", "cantina"), "Bilocale", "Con balcone.", NO, NO),
        (("orto",), "", "Vicino al porto.", NO, YES),
        (("orto",), "", "In via dell'Orto.", YES, NO),
        (("dell'orto",), "", "In via dell\N{RIGHT SINGLE QUOTATION MARK}Orto.", YES, NO),
        (("dell\N{RIGHT SINGLE QUOTATION MARK}Orto",), "", "IN VIA DELL'ORTO", YES, NO),
        (("l'ascensore",), "", "Palazzo con ascensore.", YES, NO),
        (("wifi",), "", "Wi-Fi incluso.", YES, NO),
        (("wi-fi",), "", "Wi-Fi incluso.", YES, NO),
        (("wi fi incluso",), "", "Wi-Fi incluso.", YES, NO),
        (("no students",), "", "Sorry, no students.", YES, NO),
        (("students", "balcony"), "", "Sorry, no students.", NO, NO),
        (("balcony students",), "Balcony", "Students welcome.", NO, YES),  # not from the title into the text
        (("ultimo piano",), "Attico all'ultimo", "piano in centro", NO, YES),
        (("balcone",), "Bilocale con balcone", "", YES, NO),
        (("balcone",), "Bilocale", "", MAYBE, MAYBE),
        (("balcone",), "", "", MAYBE, MAYBE),
        (("!!",), "Bilocale", "Con balcone.", None, None),
    ],
)
def test_keywords(
    keywords: tuple[str, ...], title: str, description: str, wanted: Finding | None, unwanted: Finding | None
) -> None:
    said = {"title": title, "description": description}
    assert finding(Criterion.KEYWORDS_WANTED, {"keywords_wanted": keywords}, said) is wanted
    assert finding(Criterion.KEYWORDS_UNWANTED, {"keywords_unwanted": keywords}, said) is unwanted


UNSAID: dict[Criterion, tuple[Fields, Fields]] = {
    Criterion.PLACE: ({"places": (InCircle(centre=LORETO, radius_m=500),)}, {"position": None}),
    Criterion.RENT: ({}, {"rent": None}),
    Criterion.DEPOSIT: ({"deposit_max_cents": 1}, {"deposit_cents": None}),
    Criterion.CONTRACT: ({"contracts": {"4+4"}}, {"contract": None}),
    Criterion.OFFERING: ({"offering": "whole"}, {"offering": None}),
    Criterion.PROPERTY_TYPE: ({"property_types": {"loft"}}, {"property_type": None}),
    Criterion.ROOMS: ({}, {"rooms": None}),
    Criterion.BEDROOMS: ({"bedrooms": Range(minimum=1)}, {"bedrooms": None}),
    Criterion.BATHROOMS: ({"bathrooms": Range(minimum=1)}, {"bathrooms": None}),
    Criterion.AREA: ({}, {"area_m2": None}),
    Criterion.FLOOR: ({"floor": FloorWish(minimum=1)}, {"floor": None}),
    Criterion.FURNISHING: ({"furnishing": {"furnished"}}, {"furnishing": None}),
    Criterion.FEATURES: ({"features": {"lift"}}, {"features": {}}),
    Criterion.ENERGY_CLASS: ({"energy_class": "C"}, {"energy_class": None}),
    Criterion.ADVERTISER: ({"advertiser": "private"}, {"advertiser": None}),
    Criterion.AVAILABILITY: ({"available_by": dt.date(2027, 1, 1)}, {"available_from": None}),
    Criterion.COMMUTE: ({"commutes": (Commute(to=DUOMO, max_distance_m=9000),)}, {"position": None}),
    Criterion.KEYWORDS_WANTED: ({"keywords_wanted": ("balcone",)}, {"title": "", "description": ""}),
    Criterion.KEYWORDS_UNWANTED: ({"keywords_unwanted": ("balcone",)}, {"title": "", "description": ""}),
}
DECISION = {
    UnknownPolicy.PASS: Decision.PASS,
    UnknownPolicy.FLAG: Decision.FLAGGED,
    UnknownPolicy.FAIL: Decision.FAIL,
}


def test_every_criterion_that_can_be_unknown_is_tried_without_its_value() -> None:
    assert set(Criterion) - UNSAID.keys() == {Criterion.STATUS, Criterion.SOURCE, Criterion.SIGNALS}


@pytest.mark.parametrize("policy", UnknownPolicy)
@pytest.mark.parametrize("criterion", UNSAID)
def test_what_a_listing_does_not_say_is_decided_by_the_search(criterion: Criterion, policy: UnknownPolicy) -> None:
    wanted, said = UNSAID[criterion]
    search, listing = make_search(**wanted, unknown={criterion: policy}), make_listing(**said)
    explanation = explain(search, listing)
    decisions = {verdict.criterion: verdict.decision for verdict in explanation.verdicts}
    assert decisions[criterion] is DECISION[policy]
    assert match(search, listing) is explanation.matches is (policy is not UnknownPolicy.FAIL)
    assert explanation.unknown == ((criterion,) if policy is UnknownPolicy.FLAG else ())


@pytest.mark.parametrize("criterion", UNSAID)
def test_or_else_by_the_default_of_its_criterion(criterion: Criterion) -> None:
    wanted, said = UNSAID[criterion]
    decisions = {
        each.criterion: each.decision for each in explain(make_search(**wanted), make_listing(**said)).verdicts
    }
    assert decisions[criterion] is DECISION[RULE[criterion].unknown]


def test_the_defaults_fit_each_other() -> None:
    assert match(make_search(), make_listing())


def test_an_explanation_holds_what_the_search_restricts_and_always_status_and_place() -> None:
    bare = Search(places=(InComune(code=MILANO),))
    assert [verdict.criterion for verdict in explain(bare, make_listing()).verdicts] == ["status", "place"]
    verdicts = explain(make_search(), make_listing()).verdicts
    assert [verdict.criterion for verdict in verdicts] == ["status", "place", "rent", "rooms", "area"]


def test_each_verdict_says_what_was_wanted_and_what_was_found() -> None:
    search = make_search(
        rent=RentLimit(maximum_cents=1200_50, spese="included"),
        floor=FloorWish(minimum=2),
        features={Feature.LIFT, Feature.GARDEN, Feature.PARKING},
        contracts={"4+4", "3+2"},
        keywords_wanted=("balcone", "vista mare"),
        available_by=dt.date(2026, 12, 31),
    )
    listing = make_listing(floor=None, features={Feature.LIFT: True, Feature.GARDEN: False})
    assert {verdict.criterion: verdict.why for verdict in explain(search, listing).verdicts} == {
        "status": "Wanted an active listing; found active.",
        "place": "Wanted Milano; found Loreto - Buenos Aires, Milano, MI, 45.48030, 9.21880.",
        "rent": "Wanted at most 1,200.50 € a month with spese included; "
        "found 1,100 € a month, spese excluded, spese 120 €.",
        "contract": "Wanted 3+2 or 4+4; found 4+4.",
        "rooms": "Wanted 2 to 3 rooms; found 2.",
        "area": "Wanted at least 45 m²; found 55 m².",
        "floor": "Wanted floor at least 2; the listing does not say.",
        "features": "Wanted garden and lift and parking; found no garden and lift.",
        "availability": "Wanted free by 2026-12-31; found free from 2026-12-01.",
        "keywords_wanted": "Wanted all of “balcone”, “vista mare”; found “balcone” in 18 words.",
    }


def test_a_verdict_says_when_what_was_found_does_not_decide() -> None:
    search = make_search(rooms=Range(maximum=5), places=(InCircle(centre=LORETO, radius_m=500),))
    listing = make_listing(rooms=5, rooms_or_more=True, position=None)
    why = {verdict.criterion: verdict.why for verdict in explain(search, listing).verdicts}
    assert why[Criterion.ROOMS] == "Wanted at most 5 rooms; found 5+, which does not decide it."
    assert why[Criterion.PLACE] == (
        "Wanted within 500 m of 45.48030, 9.21880; found Loreto - Buenos Aires, Milano, MI, which does not decide it."
    )
