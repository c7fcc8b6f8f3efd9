"""The index at its edges: thousands of searches, bounds at a value and beside it, limits that are reached soon."""

import datetime as dt
import random
from collections.abc import Sequence
from math import floor
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from common.explain import explain, match
from common.geo import distance_m
from common.listing import (
    ContractType,
    EnergyClass,
    Feature,
    FloorKind,
    Furnishing,
    Listing,
    Position,
    SpeseTerm,
)
from common.rules import Text, Whereabouts
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
    Subscription,
    SubscriptionStatus,
    UnknownPolicy,
)
from common.text import fold
from matcher import kernels, partition, reading, register, verdicts, wanted_places
from matcher.index import Index
from matcher.kernels import FAIL, FLAGGED, OPEN, PASS, fill_row
from matcher.kernels import ask as ask_kernel
from matcher.places import ANYWHERE, filed_under
from matcher.question import COLUMNS, PLACE
from matcher.reading import SearchReader
from matcher.register import Filed, Register
from matcher.verdicts import Bounded, Column, Listed, Phrased, Wish, Wishes, criteria_of
from matcher.wanted_places import PlaceWish, PlaceWishes, names_of
from testkit.factories import MILANO, make_listing, make_search, make_subscription, monthly
from testkit.matching import index_of

HERE = Position(latitude=45.4803, longitude=9.2188)


def square(south: float, west: float, side: float) -> InPolygon:
    corners = ((0, 0), (0, 1), (1, 1), (1, 0))
    return InPolygon(
        ring=tuple(Position(latitude=south + north * side, longitude=west + east * side) for north, east in corners)
    )


LISTINGS = (
    make_listing(),
    make_listing(rent=None, spese_cents=None, area_m2=None, rooms=None, contract=None, features={}),
    make_listing(comune=None, province=None, position=None, zone=None),
    make_listing(comune=None, position=None),
    make_listing(position=None, zone=None, rent=monthly(1100, spese=SpeseTerm.UNKNOWN), spese_cents=None),
    make_listing(comune=None, province=None),
    make_listing(comune="058091", province="RM", position=Position(latitude=41.9, longitude=12.5), zone=None),
    make_listing(rent=monthly(1220, spese=SpeseTerm.INCLUDED), area_m2=60, rooms=3, bedrooms=None),
    make_listing(rooms=4, rooms_or_more=True, area_m2=30, furnishing=None, energy_class=None, deposit_cents=None),
    make_listing(rent=monthly(30_000), area_m2=2000, floor=None, features={Feature.LIFT: False, Feature.PETS: True}),
    make_listing(rent=monthly(0), spese_cents=0, area_m2=1, description="", available_from=None),
    make_listing(position=Position(latitude=45.5, longitude=9.2), contract=ContractType.STUDENTS),
    make_listing(features=dict.fromkeys(Feature, True)),
)

PLACES: tuple[tuple[Any, ...], ...] = (
    *[(InComune(code=MILANO),)] * 8,
    (InComune(code=MILANO, zones=("Loreto - Buenos Aires",)),),
    (InComune(code=MILANO, zones=("Brera",)),),
    (InProvince(code="MI"),),
    (InProvince(code="RM"), InComune(code=MILANO)),
    (InCircle(centre=HERE, radius_m=3000),),
    (InCircle(centre=Position(latitude=45.5, longitude=9.2), radius_m=2000),),
    (InCircle(centre=HERE, radius_m=90_000),),
    (square(45.48, 9.21, 0.02),),
    (square(45.3, 9.0, 0.1803),),
    (square(36.0, 6.0, 11.5),),
    (square(45.4803, 9.2188, 0.3), InComune(code="058091")),
    (InCircle(centre=HERE, radius_m=500), square(41.8, 12.4, 0.2), InProvince(code="MI")),
)


def criteria() -> tuple[Wishes, ...]:
    return criteria_of(COLUMNS)


def around(value: int) -> list[Range]:
    bounds = (value - 1, value, value + 1)
    return [Range(minimum=each) for each in bounds] + [Range(maximum=each) for each in bounds]


