"""What people and tests do with the simulator: the page, and a JSON API under `/simulator`."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import AnyHttpUrl, AwareDatetime, BaseModel, Field, StringConstraints, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from twilio_simulator.contents import Approval, Content, body_of, buttons_of
from twilio_simulator.faults import Fault
from twilio_simulator.phones import (
    NUMBER,
    has_joined,
    join_ends_at,
    number_of,
    window_ends_at,
    window_is_open,
)
from twilio_simulator.resources import Direction, Message, Status
from twilio_simulator.simulator import Behaviour, Simulator

STATIC = Path(__file__).parent / "static"
SHOWN_PHONES = 200
SHOWN_MESSAGES = 200
COUNTED_MESSAGES = 50
EVENTS_EVERY_SECONDS = 0.2
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class PhoneChange(BaseModel):
    """What is not given stays as it is."""

    name: str | None = Field(default=None, max_length=100)
    blocked: bool | None = None
    verified: bool | None = None


class AccountChange(BaseModel):
    """What is not given stays as it is."""

    sandbox: bool | None = None
    trial: bool | None = None
    status: Literal["active", "suspended", "closed"] | None = None


class Writing(BaseModel):
    body: str = Field(max_length=4096)
    button_payload: str | None = Field(default=None, max_length=256)
    replied_to: str | None = Field(default=None, max_length=64, description="the SID of the message that is answered")


class Joining(BaseModel):
    numbers: list[Annotated[str, StringConstraints(pattern=r"^\+[1-9]\d{6,14}$")]] = Field(max_length=10_000)


class Invention(BaseModel):
    to: Annotated[str, StringConstraints(pattern=f"^{NUMBER.pattern}$")]
    body: str = Field(max_length=1600)
    sent_at: AwareDatetime | None = Field(default=None, description="now, unless it is given")


class Amendment(BaseModel):
    """What is not given stays as it is."""

    status: Status | None = None
    error_code: int | None = None
    sent_at: AwareDatetime | None = None
    num_segments: int | None = Field(default=None, ge=0)
    price: str | None = Field(default=None, pattern=r"^-?\d+(\.\d+)?$")
    price_unit: str | None = Field(default=None, pattern="^[A-Z]{3}$")


class Expiry(BaseModel):
    what: Literal["join", "window"]


class ClockAdvance(BaseModel):
    advance_seconds: float = Field(ge=0, le=10**9)


class Reset(BaseModel):
    seed: int = 0


class Inbound(BaseModel):
    url: AnyHttpUrl | None = None


class Judgement(BaseModel):
    approval: Approval
    reason: str = Field(default="", max_length=200)


Templates = dict[Annotated[str, StringConstraints(pattern="^HX[0-9a-fA-F]{32}$")], str]
"""ContentSid → text with placeholders such as `{{1}}`."""

Model = TypeVar("Model")


class Control:
    """The endpoints of the control API."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def settings(self, _request: Request) -> Response:
        account = self._simulator.account
        return _json(
            {
                "account_sid": account.sid,
                "number": account.number,
                "sandbox": account.sandbox,
                "join_words": self._simulator.join_words,
                "now": self._simulator.clock.now(),
                "behaviour": self._simulator.behaviour,
                "faults": self._simulator.faults.faults,
            }
        )

    async def change_account(self, request: Request) -> Response:
        change = await _read(request, TypeAdapter(AccountChange))
        self._simulator.account = replace(self._simulator.account, **change.model_dump(exclude_none=True))
        return Response(status_code=204)

    async def phones(self, _request: Request) -> Response:
        numbers = islice(self._simulator.store.numbers(), SHOWN_PHONES)
        return _json([self._phone_json(number) for number in numbers])

    async def phone(self, request: Request) -> Response:
        number = _number(request)
        newest = list(islice(self._simulator.store.newest_of(number), SHOWN_MESSAGES))
        bubbles = [_bubble(message) | {"buttons": self._buttons(message)} for message in reversed(newest)]
        return _json(self._phone_json(number) | {"messages": bubbles})

    def _buttons(self, message: Message) -> list[dict[str, str]]:
        content = self._simulator.store.contents.get(message.content_sid or "")
        return buttons_of(content) if content else []

    async def save_phone(self, request: Request) -> Response:
        number, change = _number(request), await _read(request, TypeAdapter(PhoneChange))
        phone = self._simulator.store.phone(number)
        given = change.model_dump(exclude_none=True)
        self._simulator.store.save(replace(phone, **given))
        return _json(self._phone_json(number))

    async def forget_phone(self, request: Request) -> Response:
        self._simulator.store.forget(_number(request))
        return Response(status_code=204)

    async def join(self, request: Request) -> Response:
        number = _number(request)
        self._simulator.join(number)
        return _json(self._phone_json(number))

    async def join_all(self, request: Request) -> Response:
        for number in (await _read(request, TypeAdapter(Joining))).numbers:
            self._simulator.join(number)
        return Response(status_code=204)

    async def write(self, request: Request) -> Response:
        number, writing = _number(request), await _read(request, TypeAdapter(Writing))
        message = self._simulator.write(number, writing.body, writing.button_payload, writing.replied_to)
        return _json({"sid": message.sid}, 201)

    async def read(self, request: Request) -> Response:
        return _json({"read": self._simulator.read(_number(request))})

    async def expire(self, request: Request) -> Response:
        number, expiry = _number(request), await _read(request, TypeAdapter(Expiry))
        phone = self._simulator.store.phone(number)
        ended = replace(phone, joined_at=None) if expiry.what == "join" else replace(phone, wrote_at=None)
        self._simulator.store.save(ended)
        return _json(self._phone_json(number))

    async def clock(self, request: Request) -> Response:
        advance = await _read(request, TypeAdapter(ClockAdvance))
        self._simulator.clock.advance(timedelta(seconds=advance.advance_seconds))
        return _json({"now": self._simulator.clock.now()})

    async def add_fault(self, request: Request) -> Response:
        fault = await _read(request, TypeAdapter(Fault))
        self._simulator.faults.add(fault)
        return _json(fault, 201)

    async def clear_faults(self, _request: Request) -> Response:
        self._simulator.faults.clear()
        return Response(status_code=204)

    async def templates(self, request: Request) -> Response:
        templates = await _read(request, TypeAdapter(Templates))
        for sid, body in templates.items():
            self._simulator.add_approved_text(sid, body)
        return Response(status_code=204)

    async def contents(self, _request: Request) -> Response:
        return _json([_content_json(content) for content in self._simulator.store.contents.values()])

    async def judge(self, request: Request) -> Response:
        """As Meta: approve, reject, pause or disable a template."""
        judgement = await _read(request, TypeAdapter(Judgement))
        content = self._simulator.store.contents.get(request.path_params["sid"])
        if content is None:
            raise HTTPException(404, "There is no template with this SID.")
        return _json(_content_json(self._simulator.judge_content(content, judgement.approval, judgement.reason)))

    async def behave(self, request: Request) -> Response:
        """What is not given is as a simulator without settings has it: no limits."""
        self._simulator.behave(await _read(request, TypeAdapter(Behaviour)))
        return _json(self._simulator.behaviour)

    async def inbound(self, request: Request) -> Response:
        url = (await _read(request, TypeAdapter(Inbound))).url
        self._simulator.inbound_url = str(url) if url else None
        return Response(status_code=204)

    async def counters(self, _request: Request) -> Response:
        return _json(dict(self._simulator.counters))

    async def messages(self, _request: Request) -> Response:
        """Everything that the API has accepted, as JSON lines in the order of acceptance."""
        accepted = [message for message in self._simulator.store.messages.values() if _was_accepted(message)]
        lines = (orjson.dumps(_export(message), option=orjson.OPT_APPEND_NEWLINE) for message in accepted)
        return Response(b"".join(lines), media_type="application/x-ndjson")

    async def invent(self, request: Request) -> Response:
        """Somebody else sends a message with this account."""
        given = await _read(request, TypeAdapter(Invention))
        message = self._simulator.invent(given.to, given.body, given.sent_at or self._simulator.clock.now())
        return _json({"sid": message.sid}, 201)

    async def amend(self, request: Request) -> Response:
        """A message is otherwise from now on: no callback tells it."""
        changes = await _read(request, TypeAdapter(Amendment))
        message = self._simulator.amend(self._message(request), **changes.model_dump(exclude_unset=True))
        return _json(_export(message))

    async def lose(self, request: Request) -> Response:
        """A message is gone, as if it had never been taken."""
        self._simulator.store.remove(self._message(request).sid)
        return Response(status_code=204)

    def _message(self, request: Request) -> Message:
        message = self._simulator.store.messages.get(request.path_params["sid"])
        if message is None:
            raise HTTPException(404, "There is no message with this SID.")
        return message

    async def reset(self, request: Request) -> Response:
        seed = (await _read(request, TypeAdapter(Reset))).seed
        self._simulator.reset(seed)
        return Response(status_code=204)

    async def settled(self, _request: Request) -> Response:
        """Answers when every callback that was due has been made or given up."""
        await self._simulator.callbacks_delivered()
        return Response(status_code=204)

    async def events(self, _request: Request) -> Response:
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def metrics(self, _request: Request) -> Response:
        lines = [f'twilio_simulator_total{{what="{what}"}} {count}' for what, count in self._simulator.counters.items()]
        text = "\n".join(["# TYPE twilio_simulator_total counter", *sorted(lines), ""])
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def _events(self) -> AsyncIterator[bytes]:
        """Which chats have changed, at most a few times a second."""
        with self._simulator.store.watching() as watch:
            yield b"retry: 1000\n\n"
            while (numbers := await watch.changes()) is not None:
                yield b"data: " + orjson.dumps(sorted(numbers)) + b"\n\n"
                await asyncio.sleep(EVENTS_EVERY_SECONDS)

    def _phone_json(self, number: str) -> dict[str, object]:
        phone = self._simulator.store.phone(number)
        now, our_number = self._simulator.clock.now(), self._simulator.account.number
        newest = list(islice(self._simulator.store.newest_of(number), COUNTED_MESSAGES))
        return {
            "number": number,
            "name": phone.name,
            "blocked": phone.blocked,
            "joined": has_joined(phone, now),
            "join_ends_at": join_ends_at(phone),
            "window_open": window_is_open(phone, our_number, now),
            "window_ends_at": window_ends_at(phone, our_number),
            "unread": sum(message.status is Status.DELIVERED for message in newest),
            "last": _bubble(newest[0]) if newest else None,
        }


