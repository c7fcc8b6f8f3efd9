"""Twilio's REST API: a bare ASGI application, because benchmarks run against it."""

import asyncio
import base64
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hmac import compare_digest
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope, Send

from twilio_simulator import codes
from twilio_simulator.codes import Refusal, error_body
from twilio_simulator.faults import TAKEN_FAULTS, Fault, FaultKind
from twilio_simulator.listing import page_json, query_of
from twilio_simulator.messages import Order, order_of
from twilio_simulator.phones import address_of, number_of
from twilio_simulator.resources import Message, account_json, account_uri, message_json
from twilio_simulator.simulator import Simulator

CUT = "twilio_simulator.cut"
"""The ASGI extension with which the server lets an application cut its connection (`twilio_simulator.server`)."""

MAX_FORM_BYTES = 64 * 1024
_FORM = b"application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Answer:
    http_status: int
    body: bytes


class ConnectionCut(Exception):  # noqa: N818 - not an error: it is what the script asked for
    """The connection is to be cut without an answer."""


def refuse(refusal: Refusal) -> Answer:
    return Answer(codes.meaning_of(refusal.code).http_status, orjson.dumps(error_body(refusal)))


class TwilioApi:
    """`/2010-04-01/…`: messages and the account."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._sid = simulator.account.sid
        self._account_path = f"{account_uri(self._sid)}.json"
        self._messages_path = f"{account_uri(self._sid)}/Messages.json"
        self._message_prefix = f"{account_uri(self._sid)}/Messages/"
        credentials = f"{self._sid}:{simulator.auth_token}".encode()
        self._authorization = b"Basic " + base64.b64encode(credentials)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        try:
            answer = await self._answer(scope, headers, receive)
        except ConnectionCut:
            await _cut(scope["extensions"][CUT], receive)
            return
        start = {
            "type": "http.response.start",
            "status": answer.http_status,
            "headers": self._headers_of(answer),
        }
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    def _headers_of(self, answer: Answer) -> list[tuple[bytes, bytes]]:
        headers = [
            (b"content-type", b"application/json;charset=utf-8"),
            (b"content-length", str(len(answer.body)).encode()),
            (b"twilio-request-id", b"RQ" + secrets.token_hex(16).encode()),
            (b"twilio-concurrent-requests", str(max(1, self._simulator.creating)).encode()),
            (b"x-api-domain", b"api.twilio.com"),
        ]
        if answer.http_status == 401:  # noqa: PLR2004 - HTTP's own number
            headers.append((b"www-authenticate", b'Basic realm="Twilio API"'))
        return headers

    async def _answer(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Answer:
        method, path = scope["method"], scope["path"]
        if not compare_digest(headers.get(b"authorization", b""), self._authorization):
            return refuse(Refusal(codes.AUTHENTICATE))
        if method == "POST" and not headers.get(b"content-type", b"").lower().startswith(_FORM):
            return refuse(Refusal(codes.UNSUPPORTED_MEDIA_TYPE))
        form = await _body(receive) if method == "POST" else b""
        if form is None:
            return refuse(Refusal(codes.INVALID_PARAMETER, "the form is too large"))
        if path == self._messages_path:
            return await self._messages(method, scope, form, receive)
        if path == self._account_path:
            return self._account(method)
        return self._message(method, path, form)

    async def _messages(self, method: str, scope: Scope, form: bytes, receive: Receive) -> Answer:
        match method:
            case "POST":
                return await self._create(form, receive)
            case "GET":
                return self._list(scope["query_string"])
            case _:
                return refuse(Refusal(codes.METHOD_NOT_ALLOWED))

    # Create

    async def _create(self, form: bytes, receive: Receive) -> Answer:
        simulator = self._simulator
        behaviour = simulator.behaviour
        limit = behaviour.limits.concurrent_requests
        simulator.creating += 1
        try:
            if limit is not None and simulator.creating > limit:
                return self._too_many_requests()
            if not simulator.meter.admits(behaviour.limits.requests_per_second, time.monotonic()):
                return self._too_many_requests()
            if behaviour.latency:
                await asyncio.sleep(behaviour.latency.total_seconds())
            order = order_of(form)
            if isinstance(order, Refusal):
                return refuse(order)
            if fault := simulator.faults.next_for_creation(number_of(order.to)):
                return await self._go_wrong(fault, order, receive)
            return self._take(order)
        finally:
            simulator.creating -= 1

    def _too_many_requests(self) -> Answer:
        self._simulator.counters[f"refused_{codes.TOO_MANY_REQUESTS}"] += 1
        return refuse(Refusal(codes.TOO_MANY_REQUESTS))

    def _take(self, order: Order, fault: Fault | None = None) -> Answer:
        return self._answer_of(self._simulator.create(order, fault))

    def _answer_of(self, taken: Message | Refusal) -> Answer:
        if isinstance(taken, Refusal):
            return refuse(taken)
        return Answer(201, orjson.dumps(message_json(taken, self._sid)))

    async def _go_wrong(self, fault: Fault, order: Order, receive: Receive) -> Answer:  # noqa: PLR0911 - one per kind
        if fault.kind in TAKEN_FAULTS and (taken := self._take(order)).http_status != 201:  # noqa: PLR2004 - Created
            return taken
        match fault.kind:
            case FaultKind.REFUSE:
                return refuse(Refusal(fault.code))
            case FaultKind.SERVER_ERROR | FaultKind.SERVER_ERROR_TAKEN:
                body = {"message": "Internal Server Error", "status": fault.http_status}
                return Answer(fault.http_status, orjson.dumps(body))
            case FaultKind.HANG | FaultKind.HANG_TAKEN:
                await _disconnected(receive, fault.seconds)
                raise ConnectionCut
            case FaultKind.RESET | FaultKind.RESET_TAKEN:
                raise ConnectionCut
            case FaultKind.WRONG_JSON:
                return Answer(201, b"<html>Created")
            case FaultKind.SLOW:
                await _disconnected(receive, fault.seconds)
                return self._take(order)
            case FaultKind.CALLBACK_FIRST:
                return await self._call_back_first(order)
            case _:
                return self._take(order, fault)

    async def _call_back_first(self, order: Order) -> Answer:
        taken = self._simulator.create(order)
        if isinstance(taken, Message):
            await self._simulator.call_back_first(taken)
        return self._answer_of(taken)

    # Everything else

    def _list(self, query_string: bytes) -> Answer:
        query = query_of(dict(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)))
        if isinstance(query, Refusal):
            return refuse(query)
        our_address = address_of(self._simulator.account.number)
        return Answer(200, orjson.dumps(page_json(self._simulator.store, query, self._sid, our_address)))

    def _account(self, method: str) -> Answer:
        if method != "GET":
            return refuse(Refusal(codes.METHOD_NOT_ALLOWED))
        simulator = self._simulator
        account = simulator.account
        body = account_json(
            self._sid, simulator.auth_token, simulator.since, status=account.status, trial=account.trial
        )
        return Answer(200, orjson.dumps(body))

    def _message(self, method: str, path: str, form: bytes) -> Answer:
        sid = path.removeprefix(self._message_prefix).removesuffix(".json")
        message = self._simulator.store.messages.get(sid)
        if message is None or path != f"{self._message_prefix}{sid}.json":
            return refuse(Refusal(codes.NOT_FOUND, path))
        match method:
            case "GET":
                return Answer(200, orjson.dumps(message_json(message, self._sid)))
            case "DELETE":
                self._simulator.store.remove(sid)
                return Answer(204, b"")
            case "POST":
                return self._update(message, dict(parse_qsl(form.decode("latin-1"), keep_blank_values=True)))
            case _:
                return refuse(Refusal(codes.METHOD_NOT_ALLOWED))

    def _update(self, message: Message, fields: dict[str, str]) -> Answer:
        """A message may be canceled, or its text taken out."""
        changed: Message | Refusal
        if fields.get("Status") == "canceled":
            changed = self._simulator.cancel(message)
        elif "Status" not in fields and fields.get("Body") == "":
            changed = self._simulator.redact(message)
        else:
            changed = Refusal(codes.INVALID_PARAMETER, "Status can become canceled, Body can become empty")
        if isinstance(changed, Refusal):
            return refuse(changed)
        return Answer(200, orjson.dumps(message_json(changed, self._sid)))


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None when it is too large or its client is gone."""
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionCut
        body += message.get("body", b"")
        if len(body) > MAX_FORM_BYTES:
            return None
        if not message.get("more_body"):
            return body


async def _disconnected(receive: Receive, seconds: float) -> None:
    """Wait for so long, or until the client has gone."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await receive()


async def _cut(cut: Callable[[], None], receive: Receive) -> None:
    cut()
    await receive()  # the server tells us that the connection is gone; only then is there no answer to be given