WISHES: dict[Criterion, tuple[str, list[Any]]] = {
    Criterion.SOURCE: ("sources", [{"immobiliare.it"}, {"casa.it"}]),
    Criterion.RENT: (
        "rent",
        [
            RentLimit(**{bound: rent + cent, "spese": spese})
            for bound in ("minimum_cents", "maximum_cents")
            for rent in (1100_00, 1220_00, 0, 30_000_00)
            for cent in (-1, 0, 1)
            for spese in ("included", "excluded")
            if rent + cent >= 0
        ],
    ),
    Criterion.DEPOSIT: ("deposit_max_cents", [3299_99, 3300_00, 0]),
    Criterion.CONTRACT: ("contracts", [{ContractType.FREE_4_4}, {ContractType.STUDENTS}]),
    Criterion.ROOMS: ("rooms", [*around(2), *around(5), Range(minimum=7, maximum=8)]),
    Criterion.BEDROOMS: ("bedrooms", around(1)),
    Criterion.AREA: ("area_m2", [*around(55), *around(60), *around(1), *around(2000)]),
    Criterion.FLOOR: (
        "floor",
        [FloorWish(minimum=3), FloorWish(minimum=4), FloorWish(kinds={FloorKind.NUMBERED}, maximum=2)],
    ),
    Criterion.FURNISHING: ("furnishing", [{Furnishing.FURNISHED}, {Furnishing.UNFURNISHED}]),
    Criterion.FEATURES: ("features", [{Feature.LIFT}, {Feature.LIFT, Feature.PETS}, {Feature.GARDEN}]),
    Criterion.ENERGY_CLASS: ("energy_class", [EnergyClass.D, EnergyClass.C]),
    Criterion.AVAILABILITY: ("available_by", [dt.date(2026, 12, 1), dt.date(2026, 11, 30)]),
    Criterion.KEYWORDS_WANTED: ("keywords_wanted", [("balcone",), ("piscina",)]),
    Criterion.KEYWORDS_UNWANTED: ("keywords_unwanted", [("piscina",), ("cucina",)]),
    Criterion.COMMUTE: ("commutes", [(Commute(to=HERE, max_distance_m=each),) for each in (100, 3000, 50_000)]),
}


def drawn_search(chance: random.Random) -> Search:
    chosen = chance.sample(sorted(WISHES), chance.choice((0, 1, 1, 2, 3)))
    fields = {WISHES[each][0]: chance.choice(WISHES[each][1]) for each in chosen}
    unknown = {each: chance.choice(list(UnknownPolicy)) for each in (*chosen, Criterion.PLACE) if chance.random() < 0.7}
    return Search(places=chance.choice(PLACES), unknown=unknown, **fields)


def found(index: Index, listing: Listing) -> dict[int, tuple[Criterion, ...]]:
    matches = index.match(listing)
    ids = [UUID(bytes=index.register.subscription_ids[number].tobytes()).int for number in matches.numbers]
    assert len(ids) == len(set(ids))
    flagged = [tuple(each for bit, each in enumerate(Criterion) if flags >> bit & 1) for flags in matches.flagged]
    return dict(zip(ids, flagged, strict=True))


def judged(search: Search, listing: Listing) -> tuple[Criterion, ...] | None:
    return explain(search, listing).unknown if match(search, listing) else None


