from collections.abc import Sequence
from pathlib import Path

import pytest

from common.events import SubscriptionSaved
from common.explain import match
from common.listing import Listing
from itarent.bench.match import SYSTEMS
from itarent.bench.matching.loop import loop
from itarent.bench.matching.measure import Answer, Loaded, WrongAnswer, measure
from itarent.bench.matching.oracle import Oracle, digest
from itarent.bench.matching.searches import Searches, draw, number_of, subscription_id
from itarent.bench.matching.supply import Market, completed, market_of
from local_servers.home import home_of, scratch_home
from testkit.factories import make_listing

PROJECT = Path(__file__).parents[4]
SEARCHES = 600
LUCENE = ("Lucene, documents", "Lucene Monitor")
"""Its jars are downloaded for benchmarks only: each run of those compares the answers."""


@pytest.fixture(scope="module")
def listings() -> list[Listing]:
    """Flats in two cities, of all sizes and rents, and some that say little."""
    places = [
        ("015146", "MI", "Città Studi - Susa"),
        ("015146", "MI", None),
        ("058091", "RM", "Trastevere"),
        (None, "RM", None),
    ]
    flats = [
        make_listing(
            listing_id=f"test:{number}",
            comune=comune,
            province=province,
            zone=zone,
            rooms=1 + number % 5,
            area_m2=None if number % 7 == 0 else 30 + number,
        )
        for number, (comune, province, zone) in enumerate(places * 20)
    ]
    return [completed(flat, seed) for seed, flat in enumerate(flats)]


@pytest.fixture(scope="module")
def market(listings: Sequence[Listing]) -> Market:
    return market_of(listings)


@pytest.fixture(scope="module")
def searches(market: Market) -> Searches:
    return draw(market, SEARCHES, seed=1)


@pytest.fixture(scope="module")
def digests(searches: Searches, listings: Sequence[Listing]) -> list[bytes]:
    oracle = Oracle(searches)
    return [digest(oracle.answer(listing)) for listing in listings]


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name not in LUCENE])
def test_every_system_gives_the_answers_of_the_rules(
    name: str, searches: Searches, listings: Sequence[Listing], digests: Sequence[bytes]
) -> None:
    with scratch_home(home_of(PROJECT)) as scratch, SYSTEMS[name].system(searches, scratch) as loaded:
        measured = measure(loaded, listings, digests, seconds=0.5, least_seconds=0.0)
    assert measured.matches > 5


def test_the_right_answers_are_those_of_match(searches: Searches, listings: Sequence[Listing]) -> None:
    oracle = Oracle(searches)
    everything = list(searches.searches())
    for listing in listings[:20]:
        expected = [number for number, search in enumerate(everything) if match(search, listing)]
        assert oracle.answer(listing).tolist() == expected


def test_an_answer_that_lacks_a_search_is_wrong(
    searches: Searches, listings: Sequence[Listing], digests: Sequence[bytes]
) -> None:
    def forgetful(loaded: Loaded) -> Loaded:
        return Loaded(0, lambda *given: (Answer(each.seconds, each.numbers[1:]) for each in loaded.answers(*given)))

    with loop(searches, Path()) as loaded, pytest.raises(WrongAnswer):
        measure(forgetful(loaded), listings, digests, seconds=0.1)


def test_searches_are_the_same_as_objects_and_as_events(searches: Searches) -> None:
    for number, (search, value) in enumerate(zip(searches.searches(), searches.saved(range(SEARCHES)), strict=True)):
        subscription = SubscriptionSaved.model_validate_json(value).subscription
        assert subscription.search == search
        assert number_of(subscription.subscription_id) == number


def test_searches_depend_on_the_seed_alone(market: Market, searches: Searches) -> None:
    again, other = draw(market, SEARCHES, seed=1), draw(market, SEARCHES, seed=2)
    assert list(again.saved(range(SEARCHES))) == list(searches.saved(range(SEARCHES)))
    assert list(other.saved(range(SEARCHES))) != list(searches.saved(range(SEARCHES)))


def test_a_subscription_id_holds_the_searchs_number() -> None:
    numbers = [0, 1, 4_999_999]
    assert [number_of(subscription_id(number)) for number in numbers] == numbers
