"""The simulator itself: the account's messages on one side, people with their phones on the other."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

from twilio_simulator import codes
from twilio_simulator.callbacks import Callback, Callbacks, inbound_parameters
from twilio_simulator.clock import Clock
from twilio_simulator.codes import Refusal
from twilio_simulator.contents import (
    NEXT,
    TEXT,
    UNDER_REVIEW,
    Approval,
    Content,
    approval_fault,
    content_fault,
    objection_to,
    template_of,
)
from twilio_simulator.faults import Fault, FaultKind, FaultScript
from twilio_simulator.limits import Limits, RequestMeter, SendingQueue
from twilio_simulator.messages import Account, Order, refusal_of, text_of, unreachable_code
from twilio_simulator.phones import Phone, address_of, has_joined, joins, number_of
from twilio_simulator.progress import WITHDRAWABLE, Progress
from twilio_simulator.resources import Direction, Message, Status, new_sid
from twilio_simulator.store import Store

WELCOME = "You are all set! For three days the sandbox can send messages to you, and you can write to it."
TRIAL_MESSAGES_A_DAY = 50
ALWAYS_LATER = frozenset({codes.VALIDITY_EXPIRED})  # nobody can know it when the message is taken
NOT_CONNECTED = "Your number {number} is not connected to the sandbox. To connect it, send: join {words}"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How this Twilio behaves.

    `pace`: between two statuses of a message or of a template's review. `latency`: before an answer.
    `errors_by_callback`: of the errors that concern a recipient or the sending rate, those that a callback reports
    instead of the answer.
    """

    pace: timedelta = timedelta(seconds=0.4)
    latency: timedelta = timedelta()
    limits: Limits = field(default_factory=Limits)
    errors_by_callback: frozenset[int] = frozenset({codes.OUTSIDE_WINDOW, codes.CHANNEL_TOO_FAST})


@dataclass(frozen=True, slots=True)
class Departure:
    """What is decided when a message is taken: how long it queues, and the code with which it fails, if it does."""

    wait_seconds: float = 0.0
    error_code: int | None = None


