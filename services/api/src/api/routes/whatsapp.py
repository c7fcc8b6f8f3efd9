"""The caller's phone: prove it, test it, see what was sent to it, take it away."""

import datetime as dt
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any, Final, assert_never
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api import qr, rates
from api.activity import MessageView
from api.bodies import Body
from api.dependencies import Caller, Services, User, Wired
from api.joins import LinkState, state_of
from api.phone_links import Claim, Link, NothingToProve, PhoneRefuses, Proof, Proven, TooManyCodes, WrongCode
from api.phones import PhoneNumber, chat_link, readable
from api.problems import Problem, may_answer, unknown
from api.settings import ApiSettings
from common.events import Recipient
from common.model import Request as Sent

router = APIRouter(prefix="/api/v1/whatsapp", tags=["whatsapp"])

WINDOW: Final = dt.timedelta(hours=24)
"""How long after a person's last message WhatsApp lets us write freely."""


IMAGES: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"image/png": {}, "image/svg+xml": {}}}}


class LinkRequest(Sent):
    """The phone to link. Without `proof` the code comes from the phone if people can write to us, else goes to it."""

    phone_number: PhoneNumber
    proof: Proof | None = None


class VerifyRequest(Sent):
    code: str = Field(min_length=1, max_length=40, description="as it stands in the message on the phone")


class TestRequest(Sent):
    """A test goes to the caller's own number; giving it is a check only."""

    phone_number: PhoneNumber | None = None


class QrFile(StrEnum):
    PNG = "png"
    SVG = "svg"


class Sandbox(BaseModel):
    """Twilio's sandbox writes to those only who have joined it: they send it the join words first, every three days."""

    number: str
    written: str = Field(description="the number as one reads it out")
    join: str | None = Field(description="what to send; null if WHATSAPP_SANDBOX_JOIN does not say")
    link: str = Field(description="opens WhatsApp with these words")
    qr_png: str
    qr_svg: str


class ClaimView(BaseModel):
    """How to prove a phone: send us the code from it, or give `POST …/verify` the code that was sent to it."""

    phone_number: str
    proof: Proof
    expires_at: dt.datetime
    tries_left: int
    code: str | None = Field(description="null if it was sent to the phone: only who has the phone sees it")
    send_to: str | None = Field(description="the number of ours that the code is sent to; null the other way round")
    link: str | None = Field(description="opens WhatsApp on the phone with the code, ready to be sent")


class LinkView(BaseModel):
    state: LinkState
    phone_number: str | None = Field(description="the proven number")
    claim: ClaimView | None = Field(description="the number that is to be proven")
    sandbox: Sandbox | None
    join_ends_at: dt.datetime | None = Field(description="by when the sandbox has to be joined again, if that is known")
    lost_at: dt.datetime | None = Field(description="when another account has proven the caller's number")
    help: str | None = Field(description="what to do next, where there is something to do")


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


@router.post("/link", status_code=HTTPStatus.ACCEPTED, responses=may_answer(409, 429))
async def link(services: Wired, caller: Caller, sent: Annotated[LinkRequest, Body(LinkRequest)]) -> LinkView:
    """Claim a phone; it is linked when it is proven. The caller's own proven phone stays linked."""
    if sent.phone_number == services.settings.whatsapp_number:
        raise Problem(HTTPStatus.CONFLICT, "This is our own number: write that of your phone.", kind="our-number")
    proof = _proof(services.settings, sent.proof)
    await services.rates.spend(rates.LINKS, str(caller.user_id))
    if sent.phone_number != caller.phone:
        await _claim(services, caller, sent.phone_number, proof)
    return await _link_of(services, caller)


def _proof(settings: ApiSettings, asked_for: Proof | None) -> Proof:
    if asked_for is Proof.FROM_PHONE and not settings.hears_people:
        raise Problem(
            HTTPStatus.CONFLICT,
            'Nobody can write to us yet, since WEBHOOK_PUBLIC_URL is not set: use "proof": "to_phone".',
            kind="cannot-be-written-to",
        )
    proof = asked_for or (Proof.FROM_PHONE if settings.hears_people else Proof.TO_PHONE)
    if proof is Proof.TO_PHONE:
        _check_sending(settings)
    return proof


