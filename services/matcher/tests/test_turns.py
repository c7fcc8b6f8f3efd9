"""Those whom few join are not kept waiting by a crowd."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from common.events import Reason
from common.listing import Listing
from matcher import turns
from matcher.difference import Change, Flat, Origin, Published
from matcher.turns import in_turn
from testkit.factories import make_listing, make_search, make_subscription, monthly
from testkit.matching import index_of

CHEAP, DEAR = 900, 1100
"""The dear ones are wanted by two, the cheap ones by ten more, who wait for a drop by half."""

INDEX = index_of(
    make_subscription(
        subscription_id=UUID(int=number),
        user_id=UUID(int=number),
        search=make_search(rent={"maximum_cents": (DEAR if number < 2 else CHEAP) * 100}),
        price_drop={"percent": 5 if number < 2 else 50},
    )
    for number in range(12)
)


def flat(number: int, *versions: Listing) -> list[Change]:
    """What the versions change, one after the other."""
    taken = Flat(UUID(int=number))
    changes = [taken.take(Published(each.listing_id, each, Origin(0, each.version))) for each in versions]
    return [change for change in changes if change]


def listing(number: int, rent: int, version: int = 1) -> Listing:
    return make_listing(listing_id=f"casa.it:{number}", rent=monthly(rent), version=version)


async def order_of(changes: Sequence[Change]) -> list[tuple[int, Reason, int]]:
    return [(each.change.flat_id.int, each.reason, len(each.matches.numbers)) for each in await in_turn(changes, INDEX)]


async def test_what_few_want_is_told_before_what_a_crowd_wants() -> None:
    crowds, few = flat(1, listing(1, CHEAP)) + flat(2, listing(2, CHEAP)), flat(3, listing(3, DEAR))
    assert await order_of([*crowds, *few]) == [(3, Reason.NEW, 2), (1, Reason.NEW, 12), (2, Reason.NEW, 12)]


async def test_a_flat_is_told_before_its_drop_even_where_fewer_want_to_know_of_the_drop() -> None:
    of_one = flat(1, listing(1, CHEAP), listing(1, CHEAP - 100, version=2))
    between = flat(2, listing(2, DEAR))
    expected = [(2, Reason.NEW, 2), (1, Reason.NEW, 12), (1, Reason.PRICE_DROP, 2)]
    assert await order_of([of_one[0], *between, of_one[1]]) == expected


async def test_a_crowd_is_found_again_when_its_turn_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = flat(1, listing(1, CHEAP)) + flat(2, listing(2, DEAR))
    kept = await order_of(changes)
    monkeypatch.setattr(turns, "MANY", 5)
    assert await order_of(changes) == kept
