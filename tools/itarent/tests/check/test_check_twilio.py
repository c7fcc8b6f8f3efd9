"""`itarent check twilio` against a strict simulator: what is well, and each thing that people get wrong."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import uvicorn
from pydantic import SecretStr
from rich.console import Console
from typer.testing import CliRunner

from common.events import Disposition, Language, MessageStatus, MessageStatusReported, NotificationSettled
from common.kafka import Publisher
from common.topics import Topics
from common.twilio_errors import advice_of, advice_without_answer
from itarent.account import connected_to
from itarent.check.probe import Probe, Stalled
from itarent.check.report import Report, run
from itarent.check.twilio import TwilioCheck, account_in_force, relevant_faults
from itarent.cli import app
from itarent.environment import SENDER, WEBHOOK
from local_servers.ports import free_port
from sender.contents import Contents
from sender.outcomes import Accepted
from sender.templates import Purpose, templates
from sender.twilio import Request, Twilio
from status_webhook.routes import Webhook
from status_webhook.settings import Settings as WebhookSettings
from testkit.waiting import eventually
from twilio_simulator import SimulatorClient, running_simulator
from twilio_simulator.faults import Fault, FaultKind

PHONE = "+393335550101"
MESSAGE = uuid4()
VERIFY_TOKEN = "a-verify-token-of-tests"


@pytest.fixture
async def simulator() -> AsyncIterator[SimulatorClient]:
    async with running_simulator() as simulator:
        await simulator.join(PHONE)
        yield simulator


@pytest.fixture(autouse=True)
def no_settings_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this machine's `.env` nor its environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("WEBHOOK_PUBLIC_URL", "WHATSAPP_ENABLED", "WHATSAPP_API_TOKEN", "WHATSAPP_TEST_NUMBER"):
        monkeypatch.delenv(name, raising=False)


def settings_for(simulator: SimulatorClient, **changes: str) -> dict[str, str]:
    account = simulator.account_sid
    return {
        "WHATSAPP_API_URL": f"{simulator.base_url}/2010-04-01/Accounts/{account}/Messages.json",
        "WHATSAPP_API_TOKEN": simulator.auth_token,
        "WHATSAPP_PHONE_NUMBER_ID": simulator.sender,
        "WHATSAPP_BUSINESS_ACCOUNT_ID": account,
    } | changes


@dataclass
class Checked:
    report: Report

    def said(self, step: str) -> tuple[str, str, str]:
        """The state, the gravest finding's sentence and its cure."""
        [result] = [each for each in self.report.results if each.name == step]
        worst = next(finding for finding in result.findings if finding.state is result.state)
        return result.state.value, worst.says, worst.cure

    def states(self) -> dict[str, str]:
        return {result.name: result.state.value for result in self.report.results}


async def check(settings: Mapping[str, str], to: str | None = PHONE, **changes: Any) -> Checked:
    told = {SENDER: settings, WEBHOOK: settings}
    twilio = TwilioCheck(
        settings=account_in_force(told), faults=relevant_faults(told), to=to, where=None, told=lambda _: None, **changes
    )
    return Checked(await run(twilio.steps(), Console(quiet=True)))


async def test_with_the_right_settings_a_test_message_arrives(simulator: SimulatorClient) -> None:
    checked = await check(settings_for(simulator))
    assert checked.report.passed
    assert checked.said("sender")[1].startswith("whatsapp:+14155238886 is Twilio's sandbox")
    assert checked.said("message") == ("ok", "the test message is delivered", "")
    [message] = await simulator.messages()
    assert message.to == PHONE


async def test_without_a_webhook_it_says_what_does_not_work_and_does_not_fail(simulator: SimulatorClient) -> None:
    checked = await check(settings_for(simulator))
    state, says, cure = checked.said("webhook")
    assert state == "warning"
    assert "no STOP" in says
    assert "WEBHOOK_PUBLIC_URL" in cure


async def test_a_fault_in_the_settings_is_told_before_anybody_is_asked(simulator: SimulatorClient) -> None:
    wrong = {"WHATSAPP_BUSINESS_ACCOUNT_ID": "AC" + "0" * 32}
    checked = await check(settings_for(simulator, **wrong))
    state, says, cure = checked.said("settings")
    assert state == "failed"
    assert "WHATSAPP_API_URL" in says
    assert "WHATSAPP_BUSINESS_ACCOUNT_ID" in says
    assert cure
    assert {state for name, state in checked.states().items() if name != "settings"} == {"skipped"}


