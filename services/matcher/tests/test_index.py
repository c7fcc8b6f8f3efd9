"""The index finds what the plain rule finds."""

import random
from collections import Counter
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from common.explain import match
from common.listing import Listing, Position
from common.search import Criterion, InCircle, InPolygon, InProvince, Search, Subscription, UnknownPolicy
from matcher.index import Index
from testkit.factories import make_listing, make_search, make_subscription
from testkit.strategies import listings, searches_near

seeded = settings(derandomize=True, deadline=None, max_examples=150)


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[Listing], list[Subscription]]:
    offered = draw(st.lists(listings(), min_size=1, max_size=3))
    wanted = draw(st.lists(st.sampled_from(offered).flatmap(searches_near), min_size=1, max_size=8))
    return offered, [
        make_subscription(subscription_id=UUID(int=number), search=search) for number, search in enumerate(wanted)
    ]


def found(index: Index, listing: Listing) -> list[UUID]:
    return sorted(each.subscription_id for each in index.candidates(listing) if match(each.search, listing))


def test_the_index_finds_what_the_plain_rule_finds_while_searches_come_change_and_go() -> None:
    verdicts: Counter[bool] = Counter()

    @seeded
    @given(markets(), st.randoms(use_true_random=False))
    def agrees(market: tuple[list[Listing], list[Subscription]], chance: random.Random) -> None:
        offered, wanted = market
        index, held = Index(), dict[UUID, Subscription]()
        for subscription in wanted * 2:
            known = held.pop(subscription.subscription_id, None)
            if known:
                index.discard(known)
            if known is None or chance.random() < 0.5:
                held[subscription.subscription_id] = subscription.model_copy(
                    update={"search": chance.choice(wanted).search}
                )
                index.add(held[subscription.subscription_id])
            assert len(index) == len(held)
            for listing in offered:
                expected = sorted(key for key, each in held.items() if match(each.search, listing))
                assert found(index, listing) == expected
                verdicts.update(key in expected for key in held)

    agrees()
    assert 0.1 < verdicts[True] / verdicts.total() < 0.9


def index_of(*searches: Search) -> Index:
    index = Index()
    for number, search in enumerate(searches):
        index.add(make_subscription(subscription_id=UUID(int=number), search=search))
    return index


def test_a_search_with_several_places_is_met_once() -> None:
    listing = make_listing()
    assert listing.position
    around = InCircle(centre=listing.position, radius_m=3000)
    search = make_search(places=(*make_search().places, InProvince(code="MI"), around))
    assert found(index_of(search), listing) == [UUID(int=0)]


def test_a_search_of_half_of_italy_is_found() -> None:
    corners = ((36.0, 6.0), (36.0, 19.0), (47.5, 19.0), (47.5, 6.0))
    italy = InPolygon(ring=tuple(Position(latitude=latitude, longitude=longitude) for latitude, longitude in corners))
    assert found(index_of(make_search(places=(italy,))), make_listing()) == [UUID(int=0)]


def test_a_listing_that_names_no_place_reaches_only_who_lets_that_pass() -> None:
    strict = make_search()
    lenient = make_search(unknown={Criterion.PLACE: UnknownPolicy.FLAG})
    nowhere = make_listing(comune=None, province=None, position=None)
    assert found(index_of(strict, lenient), nowhere) == [UUID(int=1)]


def test_a_search_for_a_comune_that_was_merged_finds_listings_of_today() -> None:
    """Corteolona (018056) is in Corteolona e Genzone (018192) since 2016."""
    from_before = make_search(places=({"kind": "comune", "code": "018056"},))
    assert found(index_of(from_before), make_listing(comune="018192", province="PV")) == [UUID(int=0)]


def test_an_empty_index_keeps_nothing() -> None:
    subscription = make_subscription()
    index = Index()
    index.add(subscription)
    index.discard(subscription)
    assert index._filed == {}