def _bubble(message: Message) -> dict[str, object]:
    return {
        "sid": message.sid,
        "written_here": message.direction is Direction.INBOUND,
        "body": message.body,
        "media_urls": message.media_urls,
        "at": message.created_at,
        "status": message.status,
        "error_code": message.error_code,
    }


def _content_json(content: Content) -> dict[str, object]:
    return {
        "sid": content.sid,
        "friendly_name": content.friendly_name,
        "language": content.language,
        "body": body_of(content),
        "approval": content.approval,
        "rejection_reason": content.rejection_reason,
    }


def _was_accepted(message: Message) -> bool:
    return message.direction is Direction.API


def _export(message: Message) -> dict[str, object]:
    return {
        "sid": message.sid,
        "to": number_of(message.to),
        "body": message.body,
        "status": message.status,
        "error_code": message.error_code,
        "content_sid": message.content_sid,
        "status_callback": message.status_callback,
        "date_created": message.created_at,
        "attempts": message.callback_attempts,
    }


def _number(request: Request) -> str:
    number: str = request.path_params["number"]
    if not NUMBER.fullmatch(number):
        raise HTTPException(422, "A phone number has the form +393335550101.")
    return number


async def _read(request: Request, adapter: TypeAdapter[Model]) -> Model:
    try:
        return adapter.validate_json(await request.body() or b"{}")
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise HTTPException(422, f"{where}: {problem['msg']}") from error


