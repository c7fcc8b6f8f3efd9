"""Listings as columns answer as the plain rule does; loosened criteria; messages foretold."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from api.columns import Columns, Offer
from api.forecast import Nights, messages_of
from api.judging import judge, matching
from api.loosening import loosened
from common.events import QuietHours
from common.explain import Decision, explain, match
from common.listing import Listing, ListingStatus
from common.quiet_hours import quiet_until
from common.search import Criterion, Search
from testkit.factories import make_listing
from testkit.strategies import listings, searches_near

seeded = settings(derandomize=True, deadline=None, max_examples=120)


@st.composite
def searches_and_listings(draw: st.DrawFn) -> tuple[Search, list[Listing]]:
    """A search near one of some listings, which have a text each that is too long to be kept as it is.

    Others are like it but for the rent, so that some are refused for that alone.
    """
    drawn = draw(st.lists(listings(status=ListingStatus.ACTIVE), min_size=8, max_size=16))
    near, *others = [each.model_copy(update={"description": each.description * 5}) for each in drawn]
    return draw(searches_near(near)), [near, *(dearer(near, percent) for percent in (105, 120, 150)), *others]


def dearer(listing: Listing, percent: int) -> Listing:
    rent = listing.rent and listing.rent.model_copy(update={"amount_cents": listing.rent.amount_cents * percent // 100})
    return listing.model_copy(update={"rent": rent})


def columns_of(listings: Sequence[Listing]) -> Columns:
    columns = Columns()
    columns.add([Offer(number, float(number), listing) for number, listing in enumerate(listings, start=1)])
    return columns


def refused_by(search: Search, listing: Listing) -> list[Criterion]:
    verdicts = explain(search, listing).verdicts
    return [verdict.criterion for verdict in verdicts if verdict.decision is Decision.FAIL]


def test_columns_match_what_the_plain_rule_matches_and_say_what_each_criterion_alone_keeps_away() -> None:
    seen: Counter[str] = Counter()

    @settings(seeded, max_examples=300)
    @given(searches_and_listings())
    def agree(drawn: tuple[Search, list[Listing]]) -> None:
        search, listings = drawn
        columns = columns_of(listings)
        recent = columns.offered_since(0)
        expected = [number for number, each in enumerate(listings, start=1) if match(search, each)]
        judged = judge(columns, search, recent)
        assert columns.numbers_of(judged.matching) == expected
        assert columns.numbers_of(matching(columns, search, recent)) == expected
        alone = Counter(failing[0] for each in listings if len(failing := refused_by(search, each)) == 1)
        for effect in judged.effects:
            criterion = effect.rule.criterion
            looser = loosened(search, criterion)
            gained = sum(match(looser, each) and not match(search, each) for each in listings) if looser else None
            assert effect.more_if_looser == gained
            if effect.more_if_dropped is not None:
                assert effect.more_if_dropped == alone[criterion]
            seen["dropped"] += effect.more_if_dropped or 0
            seen["loosened"] += gained or 0
        nearly = [n for n, each in enumerate(listings, start=1) if len(refused_by(search, each)) == 1]
        elsewhere = [n for n in nearly if refused_by(search, listings[n - 1]) == [Criterion.PLACE]]
        assert columns.numbers_of(judged.nearly) == sorted({*nearly} - {*elsewhere})
        seen["matching"] += len(expected)
        seen["others"] += len(listings) - len(expected)

    agree()
    assert all(seen[each] > 30 for each in ("dropped", "loosened", "matching", "others")), seen


@seeded
@given(searches_and_listings())
def test_a_step_never_loses_a_match(drawn: tuple[Search, list[Listing]]) -> None:
    search, listings = drawn
    for looser in filter(None, (loosened(search, criterion) for criterion in Criterion)):
        Search.model_validate_json(looser.model_dump_json())
        assert all(match(looser, each) for each in listings if match(search, each))


@seeded
@given(searches_and_listings(), st.data())
def test_what_is_forgotten_and_what_is_replaced_is_not_found_again(
    drawn: tuple[Search, list[Listing]], data: st.DataObject
) -> None:
    search, listings = drawn
    columns = columns_of(listings)
    changed = data.draw(st.integers(1, len(listings)))
    newer = data.draw(st.sampled_from(listings))
    columns.add([Offer(changed, float(changed), newer)])
    now = {**dict(enumerate(listings, start=1)), changed: newer}
    expected = [number for number, each in now.items() if match(search, each)]
    assert sorted(columns.numbers_of(matching(columns, search, columns.offered_since(0)))) == expected
    half = len(listings) // 2
    columns = columns.only(columns.offered_since(half))
    left = columns.numbers_of(matching(columns, search, columns.offered_since(0)))
    assert sorted(left) == [number for number in expected if number > half]
    assert len(columns) == len(listings) - half


def test_a_withdrawn_listing_counts_as_it_was_offered() -> None:
    gone = make_listing(status=ListingStatus.WITHDRAWN)
    columns = columns_of([gone])
    search = Search.model_validate({"places": [{"kind": "comune", "code": gone.comune}]})
    assert columns.numbers_of(matching(columns, search, columns.offered_since(0))) == [1]


NIGHT = QuietHours(start=dt.time(22), end=dt.time(8))


@seeded
@given(
    st.lists(st.integers(0, 14 * 24 * 60), max_size=60).map(sorted),
    st.sampled_from([0, 600, 1800, 86_400]),
    st.sampled_from([None, NIGHT, QuietHours(start=dt.time(1), end=dt.time(6))]),
    st.sampled_from([dt.datetime(2026, 10, 20, tzinfo=dt.UTC), dt.datetime(2026, 3, 20, tzinfo=dt.UTC)]),
)
def test_messages_are_foretold_as_the_sender_groups_them(
    minutes: list[int], interval_s: int, quiet: QuietHours | None, first: dt.datetime
) -> None:
    """A plain reading of the promise, minute by minute; in both weeks the clocks are changed."""
    matches = [first + dt.timedelta(minutes=minute) for minute in minutes]
    due: list[dt.datetime] = []
    for match_at in matches:
        if due and match_at <= due[-1]:
            continue
        earliest = max(match_at, due[-1] + dt.timedelta(seconds=interval_s)) if due else match_at
        due.append(quiet_until(quiet, "Europe/Rome", earliest) or earliest)
    nights = Nights.between(quiet, "Europe/Rome", first, first + dt.timedelta(days=16))
    moments = [each.timestamp() for each in matches]
    assert messages_of(moments, interval_s, nights) == len(due)
    at_night = [each for each in matches if quiet_until(quiet, "Europe/Rome", each)]
    assert nights.count(moments) == len(at_night)


def test_every_row_of_nothing_is_nothing() -> None:
    columns = Columns()
    judged = judge(
        columns, Search.model_validate({"places": [{"kind": "province", "code": "MI"}]}), np.empty(0, np.intp)
    )
    assert len(judged.matching) == 0
