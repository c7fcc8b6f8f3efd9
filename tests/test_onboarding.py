"""From nothing to a connected phone, as somebody meets it who has read no manual: over HTTP, and on the phone."""

import asyncio
import datetime as dt
import os
import re
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import orjson
import pytest
import pytest_asyncio

from api.phone_links import CLAIM_VALID_FOR
from itarent.demo.cast import checked
from itarent.environment import API, JOIN_WORDS, SIMULATOR
from itarent.project import PROJECT
from itarent.system import ANY_PORTS, System, running_system
from local_servers.home import home_of, scratch_home
from sender.templates import Purpose, templates
from testkit.waiting import eventually
from twilio_simulator.client import SimulatorClient, connected

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHONE = "+393335550141"
QUICKLY = {SIMULATOR: {"STATUS_PACE_SECONDS": "0.05"}}
A_MINUTE_LATER = "UPDATE sender.messages SET due_at = now() WHERE stage = 'retrying'"


@dataclass(frozen=True)
class Person:
    """Somebody with an account, a phone, and the status page open."""

    phone: str
    api: httpx.AsyncClient
    simulator: SimulatorClient = field(repr=False)
    database_url: str = field(repr=False)

    async def link(self, **sent: str) -> dict[str, Any]:
        answer = checked(await self.api.post("/whatsapp/link", json={"phone_number": self.phone, **sent}))
        return dict(answer.json())

    async def status(self) -> dict[str, Any]:
        return dict(checked(await self.api.get("/whatsapp/status")).json())

    async def has_all_delivered(self) -> bool:
        """Whether the code and the confirmation have arrived, and the api has heard of it."""
        counts: dict[str, int] = (await self.status())["counts"]
        return counts.get("delivered", 0) + counts.get("read", 0) >= 2

    async def sees(self, state: str) -> dict[str, Any]:
        """Wait until the page says so by itself."""

        async def shown() -> dict[str, Any]:
            link: dict[str, Any] = (await self.status())["link"]
            assert link["state"] == state
            return link

        return await eventually(shown)

    async def reads(self, words: str) -> str:
        """Wait until a text with these words has arrived on the phone."""

        async def arrived() -> str:
            texts = [each.body for each in await self.simulator.messages() if each.to == self.phone]
            return next((text for text in texts if words in text), "")

        return await eventually(arrived)

    async def asks_for_a_test(self) -> None:
        checked(await self.api.post("/whatsapp/test", json={"phone_number": "333 555 0141"}))

    async def waits_a_minute(self) -> None:
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute(A_MINUTE_LATER)
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with scratch_home(home_of(PROJECT)) as scratch:
        yield scratch


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(home: Path) -> AsyncIterator[System]:
    async with running_system(home, ports=ANY_PORTS, overrides=QUICKLY, durable=False) as system:
        yield system


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(system: System) -> AsyncIterator[Person]:
    account = {"email": "giulia@renters.example", "password": "only-for-this-test", "language": "en"}
    async with (
        httpx.AsyncClient(base_url=f"{system.url(API)}/api/v1", timeout=30) as api,
        connected(system.url(SIMULATOR), system.credentials.auth_token) as simulator,
    ):
        tokens = checked(await api.post("/auth/register", json=account)).json()
        api.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        yield Person(PHONE, api, simulator, system.addresses.postgres)


async def test_not_joined_then_joined_then_proven_then_run_out_then_renewed(person: Person) -> None:
    assert (await person.link(proof="to_phone"))["claim"]["code"] is None
    refused = await person.sees("not_joined")
    for part in ("63015", f"join {JOIN_WORDS}", "+1 415 523 8886"):
        assert part in refused["help"]

    await person.simulator.join(person.phone)
    await person.waits_a_minute()
    code = re.findall(r"\*(\w{6})\*", await person.reads("valid until"))[0]
    await person.sees("pending")
    checked(await person.api.post("/whatsapp/verify", json={"code": code.lower()}))
    await person.sees("connected")
    await person.reads("Number linked")
    await eventually(person.has_all_delivered)  # what arrives later would be a later sign of the join

    await person.simulator.advance_clock(dt.timedelta(days=3, minutes=1))
    await person.asks_for_a_test()
    run_out = await person.sees("join_expired")
    assert "three days" in run_out["help"]
    assert f"join {JOIN_WORDS}" in run_out["help"]

    await person.simulator.join(person.phone)
    await person.asks_for_a_test()
    await person.reads("Test message")
    await person.sees("connected")


async def test_a_messages_story_is_told_to_its_reader_and_in_the_terminal(system: System, person: Person) -> None:
    message = next(each for each in (await person.status())["messages"] if each["purpose"] == "code")
    story = checked(await person.api.get(f"/messages/{message['message_id']}")).json()
    steps = [(step["attempt"], step["status"], step["error_code"]) for step in story["statuses"]]
    assert steps[0] == (1, "rejected", 63015)
    # Queued, as the answer says, it is only where no callback was recorded before the answer.
    assert {"sending", "sent", "delivered"} <= {status for attempt, status, _ in steps if attempt > 1}
    assert "join" in story["statuses"][0]["error"]
    assert all(step["at"] for step in story["statuses"])

    exit_status, printed = await _itarent(system, "ledger", "show", message["message_id"], "--json")
    told = orjson.loads(printed)
    assert (exit_status, told["kind"], told["status"]) == (0, "code", "delivered")
    said = [line["said"] for line in told["lines"]]
    assert said[0] == "The user asked for it (code)."
    assert "Twilio is called, as free text." in said
    assert said[-1] == "It is on the phone (delivered)."
    assert person.phone not in printed
    reference = message["message_id"].replace("-", "")[:10].upper()
    by_reference, by_sid, nothing = await asyncio.gather(
        *(_itarent(system, "ledger", "show", name) for name in (reference, story["message_sid"], "nothing-like-it"))
    )
    assert message["message_id"] in by_reference[1]
    assert "63015" in by_sid[1]
    assert nothing[0] == 1


async def test_somebody_elses_message_is_no_message(system: System, person: Person) -> None:
    message_id = (await person.status())["messages"][0]["message_id"]
    account = {"email": "other@renters.example", "password": "only-for-this-test"}
    tokens = checked(await person.api.post("/auth/register", json=account)).json()
    async with httpx.AsyncClient(base_url=f"{system.url(API)}/api/v1", timeout=30) as other:
        other.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        assert (await other.get(f"/messages/{message_id}")).status_code == 404
    assert (await person.api.get(f"/messages/{message_id}")).status_code == 200


async def test_a_code_is_valid_as_long_as_its_templates_say() -> None:
    minutes = CLAIM_VALID_FOR.total_seconds() / 60
    said = {
        each.types["whatsapp/authentication"]["code_expiration_minutes"]
        for (purpose, _), each in templates().items()
        if purpose is Purpose.CODE
    }
    assert said == {minutes}


async def _itarent(system: System, *arguments: str) -> tuple[int | None, str]:
    env = {**os.environ, "DATABASE_URL": system.addresses.postgres, "COLUMNS": "200"}
    itarent = Path(sys.executable).with_name("itarent")
    process = await create_subprocess_exec(itarent, *arguments, stdout=PIPE, stderr=PIPE, env=env)
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()
