"""What happened to a message, answered by `itarent ledger` alone, for messages that went wrong in every way."""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from common.events import DirectPurpose, MessageStatus, NotificationRequested, QuietHours, Reason, Recipient
from common.kafka import Publisher, Reader, encode
from common.topics import Topics
from common.twilio_errors import Meaning
from itarent.cli import app
from itarent.ledger import words
from sender.budget import Budget
from sender.fold import TOO_LATE
from sender.intake import DECLINED, Requested
from sender.means import Lack
from sender.orders import CANCELLED, NOT_SENT
from sender.outcomes import Cause
from sender.pace import BURST
from sender.plan import ERASED, HELD
from sender.reports import Source, reported_status
from sender.templates import MAY_STILL_COME, Approval, Purpose
from sender.tier import COUNTS_FOR
from testkit.factories import make_listing, make_notification
from testkit.records import records_of
from testkit.servers import Database
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind

from .conftest import NOT_ASKED, POLICY, Sender, direct_for, flat_for, renter

WHY = ["--why", "Anna called", "--by", "giulia", "--yes"]


@dataclass(frozen=True)
class Operator:
    """Somebody with the command line and nothing else."""

    database_url: str

    async def ledger(self, *arguments: str) -> Result:
        # Wide, so that a sentence stays on its line.
        runner = CliRunner(env={"COLUMNS": "1000", "NO_COLOR": "1", "DATABASE_URL": self.database_url})
        return await asyncio.to_thread(runner.invoke, app, ["ledger", *arguments])

    async def told(self, sender: Sender, event: Requested) -> str:
        """What is shown of the message that tells an event, found by the notification's id."""
        shown = await self.ledger("show", str(event.notification_id))
        assert shown.exit_code == 0, shown.output
        for each in await sender.simulator.messages():
            assert each.to not in shown.output
        return str(shown.output)


