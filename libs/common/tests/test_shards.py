"""Which shard of the matcher a user is of."""

from collections import Counter
from uuid import uuid4

import pytest

from common.shards import EVERYBODY, Shard, is_matcher


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_every_user_is_of_one_shard_and_shards_are_about_as_large(of: int) -> None:
    users = [uuid4() for _ in range(2000)]
    sizes = Counter(shard for user in users for shard in Shard.all(of) if shard.holds(user))
    assert sizes.total() == len(users)
    assert min(sizes[shard] for shard in Shard.all(of)) > len(users) / of * 0.7


@pytest.mark.parametrize(("few", "many"), [(1, 4), (2, 4), (3, 6)])
def test_the_users_of_a_shard_stay_together_when_shards_become_more(few: int, many: int) -> None:
    users = [uuid4() for _ in range(200)]
    for shard in Shard.all(many):
        (parent,) = (each for each in Shard.all(few) if each.shares_users_with(shard))
        assert shard.shares_users_with(parent)
        assert all(parent.holds(user) for user in users if shard.holds(user))


def test_a_shard_is_a_consumer_group_of_its_own() -> None:
    assert [shard.service for shard in Shard.all(2)] == ["matcher-1-of-2", "matcher-2-of-2"]
    assert EVERYBODY.service == "matcher"
    assert all(is_matcher(shard.service) for shard in (EVERYBODY, *Shard.all(12)))
    assert not is_matcher("sender")
