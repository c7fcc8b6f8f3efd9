"""The rule by property, over searches drawn near their listings."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from common.explain import Decision, explain, match
from common.listing import Listing
from common.search import Criterion, Search, UnknownPolicy
from testkit.strategies import listings, pairs, restrictions_near, searches_near

seeded = settings(derandomize=True, deadline=None, max_examples=120)


def with_policy(search: Search, policy: UnknownPolicy) -> Search:
    return search.model_copy(update={"unknown": dict.fromkeys(Criterion, policy)})


@st.composite
def restricted_pairs(draw: st.DrawFn) -> tuple[Search, Search, Listing]:
    """A search without a restriction, the same with it, and a listing that may match."""
    listing = draw(listings())
    strict = draw(searches_near(listing))
    restrictions = restrictions_near(listing)
    name = draw(st.sampled_from(sorted(restrictions)))
    unrestricted: Any = Search.model_fields[name].get_default(call_default_factory=True)
    loose = strict.model_copy(update={name: unrestricted})
    return loose, loose.model_copy(update={name: draw(restrictions[name])}), listing


def test_match_is_the_verdict_of_explain_and_holds_about_as_often_as_not() -> None:
    seen: Counter[bool] = Counter()

    @settings(seeded, max_examples=300)
    @given(pairs())
    def agree(pair: tuple[Search, Listing]) -> None:
        matches = match(*pair)
        seen[matches] += 1
        assert explain(*pair).matches is matches

    agree()
    assert 0.2 < seen[True] / seen.total() < 0.8


@seeded
@given(restricted_pairs())
def test_a_restriction_more_never_adds_a_match(drawn: tuple[Search, Search, Listing]) -> None:
    loose, strict, listing = drawn
    assert match(loose, listing) or not match(strict, listing)


@seeded
@given(pairs())
def test_unknown_values_that_pass_or_are_flagged_match_alike_and_those_that_fail_match_less(
    pair: tuple[Search, Listing],
) -> None:
    search, listing = pair
    passing = match(with_policy(search, UnknownPolicy.PASS), listing)
    assert match(with_policy(search, UnknownPolicy.FLAG), listing) is passing
    assert passing or not match(with_policy(search, UnknownPolicy.FAIL), listing)


@seeded
@given(pairs())
def test_what_is_flagged_is_what_would_fail_if_unknown_failed(pair: tuple[Search, Listing]) -> None:
    search, listing = pair
    flagged = explain(with_policy(search, UnknownPolicy.FLAG), listing)
    failing = explain(with_policy(search, UnknownPolicy.FAIL), listing)
    failed = {verdict.criterion for verdict in failing.verdicts if verdict.decision is Decision.FAIL}
    refused = {verdict.criterion for verdict in flagged.verdicts if verdict.decision is Decision.FAIL}
    assert set(flagged.unknown) == failed - refused


@seeded
@given(pairs())
def test_a_search_and_a_listing_read_back_from_json_match_alike(pair: tuple[Search, Listing]) -> None:
    search, listing = pair
    search_again = Search.model_validate_json(search.model_dump_json())
    listing_again = Listing.model_validate_json(listing.model_dump_json())
    assert explain(search_again, listing_again) == explain(search, listing)


@seeded
@given(pairs())
def test_every_sentence_says_what_was_wanted(pair: tuple[Search, Listing]) -> None:
    for verdict in explain(*pair).verdicts:
        assert verdict.why.startswith("Wanted ")
        assert verdict.why.endswith(".")
        assert "None" not in verdict.why
