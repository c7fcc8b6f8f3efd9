"""What became of a call to Twilio or of a message that Twilio took: outcomes as types, Twilio's error codes as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Final, TypeAlias

from common.events import MessageStatus


@dataclass(frozen=True)
class Accepted:
    """Twilio has the message."""

    sid: str
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


Refusal: TypeAlias = RateLimited | Delayed | OutsideWindow | Misconfigured | OptedOut | Rejected | Stale
Outcome: TypeAlias = Accepted | Unavailable | InDoubt | Refusal


class Meaning(StrEnum):
    """What an error code means; the words of final ones are the reasons that people read."""

    RATE_LIMITED = "rate_limited"
    MISCONFIGURED = "misconfigured"
    OUTSIDE_WINDOW = "outside_window"
    OPTED_OUT = "opted_out"
    STALE = "stale"
    TEMPORARY = "temporary"
    ACCOUNT_BUSY = "account_busy"
    CHANNEL_BUSY = "channel_busy"
    DAILY_CAP = "daily_cap"
    NOT_JOINED_SANDBOX = "not_joined_sandbox"
    UNVERIFIED_NUMBER = "unverified_number"  # a trial account may only write to verified ones
    INVALID_NUMBER = "invalid_number"
    UNREACHABLE = "unreachable"
    COUNTRY_NOT_ENABLED = "country_not_enabled"
    MARKETING_DECLINED = "marketing_declined"
    CARRIER_REFUSED = "carrier_refused"
    CONTENT_REFUSED = "content_refused"
    TEMPLATE_REFUSED = "template_refused"


CODES: Final[Mapping[Meaning, tuple[int, ...]]] = {
    Meaning.RATE_LIMITED: (20429,),
    Meaning.MISCONFIGURED: (20003, 21606, 21603, 63007, 63008, 63001, 63020, 63051, 63062, 30002),
    Meaning.OUTSIDE_WINDOW: (63016,),
    Meaning.NOT_JOINED_SANDBOX: (63015,),
    Meaning.UNVERIFIED_NUMBER: (21608,),
    Meaning.INVALID_NUMBER: (21211, 21614, 63003),
    Meaning.UNREACHABLE: (63024, 63032),
    Meaning.OPTED_OUT: (21610, 63014, 63033, 63050),
    Meaning.CONTENT_REFUSED: (21617, 21658, 14103, 21620, 21654, 21656, 92007, 63005, 63019),
    Meaning.TEMPLATE_REFUSED: (63013, 63021, 63027, 63028, 63029, 63030, 63040, 63041, 63042),
    Meaning.COUNTRY_NOT_ENABLED: (21408, 21612),
    Meaning.CHANNEL_BUSY: (63018,),
    Meaning.ACCOUNT_BUSY: (63017, 21611, 30001),
    Meaning.DAILY_CAP: (63038,),
    Meaning.MARKETING_DECLINED: (63049,),
    Meaning.TEMPORARY: (63010, 63012, 63023, 30008, 30017),
    Meaning.STALE: (30036,),
    Meaning.CARRIER_REFUSED: (30003, 30004, 30005, 30006, 30007),
}
"""Twilio's error codes by what they mean to us."""

MEANING_OF: Final[Mapping[int, Meaning]] = {code: meaning for meaning, codes in CODES.items() for code in codes}

_OURS: Final = frozenset({Meaning.CONTENT_REFUSED, Meaning.TEMPLATE_REFUSED, Meaning.COUNTRY_NOT_ENABLED})


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
        case Meaning.OPTED_OUT:
            return OptedOut(code)
        case Meaning.STALE:
            return Stale(code)
        case Meaning.TEMPORARY | Meaning.ACCOUNT_BUSY | Meaning.CHANNEL_BUSY | Meaning.DAILY_CAP:
            return Delayed(code, Cause(meaning.value))
        case _:
            return Rejected(code, meaning.value, ours=meaning in _OURS)
