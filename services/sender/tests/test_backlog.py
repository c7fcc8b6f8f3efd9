"""The metrics by which alerts tell what is broken from what is busy."""

from datetime import timedelta

from prometheus_client import REGISTRY

from sender.backlog import Backlog
from sender.orders import Order, Orders
from twilio_simulator import Fault, FaultKind

from .conftest import TOPICS, Sender, flat_for, renter


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"itarent_sender_{name}", labels)


async def test_what_is_not_finished_is_told_by_what_it_waits_for_and_since_when(sender: Sender) -> None:
    await sender.know(*(renters := [renter() for _ in range(3)]))
    held, doubted, parked = (flat_for(each.user_id) for each in renters)
    backlog = Backlog(sender.pool)
    await sender.simulator.script(Fault(FaultKind.RESET, times=2))
    async with sender.but(grace=timedelta(hours=1)).dispatching():
        await sender.tell(doubted, parked)
        await sender.until(doubted, stage="in_doubt")
        message = await sender.until(parked, stage="in_doubt")
    await sender.pool.execute("UPDATE messages SET stage = 'parked' WHERE message_id = $1", message["message_id"])
    await sender.tell(held)
    await sender.pool.execute("UPDATE messages SET due_at = now() - interval '1 hour' WHERE stage = 'waiting'")
    await Orders(sender.pool, TOPICS, sender.reports).pause(Order("giulia", "a rehearsal"))
    await backlog.look()
    assert {stage: value("messages", stage=stage) for stage in ("due", "sending", "in_doubt", "parked")} == {
        "due": 1,
        "sending": 0,
        "in_doubt": 1,
        "parked": 1,
    }
    assert 3600 <= (value("oldest_seconds", stage="due") or 0) < 3700
    assert value("oldest_seconds", stage="sending") == 0
    assert (value("held"), value("users_held")) == (1, 0)
    await Orders(sender.pool, TOPICS, sender.reports).resume(Order("giulia", "it is over"))
    async with sender.dispatching():
        await sender.until(held, stage="taken")
    await backlog.look()
    assert (value("messages", stage="due"), value("held")) == (0, 0)