def test_thousands_of_searches_are_found_as_the_plain_rule_finds_them_whatever_limits_are_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows are made, widened and give way, numbers of wishes outgrow 16 bits, slots are left and compacted."""
    monkeypatch.setattr(partition, "ONE_BY_ONE", 64)
    monkeypatch.setattr(partition, "MOST_ROWS", 20)  # one listing asks for 18
    monkeypatch.setattr(partition, "LARGEST_SHORT", 30)
    monkeypatch.setattr(wanted_places, "MOST_REMEMBERED", 3)
    monkeypatch.setattr(verdicts, "MOST_REMEMBERED", 3)
    chance = random.Random(7)
    searches = [drawn_search(chance) for _ in range(350)]
    oracle = [[judged(search, listing) for search in searches] for listing in LISTINGS]
    index = Index()
    reader = SearchReader(index.criteria)
    held: dict[int, int] = {}

    def save(key: int, revision: int, search: int, *, active: bool = True) -> None:
        status = SubscriptionStatus.ACTIVE if active else SubscriptionStatus.PAUSED
        saved = make_subscription(
            subscription_id=UUID(int=key), revision=revision, search=searches[search], status=status
        )
        assert index.put(reader.filed(saved))
        held.pop(key, None)
        if active:
            held[key] = search

    def check() -> None:
        assert len(index) == len(held)
        for listing, judged_so in zip(LISTINGS, oracle, strict=True):
            right = {key: judged_so[search] for key, search in held.items() if judged_so[search] is not None}
            assert found(index, listing) == right

    for key in range(600):
        save(key, 1, key % 100)
    check()
    for key in range(600, 1200):
        save(key, 1, key % 350)
    check()
    for key in range(0, 1200, 2):
        save(key, 2, chance.randrange(350), active=chance.random() < 0.8)
    check()
    for key in chance.sample(range(1200), 900):
        index.remove(UUID(int=key).bytes)
        held.pop(key, None)
    check()
    for key in range(1200, 1500):
        save(key, 1, chance.randrange(350))
    check()


def test_what_is_not_newer_changes_nothing_and_what_is_not_there_is_removed_in_silence() -> None:
    index = index_of([make_subscription(revision=5, search=make_search())])
    reader = SearchReader(index.criteria)
    elsewhere = make_search(places=(InComune(code="058091"),))
    for revision, taken in ((4, False), (5, False), (6, True)):
        assert index.put(reader.filed(make_subscription(revision=revision, search=elsewhere))) is taken
        assert bool(found(index, make_listing())) is not taken
    index.remove(UUID(int=99).bytes)
    assert len(index) == 1


# Rows: what they save is seen by what is looked at


def crowd(count: int, **changes: Any) -> list[Subscription]:
    return [
        make_subscription(subscription_id=UUID(int=number), search=make_search(**changes)) for number in range(count)
    ]


def test_all_but_the_last_searches_of_a_place_are_looked_for_through_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    covered, chosen = [], []

    def ask(*arguments: Any) -> int:
        _, _, rows, which, with_rows, *_ = arguments
        covered.append(with_rows)
        chosen.append([int(np.bitwise_count(rows[row]).sum()) for row in which])
        return ask_kernel(*arguments)

    monkeypatch.setattr(partition, "ask", ask)
    subscriptions = crowd(partition.ONE_BY_ONE - 1)
    elsewhere = make_search(places=(InComune(code="058091"),), sources={"casa.it"})  # who asks here for no source
    index = index_of([*subscriptions, make_subscription(subscription_id=UUID(int=9999), search=elsewhere)])
    index.match(make_listing(rooms=4))
    assert (covered, chosen) == ([0], [[]])
    reader = SearchReader(index.criteria)
    for number in range(len(subscriptions), 600):
        rooms = Range(minimum=4 if number % 3 else 3)
        contracts = {ContractType.FREE_4_4} if number % 2 else {ContractType.STUDENTS}
        search = make_search(rooms=rooms, contracts=contracts)
        index.put(reader.filed(make_subscription(subscription_id=UUID(int=number), search=search)))
    index.match(make_listing(rooms=4))
    assert covered[-1] == 600 // 64 * 64
    assert chosen[-1][-1] < 576  # a row of all decides nothing
    assert chosen[-1] == [sum(number > 254 for number in range(576)), 255 + sum(n % 2 for n in range(255, 576))]


def test_the_row_that_nobody_asked_for_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "MOST_ROWS", 3)
    filled: list[int] = []

    def fill(*arguments: Any) -> int:
        filled.append(arguments[2])
        return fill_row(*arguments)

    monkeypatch.setattr(partition, "fill_row", fill)
    index = index_of(crowd(300, rent=None, area_m2=None, rooms=Range(minimum=5)))
    made = []
    for rooms in (1, 2, 3, 1, 4, 1, 3, 2):
        filled.clear()
        index.match(make_listing(rooms=rooms))
        made.append(len(filled))
    assert made == [1, 1, 1, 0, 1, 0, 0, 1]


def test_a_partition_is_compacted_when_a_quarter_of_it_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "ONE_BY_ONE", 8)
    index = Index()
    part = partition.Partition(index.criteria)
    place = PlaceWish.of(make_search().places, UnknownPolicy.FAIL)
    slots = [part.add(number, place, {}) for number in range(100)]
    sparse = []
    for slot in slots[:30]:
        part.remove(slot)
        sparse.append(part.is_sparse)
    assert sparse == [False] * 25 + [True] * 5
    other = part.compacted()
    assert (len(other), other.size, other.left) == (70, 70, 0)
    assert other.numbers[:70].tolist() == list(range(30, 100))
    few = partition.Partition(index.criteria)
    for slot in [few.add(number, place, {}) for number in range(9)]:
        few.remove(slot)
        assert few.is_sparse is (slot == 8)


@pytest.mark.parametrize(("largest", "kind"), [(2**16 - 1, np.uint16), (2**16, np.uint32)])
def test_numbers_of_wishes_that_outgrow_16_bits_are_kept(largest: int, kind: type) -> None:
    part = partition.Partition(criteria())
    slot = part.add(7, PlaceWish.of(make_search().places, UnknownPolicy.FAIL), {len(COLUMNS) - 1: largest})
    assert part.wishes.dtype == kind
    assert part.wishes[:, slot].tolist() == [0] * (len(COLUMNS) - 1) + [largest]


# Wishes


@pytest.mark.parametrize("criterion", [each for each in WISHES if each is not Criterion.COMMUTE])
def test_tables_and_rows_say_what_the_rule_says(criterion: Criterion) -> None:
    column = next(number for number, rule in enumerate(COLUMNS) if rule.criterion is criterion)
    wishes, rule = criteria()[column], COLUMNS[column]
    field, values = WISHES[criterion]
    for value in values[:3]:
        for policy in UnknownPolicy:
            _wished(wishes, rule, field, value, policy)
    for listing in LISTINGS:
        wishes.table(rule.says(listing))
    for value in values[3:]:
        for policy in UnknownPolicy:
            number = len(wishes)
            assert _wished(wishes, rule, field, value, policy) == number
    for listing in LISTINGS:
        _check_table(wishes, rule.says(listing))


def _check_table(wishes: Wishes, said: Any) -> None:
    right = [wishes.judge(number, said) for number in range(len(wishes))]
    table = wishes.table(said)
    assert table
    assert table.verdicts.tolist() == right
    seen = (FAIL in right, FLAGGED in right)
    assert (table.fails, table.flags) == (seen if not isinstance(wishes, Phrased) else (True, True))
    in_rows, may_fit = _in_rows(wishes, said), np.array(right) != FAIL
    assert not (may_fit & ~in_rows).any()
    if wishes.certain_in_rows:
        assert (in_rows == may_fit).all()


def _in_rows(wishes: Wishes, said: Any) -> Any:
    """For each wish, whether a search that has it is in all rows of a listing that says so."""
    rows = [wishes.passing(key)[: len(wishes)] != 0 for key in wishes.keys(said)]
    return np.all([np.ones(len(wishes), np.bool_), *rows], axis=0)


def test_a_table_of_few_values_is_made_once() -> None:
    (wishes,) = (each for each in criteria() if each.rule.criterion is Criterion.ROOMS)
    assert isinstance(wishes, Listed)
    wishes.number(Wish(Range(minimum=3), UnknownPolicy.FAIL))
    said = wishes.rule.says(make_listing(rooms=2))
    assert wishes.table(said) is wishes.table(said)


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("criterion", [Criterion.KEYWORDS_WANTED, Criterion.KEYWORDS_UNWANTED])
def test_phrases_are_judged_by_how_many_of_them_stand_in_a_text(criterion: Criterion, described: bool) -> None:
    """Phrases begin alike, hold one another, come twice, and stand in a text in part."""
    (wishes,) = (each for each in criteria() if each.rule.criterion is criterion)
    phrases = [fold(each) for each in ("box", "box auto", "posto auto", "auto", "posto", "vista")]
    drawn = [(one, *more) for one in phrases for more in ((), (phrases[0],), (phrases[1], phrases[2]))]
    for asked in drawn:
        for policy in UnknownPolicy:
            wishes.number(Wish(asked, policy))
    for said in (
        "",
        "box",
        "un box auto",
        "posto auto e box",
        "auto box posto",
        "auto posto box auto posto auto",
        "mare",
    ):
        _check_table(wishes, Text(fold(said), described))


def _wished(wishes: Any, rule: Any, field: str, value: Any, policy: UnknownPolicy) -> int:
    search = make_search(**{field: value}, unknown={rule.criterion: policy})
    return int(wishes.number(Wish(rule.asks(search), rule.policy(search))))


def test_rows_of_amounts_leave_out_what_lies_a_step_away() -> None:
    (wishes,) = (each for each in criteria() if each.rule.criterion is Criterion.AREA)
    assert isinstance(wishes, Bounded)
    for bounds in ((None, 99), (None, 100), (100, None), (101, None), (105, None), (106, None), (None, None)):
        wishes.number(Wish(Range(minimum=bounds[0], maximum=bounds[1]), UnknownPolicy.FAIL))
    assert _in_rows(wishes, 100).tolist() == [True, False, True, True, False, False, False, True]
    assert _in_rows(wishes, 104).tolist() == [True, False, True, True, True, True, False, True]
    assert _in_rows(wishes, 5000).tolist() == [True, False, False, True, True, True, True, True]


# Places


def test_circles_and_polygons_are_measured_as_the_rule_measures_them() -> None:
    chance = random.Random(3)
    for _ in range(60):
        centre = Position(latitude=chance.uniform(36, 47), longitude=chance.uniform(7, 18))
        here = Position(
            latitude=centre.latitude + chance.uniform(-0.3, 0.3), longitude=centre.longitude + chance.uniform(-0.3, 0.3)
        )
        edge = distance_m(here, centre)
        shapes = [
            *(InCircle(centre=centre, radius_m=max(1, int(edge) + more)) for more in (-1, 0, 1, 2)),
            square(here.latitude, here.longitude, 0.1),
            square(here.latitude + 1e-6, here.longitude, 0.1),
            square(here.latitude - 0.05, here.longitude - 0.05, 0.1),
        ]
        _agree([(shape,) for shape in shapes] + [(shapes[0], shapes[4]), (InProvince(code="RM"), shapes[6])], here)


def test_who_looks_around_a_flat_is_found_without_a_flag() -> None:
    listing = make_listing()
    assert listing.position
    around = make_search(places=(InCircle(centre=listing.position, radius_m=3000),))
    assert index_of([make_subscription(search=around)]).match(listing).flagged.tolist() == [0]


def test_a_point_at_the_very_edge_of_a_circle_is_judged_by_the_rule() -> None:
    """Metres are whole: to lie at an edge, the point is moved until its distance is one, or next to it."""
    for radius_m in (1000, 3000, 7777, 90_000):
        low, high = 0.0, 1.5
        for _ in range(80):
            middle = (low + high) / 2
            inside = distance_m(Position(latitude=45 + middle, longitude=9.1), Position(latitude=45, longitude=9.0))
            low, high = (middle, high) if inside <= radius_m else (low, middle)
        for latitude in (45 + low, 45 + high):
            circle = InCircle(centre=Position(latitude=45, longitude=9.0), radius_m=radius_m)
            _agree(
                [(circle,), (InCircle(centre=circle.centre, radius_m=radius_m + 1),)],
                Position(latitude=latitude, longitude=9.1),
            )


def _agree(places: Sequence[tuple[Any, ...]], here: Position) -> None:
    """Of one search for each place and policy, in two orders, the index finds those that the rule lets pass."""
    wanted = [
        make_search(places=each, unknown={Criterion.PLACE: policy})
        for each in places
        for policy in (UnknownPolicy.FAIL, UnknownPolicy.FLAG)
    ]
    saved = [make_subscription(subscription_id=UUID(int=number), search=each) for number, each in enumerate(wanted)]
    for index in (index_of(saved), index_of(reversed(saved))):
        for listing in (make_listing(position=here), make_listing(position=None)):
            verdicts = [judged(search, listing) for search in wanted]
            right = {number: flagged for number, flagged in enumerate(verdicts) if flagged is not None}
            assert found(index, listing) == right


@pytest.mark.parametrize("policy", UnknownPolicy)
def test_tables_of_places_say_what_the_rule_says_and_leave_shapes_open(policy: UnknownPolicy) -> None:
    wanted = [
        PlaceWish.of(places, policy) for places in (*PLACES[7:], (InComune(code=MILANO, zones=("Loreto", "Brera")),))
    ]
    wishes = PlaceWishes()
    for half in (wanted[: len(wanted) // 2], wanted):
        numbers = [wishes.number(wish) for wish in half]
        for listing in LISTINGS:
            at: Whereabouts = COLUMNS[PLACE].says(listing)
            known = wishes.known(names_of(at))
            assert wishes.known(names_of(at)) is known
            right = [_left_open(wish, at) for wish in half]
            assert known.table[numbers].tolist() == right
            everything = known.table.tolist()
            assert (known.fails, known.flags) == (FAIL in everything, FLAGGED in everything or OPEN in everything)
            assert [wishes.judge(number, at) for number in numbers] == [wish.judge(at) for wish in half]


def test_zones_are_told_apart_as_the_rule_tells_them() -> None:
    """Whatever words they share, as parts joined by dashes, with accents, and of nothing but signs."""
    wanted = (
        "Centro",
        "Centro Storico",
        "Monte Mario - Trionfale",
        "Trionfale/Balduina",
        "San Donà",
        "Porta",
        "Mario",
        "-",
    )
    said = (
        *wanted,
        "Monte Mario",
        "Storico Centro",
        "centro storico \N{EN DASH} duomo",
        "san dona",
        "Porta Romana",
        "mario",
        "?",
        " ",
        "",
        None,
    )
    wishes = PlaceWishes()
    parts = [InComune(code=code, zones=(zone,)) for code in (MILANO, "058091") for zone in wanted]
    places: list[tuple[Any, ...]] = [
        *((part,) for part in parts),
        (InComune(code=MILANO),),
        (InProvince(code="RM"),),
        tuple(parts[::3]),
    ]
    for half in (places[: len(places) // 2], places):
        filed = [PlaceWish.of(each, UnknownPolicy.FLAG) for each in half]
        numbers = [wishes.number(wish) for wish in filed]
        for zone in said:
            for comune, province in ((MILANO, "MI"), ("058091", None), (None, "RM")):
                at = Whereabouts(comune, province, zone, None)
                assert wishes.known(names_of(at)).table[numbers].tolist() == [wish.judge(at) for wish in filed]


def _left_open(wish: PlaceWish, at: Whereabouts) -> int:
    certain = PlaceWish(
        tuple(part for part in wish.parts if not hasattr(part, "centre") and not hasattr(part, "ring")),
        UnknownPolicy.FAIL,
        (),
    )
    passes = bool(certain.parts) and certain.judge(at) == PASS
    return OPEN if at.position and not wish.is_named and not passes else wish.judge(at)


def test_named_places_are_kept_once_and_shapes_each_time() -> None:
    circle, polygon, comune = InCircle(centre=HERE, radius_m=100), square(45.0, 9.0, 0.1), InComune(code=MILANO)
    cases: list[tuple[tuple[Any, ...], bool]] = [
        ((circle,), False),
        ((polygon,), False),
        ((circle, comune), False),
        ((comune, comune), True),
    ]
    for places, is_named in cases:
        wish, wishes = PlaceWish.of(places, UnknownPolicy.FAIL), PlaceWishes()
        assert wish.is_named is is_named
        assert wishes.number(wish) == 0
        assert wishes.number(wish) == (0 if is_named else 1)


def test_a_comune_with_several_zones_is_as_good_as_the_best_of_them() -> None:
    zones = ("Loreto", "Brera", "Isola")
    wish = PlaceWish.of((InComune(code=MILANO, zones=zones), InProvince(code="RM")), UnknownPolicy.FLAG)
    assert wish.parts == (*(InComune(code=MILANO, zones=(zone,)) for zone in zones), InProvince(code="RM"))


@pytest.mark.parametrize(("level", "side"), [(0, 0.1), (1, 0.4), (2, 1.6), (3, 6.4)])
def test_a_shape_is_filed_under_the_smallest_tiles_that_are_as_large(level: int, side: float) -> None:
    row, column = floor(40 / side), floor(9 / side)
    across = square((row + 0.5) * side, (column + 0.5) * side, 0.9 * side)
    assert filed_under((across,), UnknownPolicy.FAIL) == {
        ("tile", (level, row + north, column + east)) for north in (0, 1) for east in (0, 1)
    }
    larger = filed_under((square(40, 8, 1.01 * side),), UnknownPolicy.FAIL)
    assert larger == {ANYWHERE} if side == 6.4 else _levels(larger) == {level + 1}


def _levels(keys: frozenset[Any]) -> set[int]:
    return {level for _, (level, _, _) in keys}


def test_a_shape_that_is_wider_than_high_counts_by_its_width() -> None:
    ring = tuple(Position(latitude=45.01 + north, longitude=east) for north, east in ((0, 8.1), (0, 9.1), (0.01, 9.1)))
    assert _levels(filed_under((InPolygon(ring=ring),), UnknownPolicy.FAIL)) == {2}


# The register


def test_a_register_finds_what_was_entered_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the ids hash to the same place; numbers are given again, the table of hashes grows, names change."""
    monkeypatch.setattr(register, "_COMPACTED_FROM", 500)
    chance = random.Random(11)
    known: dict[bytes, tuple[int, bytes]] = {}
    searches = Register()
    ids = [
        UUID(int=chance.getrandbits(64) * ((1 << 64) + 1) if number < 200 else chance.getrandbits(128)).bytes
        for number in range(5500)
    ]

    def enter(key: bytes) -> None:
        assert searches.find(key) is None
        number = searches.add(key)
        assert number not in {each for each, _ in known.values()} if len(known) < 500 else number < 5500
        name_it(key, number)

    def name_it(key: bytes, number: int) -> None:
        name = b'"%d"' % chance.getrandbits(chance.randrange(1, 100))
        searches.set(number, filed(key, name))
        known[key] = (number, name)

    def check() -> None:
        assert len(searches) == len(known)
        assert len({number for number, _ in known.values()}) == len(known)
        for key, (number, name) in known.items():
            assert searches.find(key) == number
            assert searches.subscription_ids[number].tobytes() == key
            assert name_of(searches, number) == name
        assert all(searches.find(key) is None for key in ids if key not in known)

    for key in ids[:1500]:
        enter(key)
    check()
    for key in [key for key in known if chance.random() < 0.7]:
        searches.remove(key_number := known.pop(key)[0])
        assert not searches.active[key_number]
    check()
    highest = max(number for number, _ in known.values())
    for key in ids[1500:2000]:
        enter(key)
    assert max(number for number, _ in known.values()) <= max(highest, 1499)
    check()
    for key in ids[2000:]:
        enter(key)
    check()
    for key, (number, _) in known.items():
        name_it(key, number)
    check()