async def _claim(services: Services, caller: Recipient, phone: str, proof: Proof) -> None:
    now = dt.datetime.now(dt.UTC)
    match await services.phones.claim(caller.user_id, phone, proof, now):
        case Claim():
            return
        case PhoneRefuses():
            raise Problem(
                HTTPStatus.CONFLICT,
                "This phone has asked for no more messages, so no code is sent to it: write START to "
                f"{readable(services.settings.whatsapp_number) or 'our number'} from it first.",
                kind="phone-refuses",
            )
        case TooManyCodes(until):
            raise rates.too_many("Enough codes were sent to this phone today.", until - now)
        case other:
            assert_never(other)


@router.post("/verify", responses=may_answer(409))
async def verify(services: Wired, caller: Caller, sent: Annotated[VerifyRequest, Body(VerifyRequest)]) -> LinkView:
    """Link the claimed phone by the code that was sent to it."""
    match await services.phones.verify(caller.user_id, sent.code, dt.datetime.now(dt.UTC)):
        case Proven():
            return await _link_of(services, await services.recipients.of(caller.user_id) or caller)
        case WrongCode(tries_left):
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, _wrong_code(tries_left), kind="wrong-code")
        case NothingToProve():
            raise Problem(
                HTTPStatus.CONFLICT,
                "There is no code to check: none was sent to your phone, or it has expired or been tried too often. "
                "POST /api/v1/whatsapp/link sends a new one.",
                kind="no-code",
            )
        case other:
            assert_never(other)


def _wrong_code(tries_left: int) -> str:
    if tries_left:
        return f"This is not the code. You have {tries_left} more {'try' if tries_left == 1 else 'tries'}."
    return "This is not the code, and it was the last try. POST /api/v1/whatsapp/link sends a new one."


@router.delete("/link", status_code=HTTPStatus.NO_CONTENT)
async def unlink(services: Wired, user_id: User) -> None:
    """Take the phone away: nothing more is sent to it."""
    await services.phones.unlink(user_id, dt.datetime.now(dt.UTC))


@router.get("/link/qr.{kind}", response_class=Response, responses=IMAGES)
async def link_qr(services: Wired, caller: Caller, kind: QrFile) -> Response:
    """The claim's link as a QR code, to be scanned by the phone that is to be proven."""
    claim = (await services.phones.link_of(caller, dt.datetime.now(dt.UTC))).claim
    if claim is None or claim.proof is not Proof.FROM_PHONE:
        raise unknown("code to scan")
    return _drawn(_claim_link(services.settings, claim), kind, "private, no-store")


@router.get("/sandbox", responses=may_answer(404))
async def sandbox(services: Wired) -> Sandbox:
    """How to join Twilio's sandbox."""
    return _sandbox_in_use(services.settings)


@router.get("/sandbox/qr.{kind}", response_class=Response, responses=IMAGES)
async def sandbox_qr(services: Wired, kind: QrFile) -> Response:
    """The link that joins the sandbox as a QR code, to be scanned by the phone that is to join."""
    return _drawn(_sandbox_in_use(services.settings).link, kind, "public, max-age=3600")


def _drawn(link: str, kind: QrFile, cache_control: str) -> Response:
    headers = {"Cache-Control": cache_control}
    match kind:
        case QrFile.PNG:
            return Response(qr.png(link), media_type="image/png", headers=headers)
        case QrFile.SVG:
            return Response(qr.svg(link), media_type="image/svg+xml", headers=headers)


@router.post(
    "/test",
    status_code=HTTPStatus.ACCEPTED,
    responses=may_answer(403, 409, 429),
)
async def test(services: Wired, caller: Caller, sent: Annotated[TestRequest, Body(TestRequest)]) -> TestRequested:
    """Send a test message to the caller's own proven number."""
    _check_sending(services.settings)
    _check_test(caller, sent)
    await services.rates.spend(rates.TESTS, str(caller.user_id))
    notification_id = await services.phones.request_test(caller.user_id, dt.datetime.now(dt.UTC))
    return TestRequested(notification_id=notification_id)