class Simulator:
    """One Twilio account with one WhatsApp number. It works inside `started()`."""

    def __init__(
        self,
        account: Account,
        auth_token: str,
        *,
        join_words: str,
        inbound_url: str | None = None,
        behaviour: Behaviour | None = None,
        state_file: Path | None = None,
    ) -> None:
        self.store = Store(state_file)
        self._templates = dict(account.templates) | {
            sid: template_of(content) for sid, content in self.store.contents.items()
        }
        self.account = replace(account, templates=self._templates)
        self.auth_token = auth_token
        self.join_words = join_words
        self.inbound_url = inbound_url
        self.behaviour = behaviour or Behaviour()
        self.clock = Clock()
        self.since = self.clock.now()
        self.counters: Counter[str] = Counter()
        self.faults = FaultScript(self.counters)
        self.meter = RequestMeter()
        self.creating = 0  # requests to create a message that have no answer yet
        self._queue = SendingQueue()
        self._callbacks = Callbacks(auth_token, self.counters, self.store.count_callback_attempt)
        self._progress = Progress(
            self.store,
            self._callbacks,
            self.faults,
            clock=self.clock,
            account_sid=account.sid,
            pace=self.behaviour.pace,
        )

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """Callbacks go out, and messages and reviews that an earlier run left on their way go on."""
        try:
            async with self._callbacks:
                for message in list(self.store.messages.values()):
                    self._progress.start(message)
                for content in list(self.store.contents.values()):
                    self._review(content)
                yield
        finally:
            self.store.close()

    def behave(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._progress.pace = behaviour.pace

    def reset(self, seed: int = 0) -> None:
        """Back to an account without messages, phones and faults, at the present time."""
        self.store.clear()
        self.faults.clear(seed)
        self.counters.clear()
        self.clock.reset()
        self._progress.clear()
        self._queue = SendingQueue()

    async def callbacks_delivered(self) -> None:
        """Wait until every callback that is due has been answered or given up."""
        await self._callbacks.all_sent()

    # The account's side

    def create(self, order: Order, fault: Fault | None = None) -> Message | Refusal:
        """Take a message, or say why not."""
        taken = self._take(order, fault)
        if isinstance(taken, Refusal):
            self.counters[f"refused_{taken.code}"] += 1
        else:
            self.counters["accepted"] += 1
        return taken

    def _take(self, order: Order, fault: Fault | None) -> Message | Refusal:
        if self.account.status != "active":
            return Refusal(codes.NOT_ACTIVE)
        if refusal := refusal_of(order, self.account):
            return refusal
        now = self.clock.now()
        if self.account.trial and self._sent_since(now - timedelta(days=1)) >= TRIAL_MESSAGES_A_DAY:
            return Refusal(codes.DAILY_LIMIT)
        departure = self._departure(order, now)
        if departure.error_code and departure.error_code not in self.behaviour.errors_by_callback | ALWAYS_LATER:
            return Refusal(departure.error_code)
        message = self._message_of(order, now, departure.error_code)
        if fault and fault.kind is FaultKind.FAIL:
            message = replace(message, ends=fault.status, end_code=fault.code)
        self.store.record(message)
        self._progress.start(message, departure.wait_seconds + _seconds_until(order.send_at, now))
        return message

    def _sent_since(self, moment: datetime) -> int:
        recent = takewhile(lambda message: message.created_at > moment, self.store.newest())
        return sum(message.direction is Direction.API for message in recent)

    def _departure(self, order: Order, now: datetime) -> Departure:
        phone = self.store.phone(number_of(order.to))
        if code := unreachable_code(order, phone, self.account, now):
            return Departure(error_code=code)
        wait = self._queue.wait(self.behaviour.limits, asyncio.get_running_loop().time())
        if wait is None:
            return Departure(error_code=codes.CHANNEL_TOO_FAST)
        if wait > order.validity_seconds:
            return Departure(order.validity_seconds, codes.VALIDITY_EXPIRED)
        return Departure(wait)

    def _message_of(self, order: Order, now: datetime, error_code: int | None) -> Message:
        return Message(
            sid=new_sid("MM" if order.media_urls else "SM"),
            direction=Direction.API,
            sender=order.sender or address_of(self.account.number),
            to=order.to,
            body=text_of(order, self.account),
            status=_first_status(order),
            created_at=now,
            updated_at=now,
            media_urls=order.media_urls,
            service_sid=order.service_sid or None,
            content_sid=order.content_sid or None,
            status_callback=order.status_callback or None,
            ends=Status.FAILED if error_code else Status.DELIVERED,
            end_code=error_code,
        )

    async def call_back_first(self, message: Message) -> None:
        """Deliver the message's first callback now, before its creation is answered."""
        await self._progress.call_back_first(message)

    def cancel(self, message: Message) -> Message | Refusal:
        if message.status not in WITHDRAWABLE:
            return Refusal(codes.NOT_CANCELABLE)
        return self._progress.enter(message, Status.CANCELED)

    def redact(self, message: Message) -> Message:
        redacted = replace(message, body="", updated_at=self.clock.now())
        self.store.record(redacted)
        return redacted

    # What nobody did who uses this account's API as we do

    def invent(self, number: str, body: str, sent_at: datetime) -> Message:
        """A message to the phone that somebody else has sent with this account."""
        message = Message(
            sid=new_sid("SM"),
            direction=Direction.API,
            sender=address_of(self.account.number),
            to=address_of(number),
            body=body,
            status=Status.DELIVERED,
            created_at=sent_at,
            updated_at=sent_at,
            sent_at=sent_at,
        )
        self.store.record(message)
        return message

    def amend(self, message: Message, **changes: Any) -> Message:  # noqa: ANN401 - of the message's fields
        """The message is otherwise from now on, and nobody is told."""
        amended = replace(message, **changes)
        self.store.record(amended)
        return amended

    # The account's templates

    def create_content(self, given: Any) -> Content | Refusal:  # noqa: ANN401 - whatever JSON a client sent
        """Take a template, or say what is wrong with it."""
        if fault := content_fault(given):
            return Refusal(codes.INVALID_PARAMETER, fault.detail)
        now = self.clock.now()
        content = Content(
            sid=new_sid("HX"),
            friendly_name=str(given.get("friendly_name") or ""),
            language=given["language"],
            types=given["types"],
            variables=given.get("variables") or {},
            created_at=now,
            updated_at=now,
        )
        self._keep(content)
        return content

    def submit_content(self, content: Content, given: Any) -> Content | Refusal:  # noqa: ANN401 - whatever JSON a client sent
        """Ask Meta to approve a template; the review then goes on by itself."""
        if fault := approval_fault(content, given):
            return Refusal(codes.INVALID_PARAMETER, fault.detail)
        scripted = self.faults.next_for_review()
        objection = objection_to(content, given["category"]) or (scripted.reason if scripted else "")
        submitted = replace(
            content,
            approval=Approval.RECEIVED,
            name=given["name"],
            category=given["category"],
            verdict=Approval.REJECTED if objection else Approval.APPROVED,
            verdict_reason=objection,
            updated_at=self.clock.now(),
        )
        self._keep(submitted)
        self._review(submitted)
        return submitted

    def judge_content(self, content: Content, approval: Approval, reason: str = "") -> Content:
        """Meta changes its mind: a template is approved, rejected, paused or disabled now."""
        judged = replace(content, approval=approval, rejection_reason=reason, updated_at=self.clock.now())
        self._keep(judged)
        return judged

    def add_approved_text(self, sid: str, body: str) -> None:
        """A template that has been approved before the simulator started."""
        now = self.clock.now()
        self._keep(Content(sid, sid.lower(), "it", {TEXT: {"body": body}}, {}, now, now, Approval.APPROVED))

    def remove_content(self, content: Content) -> None:
        self.store.remove_content(content.sid)
        del self._templates[content.sid]

    def _keep(self, content: Content) -> None:
        self.store.keep(content)
        self._templates[content.sid] = template_of(content)

    def _review(self, content: Content) -> None:
        if content.approval in UNDER_REVIEW:
            pace = self.behaviour.pace.total_seconds()
            asyncio.get_running_loop().call_later(pace, self._go_on_with_review, content)

    def _go_on_with_review(self, content: Content) -> None:
        if self.store.contents.get(content.sid) is not content:
            return  # it was deleted or judged in the meantime
        following = NEXT.get(content.approval, content.verdict)
        reason = content.verdict_reason if following is content.verdict else ""
        self._review(self.judge_content(content, following, reason))

    # The people's side

    def join(self, number: str) -> Phone:
        """What `join …` from the phone does: the sandbox may write to it, and its 24 hours begin."""
        now = self.clock.now()
        phone = replace(self.store.phone(number), joined_at=now, wrote_at=now, wrote_to=self.account.number)
        self.store.save(phone)
        return phone

    def write(
        self, number: str, body: str, button_payload: str | None = None, replied_to: str | None = None
    ) -> Message:
        """A person writes to our number, or answers one of our messages there, or presses a button below it.

        The sandbox itself answers `join …` and those who have not joined.
        """
        message = self._record_inbound(number, body, button_payload, replied_to)
        if self.account.sandbox and joins(body, self.join_words):
            self.join(number)
            self._reply(number, WELCOME)
        elif self.account.sandbox and not has_joined(self.store.phone(number), self.clock.now()):
            self._reply(number, NOT_CONNECTED.format(number=number, words=self.join_words))
        else:
            phone = replace(self.store.phone(number), wrote_at=self.clock.now(), wrote_to=self.account.number)
            self.store.save(phone)
            self._forward(message, phone)
        return message

    def read(self, number: str) -> int:
        """The phone's owner looks at the chat: what was delivered is now read. How many messages that were."""
        unread = [message for message in self.store.newest_of(number) if message.status is Status.DELIVERED]
        for message in reversed(unread):
            self._progress.enter(message, Status.READ)
        return len(unread)

    def _record_inbound(self, number: str, body: str, button_payload: str | None, replied_to: str | None) -> Message:
        now = self.clock.now()
        message = Message(
            sid=new_sid("SM"),
            direction=Direction.INBOUND,
            sender=address_of(number),
            to=address_of(self.account.number),
            body=body,
            status=Status.RECEIVED,
            created_at=now,
            updated_at=now,
            sent_at=now,
            button_payload=button_payload,
            replied_to=replied_to,
        )
        self.store.record(message)
        self.counters["inbound"] += 1
        return message

    def _reply(self, number: str, body: str) -> None:
        now = self.clock.now()
        message = Message(
            sid=new_sid("SM"),
            direction=Direction.REPLY,
            sender=address_of(self.account.number),
            to=address_of(number),
            body=body,
            status=Status.QUEUED,
            created_at=now,
            updated_at=now,
        )
        self.store.record(message)
        self._progress.start(message)

    def _forward(self, message: Message, phone: Phone) -> None:
        if self.inbound_url:
            parameters = inbound_parameters(message, phone, self.account.sid)
            self._callbacks.send(Callback(self.inbound_url, parameters, about=message.sid))


def _first_status(order: Order) -> Status:
    if order.send_at:
        return Status.SCHEDULED
    return Status.ACCEPTED if order.service_sid and not order.sender else Status.QUEUED


def _seconds_until(moment: datetime | None, now: datetime) -> float:
    return max(0.0, (moment - now).total_seconds()) if moment else 0.0
