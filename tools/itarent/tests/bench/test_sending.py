"""What the sender's benchmark says of itself: windows, plans, and a ledger that is as it is said to be."""

import random

import pytest
from rich.console import Console

from itarent.bench.sending.ledger import STATEMENTS, ledger_at
from itarent.bench.sending.replicas import most_ahead, most_within
from sender import ledger


def test_messages_that_keep_their_distance_fill_no_window_beyond_the_limit() -> None:
    moments = [number / 64 for number in range(640)]
    assert most_within(moments, window_s=1.0) == 64
    assert most_ahead(moments, per_second=64) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(5))
def test_the_fullest_window_is_found_wherever_it_is(seed: int) -> None:
    chance = random.Random(seed)
    moments = sorted(chance.uniform(0, 10) for _ in range(200))
    by_hand = max(sum(first <= each < first + 1.0 for each in moments) for first in moments)
    assert most_within(moments, window_s=1.0) == by_hand
    windows = ((i, j) for i in range(200) for j in range(i, 200))
    assert most_ahead(moments, per_second=20) == pytest.approx(
        max(j - i + 1 - 20 * (moments[j] - moments[i]) for i, j in windows)
    )


async def test_each_step_of_a_ledger_is_timed_and_explained_and_none_reads_every_notification_or_attempt() -> None:
    rows = {row["step"]: row for row in await ledger_at(40_000, seed=1, console=Console(quiet=True))}
    for name in ("a message", "a MessageSid", "a user", "a listing", "a crowd's listing"):
        assert rows[f"ledger show: {name}"]["statements"] > 0
    for row in rows.values():
        assert row["p50 ms"] > 0
        assert "notifications" not in row["read from end to end"]
        assert "attempts" not in row["read from end to end"]
    assert rows["begin 64 messages"]["statements"] > 5


def test_statements_are_known_by_their_names_in_the_code() -> None:
    assert STATEMENTS[" ".join(ledger._CLAIM.split())] == "ledger._CLAIM"
