"""The dispatcher: begins what is due, calls Twilio, records the outcomes, and asks about what is in doubt."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Final, assert_never
from urllib.parse import urlencode
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter, Gauge, Histogram

from common.postgres import CONNECTION_LOST, connect
from sender import rate
from sender.intake import DUE_CHANNEL
from sender.ledger import Call, Ledger
from sender.outcomes import (
    Accepted,
    Delayed,
    InDoubt,
    Misconfigured,
    OptedOut,
    Outcome,
    OutsideWindow,
    RateLimited,
    Rejected,
    Stale,
    TemplateUnusable,
    Unavailable,
    explained,
)
from sender.progress import DOUBTFUL, NotFound, Unasked, Unclear
from sender.reports import Check, Reported, Reports, Source, reported_status
from sender.twilio import Found, LookupFailed, Request, Sought, Twilio

log = structlog.get_logger()

calls_made = Counter(
    "itarent_sender_calls_total", "Calls to Twilio that create a message, by what came of them", ["outcome"]
)
calls_in_flight = Gauge("itarent_sender_calls_in_flight", "Calls to Twilio that run now and create a message")
call_seconds = Histogram(
    "itarent_sender_call_seconds",
    "How long Twilio takes to answer a call that creates a message",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8),
)
channel_paused = Gauge(
    "itarent_sender_channel_paused",
    "1 for the reason for which Twilio is not called, or just tried again; `held`: an operator wants it so",
    ["reason"],
)

rate_used = Gauge(
    "itarent_sender_rate_used",
    "How much of the rate of the settings is used, 1 at the most: less for a while after Twilio called us too fast",
)

RETRY_S: Final = 0.5
CHECKS: Final = 16
BEGUN_AHEAD: Final = 4
"""Messages begun per call at once: the next ones wait at hand, and not for a transaction, when a call has ended."""
BEGUN_TOGETHER: Final = 2
"""Messages per call at once for which there must be room before more are begun: a transaction costs about the same for
one as for many."""

SLOTS_AGAIN_S: Final = 0.1  # well before those that are reserved end

RECORDED_AT_ONCE: Final = 200
RECORDED_AFTER_S: Final = 0.05  # nobody waits for it, and what comes meanwhile shares the transaction
LEASES_PER_EXTENSION: Final = 3

UNAVAILABLE: Final = (*CONNECTION_LOST, TimeoutError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Errors of the database after which the same step is tried again."""


@dataclass(frozen=True)
class Limits:
    """How the dispatcher works: calls at once, how long one may take, and how often it looks without being woken."""

    in_flight: int
    lease: timedelta
    request_timeout: timedelta
    poll: timedelta = timedelta(seconds=1)  # a net only: whoever makes something due wakes the dispatcher


@dataclass(frozen=True)
class Callback:
    """The address at which Twilio tells what becomes of a message; the webhook may demand a token in it."""

    url: str
    verify_token: str | None = field(default=None, repr=False)

    def of(self, call: Call) -> str:
        token = "&" + urlencode({"t": self.verify_token}) if self.verify_token else ""
        # After the `#` stands how Twilio is to repeat a callback that was not answered.
        return f"{self.url}?n={call.message_id}&a={call.attempt}{token}#rc=3&rp=all"


