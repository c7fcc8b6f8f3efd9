"""What to do with a message that is due: the gates in their order, each with its reason, then its text."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from uuid import UUID

from common.events import DirectPurpose, Disposition, NotificationRequested, Recipient
from common.links import Links
from sender.digest import Text, code_text, digest_text, direct_text, template_variables
from sender.fold import Entry, Settled, fold
from sender.schedule import WINDOW, quiet_until

CONSENT_GRACE: Final = timedelta(seconds=5)
"""How long a message waits for a consent that may be on its way: phones and notifications come by different topics."""
CONSENT_RECHECK: Final = timedelta(seconds=0.25)


@dataclass(frozen=True)
class Policy:
    """What the settings say about every message."""

    enabled: bool
    interval: timedelta
    intervals_off: bool
    has_template: bool
    links: Links

    def interval_of(self, recipient: Recipient | None) -> timedelta:
        """The least time between two digests of a user."""
        if self.intervals_off:
            return timedelta()
        if recipient is None or recipient.interval_seconds is None:
            return self.interval
        return timedelta(seconds=recipient.interval_seconds)


@dataclass(frozen=True)
class Contact:
    """What the sender itself knows of a user."""

    last_digest_at: datetime | None = None
    last_digest_id: UUID | None = None
    opted_out_at: datetime | None = None
    opted_out_phone: str | None = None
    claim_refuses: bool = False  # the phone that the user claims has said STOP, to us or to Twilio


@dataclass(frozen=True)
class Due:
    """A message whose time has come. `worded` is its text when it was sent before."""

    message_id: UUID
    user_id: UUID
    purpose: DirectPurpose | None  # None: a digest
    opened_at: datetime
    latest_at: datetime
    as_template: bool
    worded: "Worded | None"
    asked_by: UUID | None = None  # of a direct message: its notification


@dataclass(frozen=True)
class Worded:
    """What is sent: free text, or the template's variables where `body` is None."""

    body: str | None
    variables: dict[str, str] | None
    marker: str


@dataclass(frozen=True)
class Send:
    """Everything allows it. `shown` and `grouped`: where its notifications go when it is worded for the first time."""

    worded: Worded
    to: str
    shown: tuple[UUID, ...] = ()
    grouped: tuple[UUID, ...] = ()
    settled: tuple[Settled, ...] = ()


@dataclass(frozen=True)
class Wait:
    until: datetime
    reason: str


@dataclass(frozen=True)
class End:
    """It will not be sent. What was not settled for a reason of its own ends like the message."""

    disposition: Literal[Disposition.SUPPRESSED, Disposition.EXPIRED, Disposition.FAILED]
    reason: str
    settled: tuple[Settled, ...] = ()


Plan: TypeAlias = Send | Wait | End


def plan(  # noqa: PLR0917 - everything that decides
    due: Due,
    recipient: Recipient | None,
    contact: Contact,
    waiting: Sequence[tuple[UUID, NotificationRequested | None]],
    told: AbstractSet[UUID],
    policy: Policy,
    now: datetime,
) -> Plan:
    """Decide about one message. `waiting` are its notifications in order (None: of a direct message)."""
    if not policy.enabled:
        return End(Disposition.SUPPRESSED, "disabled")
    if held := _timing(due, recipient, contact, policy, now):
        return held
    if due.purpose is DirectPurpose.CODE:
        return _code(due, recipient, contact, now)
    as_template = due.as_template or _window_is_closed(recipient, now)
    if as_template and not (policy.has_template and due.purpose is None):
        return End(Disposition.FAILED, "outside_window")
    return _consent(due, recipient, contact, now) or _send(
        due, recipient, waiting, told, policy, as_template=as_template
    )


def _send(
    due: Due,
    recipient: Recipient | None,
    waiting: Sequence[tuple[UUID, NotificationRequested | None]],
    told: AbstractSet[UUID],
    policy: Policy,
    *,
    as_template: bool,
) -> Send | End:
    """What is sent to somebody who agrees; a repeated message says again what it said."""
    assert recipient is not None
    assert recipient.phone is not None
    if due.worded:
        return Send(_as(due.worded, as_template=as_template), recipient.phone)
    return _worded(due, recipient, waiting, told, policy, as_template=as_template)