def name_of(searches: Register, number: int) -> bytes:
    text, (start,), (end,) = searches.names(np.array([number], np.int32))
    return text[start:end].tobytes()


def filed(key: bytes, name: bytes, **changes: Any) -> Filed:
    subscription = make_subscription(subscription_id=UUID(bytes=key))
    plain = _PLAIN.setdefault("one", SearchReader(Index().criteria).filed(subscription))
    return plain._replace(subscription_id=key, name=name, **changes)


_PLAIN: dict[str, Filed] = {}


def test_a_removed_search_is_not_found_again_when_the_table_of_hashes_is_made_anew() -> None:
    """That happens while numbers are free: each search that comes may use up a place, and those that go leave none."""
    searches = Register()
    ids = [UUID(int=number << 40).bytes for number in range(3300)]
    for key in ids[:3000]:
        searches.add(key)
    table = searches._table
    for number in range(600):
        searches.remove(number)
    for key in ids[3000:]:
        searches.add(key)
    assert searches._table is not table
    assert len(searches) == 2700
    assert {searches.find(key) for key in ids[:600]} == {None}
    assert None not in {searches.find(key) for key in ids[600:]}


def test_a_register_holds_what_was_said_last_and_forgets_names_that_were_replaced() -> None:
    searches = Register()
    number = searches.add(UUID(int=1).bytes)
    for revision in range(1, 3000):
        searches.set(number, filed(UUID(int=1).bytes, b'"%0100d"' % revision, revision=revision, price_drop=(3, 700)))
    assert name_of(searches, number) == b'"%0100d"' % 2999
    assert searches.revisions[number] == 2999
    assert (searches.drop_percents[number], searches.drop_cents[number]) == (3, 700)
    assert searches.alerts[number] == 3
    assert searches.active[number]
    assert searches.user_ids[number].tobytes() == make_subscription().user_id.bytes
    assert searches.bytes_used - Register().bytes_used < 1 << 17


