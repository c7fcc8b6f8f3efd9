"""`itarent templates` as an operator uses it, against a simulated Twilio."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from common.settings import TwilioAccount
from itarent.account import connected_to
from itarent.cli import app
from sender.contents import Contents
from sender.templates import Purpose, templates
from twilio_simulator import Fault, FaultKind, SimulatorClient, running_simulator


@dataclass
class Desk:
    """A terminal in a folder of its own, whose environment names the account."""

    simulator: SimulatorClient
    environment: dict[str, str]

    async def templates(self, *arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner(env=self.environment).invoke, app, ["templates", *arguments])

    async def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((await self.templates("list", "--json")).stdout)
        return found


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.chdir(tmp_path)
    async with running_simulator() as simulator:
        environment = {
            "ITARENT_HOME": str(tmp_path),
            "COLUMNS": "200",
            "WHATSAPP_API_URL": f"{simulator.base_url}/2010-04-01/Accounts/{simulator.account_sid}/Messages.json",
            "WHATSAPP_API_TOKEN": simulator.auth_token,
            "WHATSAPP_PHONE_NUMBER_ID": simulator.sender,
            "WHATSAPP_BUSINESS_ACCOUNT_ID": simulator.account_sid,
        }
        yield Desk(simulator, environment)


async def test_what_is_submitted_is_approved_and_is_not_submitted_again(desk: Desk) -> None:
    assert {each["approval"] for each in await desk.listed()} == {"missing"}
    submitted = await desk.templates("submit", "--wait")
    assert submitted.exit_code == 0, submitted.output
    assert submitted.stdout.count(": submitted") == submitted.stdout.count(": approved") == len(templates())
    before = await desk.listed()
    assert {(each["approval"], each["differs"], each["older_versions"]) for each in before} == {("approved", False, 0)}
    again = await desk.templates("submit")
    assert again.stdout.count("nothing to do") == len(templates())
    assert await desk.listed() == before
    assert (await desk.templates("status")).exit_code == 0


async def test_a_rejection_is_shown_with_its_reason_and_asks_for_another_text(desk: Desk) -> None:
    await desk.simulator.script(Fault(FaultKind.REJECT, reason="PROMOTIONAL"))
    submitted = await desk.templates("submit", "--wait")
    assert submitted.exit_code == 1
    status = await desk.templates("status")
    assert status.exit_code == 1
    assert status.stdout.count(": rejected: PROMOTIONAL") == 1
    again = await desk.templates("submit")
    assert again.exit_code == 1
    assert again.stdout.count("change its file") == 1


async def test_a_template_that_was_created_and_not_submitted_is_submitted_and_not_created_again(desk: Desk) -> None:
    account = TwilioAccount(**{name.lower(): value for name, value in desk.environment.items()})  # type: ignore[arg-type] # texts
    files = list(templates().values())
    async with connected_to(account) as twilio:
        sids = [await Contents(twilio).create(template) for template in files]
    assert {each["approval"] for each in await desk.listed()} == {"unsubmitted"}
    assert (await desk.templates("submit", "--wait")).exit_code == 0
    assert {each["content_sid"] for each in await desk.listed()} == set(sids)


async def test_older_versions_of_a_template_are_remarked_and_not_taken_for_it(desk: Desk) -> None:
    account = TwilioAccount(**{name.lower(): value for name, value in desk.environment.items()})  # type: ignore[arg-type] # texts
    digest = next(template for template in templates().values() if template.purpose is Purpose.DIGEST)
    older = replace(digest, types={"twilio/text": {"body": "Something {{1}} older {{2}} here {{3}} it was"}})
    async with connected_to(account) as twilio:
        await Contents(twilio).create(older)
        await desk.templates("submit")
        [known] = [each for each in await desk.listed() if each["name"] == digest.name]
        assert (known["differs"], known["older_versions"]) == (False, 1)
    table = (await desk.templates("list")).stdout
    assert "1 older at Twilio" in table


async def test_a_wrong_setting_ends_the_command_with_its_cure_and_without_the_secret(desk: Desk) -> None:
    desk.environment["WHATSAPP_API_TOKEN"] = "f" * 32
    result = await desk.templates("status")
    assert result.exit_code == 2
    assert "20003" in result.output
    assert "f" * 32 not in result.output


async def test_without_an_account_the_command_says_what_is_missing(desk: Desk) -> None:
    desk.environment |= {name: "" for name in desk.environment if name.startswith("WHATSAPP_")}
    missing = await desk.templates("list")
    assert missing.exit_code == 2
    desk.environment["WHATSAPP_ENABLED"] = "false"
    switched_off = await desk.templates("list")
    assert (switched_off.exit_code, "No account at Twilio is set" in switched_off.output) == (2, True)
