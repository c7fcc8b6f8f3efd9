"""Who is told of a change, and of what."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from common.events import NotificationRequested, Reason
from common.explain import explain, match
from common.listing import Listing, ListingStatus
from common.search import Alert, PriceDrop, Subscription
from matcher.difference import Change, Flat, Origin, Published, reason_for
from matcher.telling import told as told_of
from testkit.factories import FLAT_ID, USER_ID, make_listing, make_search, make_subscription, monthly
from testkit.matching import index_of, notifications_of
from testkit.strategies import listings, searches_near

DROPPED = make_listing(version=2, rent=monthly(900))
WITHDRAWN = make_listing(version=2, status=ListingStatus.WITHDRAWN)


def change_of(versions: Sequence[Listing]) -> Change:
    """What the last version changes."""
    flat = Flat(FLAT_ID)
    *_, change = [
        flat.take(Published(each.listing_id, each, Origin(0, number))) for number, each in enumerate(versions)
    ]
    assert change
    return change


def told(*versions: Listing, subscriptions: Sequence[Subscription]) -> list[NotificationRequested]:
    """Of the last version."""
    return notifications_of([change_of(versions)], index_of(subscriptions))


LIVES: Final[list[list[tuple[int, bool]]]] = [
    [(1, True)],
    [(1, True), (1, True)],
    [(1, True), (2, True)],
    [(1, True), (1, False)],
    [(1, True), (1, False), (1, True)],
    [(1, True), (1, False), (2, True)],
    [(1, True), (2, True), (1, False)],
    [(1, True), (2, True), (1, False), (2, False)],
    [(1, True), (2, True), (1, False), (1, True)],
]
"""How the advertisements of a flat come and go: which one is published, and whether it is offered."""


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Listing], list[Subscription]]:
    """Versions of two advertisements of one flat, ever cheaper, and searches near them with thresholds of their own."""
    life = draw(st.sampled_from(LIVES))
    rents = sorted(draw(st.lists(st.sampled_from((800, 990, 1000)), min_size=4, max_size=4)), reverse=True)
    first = draw(listings())
    versions = [
        draw(st.just(first) | listings()).model_copy(
            update={
                "listing_id": f"casa.it:{number}",
                "version": version,
                "rent": monthly(rent),
                "status": ListingStatus.ACTIVE if offered else ListingStatus.WITHDRAWN,
            }
        )
        for version, ((number, offered), rent) in enumerate(zip(life, rents, strict=False))
    ]
    drops = st.builds(PriceDrop, percent=st.sampled_from([0, 1, 20]), cents=st.sampled_from([0, 100_00]))
    wanted = [
        make_subscription(
            subscription_id=UUID(int=number),
            price_drop=draw(drops),
            search=draw(st.sampled_from(versions).flatmap(searches_near)),
        )
        for number in range(1, draw(st.integers(2, 6)))
    ]
    return versions, wanted


def test_all_searches_at_once_are_told_what_each_is_told_by_the_plain_rule() -> None:
    reasons: Counter[Reason | None] = Counter()

    @settings(derandomize=True, deadline=None, max_examples=400)
    @given(histories())
    def agree(history: tuple[list[Listing], list[Subscription]]) -> None:
        versions, wanted = history
        change, index = change_of(versions), index_of(wanted)
        expected = {
            each.subscription_id: reason_for(change, partial(match, each.search), each.price_drop) for each in wanted
        }
        found = {
            UUID(bytes=index.register.subscription_ids[number].tobytes()): each.reason
            for each in told_of(change, index)
            for number in each.matches.numbers
        }
        assert found == {key: reason for key, reason in expected.items() if reason}
        reasons.update(expected.values())

    agree()
    assert reasons.keys() == {None, *Reason}
    assert min(reasons.values()) > 5


def test_who_asks_for_new_flats_only_is_not_told_of_a_drop() -> None:
    only_new = make_subscription(alerts={Alert.NEW})
    assert [each.reason for each in told(make_listing(), subscriptions=[only_new])] == [Reason.NEW]
    assert told(make_listing(), DROPPED, subscriptions=[only_new]) == []


def test_of_a_withdrawal_all_are_told_and_whether_they_asked() -> None:
    asks = make_subscription(alerts={Alert.WITHDRAWN})
    does_not = make_subscription(subscription_id=UUID(int=2), user_id=UUID(int=2))
    notifications = told(make_listing(), WITHDRAWN, subscriptions=[asks, does_not])
    assert {each.user_id: each.searches[0].alert for each in notifications} == {USER_ID: True, UUID(int=2): False}


def test_two_searches_of_a_user_with_different_reasons_make_two_notifications() -> None:
    wider = make_subscription()
    narrow = make_subscription(subscription_id=UUID(int=2), search=make_search(rent={"maximum_cents": 950_00}))
    notifications = told(make_listing(), DROPPED, subscriptions=[wider, narrow])
    assert {each.reason for each in notifications} == {Reason.PRICE_DROP, Reason.NEW}
    assert len({each.notification_id for each in notifications}) == 2
    assert {each.reason: each.previous_rent_cents for each in notifications} == {
        Reason.PRICE_DROP: 1100_00,
        Reason.NEW: None,
    }


def test_a_user_is_told_of_a_drop_since_the_last_rent_that_any_of_the_searches_has_told() -> None:
    steps = [make_listing(version=version, rent=monthly(rent)) for version, rent in enumerate([1000, 985, 940], 1)]
    soon, late, mute = (
        make_subscription(subscription_id=UUID(int=number), price_drop={"percent": percent}, alerts=alerts)
        for number, percent, alerts in [(1, 1, {Alert.PRICE_DROP}), (2, 5, {Alert.PRICE_DROP}), (3, 1, {Alert.NEW})]
    )
    (both,), (by_late,) = told(*steps, subscriptions=[soon, late]), told(*steps, subscriptions=[late, mute])
    assert (both.previous_rent_cents, by_late.previous_rent_cents) == (985_00, 1000_00)
    assert [each.alert for each in by_late.searches] == [True, False]


def test_a_notification_names_the_criteria_that_the_listing_leaves_open() -> None:
    vague = make_listing(rooms=None, area_m2=None)
    ((notification,), expected) = (
        told(vague, subscriptions=[make_subscription()]),
        explain(make_search(), vague).unknown,
    )
    assert notification.searches[0].unknown == expected
    assert len(expected) == 2