def _code(due: Due, recipient: Recipient | None, contact: Contact, now: datetime) -> Plan:
    """A code goes to a phone that is not proven yet, so only while the very claim that asked for it can be proven."""
    claim = recipient.claim if recipient else None
    if recipient is None or claim is None or claim.claim_id != due.asked_by:
        return _may_come(due, now) or End(Disposition.SUPPRESSED, "outdated_code")
    if now >= claim.expires_at:
        return End(Disposition.EXPIRED, "too_late")
    if contact.claim_refuses:
        return End(Disposition.SUPPRESSED, "stopped")
    if due.worded:
        return Send(_as(due.worded, as_template=due.as_template), claim.phone)
    text = code_text(claim, recipient.language, recipient.time_zone, due.message_id)
    return Send(Worded(text.body, None, text.marker), claim.phone, text.shown)


def _timing(
    due: Due, recipient: Recipient | None, contact: Contact, policy: Policy, now: datetime
) -> Wait | End | None:
    """Whether it is too late or too early. A user who asks for a message is awake and has an answer at once."""
    if now > due.latest_at:
        return End(Disposition.EXPIRED, "too_late")
    if due.purpose is not None:
        return None
    quiet_hours, zone = (recipient.quiet_hours, recipient.time_zone) if recipient else (None, "Europe/Rome")
    if until := quiet_until(quiet_hours, zone, now):
        return Wait(until, "quiet_hours")
    if contact.last_digest_at and contact.last_digest_id != due.message_id:
        earliest = contact.last_digest_at + policy.interval_of(recipient)
        if now < earliest:
            return Wait(quiet_until(quiet_hours, zone, earliest) or earliest, "interval")
    return None


def _window_is_closed(recipient: Recipient | None, now: datetime) -> bool:
    """Whether we know that it is; where we do not, Twilio says."""
    opened_at = recipient.window_opened_at if recipient else None
    return opened_at is not None and now >= opened_at + WINDOW


def _consent(due: Due, recipient: Recipient | None, contact: Contact, now: datetime) -> Wait | End | None:
    reason = _refusal(due, recipient, contact)
    if reason is None:
        return None
    may_come = reason == "not_verified" or due.purpose is DirectPurpose.STARTED
    return (_may_come(due, now) if may_come else None) or End(Disposition.SUPPRESSED, reason)


def _may_come(due: Due, now: datetime) -> Wait | None:
    """Wait a little for what the api has said of the user, in case it is on its way."""
    if now >= due.opened_at + CONSENT_GRACE:
        return None
    return Wait(now + CONSENT_RECHECK if due.purpose else due.opened_at + CONSENT_GRACE, "no_consent")


def _refusal(due: Due, recipient: Recipient | None, contact: Contact) -> str | None:
    if recipient is None or recipient.phone is None or not recipient.verified:
        return "not_verified"
    # An opt-out is confirmed once, by the answer to the message that asked for it.
    if recipient.stopped and due.purpose is not DirectPurpose.STOPPED:
        return "stopped"
    return "opted_out" if _has_opted_out(recipient, contact) else None


def _has_opted_out(recipient: Recipient, contact: Contact) -> bool:
    """Whether Twilio has told us so of this phone, and the user has not written to us since."""
    if contact.opted_out_at is None or contact.opted_out_phone != recipient.phone:
        return False
    return recipient.window_opened_at is None or recipient.window_opened_at <= contact.opted_out_at


def _worded(
    due: Due,
    recipient: Recipient,
    waiting: Sequence[tuple[UUID, NotificationRequested | None]],
    told: AbstractSet[UUID],
    policy: Policy,
    *,
    as_template: bool,
) -> Send | End:
    assert recipient.phone is not None
    if not waiting:
        return End(Disposition.SUPPRESSED, "nothing_left")
    if due.purpose is not None:
        text = direct_text(due.purpose, recipient.language, due.message_id, waiting[0][0])
        return Send(Worded(text.body, None, text.marker), recipient.phone, text.shown)
    folded = fold([event for _, event in waiting if event], told)
    if not folded.entries:
        return End(Disposition.SUPPRESSED, "nothing_left", folded.settled)
    link = policy.links.to_message(due.message_id)
    variables = template_variables(folded.entries, recipient.language, link) if policy.has_template else None
    text = (
        _template_text(folded.entries, link) if as_template else digest_text(folded.entries, recipient.language, link)
    )
    worded = _as(Worded(text.body, variables, text.marker), as_template=as_template)
    return Send(worded, recipient.phone, text.shown, text.grouped, folded.settled)


def _template_text(entries: Sequence[Entry], link: str) -> Text:
    """A template shows no flat itself: all of them are behind its link."""
    return Text("", link, (), tuple(each for entry in entries for each in entry.notification_ids))


def _as(worded: Worded, *, as_template: bool) -> Worded:
    return Worded(None, worded.variables, worded.marker) if as_template else worded
