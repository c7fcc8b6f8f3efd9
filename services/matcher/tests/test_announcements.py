"""Who is told of a change, and of what."""

import asyncio
from uuid import UUID

from common.events import NotificationRequested, Reason
from common.explain import explain
from common.listing import Listing, ListingStatus
from common.search import Alert, Subscription
from matcher.announcements import AT_ONCE, announcements
from matcher.difference import Flat, Origin, Published
from matcher.index import Index
from testkit.factories import FLAT_ID, NOW, USER_ID, make_listing, make_search, make_subscription, monthly

DROPPED = make_listing(version=2, rent=monthly(900))
WITHDRAWN = make_listing(version=2, status=ListingStatus.WITHDRAWN)


def index_of(subscriptions: list[Subscription]) -> Index:
    index = Index()
    for subscription in subscriptions:
        index.add(subscription)
    return index


async def told(
    *versions: Listing, subscriptions: list[Subscription] | None = None, index: Index | None = None
) -> list[NotificationRequested]:
    """Of the last version."""
    index, flat = index or index_of(subscriptions or []), Flat(FLAT_ID)
    *_, change = [flat.take(Published(each.listing_id, each, Origin(0, each.version))) for each in versions]
    assert change
    return [each async for each in announcements(change, index, NOW)]


async def test_who_asks_for_new_flats_only_is_not_told_of_a_drop() -> None:
    only_new = make_subscription(alerts={Alert.NEW})
    assert [each.reason for each in await told(make_listing(), subscriptions=[only_new])] == [Reason.NEW]
    assert await told(make_listing(), DROPPED, subscriptions=[only_new]) == []


async def test_of_a_withdrawal_all_are_told_and_whether_they_asked() -> None:
    asks = make_subscription(alerts={Alert.WITHDRAWN})
    does_not = make_subscription(subscription_id=UUID(int=2), user_id=UUID(int=2))
    notifications = await told(make_listing(), WITHDRAWN, subscriptions=[asks, does_not])
    assert {each.user_id: each.searches[0].alert for each in notifications} == {USER_ID: True, UUID(int=2): False}


async def test_two_searches_of_a_user_with_different_reasons_make_two_notifications() -> None:
    wider = make_subscription()
    narrow = make_subscription(subscription_id=UUID(int=2), search=make_search(rent={"maximum_cents": 950_00}))
    notifications = await told(make_listing(), DROPPED, subscriptions=[wider, narrow])
    assert {each.reason for each in notifications} == {Reason.PRICE_DROP, Reason.NEW}
    assert len({each.notification_id for each in notifications}) == 2
    assert {each.reason: each.previous_rent_cents for each in notifications} == {
        Reason.PRICE_DROP: 1100_00,
        Reason.NEW: None,
    }


async def test_a_user_is_told_of_a_drop_since_the_last_rent_that_any_of_the_searches_has_told() -> None:
    steps = [make_listing(version=version, rent=monthly(rent)) for version, rent in enumerate([1000, 985, 940], 1)]
    soon, late, mute = (
        make_subscription(subscription_id=UUID(int=number), price_drop={"percent": percent}, alerts=alerts)
        for number, percent, alerts in [(1, 1, {Alert.PRICE_DROP}), (2, 5, {Alert.PRICE_DROP}), (3, 1, {Alert.NEW})]
    )
    (both,), (by_late,) = await told(*steps, subscriptions=[soon, late]), await told(*steps, subscriptions=[late, mute])
    assert (both.previous_rent_cents, by_late.previous_rent_cents) == (985_00, 1000_00)
    assert [each.alert for each in by_late.searches] == [True, False]


async def test_a_notification_names_the_criteria_that_the_listing_leaves_open() -> None:
    vague = make_listing(rooms=None, area_m2=None)
    ((notification,), expected) = (
        await told(vague, subscriptions=[make_subscription()]),
        explain(make_search(), vague).unknown,
    )
    assert notification.searches[0].unknown == expected
    assert len(expected) == 2


async def test_a_flat_that_thousands_want_leaves_the_event_loop_its_turns() -> None:
    users = [UUID(int=number) for number in range(4000)]
    crowd = index_of([make_subscription(subscription_id=user, user_id=user) for user in users])
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    assert len(await told(make_listing(), index=crowd)) == len(users)
    counting.cancel()
    assert turns >= 2 * len(users) / AT_ONCE  # while it is found out who is told, and while they are told
