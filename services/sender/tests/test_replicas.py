"""What several replicas promise together, over one real database."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

from sender.rate import AHEAD

from .conftest import Sender, flat_for, renter


async def test_a_redelivered_batch_changes_nothing(sender: Sender) -> None:
    anna = renter()
    events = [flat_for(anna.user_id) for _ in range(5)]
    assert await sender.tell(*events) == 5
    before = await _everything(sender)
    assert await sender.tell(*events) == 0
    assert await _everything(sender) == before


async def test_concurrent_intakes_open_one_digest_per_user(sender: Sender) -> None:
    users = [renter().user_id for _ in range(10)]
    batches = [[flat_for(user) for user in users] for _ in range(8)]
    await asyncio.gather(*(sender.tell(*batch) for batch in batches))
    assert await sender.pool.fetchval("SELECT count(*) FROM messages") == 10
    waiting = "SELECT count(DISTINCT notification_id) FROM notifications JOIN messages USING (message_id, user_id)"
    assert await sender.pool.fetchval(waiting) == 80


async def test_a_batch_that_two_replicas_are_given_at_once_is_taken_once_and_opens_nothing_in_vain(
    sender: Sender,
) -> None:
    events = [flat_for(renter().user_id) for _ in range(30)]
    taken = await asyncio.gather(*(sender.tell(*events) for _ in range(5)))
    assert sum(taken) == 30
    told = "SELECT count(DISTINCT message_id) FROM notifications WHERE disposition = 'waiting'"
    assert await sender.pool.fetchval(told) == await sender.pool.fetchval("SELECT count(*) FROM messages") == 30


async def test_concurrent_dispatchers_never_begin_the_same_message(sender: Sender) -> None:
    await sender.know(*(renters := [renter() for _ in range(40)]))
    await sender.tell(*(flat_for(each.user_id) for each in renters))
    other = sender.but(name="two")
    begun = await asyncio.gather(*(replica.ledger.begin(7) for replica in (sender, other) * 4))
    ids = [call.message_id for each in begun for call in each.calls]
    assert len(ids) == len(set(ids)) == 40


async def test_two_digests_of_a_user_are_not_begun_together(sender: Sender) -> None:
    anna = renter(interval_seconds=60)
    await sender.know(anna)
    first, second = flat_for(anna.user_id), flat_for(anna.user_id)
    await sender.tell(first)
    await sender.pool.execute("UPDATE messages SET stage = 'retrying'")  # so that another one can be opened
    await sender.tell(second)
    begun = await asyncio.gather(sender.ledger.begin(10), sender.but(name="two").ledger.begin(10))
    assert sum(len(each.calls) for each in begun) == 1


async def test_what_is_told_while_a_digest_is_begun_is_in_it_or_in_the_next(sender: Sender) -> None:
    await sender.know(anna := renter())
    told = [flat_for(anna.user_id) for _ in range(40)]

    async def begin() -> None:
        while await sender.pool.fetchval("SELECT count(*) < 40 FROM notifications"):
            await sender.ledger.begin(10)
            await asyncio.sleep(0)

    await asyncio.gather(begin(), *(sender.tell(event) for event in told))
    await sender.ledger.begin(10)
    assert await sender.pool.fetchval("SELECT count(*) FROM notifications WHERE disposition = 'waiting'") == 0
    assert await sender.pool.fetchval(
        "SELECT count(DISTINCT message_id) FROM notifications"
    ) == await sender.pool.fetchval("SELECT count(*) FROM attempts")


async def test_over_two_replicas_no_window_holds_more_than_the_rate_allows(sender: Sender) -> None:
    per_second = 40
    one = sender.but(per_second=per_second)
    two = sender.but(per_second=per_second, name="two")
    await sender.know(*(renters := [renter() for _ in range(80)]))
    await sender.tell(*(flat_for(each.user_id) for each in renters))
    begun = time.monotonic()
    async with one.dispatching(), two.dispatching():
        messages = await sender.simulator.messages_when(80)
    assert time.monotonic() - begun > 79 / per_second
    at = [message.date_created.timestamp() for message in messages]
    assert _most_within(at, window_s=0.25) <= per_second * (0.25 + AHEAD.total_seconds()) + 1


def _most_within(moments: Sequence[float], window_s: float) -> int:
    return max(sum(first <= each < first + window_s for each in moments) for first in moments)


async def test_a_lease_that_is_extended_is_not_taken_for_a_dead_processs(sender: Sender) -> None:
    await sender.know(anna := renter())
    await sender.tell(event := flat_for(anna.user_id))
    short = sender.but(lease=timedelta(seconds=0.2))
    [call] = (await short.ledger.begin(1)).calls
    await sender.but(lease=timedelta(seconds=30), name=short.name).ledger.extend_leases([call.message_id])
    assert await sender.reports.doubt_lapsed_leases() == 0
    await sender.pool.execute("UPDATE messages SET lease_until = now()")
    assert await sender.reports.doubt_lapsed_leases() == 1
    assert (await sender.message(event))["stage"] == "in_doubt"


async def _everything(sender: Sender) -> list[list[tuple[object, ...]]]:
    return [
        [tuple(row) for row in await sender.pool.fetch(f"SELECT * FROM {table} ORDER BY 1")]  # noqa: S608 - ours
        for table in ("notifications", "messages", "contacts", "outbox")
    ]
