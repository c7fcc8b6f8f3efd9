"""A client of the control API: how tests, checks and the demo act as the people with the phones."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import aiohttp
import orjson
from pydantic import TypeAdapter

from twilio_simulator.faults import Fault
from twilio_simulator.simulator import Behaviour


@dataclass(frozen=True, slots=True)
class AcceptedMessage:
    """A message that the API has taken. `attempts`: requests that were made to its StatusCallback."""

    sid: str
    to: str
    body: str
    status: str
    date_created: datetime
    error_code: int | None = None
    content_sid: str | None = None
    status_callback: str | None = None
    attempts: int = 0


_ACCEPTED = TypeAdapter(AcceptedMessage)
_BEHAVIOUR = TypeAdapter(Behaviour)


@dataclass(frozen=True, slots=True)
class SimulatorClient:
    """Talks to a running simulator. `sender` is what the account's messages have as From."""

    base_url: str
    account_sid: str
    auth_token: str = field(repr=False)
    number: str
    join_words: str
    _session: aiohttp.ClientSession = field(repr=False)

    @property
    def sender(self) -> str:
        return f"whatsapp:{self.number}"

    async def join(self, phone: str, name: str = "") -> None:
        """The phone has joined the sandbox, and its 24 hours begin. Nothing is sent to the webhook."""
        if name:
            await self._call("PUT", f"/phones/{phone}", {"name": name})
        await self._call("POST", f"/phones/{phone}/join")

    async def join_all(self, phones: Sequence[str]) -> None:
        """Many phones have joined the sandbox at once."""
        await self._call("POST", "/joins", {"numbers": phones})

    async def forget(self, phone: str) -> None:
        """The phone and its chat, as if it had never been."""
        await self._call("DELETE", f"/phones/{phone}")

    async def write(
        self, phone: str, text: str, button_payload: str | None = None, replied_to: str | None = None
    ) -> str:
        """A person writes to our number; the webhook is told unless the sandbox answers itself. The message's SID."""
        written = {"body": text, "button_payload": button_payload, "replied_to": replied_to}
        body = await self._call("POST", f"/phones/{phone}/messages", written)
        sid: str = orjson.loads(body)["sid"]
        return sid

    async def read(self, phone: str) -> None:
        """The person looks at the chat: what was delivered is read."""
        await self._call("POST", f"/phones/{phone}/read")

    async def block(self, phone: str, *, blocked: bool = True) -> None:
        await self._call("PUT", f"/phones/{phone}", {"blocked": blocked})

    async def verify(self, phone: str) -> None:
        """The phone is verified in the console: a trial account may write to it."""
        await self._call("PUT", f"/phones/{phone}", {"verified": True})

    async def change_account(self, **changes: bool | str) -> None:
        """Make it a trial account or not, in the sandbox or not, active or suspended: `trial=True`."""
        await self._call("PUT", "/account", changes)

    async def expire(self, phone: str, what: Literal["join", "window"]) -> None:
        await self._call("POST", f"/phones/{phone}/expire", {"what": what})

    async def advance_clock(self, by: timedelta) -> None:
        await self._call("POST", "/clock", {"advance_seconds": by.total_seconds()})

    async def script(self, *faults: Fault) -> None:
        """Add faults to the script, in this order."""
        for fault in faults:
            await self._call("POST", "/faults", fault)

    async def clear_faults(self) -> None:
        await self._call("DELETE", "/faults")

    async def behave(self, behaviour: Behaviour) -> None:
        await self._call("PUT", "/behaviour", _BEHAVIOUR.dump_python(behaviour, mode="json"))

    async def deliver_inbound_to(self, url: str | None) -> None:
        """Where people's messages are sent from now on."""
        await self._call("PUT", "/inbound", {"url": url})

    async def add_templates(self, templates: Mapping[str, str]) -> None:
        """ContentSid → text with placeholders such as `{{1}}`."""
        await self._call("PUT", "/templates", dict(templates))

    async def judge_template(self, sid: str, approval: str, reason: str = "") -> None:
        """As Meta: a template is approved, rejected, paused or disabled from now on."""
        await self._call("PUT", f"/templates/{sid}", {"approval": approval, "reason": reason})

    async def messages(self) -> list[AcceptedMessage]:
        """Everything that was accepted, in this order."""
        lines = (await self._call("GET", "/messages")).splitlines()
        return [_ACCEPTED.validate_json(line) for line in lines]

    async def invent(self, phone: str, text: str, *, sent_at: datetime | None = None) -> str:
        """Somebody else sends a message with this account; its SID."""
        body = await self._call("POST", "/messages", {"to": phone, "body": text, "sent_at": sent_at})
        sid: str = orjson.loads(body)["sid"]
        return sid

    async def amend(self, sid: str, **changes: str | int | datetime) -> None:
        """A message is otherwise, and no callback tells it: `status`, `error_code`, `price`, and so on."""
        await self._call("PATCH", f"/messages/{sid}", changes)

    async def lose(self, sid: str) -> None:
        """A message is gone, as if it had never been taken."""
        await self._call("DELETE", f"/messages/{sid}")

    async def messages_when(self, count: int, timeout_seconds: float = 30) -> list[AcceptedMessage]:
        """Wait until at least so many were accepted. Raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            while len(messages := await self.messages()) < count:  # noqa: ASYNC110 - it may be another process
                await asyncio.sleep(0.02)
        return messages

    async def callbacks_delivered(self) -> None:
        """Wait until every callback that was due has been answered or given up."""
        await self._call("GET", "/settled")

    async def counters(self) -> dict[str, int]:
        counters: dict[str, int] = orjson.loads(await self._call("GET", "/counters"))
        return counters

    async def reset(self, seed: int = 0) -> None:
        """Back to an account without messages, phones and faults; `seed` is that of the faults' probabilities."""
        await self._call("POST", "/reset", {"seed": seed})

    async def _call(self, method: str, path: str, value: object = None) -> bytes:
        async with self._session.request(
            method, f"{self.base_url}/simulator{path}", data=orjson.dumps(value or {})
        ) as response:
            body = await response.read()
            if not response.ok:
                raise SimulatorRefusedError(f"{method} {path}: {response.status} {body.decode()}")
            return body


class SimulatorRefusedError(Exception):
    """The simulator's control API does not take this request; its answer says why."""


@asynccontextmanager
async def connected(base_url: str, auth_token: str) -> AsyncIterator[SimulatorClient]:
    """A client of a simulator that runs as a process of its own."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{base_url}/simulator") as response:
            response.raise_for_status()
            settings = await response.json()
        yield SimulatorClient(
            base_url, settings["account_sid"], auth_token, settings["number"], settings["join_words"], session
        )