class Dispatcher:
    """One replica's dispatcher. What it has begun is finished or parked before it ends."""

    def __init__(
        self,
        ledger: Ledger,
        reports: Reports,
        twilio: Twilio,
        limits: Limits,
        *,
        callback: Callback | None,
    ) -> None:
        self._ledger = ledger
        self._reports = reports
        self._twilio = twilio
        self._limits = limits
        self._callback = callback
        self.paused_for = ""  # why nothing is sent, or only tried; empty while all is well
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(limits.in_flight)
        self._leased: set[UUID] = set()
        self._outcomes: asyncio.Queue[Reported] = asyncio.Queue()

    def wake(self) -> None:
        """Something may be due."""
        self._woken.set()

    async def run(self) -> None:
        """Dispatch until cancelled; then wait for the calls that run, and record them."""
        try:
            async with asyncio.TaskGroup() as group:
                for step in (self._begin_due, self._record_outcomes, self._keep_leases, self._check):
                    group.create_task(_again_and_again(step))
        finally:
            await self._finish()

    # --- sending ----------------------------------------------------------------------------------------------------

    async def _begin_due(self) -> None:
        self._room.clear()
        if not self._has_room():
            await self._room.wait()
        room = self._limits.in_flight * BEGUN_AHEAD - len(self._calls)
        self._woken.clear()
        begun = await self._ledger.begin(room)
        self._note_pause(begun.paused)
        rate_used.set(begun.rate_share)
        for call in begun.calls:
            self._start(call)
        if begun.decided < room:
            wait_s = SLOTS_AGAIN_S if begun.held_by_rate else self._limits.poll.total_seconds()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), wait_s)

    def _has_room(self) -> bool:
        """Whether so few of those that were begun are left that it is worth beginning more."""
        return len(self._calls) <= self._limits.in_flight * (BEGUN_AHEAD - BEGUN_TOGETHER)

    def _note_pause(self, reason: str) -> None:
        if reason != self.paused_for:
            channel_paused.clear()
            self.paused_for = reason
        if reason:
            channel_paused.labels(reason).set(1)

    def _start(self, call: Call) -> None:
        self._leased.add(call.message_id)
        task = asyncio.create_task(self._make(call))
        self._calls.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if self._has_room():
            self._room.set()

    async def _make(self, call: Call) -> None:
        begun = time.monotonic()
        outcome: Outcome = Unavailable("slot_lost")
        async with self._places:
            if await self._slot_of(call, begun):
                outcome = await self._call(call)
        self._outcomes.put_nowait(Reported(call.message_id, call.attempt, outcome, Source.ANSWER))

    async def _slot_of(self, call: Call, begun: float) -> bool:
        """Wait for the call's slot, or for another if it has lapsed; False if the lease would not cover the call."""
        slot = begun + call.delay.total_seconds()
        while True:
            await asyncio.sleep(max(0.0, slot - time.monotonic()))
            now = time.monotonic()
            # A process that was frozen must not send what others may have sent since.
            if now - begun > self._limits.lease.total_seconds() / 2:
                return False
            if now <= slot + rate.AHEAD.total_seconds():
                return True
            another = None
            while another is None:
                another = await self._another_slot()
            slot = time.monotonic() + another.total_seconds()

    async def _another_slot(self) -> timedelta | None:
        try:
            return await self._ledger.another_slot()
        except UNAVAILABLE:
            await asyncio.sleep(RETRY_S)
            return None

    async def _call(self, call: Call) -> Outcome:
        started = time.monotonic()
        with calls_in_flight.track_inprogress():
            outcome = await self._twilio.create(self._request(call))
        seconds = time.monotonic() - started
        call_seconds.observe(seconds)
        calls_made.labels(type(outcome).__name__).inc()
        _tell(call, outcome, seconds)
        return outcome

    def _request(self, call: Call) -> Request:
        callback = self._callback.of(call) if self._callback else None
        if call.content_sid:
            return Request(call.to, callback, content_sid=call.content_sid, content_variables=call.worded.variables)
        return Request(call.to, callback, body=call.worded.body)

    # --- recording --------------------------------------------------------------------------------------------------

    async def _record_outcomes(self) -> None:
        outcomes = [await self._outcomes.get()]
        try:
            await asyncio.sleep(RECORDED_AFTER_S)
            while not self._outcomes.empty() and len(outcomes) < RECORDED_AT_ONCE:
                outcomes.append(self._outcomes.get_nowait())
            await self._reports.record(outcomes)
        except BaseException:  # it is tried again, or recorded at the end
            for outcome in outcomes:
                self._outcomes.put_nowait(outcome)
            raise
        self._leased -= {outcome.message_id for outcome in outcomes}

    async def _keep_leases(self) -> None:
        await asyncio.sleep(self._limits.lease.total_seconds() / LEASES_PER_EXTENSION)
        if self._leased:
            await self._ledger.extend_leases(list(self._leased))

    async def _finish(self) -> None:
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._limits.request_timeout.total_seconds())
        for task in self._calls:
            task.cancel()  # its lease runs out, and it is in doubt
        while not self._outcomes.empty():
            try:
                await self._record_outcomes()
            except UNAVAILABLE:
                log.exception("outcomes are not recorded: they will be in doubt", count=self._outcomes.qsize())
                return

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _check(self) -> None:
        """Leases of the dead, messages in doubt, and messages that no callback has ended."""
        await self._reports.doubt_lapsed_leases()
        await self._reports.give_up_unheard()
        checks = await self._reports.claim_checks(CHECKS)
        found = await asyncio.gather(*map(self._ask, checks))
        await self._reports.record([report for report in found if report])
        if len(checks) < CHECKS:
            await asyncio.sleep(self._limits.poll.total_seconds())

    async def _ask(self, check: Check) -> Reported | None:
        try:
            return await (self._look_up(check) if check.stage in DOUBTFUL else self._fetch(check))
        except LookupFailed as failed:
            log.warning("Twilio could not be asked", message_id=str(check.message_id), reason=str(failed))
            if failed.http_status == HTTPStatus.TOO_MANY_REQUESTS:
                await self._reports.asked_too_much()
            if check.stage not in DOUBTFUL and failed.http_status != HTTPStatus.NOT_FOUND:
                await self._reports.ask_again(check)
            return Reported(check.message_id, check.attempt, Unasked(), Source.LOOK_UP)

    async def _look_up(self, check: Check) -> Reported:
        if check.to is None or check.marker is None:
            erased = Rejected(None, "erased")
            return Reported(check.message_id, check.attempt, erased, Source.LOOK_UP)
        found = await self._twilio.find(Sought(check.to, check.marker, check.since, check.until, check.known))
        log.info("Twilio was asked", message_id=str(check.message_id), found=type(found).__name__)
        match found:
            case Found():
                return _found(check, found)
            case Unclear():
                return Reported(check.message_id, check.attempt, found, Source.LOOK_UP)
            case None:
                return Reported(check.message_id, check.attempt, NotFound(), Source.LOOK_UP)

    async def _fetch(self, check: Check) -> Reported | None:
        return _found(check, await self._twilio.fetch(check.sid)) if check.sid else None


