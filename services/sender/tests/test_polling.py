"""Messages without a final status: Twilio is asked about them, in time, not too often, and not for ever."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate, pairwise

import asyncpg
from aiohttp import web
from prometheus_client import REGISTRY

from common.events import MessageStatus, NotificationRequested
from sender.backlog import Backlog
from sender.reports import UNHEARD, Source, reported_status
from sender.schedule import POLL_AGAIN, POLLS, POLLS_REST, POLLS_WITHOUT_CALLBACKS
from testkit.waiting import eventually
from twilio_simulator.simulator import Behaviour

from .conftest import POLICY, Sender, flat_for, renter

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ASK_NOW = "UPDATE messages SET due_at = now() WHERE stage = 'taken'"


async def taken(sender: Sender) -> tuple[NotificationRequested, asyncpg.Record]:
    """A message that Twilio has, and leaves in its queue."""
    await sender.simulator.behave(Behaviour(pace=HOUR))
    await sender.know(anna := renter())
    await sender.tell(event := flat_for(anna.user_id))
    async with sender.dispatching():
        return event, await sender.until(event, stage="taken", status="queued")


@contextlib.asynccontextmanager
async def overloaded() -> AsyncIterator[str]:
    """Twilio where too much is asked."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.json_response({"code": 20429, "status": 429, "message": "Too Many Requests"}, status=429)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def test_twilio_is_asked_after_twelve_hours_at_the_latest_then_daily_until_whatsapp_has_given_up() -> None:
    moments = list(accumulate(POLLS))
    assert moments[:3] == [HOUR, 12 * HOUR, 12 * HOUR + DAY]
    assert {later - earlier for earlier, later in pairwise(moments[1:])} == {DAY}
    assert 30 * DAY < moments[-1] < 32 * DAY
    assert POLLS_WITHOUT_CALLBACKS[-len(POLLS) :] == POLLS


async def test_with_a_webhook_twilio_is_asked_rarely(sender: Sender) -> None:
    _, message = await taken(sender)
    assert message["due_at"] - message["changed_at"] == POLLS[0]
    assert POLLS_WITHOUT_CALLBACKS[0] < POLLS[0]
    await sender.pool.execute(ASK_NOW)
    [check] = await sender.reports.claim_checks(16)
    assert check.sid == message["sid"]
    assert await sender.pool.fetchval("SELECT due_at - clock_timestamp() FROM messages") > POLLS[1] - HOUR / 60


async def test_a_message_of_which_twilio_knows_no_end_is_given_up_and_a_callback_still_tells_it(sender: Sender) -> None:
    event, message = await taken(sender)
    impatient = sender.but(policy=replace(POLICY, polls=(HOUR, HOUR)))
    async with impatient.dispatching():
        for looks in (1, 2):
            await sender.pool.execute(ASK_NOW)
            await impatient.until(event, stage="taken", looks=looks)
        await sender.pool.execute(ASK_NOW)
        await impatient.until(event, stage="ended", status="queued", detail=UNHEARD)
    end = reported_status(
        message["message_id"], 1, Source.CALLBACK, status=MessageStatus.DELIVERED, sid=message["sid"], code=None
    )
    await sender.reports.record([end])
    assert (await sender.message(event))["status"] == "delivered"


async def test_a_look_that_twilio_did_not_answer_does_not_count(sender: Sender) -> None:
    event, _ = await taken(sender)
    await sender.pool.execute(ASK_NOW)
    async with sender.but(base_url="http://127.0.0.1:9").dispatching():
        await eventually(lambda: sender.pool.fetchval("SELECT due_at > now() AND looks = 0 FROM messages"))
    soon = await sender.pool.fetchval("SELECT due_at - clock_timestamp() FROM messages")
    assert timedelta() < soon <= POLL_AGAIN
    assert (await sender.message(event))["stage"] == "taken"


async def test_when_twilio_is_asked_too_much_no_replica_asks_for_a_while(sender: Sender) -> None:
    await taken(sender)
    await sender.pool.execute(ASK_NOW)
    async with overloaded() as url, sender.but(base_url=url).dispatching():
        resting = "SELECT next_slot > now() + $1::interval / 2 FROM polling"
        await eventually(lambda: sender.pool.fetchval(resting, POLLS_REST))
    await sender.pool.execute(ASK_NOW)
    assert await sender.but(name="two").reports.claim_checks(16) == []


async def test_how_many_messages_lack_a_final_status_is_told_by_their_age(sender: Sender) -> None:
    await taken(sender)
    await taken(sender)
    await sender.pool.execute(
        "UPDATE messages SET changed_at = now() - interval '13 hours'"
        " WHERE message_id = (SELECT min(message_id::text)::uuid FROM messages)"
    )
    await Backlog(sender.pool).look()
    told = {
        age: REGISTRY.get_sample_value("itarent_sender_without_final_status", {"at_least": age})
        for age in ("0h", "1h", "12h", "1d", "7d")
    }
    assert told == {"0h": 2, "1h": 1, "12h": 1, "1d": 0, "7d": 0}


async def test_without_a_webhook_statuses_are_asked_for_and_reported_until_the_last(sender: Sender) -> None:
    quick = replace(POLICY, polls=tuple(each / 100 for each in POLLS_WITHOUT_CALLBACKS))
    anna = renter()
    event = flat_for(anna.user_id)
    asking = sender.but(callback=None, policy=quick)
    await asking.know(anna)
    async with asking.dispatching():
        await asking.tell(event)
        await asking.until(event, stage="ended", status="delivered")
    [accepted] = await sender.simulator.messages()
    assert accepted.status_callback is None
    reported = [each for each in await sender.outbox() if "status" in each]
    assert (reported[0]["status"], reported[-1]["status"]) == ("queued", "delivered")
    assert {each["reported_by"] for each in reported} == {"sender"}


async def test_twilio_is_not_asked_faster_than_all_replicas_may(sender: Sender) -> None:
    renters = [renter() for _ in range(60)]
    events = [flat_for(each.user_id) for each in renters]
    await sender.know(*renters)
    await sender.tell(*events)
    begun = (await sender.ledger.begin(100)).calls
    await sender.reports.record(
        [
            reported_status(call.message_id, 1, Source.ANSWER, status=MessageStatus.QUEUED, sid=f"SM{n}", code=None)
            for n, call in enumerate(begun)
        ]
    )
    await sender.pool.execute("UPDATE messages SET due_at = now() - interval '1 minute'")
    claimed = [await replica.reports.claim_checks(16) for replica in (sender, sender.but(name="two")) for _ in range(3)]
    assert len({check.message_id for checks in claimed for check in checks}) == sum(map(len, claimed))
    assert 16 <= sum(map(len, claimed)) < 60
