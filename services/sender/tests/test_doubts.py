"""Messages that Twilio may or may not have: resolved by callback or look-up, else parked; never sent again blindly."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

import aiohttp
import asyncpg
from aiohttp import web
from prometheus_client import REGISTRY

from common.events import MessageStatus, NotificationRequested
from sender.outcomes import Accepted, InDoubt, Outcome
from sender.reports import DOUBTS_IN_A_ROW, Reported, Source, reported_status
from sender.twilio import MOST_LOOKED_AT, Request
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind

from .conftest import Sender, flat_for, renter

A_DAY_AGO = "UPDATE attempts SET started_at = started_at - interval '1 day'"
LOOK_NOW = "UPDATE messages SET due_at = now() WHERE stage IN ('in_doubt', 'parked')"


async def story_of(sender: Sender, message_id: UUID) -> list[tuple[str, str]]:
    """What the journal says of a message, in order."""
    rows = await sender.pool.fetch(
        "SELECT what, detail FROM journal WHERE message_id = $1 ORDER BY position", message_id
    )
    return [(row["what"], row["detail"]) for row in rows]


@contextlib.asynccontextmanager
async def hiding_texts(sender: Sender) -> AsyncIterator[str]:
    """Twilio for an account that has its messages redacted: lists show no text."""

    async def pass_on(request: web.Request) -> web.Response:
        form = await request.read()
        kept = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        url = sender.simulator.base_url + request.path_qs
        async with session.request(request.method, url, data=form or None, headers=kept) as answer:
            said = await answer.json()
            for message in said.get("messages", []):
                message["body"] = ""
            return web.Response(text=json.dumps(said), status=answer.status, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(app)
    async with aiohttp.ClientSession() as session:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0]
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()


async def in_doubt(sender: Sender, kind: FaultKind) -> tuple[NotificationRequested, asyncpg.Record]:
    """A message whose answer was lost, and of which nobody has been asked yet."""
    anna = renter()
    await sender.know(anna)
    await sender.tell(event := flat_for(anna.user_id))
    await sender.simulator.script(Fault(kind))
    async with sender.but(grace=timedelta(hours=1)).dispatching():
        message = await sender.until(event, stage="in_doubt", status="in_doubt")
    return event, message


async def test_what_a_look_up_cannot_tell_is_parked_and_resolved_by_its_callback(sender: Sender) -> None:
    event, message = await in_doubt(sender, FaultKind.RESET_TAKEN)
    await sender.pool.execute(LOOK_NOW)
    async with hiding_texts(sender) as url, sender.but(base_url=url).dispatching():
        await sender.until(event, stage="parked", status="in_doubt", detail="text_not_shown")
        await sender.pool.execute(LOOK_NOW)
        await eventually(lambda: sender.pool.fetchval("SELECT due_at > now() FROM messages"))
    parked = await sender.message(event)
    assert (parked["stage"], parked["attempt"]) == ("parked", 1), "asking again decides nothing"
    sent = reported_status(message["message_id"], 1, Source.CALLBACK, status=MessageStatus.SENT, sid="SM1", code=None)
    await sender.reports.record([sent])
    assert (await sender.message(event))["stage"] == "taken"
    assert len(await sender.simulator.messages()) == 1
    assert [what for what, _ in await story_of(sender, message["message_id"])] == ["doubted", "parked", "resolved"]


async def test_texts_that_are_not_shown_leave_no_doubt_where_every_message_is_known(sender: Sender) -> None:
    anna = renter()
    await sender.know(anna)
    await sender.tell(first := flat_for(anna.user_id))
    async with sender.dispatching():
        await sender.until(first, stage="taken")
    await sender.tell(second := flat_for(anna.user_id))
    await sender.simulator.script(Fault(FaultKind.RESET))
    async with hiding_texts(sender) as url, sender.but(base_url=url).dispatching():
        await sender.until(second, stage="taken", attempt=2)
    assert len(await sender.simulator.messages()) == 2


async def test_a_message_about_which_twilio_does_not_answer_for_long_is_parked_until_it_does(sender: Sender) -> None:
    event, message = await in_doubt(sender, FaultKind.RESET)
    await sender.pool.execute(LOOK_NOW)
    away = sender.but(base_url="http://127.0.0.1:9")
    async with away.dispatching():
        await eventually(lambda: sender.pool.fetchval("SELECT due_at > now() FROM messages"))
        assert (await sender.message(event))["stage"] == "in_doubt"
        await sender.pool.execute(A_DAY_AGO)
        await sender.pool.execute(LOOK_NOW)
        await sender.until(event, stage="parked", detail="cannot_be_asked")
    await sender.pool.execute(LOOK_NOW)
    async with sender.dispatching():
        await sender.until(event, stage="taken", attempt=2)
    assert len(await sender.simulator.messages()) == 1
    story = await story_of(sender, message["message_id"])
    assert [what for what, _ in story] == ["doubted", "parked", "not_found", "retries"]


async def test_a_message_whose_attempts_vanish_again_and_again_is_parked(sender: Sender) -> None:
    anna = renter()
    await sender.know(anna)
    await sender.tell(event := flat_for(anna.user_id))
    await sender.simulator.script(Fault(FaultKind.RESET, times=None))
    quick = sender.but(grace=timedelta(seconds=0.05))
    async with quick.dispatching():
        await sender.until(event, stage="parked", detail="lost_often", attempt=3)
    states = await sender.pool.fetch("SELECT state FROM attempts ORDER BY attempt")
    assert [row["state"] for row in states] == ["lost", "lost", "in_doubt"]


async def test_an_earlier_attempt_that_failed_is_not_taken_for_the_one_in_doubt(sender: Sender) -> None:
    anna = renter()
    await sender.know(anna)
    await sender.tell(event := flat_for(anna.user_id))
    async with sender.dispatching():
        taken = await sender.until(event, stage="taken")
        failed = reported_status(
            taken["message_id"], 1, Source.CALLBACK, status=MessageStatus.FAILED, sid=taken["sid"], code=30008
        )
        await sender.simulator.script(Fault(FaultKind.RESET))
        await sender.reports.record([failed])
        await sender.pool.execute("UPDATE messages SET due_at = now() WHERE stage = 'retrying'")
        await sender.until(event, stage="taken", attempt=3)
    states = await sender.pool.fetch("SELECT state FROM attempts ORDER BY attempt")
    assert [row["state"] for row in states] == ["refused", "lost", "accepted"]


async def sent_again(sender: Sender) -> asyncpg.Record:
    """A message whose first call was given up as lost."""
    anna = renter()
    await sender.know(anna)
    await sender.tell(event := flat_for(anna.user_id))
    await sender.simulator.script(Fault(FaultKind.RESET))
    async with sender.dispatching():
        return await sender.until(event, stage="taken", attempt=2)


async def test_what_turns_up_after_it_was_sent_again_is_told_as_the_fault_that_it_is(sender: Sender) -> None:
    message = await sent_again(sender)
    late = reported_status(message["message_id"], 1, Source.CALLBACK, status=MessageStatus.SENT, sid="SM1", code=None)
    before = _told_twice()
    for _ in range(2):  # callbacks come again
        await sender.reports.record([late])
    assert (await story_of(sender, message["message_id"]))[-1] == ("twice", "callback")
    assert _told_twice() - before == 1


def _told_twice() -> float:
    return REGISTRY.get_sample_value("itarent_sender_faults_total", {"reason": "told_twice"}) or 0


async def test_an_answer_to_a_call_that_was_given_up_is_not_reported_after_that_of_the_next_one(sender: Sender) -> None:
    """A process was frozen for so long that another one has sent the message again."""
    message = await sent_again(sender)
    before = len(await sender.outbox())
    late = Reported(message["message_id"], 1, Accepted("SM1", MessageStatus.QUEUED), Source.ANSWER)
    await sender.reports.record([late])
    assert (await sender.outbox())[before:] == []
    assert (await story_of(sender, message["message_id"]))[-1] == ("twice", "answer")


async def test_a_chat_that_is_too_long_to_be_gone_through_proves_nothing(sender: Sender) -> None:
    event, message = await in_doubt(sender, FaultKind.RESET_TAKEN)
    to = await sender.pool.fetchval("SELECT recipient FROM attempts")
    async with sender.but(timeout_s=30).twilio() as twilio:
        texts = [Request(to, None, body=f"to the same phone {n}") for n in range(MOST_LOOKED_AT)]
        outcomes = await asyncio.gather(*map(twilio.create, texts))
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    await sender.pool.execute(LOOK_NOW)
    async with sender.dispatching():
        await sender.until(event, stage="parked", detail="too_many_messages", attempt=1)
    assert [what for what, _ in await story_of(sender, message["message_id"])] == ["doubted", "parked"]


async def test_calls_that_end_in_doubt_in_a_row_pause_sending_and_one_that_does_not_ends_the_row(
    sender: Sender,
) -> None:
    renters = [renter() for _ in range(20)]
    await sender.know(*renters)
    await sender.tell(*(flat_for(each.user_id) for each in renters))
    doubt, taken = InDoubt("http_503"), Accepted("SM1", MessageStatus.QUEUED)
    for outcomes in ([doubt] * (DOUBTS_IN_A_ROW - 1), [taken], [doubt] * (DOUBTS_IN_A_ROW - 1)):
        await answered(sender, outcomes)
        assert await sender.pool.fetchval("SELECT reason FROM channel") == ""
    await answered(sender, [doubt])
    begun = await sender.ledger.begin(20)
    assert (begun.calls, begun.paused) == ((), "in_doubt")
    await sender.pool.execute("UPDATE channel SET paused_until = now()")
    await answered(sender, [taken], most=20)  # the one that is tried after a pause
    assert await sender.pool.fetchval("SELECT doubts = 0 AND reason = '' FROM channel")
    rows = await sender.pool.fetch("SELECT what FROM journal WHERE message_id IS NULL ORDER BY position")
    assert [row["what"] for row in rows] == ["paused", "resumed"]


async def answered(sender: Sender, outcomes: Sequence[Outcome], most: int = 0) -> None:
    """So many calls are made, and this is what becomes of them."""
    calls = (await sender.ledger.begin(most or len(outcomes))).calls
    reports = [
        Reported(call.message_id, call.attempt, outcome, Source.ANSWER)
        for call, outcome in zip(calls, outcomes, strict=True)
    ]
    await sender.reports.record(reports)


async def test_a_twilio_that_takes_messages_and_answers_with_errors_tells_everybody_once(sender: Sender) -> None:
    renters = [renter() for _ in range(20)]
    events = [flat_for(each.user_id) for each in renters]
    await sender.know(*renters)
    await sender.tell(*events)
    await sender.simulator.script(Fault(FaultKind.SERVER_ERROR_TAKEN, times=None, http_status=503))
    async with sender.but(in_flight=2, grace=timedelta(seconds=0.1)).dispatching():
        await eventually(lambda: sender.pool.fetchval("SELECT reason = 'in_doubt' FROM channel"))
        await sender.simulator.clear_faults()
        for event in events:
            await eventually(partial(_went_out, sender, event))
    assert sorted(each.to for each in await sender.simulator.messages()) == sorted(each.phone or "" for each in renters)


async def _went_out(sender: Sender, event: NotificationRequested) -> bool:
    return (await sender.message(event))["stage"] in ("taken", "ended")