async def test_a_system_that_was_started_with_other_settings_has_to_be_started_again(
    simulator: SimulatorClient,
) -> None:
    checked = await check(settings_for(simulator), changed=["WHATSAPP_API_TOKEN"])
    assert checked.report.passed
    state, says, cure = checked.said("settings")
    assert state == "warning"
    assert says.startswith("WHATSAPP_API_TOKEN: changed since the system was started")
    assert cure == "Stop the system and start it again."


async def test_settings_that_are_not_about_twilio_are_not_asked_for(simulator: SimulatorClient) -> None:
    assert relevant_faults({SENDER: settings_for(simulator), WEBHOOK: settings_for(simulator)}) == []


async def test_while_sending_is_off_nothing_is_sent(simulator: SimulatorClient) -> None:
    checked = await check(settings_for(simulator, WHATSAPP_ENABLED="false"))
    assert checked.report.passed
    assert checked.states()["message"] == "skipped"
    assert await simulator.messages() == []


# --- each thing that people get wrong: provoked, and its sentence read -----------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"WHATSAPP_API_TOKEN": "0" * 32}, id="another token"),
        pytest.param({"WHATSAPP_BUSINESS_ACCOUNT_ID": "AC" + "0" * 32, "sid": "AC" + "0" * 32}, id="another account"),
    ],
)
async def test_wrong_credentials_are_told_as_such(simulator: SimulatorClient, wrong: dict[str, str]) -> None:
    settings = settings_for(simulator)
    if sid := wrong.pop("sid", ""):
        settings["WHATSAPP_API_URL"] = settings["WHATSAPP_API_URL"].replace(simulator.account_sid, sid)
    checked = await check(settings | wrong)
    advice = advice_of(20003)
    assert checked.said("account") == ("failed", advice.what, advice.cure)
    assert "Auth Token" in advice.what
    assert checked.states()["message"] == "skipped"


async def test_a_suspended_account_is_told_as_such(simulator: SimulatorClient) -> None:
    await simulator.change_account(status="suspended")
    state, says, cure = (await check(settings_for(simulator))).said("account")
    assert state == "failed"
    assert says.startswith("the account is suspended")
    assert "console.twilio.com" in cure


async def test_a_trial_account_is_named(simulator: SimulatorClient) -> None:
    await simulator.change_account(trial=True)
    await simulator.verify(PHONE)
    checked = await check(settings_for(simulator))
    assert checked.report.passed
    assert "trial account" in checked.said("account")[1]


async def test_a_trial_account_does_not_write_to_unverified_numbers(simulator: SimulatorClient) -> None:
    await simulator.change_account(trial=True)
    advice = advice_of(21608)
    assert (await check(settings_for(simulator))).said("message") == ("failed", advice.what, advice.cure)
    assert "verified numbers only" in advice.what


async def test_a_trial_account_ends_after_fifty_messages_a_day(simulator: SimulatorClient) -> None:
    await simulator.change_account(trial=True)
    await simulator.verify(PHONE)
    for _ in range(50):
        await send_something(simulator)
    advice = advice_of(63038)
    assert (await check(settings_for(simulator))).said("message") == ("failed", advice.what, advice.cure)
    await simulator.advance_clock(timedelta(days=1, minutes=1))
    await simulator.join(PHONE)
    assert (await check(settings_for(simulator))).states()["message"] == "ok"


async def send_something(simulator: SimulatorClient) -> None:
    async with Twilio.connected(
        simulator.base_url, simulator.account_sid, simulator.auth_token, simulator.sender, timeout_s=10, in_flight=1
    ) as twilio:
        assert isinstance(await twilio.create(Request(PHONE, status_callback=None, body="Ciao")), Accepted)


async def test_a_number_that_is_not_ours_is_named_before_and_by_the_message(simulator: SimulatorClient) -> None:
    checked = await check(settings_for(simulator, WHATSAPP_PHONE_NUMBER_ID="whatsapp:+390236790001"))
    advice = advice_of(63007)
    state, says, cure = checked.said("sender")
    assert (state, cure) == ("failed", advice.cure)
    assert says.startswith("whatsapp:+390236790001 is not among the account's 0 senders.")
    assert checked.said("message") == ("failed", advice.what, advice.cure)


async def test_a_number_that_is_registered_is_told_to_be_online() -> None:
    async with running_simulator(sandbox=False, number="+390236790001") as simulator:
        await simulator.write(PHONE, "Ciao")  # opens the 24 hours
        checked = await check(settings_for(simulator))
        assert checked.report.passed
        assert checked.said("sender")[1] == "whatsapp:+390236790001 is a WhatsApp sender of this account, and online"


