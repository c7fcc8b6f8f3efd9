"""What to do with a message that is due: the gates in their order, each with its reason, then its text."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from uuid import UUID

from common.events import DirectMessageRequested, DirectPurpose, Disposition, NotificationRequested, Reason, Recipient
from common.links import Links
from common.prices import Charge, Micros, Prices
from common.prices import prices as packaged_prices
from common.quiet_hours import quiet_until
from sender.answers import answer_text, code_text, direct_variables
from sender.budget import Budget, Purse
from sender.digest import Text, digest_text, ranked, template_text, template_variables
from sender.fold import TOO_LATE, Settled, fold
from sender.schedule import POLLS, STALE_AFTER, WINDOW
from sender.templates import MAY_STILL_COME, MISSING, Approval, Standing, Standings, purpose_of, templates

Asked = NotificationRequested | DirectMessageRequested
"""What a message is to tell."""

ERASED: Final = "erased"
"""Why something is suppressed whose user has gone."""

HELD: Final = "held"
"""Why something waits that an operator lets not go out; `Orders.resume` wakes it."""
HELD_RECHECK: Final = timedelta(minutes=10)

CONSENT_GRACE: Final = timedelta(seconds=5)
"""How long a message waits for a consent that may be on its way: phones and notifications come by different topics."""
CONSENT_RECHECK: Final = timedelta(seconds=0.25)

TEMPLATE_RECHECK: Final = timedelta(minutes=10)
"""When a message that waits for its template looks again; it is woken when the template has been approved."""


@dataclass(frozen=True)
class Policy:
    """What the settings say about every message."""

    enabled: bool
    interval: timedelta
    intervals_off: bool
    links: Links
    in_sandbox: bool = False
    prices: Prices = field(default_factory=packaged_prices)
    budget: Budget = field(default_factory=lambda: Budget("USD"))
    polls: tuple[timedelta, ...] = POLLS  # when Twilio is asked about a message that it has

    def interval_of(self, recipient: Recipient | None) -> timedelta:
        """The least time between two digests of a user."""
        if self.intervals_off:
            return timedelta()
        if recipient is None or recipient.interval_seconds is None:
            return self.interval
        return timedelta(seconds=recipient.interval_seconds)

    def useful_for(self, recipient: Recipient | None) -> timedelta:
        """How long a flat is worth telling: longer for who wants to hear seldom."""
        return STALE_AFTER + self.interval_of(recipient)


@dataclass(frozen=True)
class Means:
    """What there is to send with: templates that are approved, and money."""

    standings: Standings
    purse: Purse


@dataclass(frozen=True)
class Form:
    """How a message goes out, free text or a template, and what that costs."""

    content_sid: str | None
    charge: Charge
    price: Micros


@dataclass(frozen=True)
class Contact:
    """What the sender itself knows of a user."""

    last_digest_at: datetime | None = None
    last_digest_id: UUID | None = None
    opted_out_at: datetime | None = None
    opted_out_phone: str | None = None
    erased: bool = False
    held: bool = False  # by an operator
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
    subscription_id: UUID | None = None  # of a digest: the search that it is of; None: it is the user's

    @property
    def is_open(self) -> bool:
        """Whether it is a digest whose text has not been made yet."""
        return self.purpose is None and self.worded is None


@dataclass(frozen=True)
class Worded:
    """What is sent: free text, or the template's variables where `body` is None. No variables: it has no template."""

    body: str | None
    variables: dict[str, str] | None
    marker: str


@dataclass(frozen=True)
class Send:
    """Everything allows it. `settled`: where its notifications go when it is worded for the first time.

    `looks`: the flats that it tells as new.
    """

    worded: Worded
    to: str
    form: Form
    settled: tuple[Settled, ...] = ()
    looks: tuple[UUID, ...] = ()


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
    waiting: Sequence[Asked],
    told: AbstractSet[UUID],
    policy: Policy,
    means: Means,
    now: datetime,
) -> Plan:
    """Decide about one message. `waiting` is what it is to tell, in the order in which it came."""
    useful_since = now - policy.useful_for(recipient)
    held = _pointless(due, contact, waiting, policy, useful_since, now) or _timing(due, recipient, contact, policy, now)
    if held:
        return held
    agrees = _claimed if due.purpose is DirectPurpose.CODE else _agreed
    to = agrees(due, recipient, contact, now)
    if not isinstance(to, str):
        return to
    assert recipient is not None
    form = _form(due, recipient, to, policy, means.standings, now)
    if not isinstance(form, Form):
        return form
    if not means.purse.covers(form.price, asked_for=due.purpose is not None):
        return _unpaid(due, means.purse)
    return _send(due, recipient, to, waiting, told, policy, form, useful_since)


