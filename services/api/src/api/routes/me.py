"""The caller: how and when messages come, the password, the trail of consents."""

import datetime as dt
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from api import rates
from api.bodies import Body
from api.consents import Consent
from api.dependencies import Caller, Services, SignedIn, User, Wired, token_refused
from api.export import Export
from api.paging import After, Limit
from api.problems import Problem, may_answer
from api.security import TokenFault
from common.events import Grouping, Language, QuietHours, Recipient
from common.model import Moment
from common.model import Request as Sent

router = APIRouter(prefix="/api/v1/me", tags=["me"])


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # a directory, a forbidden path, an unknown name
        raise ValueError("There is no such time zone: write one such as Europe/Rome") from None
    return name


TimeZone = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_known_zone)]


def _on_a_clock(quiet: QuietHours) -> QuietHours:
    if quiet.start.tzinfo or quiet.end.tzinfo:
        raise ValueError("Write wall-clock times such as 22:00: they are meant in your time zone")
    if quiet.start == quiet.end:
        raise ValueError("Quiet hours that begin when they end would be no hours or all: choose two different times")
    return quiet


class ProfileChange(Sent):
    """What is to change; what is left out stays. Null takes quiet hours, an own interval or a pause away."""

    language: Language = Language.ITALIAN
    time_zone: TimeZone = "Europe/Rome"
    quiet_hours: Annotated[QuietHours, AfterValidator(_on_a_clock)] | None = None
    interval_seconds: int | None = Field(default=None, ge=0, le=604_800, description="null: the system's interval")
    grouping: Grouping = Field(default=Grouping.USER, description="what shares a message")
    paused_until: Moment | None = Field(default=None, description="nothing is sent before; null: no pause")

    def changes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


Password = Annotated[SecretStr, Field(max_length=128)]
NewPassword = Annotated[SecretStr, Field(min_length=10, max_length=128)]


class PasswordChange(Sent):
    current_password: Password
    new_password: NewPassword


FRESH: Final = dt.timedelta(minutes=5)
"""How lately an external issuer must have asked who it is, before an account is erased."""


class ErasureRequest(Sent):
    """The password once more; an account of an external issuer sends `{}` with a token of a fresh sign-in."""

    password: Password | None = None


class DownloadedJson(JSONResponse):
    """JSON that browsers save as a file."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as Starlette has them
        super().__init__(*args, **options)
        self.headers["Content-Disposition"] = 'attachment; filename="itarent-export.json"'


class ConsentPage(BaseModel):
    items: list[Consent]
    next: str | None = Field(description="`after` of the next page; null on the last")


class Profile(BaseModel):
    user_id: UUID
    email: str | None
    language: Language
    time_zone: str
    quiet_hours: QuietHours | None
    interval_seconds: int | None
    grouping: Grouping
    paused_until: dt.datetime | None = Field(description="no digest comes before; null, or past: no pause")
    phone_number: str | None
    stopped: bool


@router.get("")
async def profile(services: Wired, caller: Caller) -> Profile:
    """Who calls, and how and when messages come."""
    return await _profile(services, caller)


@router.patch("")
async def change_profile(
    services: Wired, caller: Caller, sent: Annotated[ProfileChange, Body(ProfileChange)]
) -> Profile:
    """Change some of the profile."""
    changed = await services.recipients.change(caller.user_id, sent.changes())
    if changed is None:
        raise token_refused(TokenFault.ENDED)
    return await _profile(services, changed)


@router.put(
    "/password",
    status_code=HTTPStatus.NO_CONTENT,
    responses=may_answer(403, 409, 429),
)
async def change_password(
    services: Wired, caller: SignedIn, sent: Annotated[PasswordChange, Body(PasswordChange)]
) -> None:
    """Set a new password. Every other sign-in ends."""
    await _check_password(services, caller.user_id, sent.current_password)
    password_hash = await services.passwords.hash(sent.new_password.get_secret_value())
    await services.accounts.change_password(caller.user_id, password_hash, keep=caller.sign_in_id)


@router.get(
    "/export",
    status_code=HTTPStatus.OK,
    response_class=DownloadedJson,
    responses=may_answer(429),
)
async def export(services: Wired, user_id: User) -> Export:
    """Everything that is kept about the caller, as a file."""
    await services.rates.spend(rates.EXPORTS, str(user_id))
    exported = await services.exports.of(user_id, dt.datetime.now(dt.UTC))
    if exported is None:
        raise token_refused(TokenFault.ENDED)
    return exported


@router.delete(
    "",
    status_code=HTTPStatus.NO_CONTENT,
    responses=may_answer(403, 409, 429),
)
async def erase(services: Wired, caller: SignedIn, sent: Annotated[ErasureRequest, Body(ErasureRequest)]) -> None:
    """Erase the account and everything of it, here and in every other service. Nothing brings it back.

    It is gone here at once and nothing more is sent; its phone and texts are gone from Kafka's disks within a day.
    """
    now = dt.datetime.now(dt.UTC)
    if caller.signed_in_at is None:
        await _check_password(services, caller.user_id, sent.password or SecretStr(""))
    elif caller.signed_in_at < now - FRESH:
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "Sign in with your issuer once more, and send the new token within 5 minutes.",
            kind="sign-in-again",
        )
    await services.erasure.erase(caller.user_id, now)


async def _check_password(services: Services, user_id: UUID, password: SecretStr) -> None:
    await services.rates.spend(rates.PASSWORDS_OF_USER, str(user_id))
    account = await services.accounts.of(user_id)
    if account is None:
        raise token_refused(TokenFault.ENDED)
    if account.password_hash is None:
        raise Problem(HTTPStatus.CONFLICT, "This account has no password: its issuer signs you in.", kind="no-password")
    if not await services.passwords.verify(password.get_secret_value(), account.password_hash):
        raise Problem(HTTPStatus.FORBIDDEN, "The password is wrong.", kind="wrong-password")


@router.get("/consents")
async def consents(services: Wired, user_id: User, after: After, limit: Limit = 50) -> ConsentPage:
    """What the caller agreed to and took back, how and when, oldest first."""
    items, more = await services.consents.of(user_id, after, limit)
    return ConsentPage(items=items, next=more.encoded() if more else None)


async def _profile(services: Services, recipient: Recipient) -> Profile:
    account = await services.accounts.of(recipient.user_id)
    if account is None:
        raise token_refused(TokenFault.ENDED)
    return Profile.model_validate({**recipient.model_dump(), "email": account.email, "phone_number": recipient.phone})
