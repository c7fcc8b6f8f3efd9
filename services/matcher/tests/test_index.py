"""The index finds what the plain rule finds."""

import random
from collections import Counter
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.explain import explain, match
from common.listing import (
    AdvertiserKind,
    ContractType,
    EnergyClass,
    Furnishing,
    Listing,
    Offering,
    Position,
    PropertyType,
)
from common.search import (
    Criterion,
    InCircle,
    InPolygon,
    InProvince,
    Range,
    RentLimit,
    Search,
    Subscription,
    SubscriptionStatus,
    UnknownPolicy,
)
from matcher import partition
from matcher.index import Index
from matcher.reading import SearchReader
from testkit.factories import make_listing, make_search, make_subscription
from testkit.matching import index_of
from testkit.strategies import listings, searches_near

seeded = settings(derandomize=True, deadline=None, max_examples=150)


OFTEN_UNSAID: Final = ("rooms", "bedrooms", "bathrooms", "area_m2", "floor", "furnishing", "contract", "energy_class")


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[Listing], list[Search]]:
    full = draw(st.lists(listings(), min_size=1, max_size=3))
    unsaid = st.sets(st.sampled_from(OFTEN_UNSAID))
    offered = [listing.model_copy(update=dict.fromkeys(draw(unsaid))) for listing in full]
    return offered, draw(st.lists(st.sampled_from(offered).flatmap(searches_near), min_size=1, max_size=8))


def found(index: Index, listing: Listing) -> dict[UUID, tuple[Criterion, ...]]:
    """The searches that the index finds, each with its flagged criteria."""
    matches = index.match(listing)
    ids = [UUID(bytes=index.register.subscription_ids[number].tobytes()) for number in matches.numbers]
    assert len(ids) == len(set(ids))
    flagged = [tuple(each for bit, each in enumerate(Criterion) if flags >> bit & 1) for flags in matches.flagged]
    return dict(zip(ids, flagged, strict=True))


class Market:
    """An index, and beside it the number of the search that each active subscription holds."""

    def __init__(self, wanted: list[Search], chance: random.Random) -> None:
        self.index = Index()
        self.held: dict[UUID, int] = {}
        self._reader = SearchReader(self.index.criteria)
        self._wanted, self._chance = wanted, chance

    def change(self, key: UUID, revision: int) -> None:
        """Save, pause or delete a subscription, or leave it as it is."""
        dice = self._chance.random()
        if dice < 0.2:
            self.index.remove(key.bytes)
            self.held.pop(key, None)
        elif dice < 0.8:
            search = self._chance.randrange(len(self._wanted))
            status = self._chance.choice([*SubscriptionStatus, SubscriptionStatus.ACTIVE])
            saved = make_subscription(
                subscription_id=key, revision=revision, search=self._wanted[search], status=status
            )
            self.index.put(self._reader.filed(saved))
            self.held.pop(key, None)
            if saved.active:
                self.held[key] = search


@pytest.mark.parametrize(("copies", "examples"), [(1, 150), (40, 40)], ids=["one by one", "with rows"])
def test_the_index_finds_what_the_plain_rule_finds_while_searches_come_change_and_go(
    copies: int, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches are looked at one by one where they are few; many copies of each have rows, and are compacted."""
    monkeypatch.setattr(partition, "ONE_BY_ONE", copies)
    verdicts: Counter[bool] = Counter()
    flags: Counter[Criterion] = Counter()

    @settings(seeded, max_examples=examples)
    @given(markets(), st.randoms(use_true_random=False))
    def agrees(drawn: tuple[list[Listing], list[Search]], chance: random.Random) -> None:
        offered, wanted = drawn
        oracle = [[_judged(search, listing) for search in wanted] for listing in offered]
        market = Market(wanted, chance)
        for revision in range(1, 4):
            for number in range(len(wanted) * copies):
                market.change(UUID(int=number), revision)
            assert len(market.index) == len(market.held)
            for listing, judged in zip(offered, oracle, strict=True):
                right = {key: judged[search] for key, search in market.held.items() if judged[search] is not None}
                assert found(market.index, listing) == right
                verdicts.update(key in right for key in market.held)
                flags.update(criterion for unknown in right.values() for criterion in unknown or ())

    agrees()
    assert 0.1 < verdicts[True] / verdicts.total() < 0.9
    assert len(flags) > 1


def _judged(search: Search, listing: Listing) -> tuple[Criterion, ...] | None:
    """The oracle: what is unknown where the plain rule says that they match."""
    return explain(search, listing).unknown if match(search, listing) else None


def subscriptions_of(searches: Iterable[Search]) -> list[Subscription]:
    return [
        make_subscription(subscription_id=UUID(int=number), search=search) for number, search in enumerate(searches)
    ]


def test_a_search_with_several_places_is_met_once() -> None:
    listing = make_listing()
    assert listing.position
    around = InCircle(centre=listing.position, radius_m=3000)
    search = make_search(places=(*make_search().places, InProvince(code="MI"), around))
    assert set(found(index_of(subscriptions_of([search])), listing)) == {UUID(int=0)}


def test_a_search_of_half_of_italy_is_found() -> None:
    corners = ((36.0, 6.0), (36.0, 19.0), (47.5, 19.0), (47.5, 6.0))
    italy = InPolygon(ring=tuple(Position(latitude=latitude, longitude=longitude) for latitude, longitude in corners))
    assert set(found(index_of(subscriptions_of([make_search(places=(italy,))])), make_listing())) == {UUID(int=0)}


def test_a_listing_that_names_no_place_reaches_only_who_lets_that_pass() -> None:
    strict = make_search()
    lenient = make_search(unknown={Criterion.PLACE: UnknownPolicy.FLAG})
    nowhere = make_listing(comune=None, province=None, position=None)
    assert set(found(index_of(subscriptions_of([strict, lenient])), nowhere)) == {UUID(int=1)}


def test_a_search_for_a_comune_that_was_merged_finds_listings_of_today() -> None:
    """Corteolona (018056) is in Corteolona e Genzone (018192) since 2016."""
    from_before = make_search(places=({"kind": "comune", "code": "018056"},))
    today = make_listing(comune="018192", province="PV")
    assert set(found(index_of(subscriptions_of([from_before])), today)) == {UUID(int=0)}


def test_the_first_listing_that_asks_for_many_rows_reaches_everybody() -> None:
    fitting = {
        "sources": {"immobiliare.it"},
        "contracts": {ContractType.FREE_4_4},
        "offering": Offering.WHOLE,
        "property_types": {PropertyType.APARTMENT},
        "bathrooms": Range(minimum=1),
        "furnishing": {Furnishing.FURNISHED},
        "energy_class": EnergyClass.E,
        "advertiser": AdvertiserKind.AGENCY,
    }
    other = {
        "sources": {"casa.it"},
        "contracts": {ContractType.STUDENTS},
        "offering": Offering.ROOM,
        "property_types": {PropertyType.VILLA},
        "bathrooms": Range(minimum=2),
        "furnishing": {Furnishing.UNFURNISHED},
        "energy_class": EnergyClass.A4,
        "advertiser": AdvertiserKind.PRIVATE,
        "rooms": Range(minimum=3),
        "area_m2": Range(minimum=60),
        "rent": RentLimit(maximum_cents=900_00),
    }
    unfitting = [make_search(**{name: value}) for name, value in other.items()]
    many = [make_search(**fitting)] * (2 * partition.ONE_BY_ONE)
    assert len(found(index_of(subscriptions_of([*unfitting, *many])), make_listing())) == len(many)