def _pointless(  # noqa: PLR0917 - everything that decides
    due: Due, contact: Contact, waiting: Sequence[Asked], policy: Policy, useful_since: datetime, now: datetime
) -> End | None:
    """Why it is not worth looking at the rest. A digest lives as long as the youngest that it is to tell is useful."""
    if contact.erased or not policy.enabled:
        return End(Disposition.SUPPRESSED, ERASED if contact.erased else "disabled")
    lives_on = due.is_open and any(each.requested_at >= useful_since for each in waiting)
    return End(Disposition.EXPIRED, TOO_LATE) if now > due.latest_at and not lives_on else None


def _agreed(due: Due, recipient: Recipient | None, contact: Contact, now: datetime) -> str | Wait | End:
    """The phone of somebody who wants to be written to."""
    if held := _consent(due, recipient, contact, now):
        return held
    assert recipient is not None
    assert recipient.phone is not None
    return recipient.phone


def _claimed(due: Due, recipient: Recipient | None, contact: Contact, now: datetime) -> str | Wait | End:
    """A code goes to a phone that is not proven yet, so only while the very claim that asked for it can be proven."""
    claim = recipient.claim if recipient else None
    if claim is None or claim.claim_id != due.asked_by:
        return _may_come(due, now) or End(Disposition.SUPPRESSED, "outdated_code")
    if now >= claim.expires_at:
        return End(Disposition.EXPIRED, TOO_LATE)
    return End(Disposition.SUPPRESSED, "stopped") if contact.claim_refuses else claim.phone


def _timing(due: Due, recipient: Recipient | None, contact: Contact, policy: Policy, now: datetime) -> Wait | None:
    """Whether it is too early. A user who asks for a message is awake and has an answer at once."""
    if contact.held:
        return Wait(now + HELD_RECHECK, HELD)
    if due.purpose is not None:
        return None
    quiet_hours, zone = (recipient.quiet_hours, recipient.time_zone) if recipient else (None, "Europe/Rome")
    if recipient and recipient.paused_until and now < recipient.paused_until:
        return Wait(quiet_until(quiet_hours, zone, recipient.paused_until) or recipient.paused_until, "paused")
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


def _form(  # noqa: PLR0917 - everything that decides
    due: Due, recipient: Recipient, to: str, policy: Policy, standings: Standings, now: datetime
) -> Form | Wait | End:
    """Free text inside the window; outside it the template of the recipient's language, if Meta has approved it."""
    purpose = purpose_of(due.purpose)
    standing = standings.of(purpose, recipient.language) if purpose else MISSING
    if not (due.as_template or _needs_template(due, recipient, policy, standing, now)):
        return Form(None, Charge.SERVICE, policy.prices.of(to, Charge.SERVICE))
    if purpose and standing.content_sid:
        charge = Charge(templates()[purpose, recipient.language].category.lower())
        return Form(standing.content_sid, charge, policy.prices.of(to, charge))
    return _without_template(due, standing.approval, now)


def _needs_template(due: Due, recipient: Recipient, policy: Policy, standing: Standing, now: datetime) -> bool:
    """Meta wants codes to be templates always. Those of a sandbox are not ours, and its readers have just joined."""
    if due.purpose is DirectPurpose.CODE:
        return standing.content_sid is not None and not policy.in_sandbox
    return _window_is_closed(recipient, now)


