"""What operators order holds at once, in every replica, and stays in the trail."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from common.events import DirectPurpose, MessageStatusReported, NotificationRequested
from sender.orders import ALL, WHATSAPP, Carried, Done, Impossible, Order, Orders
from sender.progress import Stage
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind
from twilio_simulator.client import AcceptedMessage

from .conftest import TOPICS, Sender, direct_for, flat_for, renter

ORDER = Order(by="giulia", why="Anna called, she has no message")
SID = "SM" + "a" * 32


def orders_of(sender: Sender) -> Orders:
    return Orders(sender.pool, TOPICS, sender.reports)


async def trail(sender: Sender) -> list[tuple[str, str, str]]:
    rows = await sender.pool.fetch("SELECT action, ordered_by, found FROM orders ORDER BY order_id")
    return [(row["action"], row["ordered_by"], row["found"]) for row in rows]


async def parked(sender: Sender) -> NotificationRequested:
    """What tells it is in doubt, and a person must decide."""
    await sender.know(anna := renter())
    await sender.tell(event := flat_for(anna.user_id))
    await sender.simulator.script(Fault(FaultKind.RESET_TAKEN))
    async with sender.but(grace=timedelta(hours=1)).dispatching():
        await sender.until(event, stage="in_doubt")
    await sender.pool.execute("UPDATE messages SET stage = 'parked', detail = 'text_not_shown'")
    return event


async def delivered(sender: Sender) -> AcceptedMessage:
    """The one message that Twilio has, once it is delivered: looked up earlier, it is next asked about in hours."""

    async def reached() -> AcceptedMessage:
        messages = await sender.simulator.messages()
        assert [message.status for message in messages] == ["delivered"]
        return messages[0]

    return await eventually(reached)


async def test_a_doubt_that_a_person_settles_as_sent_is_followed_by_its_sid(sender: Sender) -> None:
    event = await parked(sender)
    message = await delivered(sender)
    message_id = (await sender.message(event))["message_id"]
    assert await orders_of(sender).settle(message_id, ORDER, sent=True, sid=message.sid) == Done(Stage.TAKEN)
    await sender.pool.execute("UPDATE messages SET due_at = now()")
    async with sender.dispatching():
        await sender.until(event, status="delivered", sid=message.sid, attempt=1)
    assert await trail(sender) == [("sent", "giulia", "parked, in_doubt, attempt 1")]
    assert await sender.disposition(event) == ("in_message", "")
    assert len(await sender.simulator.messages()) == 1


async def test_a_doubt_that_a_person_settles_as_not_sent_ends_and_is_told_so(sender: Sender) -> None:
    event = await parked(sender)
    message_id = (await sender.message(event))["message_id"]
    assert await orders_of(sender).settle(message_id, ORDER, sent=False) == Done(Stage.ENDED)
    assert await sender.disposition(event) == ("failed", "not_sent")
    assert (await sender.outbox())[-1]["disposition"] == "failed"
    assert await sender.pool.fetchval("SELECT sum(micros) FROM spending") == 0, "what was not taken costs nothing"


async def test_a_doubt_of_which_a_person_knows_that_it_is_none_is_sent_again(sender: Sender) -> None:
    event = await parked(sender)
    message_id = (await sender.message(event))["message_id"]
    assert await orders_of(sender).retry(message_id, ORDER) == Done(Stage.RETRYING)
    async with sender.dispatching():
        await sender.until(event, stage="taken", attempt=2)
    states = await sender.pool.fetch("SELECT state FROM attempts ORDER BY attempt")
    assert [row["state"] for row in states] == ["lost", "accepted"]


async def test_a_message_that_failed_is_sent_again_with_all_that_it_told(sender: Sender) -> None:
    anna = renter()
    events = [flat_for(anna.user_id) for _ in range(12)]
    await sender.intake.save_recipients([anna])
    async with sender.dispatching():
        await sender.tell(*events)
        failed = await sender.until(events[0], stage="ended", error_code=63015)
        await sender.simulator.join(anna.phone or "")
        assert await orders_of(sender).retry(failed["message_id"], ORDER) == Done(Stage.RETRYING)
        await sender.until(events[0], stage="taken", attempt=2)
    [message] = await sender.simulator.messages()
    dispositions = [(await sender.disposition(event))[0] for event in events]
    shown = dispositions.count("in_message")
    assert f"12 trovati, {shown} qui, {12 - shown} al link" in message.body
    assert dispositions.count("grouped") == 12 - shown > 0
    statuses = [each["status"] for each in await sender.outbox() if each["type"] == MessageStatusReported.type]
    assert statuses[:2] == ["rejected", "waiting"]


async def test_a_message_that_is_cancelled_never_goes_out(sender: Sender) -> None:
    await sender.know(anna := renter(interval_seconds=3600))
    first, second = flat_for(anna.user_id), flat_for(anna.user_id)
    async with sender.dispatching():
        await sender.tell(first)
        await sender.until(first, stage="taken")
        await sender.tell(second)
        waiting = await sender.message(second)
        assert await orders_of(sender).cancel(waiting["message_id"], ORDER) == Done(Stage.ENDED)
        await sender.pool.execute("UPDATE messages SET due_at = now() WHERE stage <> 'ended'")
        await sender.tell(asked := direct_for(anna.user_id))
        await sender.until(asked, stage="taken")
    assert await sender.disposition(second) == ("suppressed", "cancelled")
    assert (await sender.outbox())[-1]["type"] == MessageStatusReported.type
    assert len(await sender.simulator.messages()) == 2


@pytest.mark.parametrize("order", ["retry", "cancel", "settle"])
async def test_what_twilio_has_is_neither_repeated_nor_cancelled_nor_settled(sender: Sender, order: str) -> None:
    await sender.know(anna := renter())
    await sender.tell(event := flat_for(anna.user_id))
    async with sender.dispatching():
        message = await sender.until(event, stage="taken")
    orders = orders_of(sender)
    carry_out: dict[str, Callable[[UUID], Awaitable[Carried]]] = {
        "retry": lambda message_id: orders.retry(message_id, ORDER),
        "cancel": lambda message_id: orders.cancel(message_id, ORDER),
        "settle": lambda message_id: orders.settle(message_id, ORDER, sent=False),
    }
    refused = await carry_out[order](message["message_id"])
    assert isinstance(refused, Impossible)
    assert "taken" in refused.because
    assert isinstance(await carry_out[order](uuid4()), Impossible)
    assert await trail(sender) == []


@pytest.mark.parametrize("channel", [ALL, WHATSAPP])
async def test_while_sending_is_paused_nothing_is_begun_by_any_replica(sender: Sender, channel: str) -> None:
    renters = [renter() for _ in range(20)]
    await sender.know(*renters)
    await sender.tell(*(flat_for(each.user_id) for each in renters))
    orders = orders_of(sender)
    replicas = (sender, sender.but(name="two"))
    _, paused, *_ = await asyncio.gather(
        sender.ledger.begin(3), orders.pause(ORDER, channel=channel), *(each.ledger.begin(3) for each in replicas)
    )
    assert paused == Done(in_flight=await sender.pool.fetchval("SELECT count(*) FROM attempts"))
    for replica in replicas:
        assert (await replica.ledger.begin(10)).calls == ()
        assert (await replica.ledger.begin(10)).paused == "held"
    assert isinstance(await orders.pause(ORDER, channel=channel), Impossible)
    assert await orders.resume(ORDER, channel=channel) == paused
    left = 20 - await sender.pool.fetchval("SELECT count(*) FROM attempts")
    assert len((await sender.ledger.begin(20)).calls) == left
    assert [action for action, _, _ in await trail(sender)] == ["pause", "resume"]


async def test_a_channel_that_is_released_stays_paused_while_all_are(sender: Sender) -> None:
    await sender.know(anna := renter())
    await sender.tell(flat_for(anna.user_id))
    orders = orders_of(sender)
    for channel in (ALL, WHATSAPP):
        await orders.pause(ORDER, channel=channel)
    await orders.resume(ORDER, channel=WHATSAPP)
    assert (await sender.ledger.begin(1)).calls == ()
    await orders.resume(ORDER)
    assert len((await sender.ledger.begin(1)).calls) == 1


async def test_a_pause_that_twilio_caused_is_ended_by_who_has_mended_its_cause(sender: Sender) -> None:
    await sender.know(anna := renter(), bruno := renter())
    await sender.tell(flat_for(anna.user_id))
    await sender.simulator.script(Fault(FaultKind.REFUSE, code=63038))
    orders = orders_of(sender)
    async with sender.dispatching():
        await eventually(lambda: sender.pool.fetchval("SELECT paused_until > now() + interval '50 min' FROM channel"))
        await sender.tell(waiting := flat_for(bruno.user_id))
        assert await orders.resume(ORDER) == Done()
        await sender.until(waiting, attempt=1, sid=(await delivered(sender)).sid)
        await eventually(lambda: sender.pool.fetchval("SELECT reason = '' FROM channel"))
    assert isinstance(await orders.resume(ORDER), Impossible)
    assert await trail(sender) == [("resume", "giulia", "paused")]


async def test_a_user_who_is_paused_waits_and_the_others_do_not(sender: Sender) -> None:
    anna, bruno = renter(), renter()
    held, asked, other = flat_for(anna.user_id), direct_for(anna.user_id, DirectPurpose.TEST), flat_for(bruno.user_id)
    await sender.know(anna, bruno)
    orders = orders_of(sender)
    assert isinstance(await orders.pause(ORDER, user_id=uuid4()), Impossible), "a slip of the keyboard"
    await sender.tell(held, asked, other)
    assert await orders.pause(ORDER, user_id=anna.user_id) == Done()
    async with sender.dispatching():
        await sender.until(other, stage="taken")
        await sender.until(held, stage="waiting", detail="held")
        await sender.until(asked, stage="waiting", detail="held")
        assert await orders.resume(ORDER, user_id=anna.user_id) == Done()
        await sender.until(held, stage="taken")
        await eventually(lambda: sender.pool.fetchval("SELECT count(*) = 3 FROM attempts"))
    assert await sender.pool.fetchval("SELECT count(*) FROM journal WHERE what = 'waits' AND detail = 'held'") == 2


async def test_the_trail_of_orders_is_only_added_to(sender: Sender) -> None:
    await orders_of(sender).pause(ORDER)
    for statement in ("UPDATE orders SET why = 'nothing'", "DELETE FROM orders", "TRUNCATE orders"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await sender.pool.execute(statement)
    for statement in ("UPDATE orders SET why = 'erased', ordered_by = 'nobody'", "UPDATE orders SET why = 'gone'"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await sender.pool.execute(statement)
    with pytest.raises(asyncpg.CheckViolationError):
        await orders_of(sender).resume(Order(by="giulia", why=""))
    assert await trail(sender) == [("pause", "giulia", "sending")]


async def test_what_an_operator_wrote_of_a_user_goes_with_the_user(sender: Sender) -> None:
    await sender.know(anna := renter())
    await orders_of(sender).pause(ORDER)
    await orders_of(sender).pause(ORDER, user_id=anna.user_id)
    await sender.intake.erase_recipients([anna.user_id])
    rows = await sender.pool.fetch("SELECT ordered_by, why FROM orders ORDER BY order_id")
    assert [tuple(row) for row in rows] == [("giulia", ORDER.why), ("giulia", "erased")]
