"""The sender as a process: over real Kafka, a real database and a simulated Twilio."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from faststream.kafka import KafkaBroker

from common.events import MessageStatus, MessageStatusReported, NotificationSettled, RecipientSaved
from common.kafka import Publisher, tombstone
from common.topics import Topics
from sender.handlers import subscribe
from sender.intake import Intake
from sender.reports import Reports
from testkit.factories import NOW
from testkit.records import records_of
from testkit.servers import Database
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind, SimulatorClient

from .conftest import NOT_ASKED, TOPICS, direct_for, flat_for, renter
from .processes import COMMAND, VERIFY_TOKEN, Environment, eventually_in, get, health, started


async def test_a_notification_on_kafka_is_texted_reported_and_its_callback_recorded(  # noqa: PLR0917 - fixtures
    kafka: str, topics: Topics, database: Database, simulator: SimulatorClient, environment: Environment, tmp_path: Path
) -> None:
    anna = renter()
    flat, test, unwanted = flat_for(anna.user_id), direct_for(anna.user_id), flat_for(anna.user_id, searches=NOT_ASKED)
    await simulator.join(anna.phone or "")
    async with started(environment, tmp_path):
        async with Publisher.connected(kafka, "tests") as publisher:
            await publisher.publish(topics.recipients, [RecipientSaved(recipient=anna)])
            await publisher.publish(topics.notifications, [flat, test, unwanted, flat])
            assert {message.to for message in await simulator.messages_when(2)} == {anna.phone}

            async def reports() -> list[MessageStatusReported]:
                records = await records_of(kafka, topics.message_statuses)
                types = [dict(record.headers)["ce_type"].decode() for record in records]
                assert types.count(NotificationSettled.type) == 1
                assert types.count(MessageStatusReported.type) == 2
                return [
                    MessageStatusReported.model_validate_json(record.value or b"")
                    for record, event_type in zip(records, types, strict=True)
                    if event_type == MessageStatusReported.type
                ]

            of_flat = next(each for each in await eventually(reports) if flat.notification_id in each.notification_ids)
            delivered = {"status": MessageStatus.DELIVERED, "reported_by": "callback", "reported_at": NOW}
            await publisher.publish(topics.message_statuses, [of_flat.model_copy(update=delivered)])
        await eventually_in(
            database, "SELECT status = 'delivered' FROM messages WHERE message_id = $1", of_flat.message_id
        )
        assert b"itarent_sender_calls_total" in get(environment, "/metrics/")


async def test_an_idle_sender_acts_at_once_on_what_kafka_brings(
    kafka: str, topics: Topics, simulator: SimulatorClient, environment: Environment, tmp_path: Path
) -> None:
    renters = [renter() for _ in range(20)]
    for each in renters:
        await simulator.join(each.phone or "")
    async with started(environment, tmp_path), Publisher.connected(kafka, "tests") as publisher:
        await publisher.publish(topics.recipients, [RecipientSaved(recipient=each) for each in renters])
        await publisher.publish(topics.notifications, [flat_for(renters[0].user_id)])
        await simulator.messages_when(1)
        seconds = []
        for count, each in enumerate(renters[1:], start=2):
            begun = time.monotonic()
            await publisher.publish(topics.notifications, [flat_for(each.user_id)])
            await simulator.messages_when(count)
            seconds.append(time.monotonic() - begun)
    assert sorted(seconds)[len(seconds) // 2] < 0.6  # who only looked each second would take nearly one


async def test_a_sender_in_a_pause_says_why(
    kafka: str, topics: Topics, environment: Environment, tmp_path: Path
) -> None:
    anna = renter()
    wrong = environment | {"WHATSAPP_API_TOKEN": "0" * 32}
    async with started(wrong, tmp_path), Publisher.connected(kafka, "tests") as publisher:
        assert health(wrong)["paused_for"] is None
        await publisher.publish(topics.recipients, [RecipientSaved(recipient=anna)])
        await publisher.publish(topics.notifications, [direct_for(anna.user_id)])
        await eventually(lambda: health(wrong)["paused_for"] == "misconfigured 20003")
        metrics = get(wrong, "/metrics/").decode()
    assert 'itarent_sender_channel_paused{reason="misconfigured 20003"} 1.0' in metrics


async def test_the_logs_tell_what_became_of_a_listing_and_never_who_was_texted_or_what(  # noqa: PLR0917 - fixtures
    kafka: str, topics: Topics, database: Database, simulator: SimulatorClient, environment: Environment, tmp_path: Path
) -> None:
    readable = tmp_path / "logs" / "whatsapp_worker.log"
    verbose = environment | {"LOG_FILE": str(readable), "DEBUG_NOTIFICATIONS": "true"}
    joined, stranger = renter(), renter()
    taken, refused = flat_for(joined.user_id), flat_for(stranger.user_id)
    await simulator.join(joined.phone or "")
    async with started(verbose, tmp_path), Publisher.connected(kafka, "tests") as publisher:
        await publisher.publish(topics.recipients, [RecipientSaved(recipient=each) for each in (joined, stranger)])
        await publisher.publish(topics.notifications, [taken, refused])
        await simulator.messages_when(1)
        await eventually_in(database, "SELECT count(*) FILTER (WHERE error_code = 63015) = 1 FROM messages")
        bodies = [message.body for message in await simulator.messages()]
    json_lines, lines = (tmp_path / "log").read_text(), readable.read_text()
    errors = [line for line in lines.splitlines() if "ERROR" in line]
    assert any(refused.card.listing_id in line and "63015 The recipient has not joined" in line for line in errors)
    of_twilio = [line for line in lines.splitlines() if "Twilio took a message" in line and " INFO " in line]
    assert [taken.card.listing_id in line and str(taken.notification_id) in line for line in of_twilio] == [True]
    assert taken.card.listing_id in json_lines
    hidden = [environment["WHATSAPP_API_TOKEN"], VERIFY_TOKEN, environment["LINK_SIGNING_KEY"]]
    hidden += [line for body in bodies for line in body.splitlines() if line]
    hidden += [way for each in (joined, stranger) for way in _ways_to_write(each.phone or "")]
    hidden += _ways_to_write(environment["WHATSAPP_PHONE_NUMBER_ID"].removeprefix("whatsapp:"))
    assert [each for each in hidden if each in json_lines + lines] == []


def _ways_to_write(phone: str) -> list[str]:
    """A number as people, WhatsApp, addresses and JSON write it."""
    digits = phone.removeprefix("+")
    national = digits[2:]
    grouped = f"{national[:3]} {national[3:6]} {national[6:]}"
    return [digits, national, grouped, grouped.replace(" ", "-"), grouped.replace(" ", "."), national[-7:]]


async def test_a_sender_that_is_switched_off_runs_without_an_account_and_sends_nothing(  # noqa: PLR0917 - fixtures
    kafka: str, topics: Topics, database: Database, simulator: SimulatorClient, environment: Environment, tmp_path: Path
) -> None:
    account = ("WHATSAPP_API_URL", "WHATSAPP_API_TOKEN", "WHATSAPP_PHONE_NUMBER_ID", "WHATSAPP_BUSINESS_ACCOUNT_ID")
    off = environment | dict.fromkeys((*account, "WEBHOOK_PUBLIC_URL"), "") | {"WHATSAPP_ENABLED": "false"}
    anna = renter()
    await simulator.join(anna.phone or "")
    async with started(off, tmp_path), Publisher.connected(kafka, "tests") as publisher:
        await publisher.publish(topics.recipients, [RecipientSaved(recipient=anna)])
        await publisher.publish(topics.notifications, [flat_for(anna.user_id), direct_for(anna.user_id)])
        await eventually_in(
            database,
            "SELECT count(*) FILTER (WHERE disposition = 'suppressed' AND detail = 'disabled') = 2 FROM notifications",
        )
    assert await simulator.messages() == []
    assert "WHATSAPP_ENABLED is false" in (tmp_path / "log").read_text()


async def test_an_erasure_on_kafka_reaches_the_sender(
    kafka: str, topics: Topics, database: Database, environment: Environment, tmp_path: Path
) -> None:
    anna = renter()
    async with started(environment, tmp_path):
        async with Publisher.connected(kafka, "tests") as publisher:
            await publisher.publish(topics.recipients, [RecipientSaved(recipient=anna)])
            await eventually_in(database, "SELECT count(*) = 1 FROM recipients")
            await publisher.publish_encoded(
                [tombstone(topics.recipients, key) for key in ("of no user", str(anna.user_id))]
            )
        await eventually_in(database, "SELECT count(*) = 0 FROM recipients")


async def test_a_sender_that_is_killed_while_it_sends_texts_everybody_once(  # noqa: PLR0917 - fixtures
    kafka: str, topics: Topics, database: Database, simulator: SimulatorClient, environment: Environment, tmp_path: Path
) -> None:
    environment |= {"KAFKA_INSTANCE_ID": "sender-1"}  # takes its partitions back at once
    renters = [renter() for _ in range(60)]
    for each in renters:
        await simulator.join(each.phone or "")
    await simulator.script(Fault(FaultKind.SLOW, times=None, probability=0.3, seconds=0.2))
    async with Publisher.connected(kafka, "tests") as publisher:
        await publisher.publish(topics.recipients, [RecipientSaved(recipient=each) for each in renters])
        await publisher.publish(topics.notifications, [flat_for(each.user_id) for each in renters])
    for enough in (10, 30):
        async with started(environment, tmp_path) as process:
            await simulator.messages_when(enough)
            process.kill()
    async with started(environment, tmp_path):
        await eventually_in(database, "SELECT count(*) FILTER (WHERE stage IN ('taken', 'ended')) = 60 FROM messages")
    assert sorted(message.to for message in await simulator.messages()) == sorted(each.phone or "" for each in renters)


def test_no_subscriber_acknowledges_what_it_has_not_recorded() -> None:
    broker = KafkaBroker()
    nothing: Any = None
    subscribe(
        broker,
        topics=TOPICS,
        instance_id="one",
        publisher=nothing,
        intake=Intake(nothing, TOPICS, nothing),
        reports=Reports(nothing, TOPICS, nothing, grace=nothing),
    )
    assert len(broker.subscribers) == 3
    assert {subscriber.ack_policy.name for subscriber in broker.subscribers} == {"NACK_ON_ERROR"}


def test_missing_settings_end_it_with_each_variable_named(tmp_path: Path) -> None:
    missing = ("WHATSAPP_API_TOKEN", "PUBLIC_URL", "DATABASE_URL", "LINK_SIGNING_KEY")
    error = _refused(dict.fromkeys(missing, ""), tmp_path)
    assert [line.partition(":")[0] for line in error.splitlines()] == sorted(missing, key=error.index)


def test_a_url_of_another_account_names_both_variables(tmp_path: Path) -> None:
    error = _refused({"WHATSAPP_BUSINESS_ACCOUNT_ID": "AC" + "b" * 32}, tmp_path)
    assert "WHATSAPP_API_URL" in error
    assert "WHATSAPP_BUSINESS_ACCOUNT_ID" in error


def _refused(changes: Environment, folder: Path) -> str:
    """What a sender says that does not start with this environment."""
    account = "AC" + "a" * 32
    environment = {
        "PATH": os.environ["PATH"],
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "DATABASE_URL": "postgresql://sender:secret@127.0.0.1:9/none",
        "WHATSAPP_API_URL": f"https://api.twilio.com/2010-04-01/Accounts/{account}/Messages.json",
        "WHATSAPP_API_TOKEN": "7d2b4e813f9c0c5a7d2b4e813f9c0c5a",
        "WHATSAPP_PHONE_NUMBER_ID": "whatsapp:+14155238886",
        "WHATSAPP_BUSINESS_ACCOUNT_ID": account,
        "WEBHOOK_PUBLIC_URL": "https://hooks.example",
        "PUBLIC_URL": "https://bot.example",
        "LINK_SIGNING_KEY": "a-signing-key-of-tests",
    }
    changed = {name: value for name, value in (environment | changes).items() if value}
    process = subprocess.run(COMMAND, env=changed, cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "7d2b4e813f9c0c5a7d2b4e813f9c0c5a" not in process.stderr
    return process.stderr