def _json(value: object, http_status: int = 200) -> Response:
    return Response(orjson.dumps(value, default=_plain), http_status, media_type="application/json")


def _plain(value: object) -> object:
    """What orjson does not know: durations as seconds, sets as lists."""
    match value:
        case timedelta():
            return value.total_seconds()
        case frozenset():
            return sorted(value)
        case _:
            raise TypeError(type(value))


async def _page(_request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


async def _healthy(_request: Request) -> Response:
    return _json({"status": "ok"})


class SecurityHeaders:
    """Adds them to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: AsgiMessage) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def control_app(simulator: Simulator) -> Starlette:
    """The page at `/`, its files, and the control API."""
    control = Control(simulator)
    phone = "/simulator/phones/{number}"
    return Starlette(
        routes=[
            Route("/", _page),
            Route("/healthz", _healthy),
            Route("/metrics", control.metrics),
            Route("/simulator", control.settings),
            Route("/simulator/account", control.change_account, methods=["PUT"]),
            Route("/simulator/phones", control.phones),
            Route(phone, control.phone),
            Route(phone, control.save_phone, methods=["PUT"]),
            Route(phone, control.forget_phone, methods=["DELETE"]),
            Route(f"{phone}/join", control.join, methods=["POST"]),
            Route(f"{phone}/messages", control.write, methods=["POST"]),
            Route(f"{phone}/read", control.read, methods=["POST"]),
            Route(f"{phone}/expire", control.expire, methods=["POST"]),
            Route("/simulator/joins", control.join_all, methods=["POST"]),
            Route("/simulator/messages", control.messages),
            Route("/simulator/messages", control.invent, methods=["POST"]),
            Route("/simulator/messages/{sid}", control.amend, methods=["PATCH"]),
            Route("/simulator/messages/{sid}", control.lose, methods=["DELETE"]),
            Route("/simulator/counters", control.counters),
            Route("/simulator/faults", control.add_fault, methods=["POST"]),
            Route("/simulator/faults", control.clear_faults, methods=["DELETE"]),
            Route("/simulator/templates", control.templates, methods=["PUT"]),
            Route("/simulator/templates", control.contents),
            Route("/simulator/templates/{sid}", control.judge, methods=["PUT"]),
            Route("/simulator/behaviour", control.behave, methods=["PUT"]),
            Route("/simulator/inbound", control.inbound, methods=["PUT"]),
            Route("/simulator/clock", control.clock, methods=["POST"]),
            Route("/simulator/settled", control.settled),
            Route("/simulator/reset", control.reset, methods=["POST"]),
            Route("/simulator/events", control.events),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(SecurityHeaders)],
    )
