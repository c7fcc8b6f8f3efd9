"""What is to be said of a version: told by cases, and compared with what the matcher says of any history."""

from collections.abc import Iterable
from functools import partial
from uuid import UUID, uuid4

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from common.events import Reason
from common.explain import match
from common.listing import Listing, ListingFlag, ListingStatus, SpeseTerm
from common.search import PriceDrop, RentLimit
from itarent.audit.facts import Effect, ListingVersion, Origin
from itarent.audit.replay import Known, said_to, turns
from matcher.difference import Flat, Published, reason_for
from matcher.difference import Origin as MatchersOrigin
from testkit.factories import FLAT_ID, make_listing, make_search, make_subscription, monthly

ALREADY = Known.ALREADY
CASA, IDEALISTA = "casa.it:1", "idealista.it:1"
SEARCH = make_subscription(search=make_search(rent=RentLimit(maximum_cents=1200_00)))
Version = tuple[str, Listing | None]


def effect_of(number: int, listing_id: str, listing: Listing | None, flat_id: UUID = FLAT_ID) -> Effect:
    return Effect(
        number=number,
        of=ListingVersion(listing_id, listing.version if listing else 0),
        tombstone=listing is None,
        flat_id=flat_id,
        origin=Origin(0, number),
        position=(1,),
    )


def _offered(listing_id: str, rent: int, **changes: object) -> Version:
    return listing_id, make_listing(listing_id=listing_id, source=listing_id[:4], rent=monthly(rent), **changes)


def _withdrawn(listing_id: str) -> Version:
    return listing_id, make_listing(listing_id=listing_id, source=listing_id[:4], status=ListingStatus.WITHDRAWN)


def _said(versions: Iterable[Version]) -> list[Reason | Known | None]:
    numbered = [
        (effect_of(number, listing_id, listing), listing) for number, (listing_id, listing) in enumerate(versions)
    ]
    return [said_to(SEARCH, turn) for turn in turns(numbered)]


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ([_offered(CASA, 1000)], [Reason.NEW]),
        ([_offered(CASA, 1300)], [None]),
        ([_offered(CASA, 1300), _offered(CASA, 1200)], [None, Reason.NEW]),
        ([_offered(CASA, 1000), _offered(CASA, 1000)], [Reason.NEW, ALREADY]),
        ([_offered(CASA, 1000), _offered(CASA, 1100)], [Reason.NEW, ALREADY]),
        ([_offered(CASA, 1000), _offered(CASA, 990)], [Reason.NEW, Reason.PRICE_DROP]),
        ([_offered(CASA, 1000), _offered(CASA, 991)], [Reason.NEW, ALREADY]),
        (
            [_offered(CASA, 1000), _offered(CASA, 995), _offered(CASA, 990)],
            [Reason.NEW, ALREADY, Reason.PRICE_DROP],
        ),
        (
            [_offered(CASA, 1000), _offered(IDEALISTA, 995), _offered(CASA, 990)],
            [Reason.NEW, ALREADY, Reason.PRICE_DROP],
        ),
        ([_offered(CASA, 1000), _offered(IDEALISTA, 1000)], [Reason.NEW, ALREADY]),
        ([_offered(CASA, 1000), _offered(IDEALISTA, 900)], [Reason.NEW, Reason.PRICE_DROP]),
        ([_offered(CASA, 1300), _offered(IDEALISTA, 1100)], [None, Reason.NEW]),
        ([_offered(CASA, 1000), _withdrawn(CASA)], [Reason.NEW, Reason.WITHDRAWN]),
        ([_offered(CASA, 1000), (CASA, None)], [Reason.NEW, Reason.WITHDRAWN]),
        (
            [_offered(CASA, 1000), _withdrawn(CASA), _offered(CASA, 1000)],
            [Reason.NEW, Reason.WITHDRAWN, Reason.RETURNED],
        ),
        ([_offered(CASA, 1000), _offered(IDEALISTA, 1000), _withdrawn(CASA)], [Reason.NEW, ALREADY, None]),
        ([_withdrawn(CASA)], []),
        (
            [_offered(CASA, 1000), _offered(CASA, 1, flags=(ListingFlag.RENT_IMPLAUSIBLY_LOW,))],
            [Reason.NEW, ALREADY],
        ),
    ],
)
def test_a_history_is_told_like_this(versions: list[Version], said: list[Reason | Known | None]) -> None:
    assert _said(versions) == said


def test_rents_with_and_without_spese_are_not_compared() -> None:
    cheaper = make_listing(listing_id=CASA, rent=monthly(900, spese=SpeseTerm.INCLUDED))
    assert _said([_offered(CASA, 1000), (CASA, cheaper)]) == [Reason.NEW, ALREADY]


@st.composite
def _histories(draw: st.DrawFn) -> list[Version]:
    """Versions of up to three advertisements of a flat around the limit of SEARCH, also withdrawn and deleted."""
    history: list[Version] = []
    for version in range(1, draw(st.integers(2, 10))):
        listing_id = draw(st.sampled_from([CASA, IDEALISTA, "immobiliare.it:1"]))
        if draw(st.integers(0, 9)) == 0:
            history.append((listing_id, None))
            continue
        listing = make_listing(
            listing_id=listing_id,
            version=version,
            rent=draw(st.none() | st.builds(monthly, st.integers(1180, 1220), spese=st.sampled_from(SpeseTerm))),
            rooms=draw(st.sampled_from([2, 3, 4])),
            status=draw(st.sampled_from([ListingStatus.ACTIVE, ListingStatus.ACTIVE, ListingStatus.WITHDRAWN])),
        )
        history.append((listing_id, listing))
    return history


_thresholds = st.builds(PriceDrop, percent=st.integers(0, 3), cents=st.integers(0, 30_00))


@given(_histories(), _thresholds)
def test_what_the_matcher_says_of_a_history_is_what_the_plain_rule_says(
    history: list[Version], least_drop: PriceDrop
) -> None:
    subscription = SEARCH.model_copy(update={"price_drop": least_drop})
    flat = Flat(uuid4())
    effects: list[tuple[Effect, Listing | None]] = []
    by_matcher: dict[int, Reason | None] = {}
    for number, (listing_id, listing) in enumerate(history):
        if change := flat.take(Published(listing_id, listing, MatchersOrigin(0, number))):
            effects.append((effect_of(number, listing_id, listing), listing))
            by_matcher[number] = reason_for(change, partial(match, subscription.search), least_drop)
    said = dict.fromkeys(by_matcher) | {turn.effect.number: said_to(subscription, turn) for turn in turns(effects)}
    for reason in by_matcher.values():
        event(str(reason))
    assert by_matcher == {number: reason if reason is not ALREADY else None for number, reason in said.items()}