async def test_a_phone_that_has_not_joined_the_sandbox_is_told_exactly_that(simulator: SimulatorClient) -> None:
    checked = await check(settings_for(simulator), to="+393335550102")
    advice = advice_of(63015)
    assert checked.said("message") == ("failed", advice.what, advice.cure)
    assert "join" in advice.cure


async def test_outside_the_window_a_template_is_asked_for() -> None:
    async with running_simulator(sandbox=False, number="+390236790001") as simulator:
        advice = advice_of(63016)
        state, says, cure = (await check(settings_for(simulator))).said("message")
        assert (state, cure) == ("failed", advice.cure)
        assert says.endswith(advice.what)


async def test_outside_the_window_the_test_message_goes_out_as_an_approved_template() -> None:
    template = templates()[Purpose.TEST, Language.ENGLISH]
    async with running_simulator(sandbox=False, number="+390236790001") as simulator:
        settings = settings_for(simulator)
        account = account_in_force({SENDER: settings})
        assert account is not None
        async with connected_to(account) as twilio:
            sid = await Contents(twilio).create(template)
        await simulator.judge_template(sid, "approved")
        assert (await check(settings)).said("message") == ("ok", "the test message is delivered", "")
        [_, message] = await simulator.messages()
        assert message.content_sid == sid


def report(asked: UUID, attempt: int, status: MessageStatus, code: int | None = None) -> MessageStatusReported:
    return MessageStatusReported(
        message_id=MESSAGE,
        attempt=attempt,
        status=status,
        reported_by="sender",
        reported_at=datetime.now(UTC),
        error_code=code,
        notification_ids=(asked,),
    )


@pytest.mark.parametrize("code", [20429, 63010, 63016, 63017, 63018])
async def test_a_message_of_the_system_that_is_sent_again_is_waited_for(kafka: str, topics: Topics, code: int) -> None:
    asked = uuid4()
    async with (
        Publisher.connected(kafka, "tests") as publisher,
        Probe.among(kafka, topics, PHONE, lambda _: None) as probe,
    ):
        reports = [report(asked, 1, MessageStatus.FAILED, code), report(asked, 2, MessageStatus.DELIVERED)]
        await publisher.publish(topics.message_statuses, reports)
        assert (await probe.until_arrived(asked)).attempt == 2


@pytest.mark.parametrize(
    ("codes", "told"), [((63016, 63040), 63040), ((20429, 21610), 21610), ((63016, None), 63016), ((None,), None)]
)
async def test_a_message_that_fails_for_good_is_not_waited_for_and_told_by_the_last_code(
    kafka: str, topics: Topics, codes: tuple[int | None, ...], told: int | None
) -> None:
    asked = uuid4()
    async with (
        Publisher.connected(kafka, "tests") as publisher,
        Probe.among(kafka, topics, PHONE, lambda _: None) as probe,
    ):
        reports = [report(asked, attempt, MessageStatus.FAILED, code) for attempt, code in enumerate(codes, start=1)]
        await publisher.publish(topics.message_statuses, reports)
        with pytest.raises(Stalled, match=re.escape(advice_of(told).what)):
            await probe.until_arrived(asked)


@pytest.mark.parametrize("order", [1, -1])
async def test_a_message_that_has_ended_is_told_by_its_code_in_whatever_order_that_is_heard(
    kafka: str, topics: Topics, order: int
) -> None:
    asked = uuid4()
    settled = NotificationSettled(
        notification_id=asked,
        user_id=uuid4(),
        disposition=Disposition.FAILED,
        detail="unreachable",
        settled_at=datetime.now(UTC),
    )
    async with (
        Publisher.connected(kafka, "tests") as publisher,
        Probe.among(kafka, topics, PHONE, lambda _: None) as probe,
    ):
        for event in (settled, report(asked, 1, MessageStatus.REJECTED, 63024))[::order]:
            await publisher.publish(topics.message_statuses, [event])
        with pytest.raises(Stalled, match=re.escape(advice_of(63024).what)):
            await probe.until_arrived(asked)


async def test_a_phone_that_blocks_us_is_told_as_an_opt_out(simulator: SimulatorClient) -> None:
    await simulator.block(PHONE)
    advice = advice_of(21610)
    assert (await check(settings_for(simulator))).said("message") == ("failed", advice.what, advice.cure)


@pytest.mark.parametrize("code", [20429, 21606, 21617, 63001, 63018, 63038])
async def test_every_other_refusal_has_its_sentence(simulator: SimulatorClient, code: int) -> None:
    await simulator.script(Fault(FaultKind.REFUSE, code=code))
    advice = advice_of(code)
    assert (await check(settings_for(simulator))).said("message") == ("failed", advice.what, advice.cure)


