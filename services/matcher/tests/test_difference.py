"""What a version changes about its flat, and why a search is told."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from common.events import Reason
from common.explain import match
from common.listing import Listing, ListingFlag, ListingStatus, RentUnit, SpeseTerm
from common.search import PriceDrop, RentLimit, Search
from matcher.difference import Change, Flat, Origin, Published, reason_for
from testkit.factories import FLAT_ID, make_listing, make_search, monthly

UP_TO_1200 = make_search()
UP_TO_1000 = make_search(rent=RentLimit(maximum_cents=1000_00))
USUAL = PriceDrop()
OTHER_PORTAL = {"listing_id": "idealista.it:1", "source": "idealista.it"}
NEW, DROP, GONE, BACK = Reason.NEW, Reason.PRICE_DROP, Reason.WITHDRAWN, Reason.RETURNED


def at(version: int, **changes: Any) -> Listing:
    return make_listing(version=version, **changes)


def withdrawn(version: int, **changes: Any) -> Listing:
    return at(version, status=ListingStatus.WITHDRAWN, **changes)


def tombstone(listing_id: str = "immobiliare.it:104512377") -> str:
    return listing_id


def changes_of(history: Sequence[Listing | str]) -> list[Change | None]:
    flat = Flat(FLAT_ID)
    return [
        flat.take(
            Published(each, None, Origin(0, offset))
            if isinstance(each, str)
            else Published(each.listing_id, each, Origin(0, offset))
        )
        for offset, each in enumerate(history)
    ]


def told(
    history: Sequence[Listing | str], search: Search = UP_TO_1200, least_drop: PriceDrop = USUAL
) -> list[Reason | None]:
    return [
        reason_for(change, partial(match, search), least_drop) if change else None for change in changes_of(history)
    ]


@pytest.mark.parametrize(
    ("history", "reasons"),
    [
        pytest.param([at(1)], [NEW], id="a new flat"),
        pytest.param([at(1), at(2)], [NEW, None], id="published again as it was"),
        pytest.param([at(2), at(2, rent=monthly(900))], [NEW, None], id="an equal version"),
        pytest.param([at(2), at(1, rent=monthly(900))], [NEW, None], id="an older version"),
        pytest.param([at(1, rent=monthly(1300)), at(2)], [None, NEW], id="comes to match"),
        pytest.param([at(1), at(2, rent=monthly(1300))], [NEW, None], id="ceases to match"),
        pytest.param([at(1), at(2, rent=monthly(1000))], [NEW, DROP], id="a drop"),
        pytest.param([at(1), at(2, rent=monthly(1090))], [NEW, None], id="a drop by less than a hundredth"),
        pytest.param(
            [at(1), at(2, rent=monthly(1095)), at(3, rent=monthly(1089))], [NEW, None, DROP], id="a drop in small steps"
        ),
        pytest.param(
            [at(1), at(2, rent=monthly(1180)), at(3, rent=monthly(1100))],
            [NEW, None, None],
            id="raised first, and then as before",
        ),
        pytest.param([at(1), at(2, rent=monthly(1000)), at(3, rent=monthly(900))], [NEW, DROP, DROP], id="two drops"),
        pytest.param(
            [at(1), at(2, rent=monthly(1), flags=(ListingFlag.RENT_IMPLAUSIBLY_LOW,)), at(3)],
            [NEW, None, None],
            id="a slip of the keyboard is no bargain",
        ),
        pytest.param(
            [at(1, rent=monthly(1190, spese=SpeseTerm.INCLUDED)), at(2, rent=monthly(1100))],
            [NEW, None],
            id="the spese are left out, the flat costs what it did",
        ),
        pytest.param(
            [at(1), at(2, rent={"amount_cents": 10_00, "per": RentUnit.SQUARE_METRE_MONTH})],
            [NEW, None],
            id="euros per square metre are no rent",
        ),
        pytest.param(
            [at(1, rent=monthly(0)), at(2, rent=monthly(0), title="Affare")],
            [NEW, None],
            id="for nothing, and still so",
        ),
        pytest.param([at(1), at(2, **OTHER_PORTAL)], [NEW, None], id="seen on a second portal"),
        pytest.param([at(1), at(2, **OTHER_PORTAL, rent=monthly(1000))], [NEW, DROP], id="cheaper on a second portal"),
        pytest.param([at(1), withdrawn(2)], [NEW, GONE], id="withdrawn"),
        pytest.param([at(1), tombstone()], [NEW, GONE], id="deleted"),
        pytest.param([at(1), withdrawn(2), tombstone()], [NEW, GONE, None], id="withdrawn, then deleted"),
        pytest.param([at(1), tombstone(), at(1)], [NEW, GONE, None], id="the same version again after its deletion"),
        pytest.param([withdrawn(1)], [None], id="first seen withdrawn"),
        pytest.param([withdrawn(1), at(2)], [None, NEW], id="first seen withdrawn, then offered"),
        pytest.param([at(1), withdrawn(2), withdrawn(3)], [NEW, GONE, None], id="withdrawn twice"),
        pytest.param([at(1), withdrawn(2, rent=None)], [NEW, GONE], id="withdrawn with an emptied record"),
        pytest.param([at(1, rent=monthly(1300)), withdrawn(2)], [None, None], id="withdrawn and never wanted"),
        pytest.param(
            [at(1), at(1, **OTHER_PORTAL), withdrawn(2), withdrawn(2, **OTHER_PORTAL)],
            [NEW, None, None, GONE],
            id="withdrawn from one portal, then from the other",
        ),
        pytest.param(
            [at(1), at(1, **OTHER_PORTAL, rent=monthly(1300)), withdrawn(2), withdrawn(2, **OTHER_PORTAL)],
            [NEW, None, None, GONE],
            id="the search had matched on the portal that was first to go",
        ),
        pytest.param([at(1), withdrawn(2), at(3)], [NEW, GONE, BACK], id="returned"),
        pytest.param([at(1), tombstone(), at(2)], [NEW, GONE, BACK], id="returned after deletion"),
        pytest.param([at(1), withdrawn(2), at(3, rent=monthly(900))], [NEW, GONE, BACK], id="returned and cheaper"),
        pytest.param([at(1), withdrawn(2), at(1, **OTHER_PORTAL)], [NEW, GONE, BACK], id="returned on another portal"),
        pytest.param(
            [at(1, rent=monthly(1300)), withdrawn(2), at(3)],
            [None, None, NEW],
            id="returned, and matches for the first time",
        ),
    ],
)
def test_a_search_is_told_of_the_difference(history: list[Listing | str], reasons: list[Reason | None]) -> None:
    assert told(history) == reasons


def test_one_version_may_mean_different_things_to_two_searches() -> None:
    history = [at(1), at(2, rent=monthly(1000))]
    assert (told(history, UP_TO_1200), told(history, UP_TO_1000)) == ([NEW, DROP], [None, NEW])


def test_a_second_portal_does_not_hide_a_flat_from_a_search_of_that_portal_only() -> None:
    only_idealista = make_search(sources={"idealista.it"})
    assert told([at(1), at(1, **OTHER_PORTAL)], only_idealista) == [None, NEW]


def asked(*rents: int, **changes: Any) -> list[Listing]:
    return [at(version, rent=monthly(rent), **changes) for version, rent in enumerate(rents, start=1)]


@pytest.mark.parametrize(
    ("rents", "least_drop", "reasons"),
    [
        ([1000, 951, 950], PriceDrop(percent=5), [NEW, None, DROP]),
        ([1000, 971, 970], PriceDrop(percent=0, cents=30_00), [NEW, None, DROP]),
        ([1000, 970, 950], PriceDrop(percent=5, cents=30_00), [NEW, None, DROP]),  # both, not one of them
        ([1000, 950, 900], PriceDrop(percent=5, cents=100_00), [NEW, None, DROP]),
        ([1000, 999], PriceDrop(percent=0), [NEW, DROP]),
        ([1000, 1000], PriceDrop(percent=0), [NEW, None]),
        ([1000, 980, 960, 940], PriceDrop(percent=5), [NEW, None, None, DROP]),
        ([1000, 940, 920, 893], PriceDrop(percent=5), [NEW, DROP, None, DROP]),  # 5 % of 940, of which it was told
        ([1000, 960, 990, 950], PriceDrop(percent=5), [NEW, None, None, DROP]),
        ([1000, 940, 1000, 940], PriceDrop(percent=5), [NEW, DROP, None, None]),  # it has heard of 940
        ([1000, 0], PriceDrop(percent=99), [NEW, DROP]),
    ],
)
def test_each_search_is_told_of_drops_as_large_as_it_asks_for_however_small_the_steps(
    rents: list[int], least_drop: PriceDrop, reasons: list[Reason | None]
) -> None:
    assert told(asked(*rents), least_drop=least_drop) == reasons


def test_a_small_drop_that_one_search_is_told_of_does_not_hide_the_sum_from_another() -> None:
    history = asked(1000, 985, 970, 955, 945)
    assert told(history) == [NEW, DROP, DROP, DROP, DROP]
    assert told(history, least_drop=PriceDrop(percent=5)) == [NEW, None, None, None, DROP]


def test_steps_on_two_portals_add_up_in_the_order_in_which_they_took_effect() -> None:
    history = [at(1, rent=monthly(1000)), at(1, rent=monthly(975), **OTHER_PORTAL), at(2, rent=monthly(950))]
    assert told(history, least_drop=PriceDrop(percent=5)) == [NEW, None, DROP]
    history = [*asked(1000, 940), at(1, rent=monthly(960), **OTHER_PORTAL), at(3, rent=monthly(900))]
    assert told(history, least_drop=PriceDrop(percent=5)) == [NEW, DROP, None, None]  # 4.3 % of 940, not 6.3 % of 960


def test_what_is_asked_on_other_terms_for_a_while_does_not_make_an_old_rent_news() -> None:
    with_spese = at(2, rent=monthly(1050, spese=SpeseTerm.INCLUDED))
    history = [at(1, rent=monthly(1000)), with_spese, at(3, rent=monthly(1000)), at(4, rent=monthly(950))]
    assert told(history) == [NEW, None, None, DROP]


def test_a_drop_is_measured_from_what_the_search_last_heard() -> None:
    *_, drop = changes_of(asked(1000, 985, 980, 940))
    assert drop
    assert drop.dropped_from(PriceDrop(percent=1)) == 985_00
    assert drop.dropped_from(PriceDrop(percent=5)) == 1000_00
    assert drop.dropped_from(PriceDrop(percent=7)) is None


def test_a_withdrawal_shows_the_flat_as_it_last_was() -> None:
    *_, gone = changes_of([at(1), withdrawn(2, rent=None, title="")])
    assert gone
    assert gone.listing == withdrawn(2)


def test_a_tombstone_that_is_read_again_does_not_withdraw_what_came_after_it() -> None:
    flat = Flat(FLAT_ID)
    first, gone, back = (
        Published(at(1).listing_id, listing, Origin(3, offset)) for offset, listing in enumerate([at(1), None, at(2)])
    )
    for published in (first, gone, back):
        assert flat.take(published)
    assert [flat.take(published) for published in (first, gone, back)] == [None, None, None]


@pytest.mark.parametrize(
    "later",
    [
        at(2, title="Ancora libero"),
        at(2, rent=monthly(1150)),
        at(2, **OTHER_PORTAL),
        at(2, rent={"amount_cents": 1100_00, "per": RentUnit.YEAR}),
        at(2, rent=None, flags=(ListingFlag.RENT_ON_REQUEST,)),
    ],
)
def test_a_search_that_is_saved_today_is_not_flooded_with_the_flats_of_yesterday(later: Listing) -> None:
    """It was saved between the two versions: of the first nobody was told by it, and of the second nobody is."""
    assert told([at(1), later])[1:] == [None]


def test_a_search_that_is_saved_today_is_told_when_a_flat_of_yesterday_comes_to_match_drops_or_returns() -> None:
    assert told([at(1, rooms=5), at(2)])[1:] == [NEW]
    assert told([at(1), at(2, rent=monthly(900))])[1:] == [DROP]
    assert told([at(1), withdrawn(2), at(3)])[2:] == [BACK]