def _check_sending(settings: ApiSettings) -> None:
    if not settings.whatsapp_enabled:
        raise Problem(
            HTTPStatus.CONFLICT, "Sending is switched off here: WHATSAPP_ENABLED is false.", kind="sending-is-off"
        )


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
    """The link, the window, and the last messages. Cheap enough to be asked for every second or two."""
    return WhatsappStatus(
        link=await _link_of(services, caller),
        stopped=caller.stopped,
        window=_window(caller.window_opened_at, dt.datetime.now(dt.UTC)),
        messages=await services.activity.messages_of(caller.user_id),
        counts=await services.activity.counts_of(caller.user_id),
    )


def _window(opened_at: dt.datetime | None, now: dt.datetime) -> Window:
    closes_at = opened_at + WINDOW if opened_at else None
    return Window(open=closes_at is not None and now < closes_at, opened_at=opened_at, closes_at=closes_at)


async def _link_of(services: Services, caller: Recipient) -> LinkView:
    now = dt.datetime.now(dt.UTC)
    return _link(services.settings, caller, await services.phones.link_of(caller, now), now)


def _link(settings: ApiSettings, caller: Recipient, known: Link, now: dt.datetime) -> LinkView:
    state = state_of(
        known.heard, now, proven=caller.phone is not None, claimed=known.claim is not None, sandbox=settings.is_sandbox
    )
    sandbox = _sandbox(settings)
    return LinkView(
        state=state,
        phone_number=caller.phone,
        claim=_claim_view(settings, known.claim) if known.claim else None,
        sandbox=sandbox,
        join_ends_at=known.heard.ends_at if sandbox else None,
        lost_at=known.lost_at,
        help=_help(state, sandbox),
    )


def _help(state: LinkState, sandbox: Sandbox | None) -> str | None:
    if sandbox is None or state not in (LinkState.NOT_JOINED, LinkState.JOIN_EXPIRED):
        return None
    words = f"“{sandbox.join}”" if sandbox.join else "“join” and the two words that Twilio's console shows"
    happened = (
        "This phone has not joined Twilio's sandbox, so it cannot be written to (63015)."
        if state is LinkState.NOT_JOINED
        else "This phone has joined Twilio's sandbox, but a join lasts three days."
    )
    return f"{happened} Send {words} to {sandbox.written} from it: {sandbox.link}"


def _claim_view(settings: ApiSettings, claim: Claim) -> ClaimView:
    shown = claim.proof is Proof.FROM_PHONE
    return ClaimView(
        phone_number=claim.phone,
        proof=claim.proof,
        expires_at=claim.expires_at,
        tries_left=claim.tries_left,
        code=claim.code if shown else None,
        send_to=settings.whatsapp_number if shown else None,
        link=_claim_link(settings, claim) if shown else None,
    )


def _claim_link(settings: ApiSettings, claim: Claim) -> str:
    return chat_link(settings.whatsapp_number, f"ITARENT {claim.code}")


def _sandbox_in_use(settings: ApiSettings) -> Sandbox:
    if (sandbox := _sandbox(settings)) is None:
        raise Problem(
            HTTPStatus.NOT_FOUND,
            "Messages do not come from Twilio's sandbox here: there is nothing to join.",
            kind="no-sandbox",
        )
    return sandbox


def _sandbox(settings: ApiSettings) -> Sandbox | None:
    if not settings.is_sandbox:
        return None
    join = f"join {settings.whatsapp_sandbox_join}" if settings.whatsapp_sandbox_join else None
    return Sandbox(
        number=settings.whatsapp_number,
        written=readable(settings.whatsapp_number),
        join=join,
        link=chat_link(settings.whatsapp_number, join or ""),
        qr_png=f"{settings.public_url}{router.prefix}/sandbox/qr.png",
        qr_svg=f"{settings.public_url}{router.prefix}/sandbox/qr.svg",
    )