async def test_a_message_that_fails_after_it_was_taken_says_why(simulator: SimulatorClient) -> None:
    await simulator.script(Fault(FaultKind.FAIL, code=63024))
    state, says, cure = (await check(settings_for(simulator))).said("message")
    assert (state, says, cure) == ("failed", f"undelivered: {advice_of(63024).what}", advice_of(63024).cure)


async def test_no_connection_is_told_as_such(simulator: SimulatorClient) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    settings = settings_for(simulator)
    settings["WHATSAPP_API_URL"] = settings["WHATSAPP_API_URL"].replace(simulator.base_url, nobody)
    advice = advice_without_answer(asked=False)
    assert (await check(settings)).said("account") == ("failed", advice.what, advice.cure)
    assert "no connection" in advice.what


async def test_an_answer_that_does_not_come_leaves_it_open_whether_the_message_was_taken(
    simulator: SimulatorClient,
) -> None:
    await simulator.script(Fault(FaultKind.HANG_TAKEN, seconds=30))
    advice = advice_without_answer(asked=True)
    checked = await check(settings_for(simulator), within_s=1.0)
    assert checked.said("message") == ("failed", advice.what, advice.cure)
    assert len(await simulator.messages()) == 1


# --- the webhook -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def webhook(kafka: str, topics: Topics, simulator: SimulatorClient) -> AsyncIterator[str]:
    """The address of a status-webhook that runs."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    given: dict[str, Any] = {name.lower(): value for name, value in settings_for(simulator).items()}
    settings = WebhookSettings(
        kafka_bootstrap_servers=kafka,
        kafka_namespace=topics.listings.name.removesuffix(".listings.v1"),
        webhook_public_url=url,
        whatsapp_webhook_verify_token=SecretStr(VERIFY_TOKEN),
        **given,
    )
    async with Publisher.connected(kafka, "tests") as publisher:
        config = uvicorn.Config(Webhook(settings, publisher), port=port, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await eventually(lambda: server.started)
        yield url
        server.should_exit = True
        await serving


async def test_a_webhook_that_takes_what_twilio_signs_and_nothing_else_is_fine(
    simulator: SimulatorClient, webhook: str
) -> None:
    told = {"WEBHOOK_PUBLIC_URL": webhook, "WHATSAPP_WEBHOOK_VERIFY_TOKEN": VERIFY_TOKEN}
    checked = await check(settings_for(simulator, **told), to=None)
    assert checked.said("webhook") == ("ok", f"{webhook} takes what Twilio signs", "")


async def test_a_webhook_with_another_token_is_told_with_what_it_says(simulator: SimulatorClient, webhook: str) -> None:
    state, says, cure = (await check(settings_for(simulator, WEBHOOK_PUBLIC_URL=webhook), to=None)).said("webhook")
    assert state == "failed"
    assert "WHATSAPP_WEBHOOK_VERIFY_TOKEN is set" in says
    assert "must have the same" in cure


async def test_an_address_where_something_else_answers_is_no_webhook(simulator: SimulatorClient) -> None:
    checked = await check(settings_for(simulator, WEBHOOK_PUBLIC_URL=simulator.base_url), to=None)
    state, says, cure = checked.said("webhook")
    assert (state, "404" in says) == ("failed", True)
    assert "must lead to the status-webhook" in cure


async def test_a_webhook_that_cannot_be_reached_is_told(simulator: SimulatorClient) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    state, says, _ = (await check(settings_for(simulator, WEBHOOK_PUBLIC_URL=nobody), to=None)).said("webhook")
    assert (state, says.startswith(f"{nobody} cannot be reached")) == ("failed", True)


# --- the command -----------------------------------------------------------------------------------------------------


async def test_a_phone_that_is_none_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    runner = CliRunner(env={"ITARENT_HOME": str(tmp_path)})
    result = await asyncio.to_thread(runner.invoke, app, ["check", "twilio", "--to", "12"])
    assert result.exit_code == 2
    assert "--to" in result.stderr


async def test_the_token_is_never_printed(simulator: SimulatorClient, tmp_path: Path) -> None:
    environment = settings_for(simulator, WHATSAPP_API_TOKEN="1" * 32) | {"ITARENT_HOME": str(tmp_path)}
    runner = CliRunner(env=environment)
    result = await asyncio.to_thread(runner.invoke, app, ["check", "twilio", "--to", PHONE])
    assert result.exit_code == 1
    assert "✗ account" in result.stdout
    assert "1" * 32 not in result.output
