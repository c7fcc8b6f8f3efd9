from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from hypothesis import event, given

from common.explain import match
from common.listing import Listing
from common.search import Search, Subscription, SubscriptionStatus
from itarent.audit.searches import Saved, Searches
from testkit.factories import USER_ID, make_listing, make_subscription
from testkit.strategies import pairs

ID = UUID(int=7)


def _saved(offset: int, partition: int = 0, **changes: object) -> Saved:
    subscription = make_subscription(subscription_id=ID, **changes)
    return Saved(ID, subscription, partition, offset)


@given(pairs())
def test_every_search_that_matches_is_a_candidate(pair: tuple[Search, Listing]) -> None:
    search, listing = pair
    searches = Searches([Saved(ID, make_subscription(subscription_id=ID, search=search), 0, 0)])
    is_candidate = bool(list(searches.candidates(listing, [1])))
    event(f"matches: {match(search, listing)}, candidate: {is_candidate}")
    assert is_candidate or not match(search, listing)


@pytest.mark.parametrize(
    ("saved", "position", "revision"),
    [
        ([_saved(4)], [4], None),  # not read yet: 4 is the next
        ([_saved(4)], [5], 1),
        ([_saved(4), _saved(6, revision=2)], [6], 1),
        ([_saved(4), _saved(6, revision=2)], [7], 2),
        ([_saved(4, revision=2), _saved(6, revision=1)], [7], 2),  # an older revision changes nothing
        ([_saved(4), _saved(6, revision=2, status=SubscriptionStatus.PAUSED)], [7], None),
        ([_saved(4), Saved(ID, None, 0, 6)], [6], 1),
        ([_saved(4), Saved(ID, None, 0, 6)], [7], None),
        ([_saved(4, revision=5), Saved(ID, None, 0, 6), _saved(8, revision=1)], [9], 1),
        ([_saved(4, partition=1)], [9, 4], None),
        ([_saved(4, partition=1)], [0, 5], 1),
    ],
)
def test_a_search_is_in_force_between_its_records(
    saved: list[Saved], position: Sequence[int], revision: int | None
) -> None:
    found = list(Searches(saved).candidates(make_listing(), position))
    assert [each.revision for each in found] == ([revision] if revision else [])


def test_a_user_has_had_all_active_states_up_to_a_position() -> None:
    saved = [
        _saved(1),
        _saved(3, revision=2),
        _saved(5, revision=3, status=SubscriptionStatus.PAUSED),
        _saved(7, revision=4),
    ]

    def revisions(user_id: UUID, position: int) -> list[int]:
        states: list[Subscription] = list(Searches(saved).ever_of(user_id, [position]))
        return [each.revision for each in states]

    assert revisions(USER_ID, 6) == [1, 2]
    assert revisions(USER_ID, 8) == [1, 2, 4]
    assert revisions(uuid4(), 8) == []
