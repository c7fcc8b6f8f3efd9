"""The caller's profile: how and when messages come."""

from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, Field

from api.bodies import Body
from api.dependencies import Caller, Services, Wired, not_signed_in
from common.events import Language, QuietHours, Recipient
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
    """What is to change; what is left out stays. Null takes quiet hours or an own interval away."""

    language: Language = Language.ITALIAN
    time_zone: TimeZone = "Europe/Rome"
    quiet_hours: Annotated[QuietHours, AfterValidator(_on_a_clock)] | None = None
    interval_seconds: int | None = Field(default=None, ge=0, le=604_800, description="null: the system's interval")

    def changes(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.model_fields_set}


class Profile(BaseModel):
    user_id: UUID
    email: str | None
    language: Language
    time_zone: str
    quiet_hours: QuietHours | None
    interval_seconds: int | None
    phone_number: str | None
    stopped: bool


@router.get("")
async def profile(services: Wired, caller: Caller) -> Profile:
    return await _profile(services, caller)


@router.patch("")
async def change_profile(
    services: Wired, caller: Caller, sent: Annotated[ProfileChange, Body(ProfileChange)]
) -> Profile:
    """Change some of the profile."""
    changed = await services.recipients.change(caller.user_id, sent.changes())
    if changed is None:
        raise not_signed_in()
    return await _profile(services, changed)


async def _profile(services: Services, recipient: Recipient) -> Profile:
    account = await services.accounts.of(recipient.user_id)
    if account is None:
        raise not_signed_in()
    return Profile.model_validate({**recipient.model_dump(), "email": account.email, "phone_number": recipient.phone})
