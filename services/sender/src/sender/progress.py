"""What a report about an attempt changes: the answer of Twilio, a callback, a look-up, a lease that ran out."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Literal, TypeAlias, assert_never

from common.events import Disposition, MessageStatus
from common.twilio_errors import Meaning
from sender.outcomes import (
    Accepted,
    Cause,
    Delayed,
    InDoubt,
    Misconfigured,
    OptedOut,
    Outcome,
    OutsideWindow,
    RateLimited,
    Refusal,
    Rejected,
    Stale,
    TemplateUnusable,
    Unavailable,
)
from sender.schedule import MISCONFIGURED_RETRY, after_join, channel_pause, next_attempt_at
from sender.statuses import ENDED, advance

DAILY_CAP_PAUSE: Final = timedelta(hours=1)

ASKED_FOR: Final = timedelta(hours=1)
"""How long Twilio is asked in vain about a message in doubt, before a person is."""
PARKED_RECHECK: Final = timedelta(hours=1)
CANNOT_BE_ASKED: Final = "cannot_be_asked"
MOST_LOST: Final = 3
"""How many attempts of one message may vanish without a trace, before a person looks at it."""


class Stage(StrEnum):
    """Where a message is with us; `MessageStatus` is what others are told."""

    WAITING = "waiting"
    RETRYING = "retrying"
    SENDING = "sending"
    IN_DOUBT = "in_doubt"
    PARKED = "parked"  # in doubt, and a person must decide
    TAKEN = "taken"
    ENDED = "ended"


class AttemptState(StrEnum):
    """What is known of one call to Twilio."""

    SENDING = "sending"  # committed; it may run, or its process may have died
    IN_DOUBT = "in_doubt"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    LOST = "lost"  # it never reached Twilio


DOUBTFUL: Final = frozenset({Stage.IN_DOUBT, Stage.PARKED})


@dataclass(frozen=True)
class NotFound:
    """Twilio was asked and does not have the message."""


@dataclass(frozen=True)
class Unclear:
    """Twilio was asked, and it cannot be told from its answer whether it has the message."""

    reason: str


@dataclass(frozen=True)
class Unasked:
    """Twilio could not be asked."""


@dataclass(frozen=True)
class Disproven:
    """A person says that Twilio does not have the message, and wants it sent again."""


@dataclass(frozen=True)
class Progress:
    """The part of a message that reports change."""

    stage: Stage
    status: MessageStatus
    attempt: int
    retries: int
    looks: int
    as_template: bool
    due_at: datetime
    detail: str = ""
    sid: str | None = None
    error_code: int | None = None


@dataclass(frozen=True)
class Pause:
    """Nothing is sent for a while, by any replica."""

    reason: str
    duration: timedelta
    alert: bool = False  # somebody must mend our account or settings


@dataclass(frozen=True)
class Change:
    """What a report changes. `ended_as` is how the notifications end that the message was to tell."""

    progress: Progress
    ended_as: Literal[Disposition.FAILED, Disposition.EXPIRED] | None = None
    pause: Pause | None = None
    opted_out: bool = False
    alert: bool = False
    template_unusable: bool = False


@dataclass(frozen=True)
class Situation:
    """What a report is judged by beside the message itself."""

    now: datetime
    grace: timedelta
    has_template: bool  # there is one for such a message, whether it may be used or not
    strikes: int  # how often in a row the channel has refused
    first_poll: timedelta  # after which Twilio is asked about a message that it has
    age: timedelta = timedelta()  # of the attempt
    lost: int = 0  # earlier attempts of the message that never reached Twilio
    is_code: bool = False  # worth another try while its reader may be joining the sandbox
    failed_as: MessageStatus = MessageStatus.REJECTED  # the status of a failure: the answer's, or the callback's own


Report: TypeAlias = Outcome | NotFound | Unclear | Unasked | Disproven


def follow(  # noqa: PLR0911 - one case per kind of report
    known: Progress, attempt: int, report: Report, situation: Situation, *, refused: bool
) -> Change | None:
    """What follows from a report about an attempt, or None if it changes nothing.

    `refused`: this attempt is known to have failed, so that a late word of its progress is old.
    """
    match report:
        case Accepted():
            return None if refused else _taken(known, attempt, report, situation)
        case _ if attempt != known.attempt or known.stage not in {Stage.SENDING, Stage.TAKEN, *DOUBTFUL}:
            return None  # of an attempt that is over
        case NotFound():
            return _not_found(known, situation)
        case Unclear():
            return _parked(known, situation, report.reason)
        case Unasked():
            return _parked(known, situation, CANNOT_BE_ASKED) if situation.age >= ASKED_FOR else None
        case Disproven():
            return Change(_again(known, situation.now, "disproven")) if known.stage in DOUBTFUL else None
        case InDoubt():
            return _in_doubt(known, report, situation)
        case _:
            return _refused(known, report, situation)


def _taken(known: Progress, attempt: int, report: Accepted, situation: Situation) -> Change | None:
    """Twilio has the message. That also settles a later attempt which has not been made yet."""
    if attempt != known.attempt and known.stage is Stage.SENDING:
        return None
    reported = MessageStatus.ACCEPTED if report.status is MessageStatus.UNKNOWN else report.status
    status = advance(known.status, reported)
    first_heard = known.stage not in (Stage.TAKEN, Stage.ENDED)
    if status is known.status and not first_heard:
        return None
    return Change(
        replace(
            known,
            stage=Stage.ENDED if status in ENDED else Stage.TAKEN,
            status=status,
            sid=known.sid or report.sid or None,
            looks=0 if first_heard else known.looks,
            due_at=situation.now + situation.first_poll if first_heard else known.due_at,
            detail="",
        )
    )


def _in_doubt(known: Progress, report: InDoubt, situation: Situation) -> Change | None:
    if known.stage is not Stage.SENDING:
        return None
    doubted = replace(
        known,
        stage=Stage.IN_DOUBT,
        status=MessageStatus.IN_DOUBT,
        looks=0,
        due_at=situation.now + situation.grace,
        detail=report.reason,
    )
    return Change(doubted)


def _not_found(known: Progress, situation: Situation) -> Change | None:
    """Only a second look that finds nothing allows another attempt: the first may have come too early."""
    if known.stage is Stage.PARKED and known.detail != CANNOT_BE_ASKED:
        return None  # it was parked for something else than not being answered
    if known.stage not in DOUBTFUL:
        return None
    if known.looks == 0:
        again = situation.now + situation.grace
        return Change(replace(known, stage=Stage.IN_DOUBT, looks=1, due_at=again))
    if situation.lost + 1 >= MOST_LOST:
        return _parked(known, situation, "lost_often")
    return Change(_again(known, situation.now, "not_found"))


def _parked(known: Progress, situation: Situation, reason: str) -> Change | None:
    """Asking does not end the doubt: a person must, unless a callback or a later look does."""
    if known.stage is not Stage.IN_DOUBT:
        return None
    parked = replace(known, stage=Stage.PARKED, looks=0, due_at=situation.now + PARKED_RECHECK, detail=reason)
    return Change(parked, alert=True)


def _refused(  # noqa: C901, PLR0911 - one case per outcome
    known: Progress, report: Unavailable | Refusal, situation: Situation
) -> Change:
    now = situation.now
    match report:
        case Unavailable():
            pause = Pause("unavailable", channel_pause(situation.strikes, None))
            return Change(_again(known, now, "unavailable"), pause=pause)
        case RateLimited():
            pause = Pause("rate_limited", channel_pause(situation.strikes, report.retry_after))
            return Change(_again(known, now, "rate_limited"), pause=pause)
        case Misconfigured():
            pause = Pause(f"misconfigured {report.code or report.http_status}", MISCONFIGURED_RETRY, alert=True)
            return Change(replace(_again(known, now, "misconfigured"), error_code=report.code), pause=pause)
        case Delayed():
            return _delayed(known, report, situation)
        case OutsideWindow() if situation.has_template and not known.as_template:
            return Change(replace(_again(known, now, "as_template"), as_template=True, error_code=report.code))
        case OutsideWindow():
            return _ended(known, situation, "outside_window", report.code)
        case TemplateUnusable():
            # From now on the template is not used: the gates say whether the message waits for it or ends.
            again = replace(_again(known, now, "template_unusable"), as_template=True, error_code=report.code)
            return Change(again, template_unusable=True)
        case OptedOut():
            return replace(_ended(known, situation, "opted_out", report.code), opted_out=True)
        case Rejected():
            return _rejected(known, report, situation)
        case Stale():
            return replace(_ended(known, situation, "stale", report.code), ended_as=Disposition.EXPIRED)
        case _:
            assert_never(report)


def _rejected(known: Progress, report: Rejected, situation: Situation) -> Change:
    """The message has failed; but a code is tried again while its reader may be joining the sandbox."""
    if situation.is_code and report.reason == Meaning.NOT_JOINED_SANDBOX:
        again = _again(known, after_join(known.retries, situation.now), report.reason)
        return Change(replace(again, retries=known.retries + 1, error_code=report.code))
    return replace(_ended(known, situation, report.reason, report.code), alert=report.ours)


def _delayed(known: Progress, report: Delayed, situation: Situation) -> Change:
    due = next_attempt_at(report.cause, known.retries, situation.now)
    if due is None:
        return _ended(known, situation, report.cause.value, report.code)
    again = replace(_again(known, due, report.cause.value), retries=known.retries + 1, error_code=report.code)
    return Change(again, pause=_pause_after(report.cause, situation))


def _pause_after(cause: Cause, situation: Situation) -> Pause | None:
    match cause:
        case Cause.CHANNEL_BUSY:
            return Pause("channel_busy", channel_pause(situation.strikes, None))
        case Cause.DAILY_CAP:
            return Pause("daily_cap", DAILY_CAP_PAUSE, alert=True)
        case Cause.TEMPORARY | Cause.ACCOUNT_BUSY:
            return None


def _again(known: Progress, due_at: datetime, detail: str) -> Progress:
    return replace(
        known, stage=Stage.RETRYING, status=MessageStatus.WAITING, due_at=due_at, detail=detail, looks=0, sid=None
    )


def _ended(known: Progress, situation: Situation, detail: str, code: int | None) -> Change:
    ended = replace(known, stage=Stage.ENDED, status=situation.failed_as, detail=detail, error_code=code)
    return Change(ended, ended_as=Disposition.FAILED)
