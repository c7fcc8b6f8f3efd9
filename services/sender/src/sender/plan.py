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
from sender import pace
from sender.answers import answer_text, code_text, direct_variables
from sender.budget import Budget
from sender.digest import Text, digest_text, ranked, template_text, template_variables
from sender.fold import TOO_LATE, Folded, Settled, fold
from sender.means import Means, Need, Short
from sender.pace import PACE
from sender.schedule import POLLS, STALE_AFTER, WINDOW
from sender.templates import MAY_STILL_COME, MISSING, Approval, Standing, Standings, purpose_of, templates

Asked = NotificationRequested | DirectMessageRequested
"""What a message is to tell."""

ERASED: Final = "erased"
"""Why something is suppressed whose user has gone."""

PAUSED, QUIET_HOURS, INTERVAL = READERS_OWN = ("paused", "quiet_hours", "interval")
"""Why something waits as its reader wants it; a reader who wants otherwise is heard at once."""

HELD: Final = "held"
"""Why something waits that an operator lets not go out; `Orders.resume` wakes it."""
HELD_RECHECK: Final = timedelta(minutes=10)

CONSENT_GRACE: Final = timedelta(seconds=5)
"""How long a message waits for a consent that may be on its way: phones and notifications come by different topics."""
CONSENT_RECHECK: Final = timedelta(seconds=0.25)

CONFIRMED_WITHIN: Final = timedelta(minutes=1)
"""How long the confirmation of an opt-out or a pause waits until that holds here; if it never does, it was taken back
meanwhile. It is woken by the change."""

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
    recipients_per_day: int | None = None  # to whom we may write first within 24 hours; None: to as many as we like
    pace: timedelta = PACE
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
class Form:
    """How a message goes out, free text or a template, and what that costs."""

    content_sid: str | None
    charge: Charge
    price: Micros
    writes_first: bool = False  # a template while the window is closed, as far as we know


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
    paced_until: datetime | None = None  # until when the messages of the user's phone take it


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
    waits_for: str = ""  # the reason for which it was put off last

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
    form: Form
    need: Need
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


@dataclass(frozen=True)
class Case:
    """Everything that decides about one message. `waiting` is what it is to tell, in the order in which it came.

    `told`: flats of which the user knows, of those that may have gone meanwhile.
    """

    due: Due
    recipient: Recipient | None
    contact: Contact
    waiting: Sequence[Asked]
    told: AbstractSet[UUID]
    policy: Policy
    standings: Standings
    means: Means
    now: datetime

    @property
    def useful_since(self) -> datetime:
        """What was asked for before is too old to be told."""
        return self.now - self.policy.useful_for(self.recipient)


@dataclass(frozen=True)
class Addressee:
    """Who is written to, and on which phone; `window_opened_at`: when somebody last wrote to us from there."""

    recipient: Recipient
    phone: str
    window_opened_at: datetime | None


def plan(case: Case) -> Plan:  # noqa: PLR0911 - one for each gate
    """Decide about one message: the first gate that does not let it pass says why."""
    if over := _pointless(case):
        return over
    to = _claimed(case) if case.due.purpose is DirectPurpose.CODE else _agreed(case)
    if not isinstance(to, Addressee):
        return to
    if early := _timing(case):
        return early
    left = _left(case)
    if isinstance(left, End):
        return left
    form = _form(case, to)
    if not isinstance(form, Form):
        return form
    need = _need(case, to, form)
    if held := _unaffordable(case, need) or _too_soon_again(case):
        return held
    return _send(case, to, form, need, left)


def _pointless(case: Case) -> End | None:
    """Why it is not worth looking at the rest. A digest lives as long as the youngest that it is to tell is useful."""
    due, contact = case.due, case.contact
    if contact.erased or not case.policy.enabled:
        return End(Disposition.SUPPRESSED, ERASED if contact.erased else "disabled")
    if case.now <= due.latest_at:
        return None
    lives_on = due.is_open and any(each.requested_at >= case.useful_since for each in case.waiting)
    return None if lives_on else End(Disposition.EXPIRED, TOO_LATE)


# --- consent ----------------------------------------------------------------------------------------------------------


def _agreed(case: Case) -> Addressee | Wait | End:
    """Somebody who wants to be written to."""
    reason = _refusal(case)
    if reason is None and _confirms_too_early(case):
        until = case.due.opened_at + CONFIRMED_WITHIN
        return Wait(until, "not_so_yet") if case.now < until else End(Disposition.SUPPRESSED, "taken_back")
    if reason is None:
        assert case.recipient is not None
        assert case.recipient.phone is not None
        return Addressee(case.recipient, case.recipient.phone, case.recipient.window_opened_at)
    may_come = reason == "not_verified" or case.due.purpose is DirectPurpose.STARTED
    return (_may_come(case) if may_come else None) or End(Disposition.SUPPRESSED, reason)