def _without_template(due: Due, approval: Approval, now: datetime) -> Wait | End:
    """A digest waits for a review to end; whoever asks for a message is told at once that it cannot be sent."""
    if approval is Approval.UNKNOWN:
        return Wait(now + CONSENT_GRACE, "template_unknown")
    if approval in MAY_STILL_COME and due.purpose is None:
        return Wait(now + TEMPLATE_RECHECK, f"template_{approval}")
    never_submitted = approval in (Approval.MISSING, Approval.UNSUBMITTED)
    return End(Disposition.FAILED, "outside_window" if never_submitted else f"template_{approval}")


def _unpaid(due: Due, purse: Purse) -> Wait | End:
    """A digest waits for money; whoever asks for a message is told at once."""
    return Wait(purse.looks_again_at, "budget") if due.purpose is None else End(Disposition.SUPPRESSED, "budget")


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


def _send(  # noqa: PLR0917 - everything that the text is made of
    due: Due,
    recipient: Recipient,
    to: str,
    waiting: Sequence[Asked],
    told: AbstractSet[UUID],
    policy: Policy,
    form: Form,
    useful_since: datetime,
) -> Send | End:
    """What is sent; a repeated message says again what it said."""
    if due.worded:
        return Send(_in(form, due.worded), to, form)
    if due.purpose is not None:
        return _direct(due, recipient, to, waiting, policy, form)
    return _digest(due, recipient, to, waiting, told, policy, form, useful_since)


def _digest(  # noqa: PLR0917 - everything that the text is made of
    due: Due,
    recipient: Recipient,
    to: str,
    waiting: Sequence[Asked],
    told: AbstractSet[UUID],
    policy: Policy,
    form: Form,
    useful_since: datetime,
) -> Send | End:
    folded = fold([each for each in waiting if isinstance(each, NotificationRequested)], told, useful_since)
    if not folded.entries:
        return _nothing_left(folded.settled)
    entries, link = ranked(folded.entries), policy.links.to_message(due.message_id)
    shows_none = form.content_sid is not None
    text = (
        template_text(entries, link)
        if shows_none
        else digest_text(entries, recipient.language, link, due.subscription_id)
    )
    variables = template_variables(entries, recipient.language, link, due.subscription_id)
    worded = _in(form, Worded(text.body, variables, text.marker))
    looks = tuple(entry.flat_id for entry in entries if entry.reason is Reason.NEW)
    return Send(worded, to, form, (*_settled(text), *folded.settled), looks)


def _nothing_left(settled: tuple[Settled, ...]) -> End:
    """A digest of which no flat is left: each of its notifications has a reason of its own."""
    if any(each.disposition is Disposition.EXPIRED for each in settled):
        return End(Disposition.EXPIRED, TOO_LATE, settled)
    return End(Disposition.SUPPRESSED, "nothing_left", settled)


def _direct(  # noqa: PLR0917 - everything that the text is made of
    due: Due, recipient: Recipient, to: str, waiting: Sequence[Asked], policy: Policy, form: Form
) -> Send | End:
    request = next((each for each in waiting if isinstance(each, DirectMessageRequested)), None)
    if request is None:
        return End(Disposition.SUPPRESSED, "nothing_left")
    if request.purpose is DirectPurpose.CODE:
        assert recipient.claim is not None
        text = code_text(recipient.claim, recipient.language, recipient.time_zone, due.message_id)
        # The code is what template and text have in common, so the message is found by it.
        worded = Worded(text.body, {"1": recipient.claim.code}, recipient.claim.code)
    else:
        text = answer_text(request, recipient.language, recipient.time_zone, policy.links.public_url, due.message_id)
        worded = Worded(text.body, direct_variables(text) if purpose_of(due.purpose) else None, text.marker)
    return Send(_in(form, worded), to, form, _settled(text))


def _settled(text: Text) -> tuple[Settled, ...]:
    """Where the notifications go that a text tells."""
    return (
        *(Settled(each, Disposition.IN_MESSAGE, "", number) for each, number in text.shown.items()),
        *(Settled(each, Disposition.GROUPED, "", number) for each, number in text.grouped.items()),
    )


def _in(form: Form, worded: Worded) -> Worded:
    return Worded(None, worded.variables, worded.marker) if form.content_sid else worded
