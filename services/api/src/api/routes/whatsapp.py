"""The caller's phone: prove it, test it, see what was sent to it, take it away."""

import datetime as dt
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api import rates
from api.activity import MessageView
from api.bodies import Body
from api.dependencies import Caller, User, Wired
from api.phone_links import Claim
from api.phones import PhoneNumber, chat_link
from api.problems import Problem
from api.settings import ApiSettings
from common.events import Recipient
from common.model import Request as Sent

router = APIRouter(prefix="/api/v1/whatsapp", tags=["whatsapp"])

WINDOW: Final = dt.timedelta(hours=24)
"""How long after a person's last message WhatsApp lets us write freely."""


class LinkRequest(Sent):
    phone_number: PhoneNumber


class TestRequest(Sent):
    """A test goes to the caller's own number; giving it is a check only."""

    phone_number: PhoneNumber | None = None


class LinkState(StrEnum):
    NONE = "none"
    PENDING = "pending"  # claimed, not proven yet
    VERIFIED = "verified"


class SandboxHint(BaseModel):
    """Twilio's sandbox writes to those only who have joined it: send the join words from the phone first."""

    number: str
    join: str
    link: str


class ClaimView(BaseModel):
    """How to prove a phone: send the code from it to our number, or just open the link on it."""

    phone_number: str
    code: str
    expires_at: dt.datetime
    send_to: str
    link: str


class LinkView(BaseModel):
    state: LinkState
    phone_number: str | None = Field(description="the proven number")
    claim: ClaimView | None = Field(description="the number that is to be proven")
    sandbox: SandboxHint | None


class Window(BaseModel):
    """Whether WhatsApp lets us write freely, and until when."""

    open: bool
    opened_at: dt.datetime | None
    closes_at: dt.datetime | None


class WhatsappStatus(BaseModel):
    link: LinkView
    stopped: bool
    window: Window
    messages: list[MessageView] = Field(description="the last ones, newest first")
    counts: dict[str, int] = Field(description="messages by status")


class TestRequested(BaseModel):
    notification_id: UUID


@router.post("/link", status_code=HTTPStatus.ACCEPTED)
async def link(services: Wired, caller: Caller, sent: Annotated[LinkRequest, Body(LinkRequest)]) -> LinkView:
    """Claim a phone. It is linked when the code arrives in a message from that very phone."""
    await services.rates.spend(rates.LINKS, str(caller.user_id))
    claim = await services.phones.claim(caller.user_id, sent.phone_number, dt.datetime.now(dt.UTC))
    return _link(services.settings, caller, claim)


@router.delete("/link", status_code=HTTPStatus.NO_CONTENT)
async def unlink(services: Wired, user_id: User) -> None:
    """Take the phone away: nothing more is sent to it."""
    await services.phones.unlink(user_id)


@router.post("/test", status_code=HTTPStatus.ACCEPTED)
async def test(services: Wired, caller: Caller, sent: Annotated[TestRequest, Body(TestRequest)]) -> TestRequested:
    """Send a test message to the caller's own proven number."""
    _check_test(caller, sent)
    await services.rates.spend(rates.TESTS, str(caller.user_id))
    notification_id = await services.phones.request_test(caller.user_id, dt.datetime.now(dt.UTC))
    return TestRequested(notification_id=notification_id)


def _check_test(caller: Recipient, sent: TestRequest) -> None:
    if sent.phone_number not in (None, caller.phone):
        raise Problem(
            HTTPStatus.FORBIDDEN, "A test message is sent to your own proven number only.", kind="not-your-number"
        )
    if caller.phone is None:
        raise Problem(
            HTTPStatus.CONFLICT, "You have no proven number: POST /api/v1/whatsapp/link begins that.", kind="not-linked"
        )
    if caller.stopped:
        raise Problem(
            HTTPStatus.CONFLICT, "You have stopped messages: send START from your phone first.", kind="stopped"
        )


@router.get("/status")
async def status(services: Wired, caller: Caller) -> WhatsappStatus:
    """The link, the window, and the last messages."""
    now = dt.datetime.now(dt.UTC)
    claim = await services.phones.claim_of(caller.user_id, now)
    return WhatsappStatus(
        link=_link(services.settings, caller, claim),
        stopped=caller.stopped,
        window=_window(caller.window_opened_at, now),
        messages=await services.activity.messages_of(caller.user_id),
        counts=await services.activity.counts_of(caller.user_id),
    )


def _window(opened_at: dt.datetime | None, now: dt.datetime) -> Window:
    closes_at = opened_at + WINDOW if opened_at else None
    return Window(open=closes_at is not None and now < closes_at, opened_at=opened_at, closes_at=closes_at)


def _link(settings: ApiSettings, caller: Recipient, claim: Claim | None) -> LinkView:
    proven = LinkState.VERIFIED if caller.phone else LinkState.NONE
    return LinkView(
        state=LinkState.PENDING if claim else proven,
        phone_number=caller.phone,
        claim=_claim(settings, claim) if claim else None,
        sandbox=_sandbox(settings),
    )


def _claim(settings: ApiSettings, claim: Claim) -> ClaimView:
    return ClaimView(
        phone_number=claim.phone,
        code=claim.code,
        expires_at=claim.expires_at,
        send_to=settings.whatsapp_number,
        link=chat_link(settings.whatsapp_number, f"ITARENT {claim.code}"),
    )


def _sandbox(settings: ApiSettings) -> SandboxHint | None:
    if not settings.whatsapp_sandbox_join:
        return None
    join = f"join {settings.whatsapp_sandbox_join}"
    return SandboxHint(number=settings.whatsapp_number, join=join, link=chat_link(settings.whatsapp_number, join))