def test_bytes_used_are_those_of_all_columns() -> None:
    index = index_of(crowd(1500))
    index.match(make_listing())

    def held(thing: object) -> int:
        match thing:
            case np.ndarray():
                return int(thing.nbytes)
            case bytearray():
                return len(thing)
            case list() | tuple():
                return sum(map(held, thing))
            case partition.Partition() | partition.Found() | PlaceWishes() | Column() | Register() | Index():
                return sum(held(value) for name, value in vars(thing).items() if name not in _SHARED)
            case _ if type(thing).__module__ in {"matcher.register", "matcher.index"}:
                return sum(map(held, vars(thing).values()))
        return 0

    assert index.bytes_used == held(index)


_SHARED = {"criteria", "_wanted", "_columns"}


# Kernels, as plain arrays


@pytest.mark.parametrize("above", [0, 1, 0x5555555555555555, 2**64 - 1])
def test_every_bit_of_a_row_is_found(above: int) -> None:
    for bit in range(64):
        word = (above << bit | 1 << bit) & (2**64 - 1)
        rows = np.array([[0, word]], np.uint64)
        alive = np.array([2**64 - 1] * 2, np.uint64)
        slots = np.zeros(70, np.int32)
        count = kernels._through_rows(rows, np.array([0], np.int32), alive, 2, slots, 0)
        assert slots[:count].tolist() == [64 + each for each in range(64) if word >> each & 1]


