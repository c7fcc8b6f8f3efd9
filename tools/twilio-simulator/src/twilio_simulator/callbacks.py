"""Requests from Twilio to its customer: status callbacks and inbound messages, signed and retried as Twilio does."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urldefrag

import aiohttp
from yarl import URL

from twilio_simulator.phones import Phone, number_of
from twilio_simulator.resources import API_VERSION, Message, Status, new_sid
from twilio_simulator.signature import signature_of

WORKERS = 64
BACK_OFF_SECONDS = 0.1

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How one attempt ended; the values are those of Twilio's retry policies (`rp`)."""

    DELIVERED = "delivered"
    CONNECT_FAILED = "ct"
    TIMED_OUT = "rt"
    CLIENT_ERROR = "4xx"
    SERVER_ERROR = "5xx"


_FAILURES = frozenset(Outcome) - {Outcome.DELIVERED}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What the fragment of a callback's URL asks for. The defaults are Twilio's."""

    retries: int = 1
    retried: frozenset[Outcome] = frozenset({Outcome.CONNECT_FAILED})
    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    total_seconds: float = 15.0


def retry_policy_of(fragment: str) -> RetryPolicy:
    """Read `rc=3&rp=5xx,ct&ct=2000&rt=3000&tt=15000`; what cannot be read keeps its default."""
    asked = {name: values[-1] for name, values in parse_qs(fragment).items()}
    default = RetryPolicy()
    return RetryPolicy(
        retries=_bounded(asked.get("rc"), 0, 5, default.retries),
        retried=_retried(asked.get("rp")) or default.retried,
        connect_seconds=_bounded(asked.get("ct"), 100, 10_000, 5_000) / 1000,
        read_seconds=_bounded(asked.get("rt"), 100, 15_000, 15_000) / 1000,
        total_seconds=_bounded(asked.get("tt"), 100, 15_000, 15_000) / 1000,
    )


def _bounded(text: str | None, least: int, most: int, default: int) -> int:
    return min(max(int(text), least), most) if text and text.isdecimal() else default


def _retried(text: str | None) -> frozenset[Outcome]:
    asked = set((text or "").split(","))
    return _FAILURES if "all" in asked else frozenset(outcome for outcome in _FAILURES if outcome in asked)


def status_parameters(message: Message, account_sid: str) -> dict[str, str]:
    """The form of a status callback."""
    parameters = {
        "AccountSid": account_sid,
        "ApiVersion": API_VERSION,
        "ChannelInstallSid": "XE" + account_sid[2:],
        "ChannelPrefix": "whatsapp",
        "ChannelToAddress": number_of(message.to),
        "From": message.sender,
        "MessageSid": message.sid,
        "MessageStatus": message.status,
        "SmsSid": message.sid,
        "SmsStatus": message.status,
        "StructuredMessage": "false",
        "To": message.to,
    }
    if message.status in {Status.DELIVERED, Status.READ, Status.UNDELIVERED}:
        parameters["EventType"] = message.status.upper()
    if message.error_code is not None:
        parameters["ErrorCode"] = str(message.error_code)
        parameters["ChannelStatusMessage"] = f"Error {message.error_code}"
    return parameters


def inbound_parameters(message: Message, phone: Phone, account_sid: str) -> dict[str, str]:
    """The form of an inbound message."""
    parameters = {
        "AccountSid": account_sid,
        "ApiVersion": API_VERSION,
        "Body": message.body,
        "From": message.sender,
        "MessageSid": message.sid,
        "MessageType": "text",
        "NumMedia": "0",
        "NumSegments": "1",
        "ProfileName": phone.name or phone.number,
        "ReferralNumMedia": "0",
        "SmsMessageSid": message.sid,
        "SmsSid": message.sid,
        "SmsStatus": message.status,
        "To": message.to,
        "WaId": number_of(message.sender).removeprefix("+"),
    }
    if message.button_payload is not None:
        parameters |= {"MessageType": "button", "ButtonPayload": message.button_payload, "ButtonText": message.body}
    if message.replied_to is not None:
        parameters |= {"OriginalRepliedMessageSid": message.replied_to, "OriginalRepliedMessageSender": message.to}
    return parameters


@dataclass(frozen=True, slots=True)
class Callback:
    """A request to be made. `url` may carry a retry policy in its fragment; `about` is the message's SID."""

    url: str
    parameters: Mapping[str, str]
    about: str
    forged: bool = False
    token: str = field(default_factory=lambda: new_sid(""))


class Callbacks:
    """Sends callbacks side by side, a bounded number at a time. Delivery is best effort, as Twilio's is."""

    def __init__(self, auth_token: str, counters: Counter[str], on_attempt: Callable[[str], None]) -> None:
        self._auth_token = auth_token
        self._counters = counters
        self._on_attempt = on_attempt
        self._waiting: asyncio.Queue[Callback] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=WORKERS, ttl_dns_cache=60)
        headers = {"User-Agent": "TwilioProxy/1.1", "Accept": "*/*"}
        self._session = aiohttp.ClientSession(
            connector=connector, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._session.close()

    def send(self, callback: Callback) -> None:
        self._waiting.put_nowait(callback)

    async def all_sent(self) -> None:
        """Wait until everything that was handed over has been sent or given up."""
        await self._waiting.join()

    async def deliver(self, callback: Callback) -> Outcome:
        """Attempt it as often as its retry policy asks, within the policy's time."""
        url, fragment = urldefrag(callback.url)
        policy = retry_policy_of(fragment)
        attempts_left = policy.retries
        deadline = asyncio.get_running_loop().time() + policy.total_seconds
        while True:
            outcome = await self._attempt(callback, url, policy, deadline)
            self._counters[f"callback_{outcome.name.lower()}"] += 1
            if outcome not in policy.retried or not attempts_left or asyncio.get_running_loop().time() >= deadline:
                return outcome
            await asyncio.sleep(BACK_OFF_SECONDS * 2 ** (policy.retries - attempts_left))
            attempts_left -= 1

    async def _work(self) -> None:
        while True:
            callback = await self._waiting.get()
            try:
                await self.deliver(callback)
            except Exception:  # one request that cannot be made must not end the worker
                log.exception("A callback could not be sent")
            finally:
                self._waiting.task_done()

    async def _attempt(self, callback: Callback, url: str, policy: RetryPolicy, deadline: float) -> Outcome:
        self._on_attempt(callback.about)
        left = max(0.05, deadline - asyncio.get_running_loop().time())
        timeout = aiohttp.ClientTimeout(
            total=left, sock_connect=min(policy.connect_seconds, left), sock_read=min(policy.read_seconds, left)
        )
        auth_token = secrets.token_hex() if callback.forged else self._auth_token
        headers = {
            "X-Twilio-Signature": signature_of(auth_token, url, callback.parameters),
            "I-Twilio-Idempotency-Token": callback.token,
        }
        address = URL(url, encoded=True)  # as it was given: another spelling would not fit the signature
        try:
            async with self._session.post(
                address, data=callback.parameters, headers=headers, timeout=timeout
            ) as response:
                await response.read()
                return _outcome_of(response.status)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return Outcome.CONNECT_FAILED
        except (aiohttp.ClientError, TimeoutError):
            return Outcome.TIMED_OUT


def _outcome_of(http_status: int) -> Outcome:
    if http_status < 400:  # noqa: PLR2004 - HTTP's own classes
        return Outcome.DELIVERED
    return Outcome.CLIENT_ERROR if http_status < 500 else Outcome.SERVER_ERROR  # noqa: PLR2004