def _confirms_too_early(case: Case) -> bool:
    """Whether a message tells its reader that something holds which does not, as far as we know.

    Who is told so must get nothing more, and what we are to tell and what holds come by different topics.
    """
    if case.recipient is None:
        return False
    match case.due.purpose:
        case DirectPurpose.STOPPED:
            return not case.recipient.stopped
        case DirectPurpose.PAUSED:
            return case.recipient.paused_until is None or case.recipient.paused_until <= case.now
        case _:
            return False


def _claimed(case: Case) -> Addressee | Wait | End:
    """A code goes to a phone that is not proven yet, so only while the very claim that asked for it can be proven."""
    claim = case.recipient.claim if case.recipient else None
    if case.recipient is None or claim is None or claim.claim_id != case.due.asked_by:
        return _may_come(case) or End(Disposition.SUPPRESSED, "outdated_code")
    if case.now >= claim.expires_at:
        return End(Disposition.EXPIRED, TOO_LATE)
    if case.contact.claim_refuses:
        return End(Disposition.SUPPRESSED, "stopped")
    known = case.recipient.window_opened_at if claim.phone == case.recipient.phone else None
    return Addressee(case.recipient, claim.phone, known)


def _may_come(case: Case) -> Wait | None:
    """Wait a little for what the api has said of the user, in case it is on its way."""
    due, now = case.due, case.now
    if now >= due.opened_at + CONSENT_GRACE:
        return None
    return Wait(now + CONSENT_RECHECK if due.purpose else due.opened_at + CONSENT_GRACE, "no_consent")


def _refusal(case: Case) -> str | None:
    recipient = case.recipient
    if recipient is None or recipient.phone is None or not recipient.verified:
        return "not_verified"
    # An opt-out is confirmed once, by the answer to the message that asked for it.
    if recipient.stopped and case.due.purpose is not DirectPurpose.STOPPED:
        return "stopped"
    return "opted_out" if _has_opted_out(recipient, case.contact) else None


def _has_opted_out(recipient: Recipient, contact: Contact) -> bool:
    """Whether Twilio has told us so of this phone, and the user has not written to us since."""
    if contact.opted_out_at is None or contact.opted_out_phone != recipient.phone:
        return False
    return recipient.window_opened_at is None or recipient.window_opened_at <= contact.opted_out_at


# --- time -------------------------------------------------------------------------------------------------------------


def _timing(case: Case) -> Wait | None:
    """Whether it is too early. A user who asks for a message is awake and has an answer at once."""
    recipient, contact, now = case.recipient, case.contact, case.now
    if contact.held:
        return Wait(now + HELD_RECHECK, HELD)
    if case.due.purpose is not None:
        return None
    quiet_hours, zone = (recipient.quiet_hours, recipient.time_zone) if recipient else (None, "Europe/Rome")
    if recipient and recipient.paused_until and now < recipient.paused_until:
        return Wait(quiet_until(quiet_hours, zone, recipient.paused_until) or recipient.paused_until, PAUSED)
    if until := quiet_until(quiet_hours, zone, now):
        return Wait(until, QUIET_HOURS)
    if contact.last_digest_at and contact.last_digest_id != case.due.message_id:
        earliest = contact.last_digest_at + case.policy.interval_of(recipient)
        if now < earliest:
            return Wait(quiet_until(quiet_hours, zone, earliest) or earliest, INTERVAL)
    return None


def _too_soon_again(case: Case) -> Wait | None:
    """Whether the user's phone has had too many messages in a row."""
    free_at = pace.free_at(case.contact.paced_until, case.now, case.policy.pace)
    return Wait(free_at, "pace") if free_at and case.now < free_at else None


# --- what is left to tell ---------------------------------------------------------------------------------------------


def _left(case: Case) -> Folded | End:
    """The flats of a digest that are still to be had, at their present price; nothing of any other message."""
    if not case.due.is_open:
        return Folded((), ())
    requested = [each for each in case.waiting if isinstance(each, NotificationRequested)]
    folded = fold(requested, case.told, case.useful_since)
    return folded if folded.entries else _nothing_left(folded.settled)


def _nothing_left(settled: tuple[Settled, ...]) -> End:
    """A digest of which no flat is left: each of its notifications has a reason of its own."""
    if any(each.disposition is Disposition.EXPIRED for each in settled):
        return End(Disposition.EXPIRED, TOO_LATE, settled)
    return End(Disposition.SUPPRESSED, "nothing_left", settled)


# --- the window -------------------------------------------------------------------------------------------------------


def _window_is_closed(to: Addressee, now: datetime) -> bool:
    """Whether we know that it is; where we do not, Twilio says."""
    return to.window_opened_at is not None and now >= to.window_opened_at + WINDOW


def _window_is_open(to: Addressee, now: datetime) -> bool:
    return to.window_opened_at is not None and now < to.window_opened_at + WINDOW