@pytest.fixture
def operator(database: Database, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    return Operator(database.admin_url)


async def known(sender: Sender, **changes: Any) -> tuple[Recipient, NotificationRequested]:
    """A renter who has joined, and is told of a flat."""
    await sender.know(anna := renter(**changes))
    await sender.tell(event := flat_for(anna.user_id))
    return anna, event


def has(output: str, *sentences: str) -> None:
    """The sentences are there, in this order."""
    place = 0
    for sentence in sentences:
        assert sentence in output[place:], f"{sentence!r} is not there, or too early:\n{output}"
        place = output.index(sentence, place)


async def test_refused_by_twilio_and_sent_again_by_order(sender: Sender, operator: Operator) -> None:
    anna = renter()
    await sender.intake.save_recipients([anna])
    await sender.tell(event := flat_for(anna.user_id))
    async with sender.dispatching():
        await sender.until(event, stage="ended")
    has(
        await operator.told(sender, event),
        "It was not delivered (rejected, 63015). The recipient has not joined Twilio's sandbox",
        "Send `join` and the sandbox's words from that phone",
        "`itarent ledger retry",
        "A digest was opened for immobiliare.it:",
        "Twilio is called, as free text.",
        "Twilio did not take it: 63015.",
        "It ended (rejected).",
        "not told: The recipient has not joined",
    )
    await sender.simulator.join(anna.phone or "")
    message = await sender.message(event)
    done = await operator.ledger("retry", str(message["message_id"]), *WHY)
    assert (done.exit_code, "Done: the message is retrying." in done.output) == (0, True), done.output
    async with sender.dispatching():
        await sender.until(event, stage="taken")
    has(
        await operator.told(sender, event),
        "it has not reached the phone yet",
        "giulia ordered that it be sent again: “Anna called”",
        "in the message",
    )


async def test_in_doubt_and_settled_by_a_person(sender: Sender, operator: Operator) -> None:
    _, event = await known(sender)
    await sender.simulator.script(Fault(FaultKind.SERVER_ERROR_TAKEN, http_status=503))
    async with sender.but(grace=timedelta(hours=1)).dispatching():
        await sender.until(event, stage="in_doubt")
    has(
        await operator.told(sender, event),
        "Nobody knows yet whether Twilio has it: Twilio answered HTTP 503.",
        "nothing is sent twice",
        "It is in doubt whether Twilio has it: Twilio answered HTTP 503. It is looked up at",
    )
    await sender.pool.execute("UPDATE messages SET stage = 'parked', detail = 'text_not_shown'")
    assert (await operator.ledger("parked")).exit_code == 1
    [taken] = await sender.simulator.messages()
    shown = await operator.told(sender, event)
    has(
        shown,
        "A person must decide whether Twilio has it: Twilio has a message to this phone of that time",
        "Monitor → Logs → Messaging",
        "--sent --sid SM…",
        "--not-sent",
    )
    message = await sender.message(event)
    settled = await operator.ledger("settle", str(message["message_id"]), "--sent", "--sid", taken.sid, *WHY)
    assert settled.exit_code == 0, settled.output
    has(
        await operator.told(sender, event),
        "WhatsApp has it (sent); it has not reached the phone yet",
        "giulia settled the doubt: Twilio has it: “Anna called”",
        "The doubt has ended: Twilio has it, as a person says.",
    )
    assert (await operator.ledger("parked")).exit_code == 0


async def test_rate_limited_and_then_sent(sender: Sender, operator: Operator) -> None:
    _, event = await known(sender)
    await sender.simulator.script(Fault(FaultKind.REFUSE, code=20429, times=2))
    async with sender.dispatching():
        await sender.until(event, stage="taken")
    has(
        await operator.told(sender, event),
        "it has not reached the phone yet",
        "Twilio did not take it: 20429.",
        "It is to be sent again at",
        "Twilio did not process the call: too many at once.",
        "Twilio has it: SM",
    )
    has(await operator.told(sender, event), "To everybody: Sending was paused until")


async def test_outside_the_window_without_a_template(sender: Sender, operator: Operator) -> None:
    _, event = await known(sender, window_opened_at=datetime(2026, 1, 1, tzinfo=UTC))
    async with sender.dispatching():
        await sender.until(event, stage="ended")
    has(await operator.told(sender, event), "The user last wrote more than 24 hours ago: only a template goes through")


async def test_held_back_by_quiet_hours(sender: Sender, operator: Operator) -> None:
    now = datetime.now(UTC)
    quiet = QuietHours(
        start=(now - timedelta(hours=1)).time().replace(microsecond=0),
        end=(now + timedelta(hours=1)).time().replace(microsecond=0),
    )
    anna, event = await known(sender, quiet_hours=quiet, time_zone="UTC")
    has(
        await operator.told(sender, event),
        "It waits to be sent. The user's quiet hours hold it back.",
        "A flat that came more than 3 d before then is not told any more",
        "It waits until",
        "waits to be told",
    )
    user = await operator.ledger("show", str(anna.user_id))
    has(user.output, "The user wants messages, and the phone is proven.", f"Quiet hours: {quiet.start:%H:%M} to")
    assert "It waits to be sent. The user's quiet hours hold it back." in user.output


async def test_held_back_by_the_users_own_pause(sender: Sender, operator: Operator) -> None:
    anna, event = await known(sender, paused_until=datetime.now(UTC) + timedelta(days=2))
    has(
        await operator.told(sender, event),
        "It waits to be sent. The user has paused messages (PAUSA, or in the settings)",
        "It waits until",
    )
    has((await operator.ledger("show", str(anna.user_id))).output, "The user has paused messages until")


async def test_held_back_by_the_interval(sender: Sender, operator: Operator) -> None:
    anna, first = await known(sender, interval_seconds=3600)
    async with sender.dispatching():
        await sender.until(first, stage="taken")
    await sender.tell(second := flat_for(anna.user_id))
    has(
        await operator.told(sender, second),
        "It waits to be sent. The user's last digest was too recent",
        "That ends at",
        "It waits until",
    )


async def test_kept_from_who_has_said_stop(sender: Sender, operator: Operator) -> None:
    anna, event = await known(sender, stopped=True)
    async with sender.dispatching():
        await sender.until(event, stage="ended")
    has(
        await operator.told(sender, event),
        "It was not sent, and will not be. The user has said STOP; START",
        "not told: The",
    )
    has((await operator.ledger("show", str(anna.user_id))).output, "The user has said STOP: nothing goes out.")


async def test_waiting_for_money(sender: Sender, operator: Operator) -> None:
    poor = sender.but(policy=replace(POLICY, budget=Budget("USD", limit=0)))
    _, event = await known(poor)
    async with poor.dispatching():
        await poor.until(event, detail="budget")
    has(
        await operator.told(sender, event),
        "It waits to be sent. The month's budget for all is used up (`itarent budget`)",
        "It is looked at again at the latest at",
        "It waits and is looked at again",
    )


async def test_waiting_for_a_place_in_metas_tier(sender: Sender, operator: Operator) -> None:
    full = sender.but(policy=replace(POLICY, recipients_per_day=1))
    await full.pool.execute("INSERT INTO written_first VALUES ('\\x00', now())")
    async with full.with_templates(Purpose.DIGEST) as templated:
        _, event = await known(templated, window_opened_at=datetime.now(UTC) - timedelta(days=3))
        async with templated.dispatching():
            message = await templated.until(event, stage="waiting", detail="tier")
    assert timedelta(hours=23) < message["due_at"] - datetime.now(UTC) < COUNTS_FOR
    until = message["due_at"].astimezone().strftime("%Y-%m-%d %H:%M:%S")
    has(
        await operator.told(sender, event),
        "It waits to be sent. WhatsApp lets us write first to so many phones a day",
        f"It is looked at again at the latest at {until}",
        f"It waits and is looked at again at the latest at {until}: WhatsApp lets us write first",
    )


async def test_waiting_for_its_reader_to_write_while_places_are_scarce(sender: Sender, operator: Operator) -> None:
    scarce = sender.but(policy=replace(POLICY, recipients_per_day=10))
    await scarce.pool.execute("INSERT INTO written_first SELECT int4send(n), now() FROM generate_series(1, 8) AS n")
    async with scarce.with_templates(Purpose.DIGEST) as templated:
        _, event = await known(templated, window_opened_at=datetime.now(UTC) - timedelta(hours=30))
        async with templated.dispatching():
            await templated.until(event, stage="waiting", detail="window_may_open")
    has(
        await operator.told(sender, event),
        "It waits to be sent. Templates are scarce, and the user wrote lately",
        "It waits until",
    )


async def test_waiting_for_its_phones_pace(sender: Sender, operator: Operator) -> None:
    paced = sender.but(policy=replace(POLICY, pace=timedelta(hours=1)))
    await paced.know(anna := renter())
    asked = [direct_for(anna.user_id) for _ in range(BURST + 1)]
    await paced.tell(*asked)
    assert len((await paced.ledger.begin(50)).calls) == BURST
    [waiting] = [event for event in asked if (await paced.message(event))["stage"] == "waiting"]
    has(
        await operator.told(sender, waiting), "It waits to be sent. The user's phone has had too many messages in a row"
    )


async def test_sent_more_slowly_after_twilio_called_us_too_fast(sender: Sender, operator: Operator) -> None:
    _, event = await known(sender)
    await sender.simulator.script(Fault(FaultKind.REFUSE, code=63018))
    async with sender.dispatching():
        await sender.until(event, stage="retrying", detail="channel_busy")
    has(await operator.told(sender, event), "To everybody: Twilio was called too fast: messages go out at 50% of")


async def test_withdrawn_while_it_waited(sender: Sender, operator: Operator) -> None:
    anna, event = await known(sender)
    gone = make_notification(
        make_listing(listing_id=event.card.listing_id, version=2),
        user_id=anna.user_id,
        flat_id=event.flat_id,
        reason=Reason.WITHDRAWN,
        searches=NOT_ASKED,
    )
    await sender.tell(gone)
    async with sender.dispatching():
        await sender.until(event, stage="ended")
    has(
        await operator.told(sender, event),
        "It was not sent, and will not be. Nothing was left to tell when its time came",
        "not told: The flat was withdrawn while this waited.",
    )
    listing = await operator.ledger("show", event.card.listing_id)
    has(listing.output, f"Listing {event.card.listing_id}", "2 notifications to 1 users: 2 suppressed", "withdrawn")


async def test_expired_before_it_could_go_out(sender: Sender, operator: Operator) -> None:
    await sender.know(anna := renter())
    await sender.tell(event := flat_for(anna.user_id, requested_at=datetime.now(UTC) - timedelta(days=4)))
    await sender.pool.execute("UPDATE messages SET latest_at = now()")
    async with sender.dispatching():
        await sender.until(event, stage="ended")
    has(await operator.told(sender, event), "It could not go out within three days", "not told: It")


async def test_dead_lettered_before_it_reached_the_ledger(
    sender: Sender, operator: Operator, kafka: str, topics: Topics
) -> None:
    anna, _ = await known(sender)
    lost = flat_for(anna.user_id)
    async with Publisher.connected(kafka, "tests") as publisher:
        spoilt = encode(topics.notifications, lost, "tests")
        value = (spoilt.value or b"").replace(b'"reason":"new"', b'"reason":"because"')
        await publisher.publish_encoded([replace(spoilt, value=value)])
        reader = Reader(publisher, topics.notifications, NotificationRequested)
        await reader.read(await records_of(kafka, topics.notifications))
    namespace = topics.listings.name.removesuffix(".listings.v1")
    where = ["--bootstrap-servers", kafka, "--namespace", namespace]
    for name in (str(anna.user_id), lost.card.listing_id, str(lost.notification_id)):
        shown = await operator.ledger("show", name, *where)
        has(shown.output, f"A record of it on {topics.notifications.name} could not be read", "reason", "dlq replay")
        assert shown.exit_code == 0


async def test_delivered_late(sender: Sender, operator: Operator) -> None:
    _, event = await known(sender)
    await sender.simulator.script(Fault(FaultKind.RESET))
    async with sender.dispatching():
        message = await sender.until(event, stage="taken", attempt=2)
    await sender.pool.execute("UPDATE messages SET opened_at = opened_at - interval '3 hours'")
    arrived = reported_status(
        message["message_id"], 2, Source.CALLBACK, status=MessageStatus.DELIVERED, sid=message["sid"], code=None
    )
    await sender.reports.record([arrived])
    await api_hears(operator, message["message_id"], 2, "delivered", datetime.now(UTC) + timedelta(hours=2, minutes=5))
    has(
        await operator.told(sender, event),
        "It is delivered: it reached the phone at",
        "It went out 3 h after it was opened.",
        "It was in doubt whether Twilio had it.",
        "Twilio was asked twice and does not have it, so it is sent again.",
        "Twilio and WhatsApp took 2 h 5 min to deliver it",
        "It is in doubt whether Twilio has it: the connection was cut before the answer.",
        "Twilio was asked and does not have it; it is asked once more",
        "delivered",
    )


async def api_hears(operator: Operator, message_id: UUID, attempt: int, status: str, at: datetime) -> None:
    """The api records a callback."""
    connection = await asyncpg.connect(operator.database_url)
    try:
        await connection.execute(
            "INSERT INTO api.message_statuses (event_id, message_id, attempt, status, rank, reported_by, reported_at)"
            " VALUES ($1, $2, $3, $4, 9, 'callback', $5)",
            *(uuid4(), message_id, attempt, status, at),
        )
    finally:
        await connection.close()


async def test_cancelled_by_an_operator(sender: Sender, operator: Operator) -> None:
    _, event = await known(sender)
    message_id = str((await sender.message(event))["message_id"])
    for refused in (["cancel", message_id, *WHY[:-1]], ["cancel", str(uuid4()), *WHY], ["retry", "x", *WHY]):
        assert (await operator.ledger(*refused)).exit_code == 1, "neither unconfirmed nor unknown"
    assert (await sender.message(event))["stage"] == "waiting"
    assert (await operator.ledger("cancel", message_id, *WHY)).exit_code == 0
    has(
        await operator.told(sender, event),
        "It was not sent, and will not be. An operator cancelled it.",
        "giulia cancelled it: “Anna called”",
        "not told: An operator cancelled it.",
    )
    again = await operator.ledger("cancel", message_id, *WHY)
    assert (again.exit_code, "It cannot be cancelled: it is ended (suppressed)." in again.output) == (1, True)


async def test_waiting_while_an_operator_has_paused_sending(sender: Sender, operator: Operator) -> None:
    anna, event = await known(sender)
    for scope in ([], ["--user", str(anna.user_id)]):
        assert (await operator.ledger("pause", *scope, *WHY)).exit_code == 0
        async with sender.dispatching() as dispatcher:
            await eventually(lambda: _is_held(sender, event, dispatcher.paused_for))
        has(await operator.told(sender, event), "It waits: giulia paused sending at", "`itarent ledger resume`")
        assert (await operator.ledger("resume", *scope, *WHY)).exit_code == 0
    assert (await operator.ledger("pause", "--channel", "pigeons", *WHY)).exit_code == 2
    async with sender.dispatching():
        await sender.until(event, stage="taken")
    has(
        await operator.told(sender, event),
        "it has not reached the phone yet",
        "giulia paused sending to everybody:",
        "giulia resumed sending to everybody:",
    )


async def _is_held(sender: Sender, event: NotificationRequested, paused_for: str) -> bool:
    return paused_for == "held" or (await sender.message(event))["detail"] == "held"


async def test_what_somebody_wrote_does_not_steer_the_terminal(sender: Sender, operator: Operator) -> None:
    anna, event = await known(sender)
    hostile = ["--why", "\x1b[2Jall is well [red]", "--by", "giulia\r", "--yes"]
    assert (await operator.ledger("pause", "--user", str(anna.user_id), *hostile)).exit_code == 0
    for name in (str(event.notification_id), str(anna.user_id)):
        shown = await operator.ledger("show", name)
        assert r"\x1b[2Jall is well [red]" in shown.output
        assert "\x1b[2J" not in shown.output
        assert "\r" not in shown.output


async def test_in_no_message_since_nobody_asked(sender: Sender, operator: Operator) -> None:
    await sender.know(anna := renter())
    await sender.tell(event := flat_for(anna.user_id, searches=NOT_ASKED))
    for name in (str(event.notification_id), str(anna.user_id), event.card.listing_id):
        shown = await operator.ledger("show", name)
        has(shown.output, "not told: No search of the user wants to be told of this.")


async def test_a_story_is_found_by_every_name_that_a_message_has(sender: Sender, operator: Operator) -> None:
    await sender.know(anna := renter())
    await sender.tell(asked := direct_for(anna.user_id, DirectPurpose.TEST))
    async with sender.dispatching():
        message = await sender.until(asked, stage="taken")
    message_id = str(message["message_id"])
    for name in (message_id, message_id.upper(), message_id.replace("-", "")[:10], message["sid"]):
        shown = await operator.ledger("show", name, "--json")
        story = json.loads(shown.output)
        assert (story["message_id"], story["kind"]) == (message_id, "test")
        assert "it has not reached the phone yet" in story["headline"][0]
        assert "+39" not in shown.output
    nowhere = await replace(operator, database_url="").ledger("show", message_id)
    assert (nowhere.exit_code, "No system runs here" in nowhere.output) == (2, True)
    for name in (str(uuid4()), "immobiliare.it:0", "no such thing", "'; DROP TABLE sender.messages; --"):
        unknown = await operator.ledger("show", name)
        assert (unknown.exit_code, "Nothing is known of" in unknown.output) == (1, True)


async def test_the_senders_own_role_is_enough_to_tell_a_story(
    sender: Sender, operator: Operator, database: Database
) -> None:
    _, event = await known(sender)
    as_sender = replace(operator, database_url=database.url("sender"))
    has(await as_sender.told(sender, event), "The api's tables cannot be read here", "A digest was opened")
    assert (await as_sender.ledger("cancel", str((await sender.message(event))["message_id"]), *WHY)).exit_code == 0


def test_every_reason_that_a_rule_gives_has_a_sentence() -> None:
    for cause in Cause:
        assert words.WAITS[cause]
        assert words.ENDS[cause]
    for approval in MAY_STILL_COME - {Approval.UNKNOWN}:
        assert words.WAITS[f"template_{approval}"]
        assert words.ENDS[f"template_{approval}"]
    for reason in (DECLINED, ERASED, TOO_LATE, CANCELLED, NOT_SENT):
        assert words.ENDS[reason]
    for reason in (HELD, *Lack, "pace"):
        assert words.WAITS[reason]
    for reason in (Lack.BUDGET, Lack.TIER):  # of what somebody asks for
        assert words.ENDS[reason]
    for meaning in Meaning:
        assert not words.ends(meaning).startswith(meaning.replace("_", " ").capitalize()), meaning
    assert words.ends("something_new") == words.waits("something_new") == "Something new."