def _found(check: Check, found: Found) -> Reported:
    return reported_status(
        check.message_id, check.attempt, Source.LOOK_UP, status=found.status, sid=found.sid, code=found.error_code
    )


def _tell(call: Call, outcome: Outcome, seconds: float) -> None:
    """One line for each call, with the listings that the message tells: a listing can be followed to its messages."""
    line = log.bind(
        message_id=str(call.message_id),
        attempt=call.attempt,
        listing_ids=call.tells.listing_ids or None,
        notification_ids=[str(each) for each in call.tells.notification_ids] or None,
        milliseconds=round(seconds * 1000),
    )
    match outcome:
        case Accepted():
            line.info("Twilio took a message", sid=outcome.sid, status=outcome.status.value)
        case InDoubt() | Unavailable():
            doubt = "it is in doubt, and looked up" if isinstance(outcome, InDoubt) else "it is sent again later"
            line.warning(f"Twilio did not answer: {doubt}", reason=outcome.reason)
        case Misconfigured() | Rejected():
            line.error("Twilio refused a message", **explained(outcome))
        case RateLimited() | Delayed() | OutsideWindow() | TemplateUnusable() | OptedOut() | Stale():
            line.warning("Twilio refused a message", **explained(outcome))
        case _:
            assert_never(outcome)


async def _again_and_again(step: Callable[[], Awaitable[None]]) -> None:
    """Repeat a step until cancelled, also when the database is away for a while."""
    while True:
        try:
            await step()
        except UNAVAILABLE as error:
            log.warning("the database is away, trying again", step=step.__name__, error=type(error).__name__)
            await asyncio.sleep(RETRY_S)


async def follow_wakes(database_url: str, wake: Callable[[], None]) -> None:
    """Wake the dispatcher when any replica has made something due."""
    while True:
        try:
            async with _listening(database_url, wake) as lost:
                wake()
                await lost.wait()
        except UNAVAILABLE as error:
            log.warning("not listening for what is due, trying again", error=type(error).__name__)
        await asyncio.sleep(RETRY_S)


@contextlib.asynccontextmanager
async def _listening(database_url: str, wake: Callable[[], None]) -> AsyncIterator[asyncio.Event]:
    lost = asyncio.Event()
    connection = await connect(database_url, "sender-listener")
    try:
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(DUE_CHANNEL, lambda *_: wake())
        yield lost
    finally:
        connection.terminate()
