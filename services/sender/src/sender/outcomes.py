"""What became of a call to Twilio or of a message that Twilio took: outcomes as types."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from common.events import MessageStatus
from common.twilio_errors import MEANING_OF, Meaning, advice_of


@dataclass(frozen=True)
class Accepted:
    """Twilio has the message."""

    sid: str  # empty if a person says so who does not know it
    status: MessageStatus


@dataclass(frozen=True)
class Unavailable:
    """The request never left us: no connection, no name, no TLS."""

    reason: str


@dataclass(frozen=True)
class RateLimited:
    """Twilio did not process the request: too many, or too many at once."""

    code: int | None
    retry_after: timedelta | None = None


class Cause(StrEnum):
    """Why a message is worth another try later; `schedule.RETRIES` says when."""

    TEMPORARY = "temporary"
    ACCOUNT_BUSY = "account_busy"  # the account's rate or its queue
    CHANNEL_BUSY = "channel_busy"  # too fast for WhatsApp, or Meta's tier is spent
    DAILY_CAP = "daily_cap"


@dataclass(frozen=True)
class Delayed:
    """It did not go through now, and may later."""

    code: int
    cause: Cause


@dataclass(frozen=True)
class OutsideWindow:
    """More than 24 hours after the user's last message: only a template goes through."""

    code: int


@dataclass(frozen=True)
class TemplateUnusable:
    """Meta has rejected, paused or disabled the template: no message can use it now."""

    code: int


@dataclass(frozen=True)
class Misconfigured:
    """Our account or settings are wrong: no message will go through until somebody mends them."""

    code: int | None
    http_status: int | None = None


@dataclass(frozen=True)
class OptedOut:
    """The user does not want our messages, says WhatsApp or Twilio."""

    code: int


@dataclass(frozen=True)
class Rejected:
    """This message will never go through; `reason` is one word for people and statistics."""

    code: int | None
    reason: str
    ours: bool = False  # the content or the template is wrong: somebody of us must look


@dataclass(frozen=True)
class Stale:
    """Twilio dropped it, since it could not be delivered while it was worth it."""

    code: int


@dataclass(frozen=True)
class InDoubt:
    """Twilio may or may not have taken it."""

    reason: str


Refusal: TypeAlias = (
    RateLimited | Delayed | OutsideWindow | TemplateUnusable | Misconfigured | OptedOut | Rejected | Stale
)
Outcome: TypeAlias = Accepted | Unavailable | InDoubt | Refusal


_OURS: Final = frozenset(
    {Meaning.CONTENT_REFUSED, Meaning.TEMPLATE_REFUSED, Meaning.COUNTRY_NOT_ENABLED, Meaning.REFUSED}
)


def refusal_of(http_status: int, code: int | None, retry_after: timedelta | None = None) -> Outcome:
    """What an answer that is not a success means. A code that we do not know is final if it is the request's fault."""
    if code is not None and code in MEANING_OF:
        return _refusal(MEANING_OF[code], code, retry_after)
    if http_status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(code, retry_after)
    if http_status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Misconfigured(code, http_status)
    if HTTPStatus.BAD_REQUEST <= http_status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Rejected(code, "refused", ours=True)
    return InDoubt(f"http_{http_status}")


def failure_of(status: MessageStatus, code: int | None) -> Refusal:
    """What a failure means that Twilio reports after it took the message."""
    if code is not None and code in MEANING_OF:
        return _refusal(MEANING_OF[code], code)
    return Rejected(code, status.value)


def _refusal(meaning: Meaning, code: int, retry_after: timedelta | None = None) -> Refusal:  # noqa: PLR0911 - a table
    match meaning:
        case Meaning.RATE_LIMITED:
            return RateLimited(code, retry_after)
        case Meaning.MISCONFIGURED:
            return Misconfigured(code)
        case Meaning.OUTSIDE_WINDOW:
            return OutsideWindow(code)
        case Meaning.TEMPLATE_UNUSABLE:
            return TemplateUnusable(code)
        case Meaning.OPTED_OUT:
            return OptedOut(code)
        case Meaning.STALE:
            return Stale(code)
        case Meaning.TEMPORARY | Meaning.ACCOUNT_BUSY | Meaning.CHANNEL_BUSY | Meaning.DAILY_CAP:
            return Delayed(code, Cause(meaning.value))
        case _:
            return Rejected(code, meaning.value, ours=meaning in _OURS)


_WORDS: Final[Mapping[type[Refusal], str]] = {
    RateLimited: "rate_limited",
    OutsideWindow: "outside_window",
    TemplateUnusable: "template_unusable",
    Misconfigured: "misconfigured",
    OptedOut: "opted_out",
    Stale: "stale",
}


def word_of(refusal: Refusal) -> str:
    """Why Twilio refused, in a word."""
    match refusal:
        case Rejected():
            return refusal.reason
        case Delayed():
            return refusal.cause.value
        case _:
            return _WORDS[type(refusal)]


def explained(refusal: Refusal) -> dict[str, Any]:
    """What a line of the log says about a refusal: Twilio's code, and what it means in whole sentences."""
    http_status = refusal.http_status if isinstance(refusal, Misconfigured) else None
    return {"error_code": refusal.code, "explanation": str(advice_of(refusal.code, http_status=http_status))}