def _form(case: Case, to: Addressee) -> Form | Wait | End:
    """Free text inside the window; outside it the template of the recipient's language, if Meta has approved it."""
    due, policy = case.due, case.policy
    purpose = purpose_of(due.purpose)
    standing = case.standings.of(purpose, to.recipient.language) if purpose else MISSING
    if not (due.as_template or _needs_template(case, to, standing)):
        return Form(None, Charge.SERVICE, policy.prices.of(to.phone, Charge.SERVICE))
    if purpose and standing.content_sid:
        charge = Charge(templates()[purpose, to.recipient.language].category.lower())
        writes_first = due.as_template or not _window_is_open(to, case.now)
        return Form(standing.content_sid, charge, policy.prices.of(to.phone, charge), writes_first)
    return _without_template(due, standing.approval, case.now)


def _needs_template(case: Case, to: Addressee, standing: Standing) -> bool:
    """Meta wants codes to be templates always. Those of a sandbox are not ours, and its readers have just joined."""
    if case.due.purpose is DirectPurpose.CODE:
        return standing.content_sid is not None and not case.policy.in_sandbox
    return _window_is_closed(to, case.now)


def _without_template(due: Due, approval: Approval, now: datetime) -> Wait | End:
    """A digest waits for a review to end; whoever asks for a message is told at once that it cannot be sent."""
    if approval is Approval.UNKNOWN:
        return Wait(now + CONSENT_GRACE, "template_unknown")
    if approval in MAY_STILL_COME and due.purpose is None:
        return Wait(now + TEMPLATE_RECHECK, f"template_{approval}")
    never_submitted = approval in (Approval.MISSING, Approval.UNSUBMITTED)
    return End(Disposition.FAILED, "outside_window" if never_submitted else f"template_{approval}")


# --- tier and money ---------------------------------------------------------------------------------------------------


def _need(case: Case, to: Addressee, form: Form) -> Need:
    return Need(
        phone=to.phone,
        price=form.price,
        writes_first=form.writes_first,
        asked_for=case.due.purpose is not None,
        opened_at=case.due.opened_at,
        last_wrote_at=to.window_opened_at,
        waits_for=case.due.waits_for,
    )


def _unaffordable(case: Case, need: Need) -> Wait | End | None:
    """A digest waits for a place in the tier or for money; whoever asks for a message is told at once."""
    match case.means.short_of(need, case.now):
        case None:
            return None
        case Short(lack) if need.asked_for:
            return End(Disposition.SUPPRESSED, lack)
        case Short(lack, until):
            return Wait(until, lack)


# --- the text ---------------------------------------------------------------------------------------------------------


def _send(case: Case, to: Addressee, form: Form, need: Need, left: Folded) -> Send | End:
    """What is sent; a repeated message says again what it said."""
    if case.due.worded:
        return Send(_in(form, case.due.worded), form, need)
    if case.due.purpose is not None:
        return _direct(case, to, form, need)
    return _digest(case, to, form, need, left)


def _digest(case: Case, to: Addressee, form: Form, need: Need, left: Folded) -> Send:
    due, language = case.due, to.recipient.language
    entries, link = ranked(left.entries), case.policy.links.to_message(due.message_id)
    shows_none = form.content_sid is not None
    text = template_text(entries, link) if shows_none else digest_text(entries, language, link, due.subscription_id)
    variables = template_variables(entries, language, link, due.subscription_id)
    worded = _in(form, Worded(text.body, variables, text.marker))
    looks = tuple(entry.flat_id for entry in entries if entry.reason is Reason.NEW)
    return Send(worded, form, need, (*_settled(text), *left.settled), looks)


def _direct(case: Case, to: Addressee, form: Form, need: Need) -> Send | End:
    request = next((each for each in case.waiting if isinstance(each, DirectMessageRequested)), None)
    if request is None:
        return End(Disposition.SUPPRESSED, "nothing_left")
    recipient, message_id = to.recipient, case.due.message_id
    if request.purpose is DirectPurpose.CODE:
        assert recipient.claim is not None
        text = code_text(recipient.claim, recipient.language, recipient.time_zone, message_id)
        # The code is what template and text have in common, so the message is found by it.
        worded = Worded(text.body, {"1": recipient.claim.code}, recipient.claim.code)
    else:
        public_url = case.policy.links.public_url
        text = answer_text(request, recipient.language, recipient.time_zone, public_url, message_id)
        variables = direct_variables(text) if purpose_of(case.due.purpose) else None
        worded = Worded(text.body, variables, text.marker)
    return Send(_in(form, worded), form, need, _settled(text))


def _settled(text: Text) -> tuple[Settled, ...]:
    """Where the notifications go that a text tells."""
    return (
        *(Settled(each, Disposition.IN_MESSAGE, "", number) for each, number in text.shown.items()),
        *(Settled(each, Disposition.GROUPED, "", number) for each, number in text.grouped.items()),
    )


def _in(form: Form, worded: Worded) -> Worded:
    return Worded(None, worded.variables, worded.marker) if form.content_sid else worded
