"""The way of a message from queued to delivered: the rule, and the clockwork that follows it and calls back."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from twilio_simulator.callbacks import Callback, Callbacks, status_parameters
from twilio_simulator.clock import Clock
from twilio_simulator.faults import FaultKind, FaultScript
from twilio_simulator.resources import Message, Status
from twilio_simulator.store import Store, person_of

OVERTAKEN_BY_SECONDS = 0.05
WITHDRAWABLE = frozenset({Status.ACCEPTED, Status.SCHEDULED, Status.QUEUED})

_NEXT = {
    Status.ACCEPTED: Status.QUEUED,
    Status.SCHEDULED: Status.QUEUED,
    Status.QUEUED: Status.SENDING,
    Status.SENDING: Status.SENT,
}


def next_status(message: Message) -> Status | None:
    """Where time takes the message; None when it has arrived. `failed` never leaves Twilio, `undelivered` does."""
    if message.status is Status.QUEUED and message.ends is Status.FAILED:
        return Status.FAILED
    if message.status is Status.SENT:
        return message.ends
    return _NEXT.get(message.status)


def advanced(message: Message, status: Status, now: datetime) -> Message:
    """The message in its next status, with what goes with it: when it was sent, and why it failed."""
    failed = status in {Status.FAILED, Status.UNDELIVERED}
    return replace(
        message,
        status=status,
        updated_at=now,
        sent_at=now if status is Status.SENT else message.sent_at,
        error_code=message.end_code if failed else None,
    )


class Progress:
    """Takes each message from status to status, one every `pace`, with a callback for each."""

    def __init__(
        self,
        store: Store,
        callbacks: Callbacks,
        faults: FaultScript,
        *,
        clock: Clock,
        account_sid: str,
        pace: timedelta,
    ) -> None:
        self.pace = pace
        self._store = store
        self._callbacks = callbacks
        self._faults = faults
        self._clock = clock
        self._account_sid = account_sid
        self._held_back: dict[str, Callback] = {}  # SID → a callback that waits to be overtaken

    def start(self, message: Message, after_seconds: float = 0.0) -> None:
        """Let the message go on from where it is; nothing happens to one that has arrived."""
        if next_status(message):
            seconds = after_seconds + self.pace.total_seconds()
            asyncio.get_running_loop().call_later(seconds, self._advance, message.sid, message.status)

    def enter(self, message: Message, status: Status) -> Message:
        """The message reaches a status; its sender is told, and time goes on."""
        message = advanced(message, status, self._clock.now())
        self._store.record(message)
        self._call_back(message)
        self.start(message)
        return message

    async def call_back_first(self, message: Message) -> None:
        """The message reaches its next status now. Returns when the receiver of the callback has answered."""
        status = next_status(message)
        if status is None or message.status_callback is None:
            return
        message = advanced(message, status, self._clock.now())
        self._store.record(message)
        self.start(message)
        await self._callbacks.deliver(self._callback(message))

    def clear(self) -> None:
        self._held_back.clear()

    def _advance(self, sid: str, was: Status) -> None:
        message = self._store.messages.get(sid)
        if message is None or message.status is not was:
            return  # it was deleted, canceled or brought forward in the meantime
        if status := next_status(message):
            self.enter(message, status)

    def _callback(self, message: Message) -> Callback:
        return Callback(message.status_callback or "", status_parameters(message, self._account_sid), about=message.sid)

    def _call_back(self, message: Message) -> None:
        if message.status_callback is None:
            return
        callback = self._callback(message)
        overtaken = self._held_back.pop(message.sid, None)
        fault = self._faults.next_for_callback(person_of(message))
        match fault.kind if fault else None:
            case FaultKind.LOSE:
                pass
            case FaultKind.DOUBLE:
                self._callbacks.send(callback)
                self._callbacks.send(callback)
            case FaultKind.DELAY if fault:
                self._send_later(fault.seconds, callback)
            case FaultKind.FORGE:
                self._callbacks.send(replace(callback, forged=True))
                self._callbacks.send(callback)
            case FaultKind.REORDER if next_status(message):
                self._held_back[message.sid] = callback
            case _:
                self._callbacks.send(callback)
        if overtaken:
            self._send_later(OVERTAKEN_BY_SECONDS, overtaken)

    def _send_later(self, seconds: float, callback: Callback) -> None:
        asyncio.get_running_loop().call_later(seconds, self._callbacks.send, callback)
