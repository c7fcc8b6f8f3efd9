"""Rows that should have ended and did not are found, and nothing else is taken for one."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from sender.intake import Requested
from sender.orders import Order, Orders
from sender.rescan import Kind, Rescan, unfinished
from twilio_simulator import Fault, FaultKind
from twilio_simulator.simulator import Behaviour

from .conftest import TOPICS, Sender, direct_for, flat_for, renter

TWO_HOURS = timedelta(hours=2)

FORGERIES: Mapping[str, Mapping[Kind, int]] = {
    "UPDATE messages SET due_at = now() - interval '2 hours' WHERE stage = 'waiting'": {},
    """
    UPDATE messages SET due_at = now() - interval '9 days', latest_at = now() - interval '2 hours'
    WHERE stage = 'waiting'
    """: {Kind.UNDECIDED: 1},
    """
    UPDATE messages SET stage = 'sending', lease_until = now() - interval '2 hours' WHERE stage = 'in_doubt'
    """: {Kind.LEASED: 1},
    "UPDATE messages SET due_at = now() - interval '2 hours' WHERE stage <> 'waiting'": {Kind.UNASKED: 3},
    "UPDATE notifications SET received_at = now() - interval '2 hours'": {},
    """
    UPDATE notifications SET disposition = 'waiting', received_at = now() - interval '2 hours'
    """: {Kind.UNDISPOSED: 3},
    """
    UPDATE outbox SET headers = headers || jsonb_build_object('ce_time', now() - interval '2 hours')
    WHERE id = (SELECT min(id) FROM outbox)
    """: {Kind.UNPUBLISHED: 1},
}
"""What is done to messages that are taken, in doubt and waiting, and what of it should have ended."""


async def in_every_stage(sender: Sender) -> None:
    """Messages that are taken, in doubt, and waiting."""
    await sender.simulator.behave(Behaviour(pace=timedelta(hours=1)))
    await sender.know(*(renters := [renter() for _ in range(4)]))
    taken, doubted, asked, waiting = (each.user_id for each in renters)
    await sender.simulator.script(Fault(FaultKind.RESET, to=renters[1].phone))
    events: list[Requested] = [flat_for(taken), flat_for(doubted), direct_for(asked)]
    await sender.tell(*events)
    async with sender.but(grace=timedelta(hours=1)).dispatching():
        for event, stage in zip(events, ("taken", "in_doubt", "taken"), strict=True):
            await sender.until(event, stage=stage)
    await sender.tell(flat_for(waiting))


async def test_what_should_have_ended_is_found_by_its_kind_and_what_is_on_its_way_is_not(sender: Sender) -> None:
    await in_every_stage(sender)
    async with sender.pool.acquire() as connection:
        assert not any(each.count for each in await unfinished(connection))
        for forgery, expected in FORGERIES.items():
            forged = connection.transaction()
            await forged.start()
            await connection.execute(forgery)
            found = await unfinished(connection)
            await forged.rollback()
            assert {each.kind: each.count for each in found if each.count} == expected, forgery
            assert [each.seconds for each in found if each.count] == pytest.approx([7200] * len(expected), abs=60)


async def test_how_many_rows_are_unfinished_and_for_how_long_is_told(sender: Sender) -> None:
    await sender.know(anna := renter())
    await sender.tell(flat_for(anna.user_id))
    await sender.pool.execute("UPDATE messages SET due_at = now() - $1::interval, latest_at = due_at", TWO_HOURS)
    await sender.pool.execute("UPDATE messages SET latest_at = due_at")
    rescan, labels = Rescan(sender.pool), {"kind": Kind.UNDECIDED.value}
    await rescan.look()
    assert REGISTRY.get_sample_value("itarent_sender_unfinished", labels) == 1
    age = REGISTRY.get_sample_value("itarent_sender_unfinished_oldest_seconds", labels)
    assert age == pytest.approx(TWO_HOURS.total_seconds(), abs=60)
    await Orders(sender.pool, TOPICS, sender.reports).pause(Order("giulia", "a rehearsal"))
    await rescan.look()
    assert REGISTRY.get_sample_value("itarent_sender_unfinished", labels) == 0, "an operator holds it back"