# Reading


def test_what_bounds_nothing_is_no_wish() -> None:
    index = Index()
    reader = SearchReader(index.criteria)
    reader.filed(make_subscription())
    unbounded = make_search(rent=RentLimit(), rooms=Range(), area_m2=Range(), floor=FloorWish())
    assert not reader.filed(make_subscription(search=unbounded)).wishes


def test_what_was_read_before_is_remembered_and_what_is_forgotten_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Criterion] = []
    validated = reading._search

    def counted(fields: dict[str, Any], criterion: Criterion, policy: str | None) -> Search:
        asked.append(criterion)
        return validated(fields, criterion, policy)

    monkeypatch.setattr(reading, "_search", counted)
    monkeypatch.setattr(reading, "MOST_REMEMBERED", 2)
    index = Index()
    reader = SearchReader(index.criteria)

    def read_again(**changes: Any) -> tuple[Filed, int]:
        asked.clear()
        return reader.filed(make_subscription(search=make_search(**changes))), len(asked)

    first, models = read_again()
    assert models == 4
    again, models = read_again()
    assert (models, again.wishes) == (0, first.wishes)
    assert again.place is first.place
    for rooms in (5, 6):
        _, models = read_again(rooms=Range(minimum=rooms))
        assert models == 1
    _, models = read_again(rooms=Range(minimum=6))
    assert models == 0
    again, models = read_again()
    assert (models, again.wishes) == (1, first.wishes)
    around_here = (InCircle(centre=HERE, radius_m=100),)
    assert [read_again(places=around_here)[1] for _ in range(2)] == [1, 1]
    for code in ("058091", "021008"):
        assert read_again(places=(InComune(code=code),))[1] == 1
    assert read_again(places=(InComune(code="021008"),))[1] == 0
    assert read_again()[1] == 1
