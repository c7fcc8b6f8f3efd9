"""What is reported about messages that were sent, recorded together with what follows from it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter as Metric

from common.events import DirectPurpose, Disposition, MessageStatus, MessageStatusReported
from common.outbox import Outbox
from common.prices import Charge, Micros, Prices
from common.topics import Topics
from common.twilio_errors import advice_of
from sender import journal, polling, spending, written_first
from sender.intake import DUE_CHANNEL
from sender.journal import Entry, Happened
from sender.ledger import settle_messages, settled_events
from sender.outcomes import Accepted, Cause, Delayed, InDoubt, RateLimited, Unavailable, failure_of, word_of
from sender.progress import (
    DOUBTFUL,
    PARKED_RECHECK,
    AttemptState,
    Change,
    Disproven,
    NotFound,
    Pause,
    Progress,
    Report,
    Situation,
    Stage,
    Unasked,
    Unclear,
    follow,
)
from sender.rate import Throttle
from sender.schedule import POLL_AGAIN, POLLS, channel_pause
from sender.spending import Expense
from sender.statuses import FAILURES
from sender.templates import purpose_of

if TYPE_CHECKING:
    from common.outbox import Connection

log = structlog.get_logger()

reports_recorded = Metric(
    "itarent_sender_reports_total",
    "Reports about messages: who tells (answer, callback, look_up, lease, person), and what",
    ["source", "report"],
)
faults_of_ours = Metric(
    "itarent_sender_faults_total",
    "Messages that failed or wait for a person, and a person must mend what did that: by the ledger's word for it",
    ["reason"],
)

LOOK_UP_AGAIN: Final = timedelta(seconds=20)
"""When a message in doubt is looked up again, if this time Twilio does not answer."""
LAST_LOOK: Final = timedelta(days=1)
"""How long after the last look a message that has no final status is given up."""
UNHEARD: Final = "no_final_status"
GIVEN_UP_AT_ONCE: Final = 500
TOLD_TWICE: Final = "told_twice"
DOUBTS_IN_A_ROW: Final = 5
"""After so many calls in a row that ended in doubt, sending pauses: it must not put everybody's message in doubt."""


class Source(StrEnum):
    """Who says it: Twilio's answer to the call, a callback, a look-up; we, since a lease has run out; or a person."""

    ANSWER = "answer"
    CALLBACK = "callback"
    LOOK_UP = "look_up"
    LEASE = "lease"
    PERSON = "person"


@dataclass(frozen=True)
class Reported:
    """A report about one attempt; `failed_as` is the message's status if the report is of a failure."""

    message_id: UUID
    attempt: int
    report: Report
    source: Source
    failed_as: MessageStatus = MessageStatus.REJECTED


@dataclass(frozen=True)
class Check:
    """A message that Twilio is to be asked about."""

    message_id: UUID
    attempt: int
    stage: Stage
    to: str | None  # None, like `marker`: it was erased
    marker: str | None
    sid: str | None
    since: datetime  # when its first attempt began
    until: datetime  # when the last one ended, as far as it is known
    known: frozenset[str]  # MessageSids of other attempts for the same user


def reported_status(
    message_id: UUID, attempt: int, source: Source, *, status: MessageStatus, sid: str, code: int | None
) -> Reported:
    """A status that Twilio tells, by callback or look-up, as a report."""
    if status in FAILURES:
        return Reported(message_id, attempt, failure_of(status, code), source, failed_as=status)
    return Reported(message_id, attempt, Accepted(sid, status), source)


@dataclass(frozen=True)
class _Cost:
    """What an attempt costs as far as is known; `price`: if Twilio takes it. `counts`: among the messages sent."""

    day: date
    charge: Charge
    price: Micros
    charged: Micros
    counts: bool


@dataclass
class _Attempt:
    """An attempt as it is known while a batch is worked through."""

    state: AttemptState
    detail: str
    started_at: datetime
    recipient: str | None
    sid: str | None
    error_code: int | None
    content_sid: str | None
    cost: _Cost | None  # None: it was made before costs were recorded
    changed: bool = False


@dataclass(frozen=True)
class _Message:
    user_id: UUID
    purpose: DirectPurpose | None  # None: a digest


@dataclass
class _Batch:
    """What is known before a batch of reports, and what follows from it."""

    now: datetime
    strikes: int
    doubts: int  # in a row, on all replicas
    messages: Mapping[UUID, _Message]
    progress: dict[UUID, Progress]
    attempts: dict[tuple[UUID, int], _Attempt]
    lost: Mapping[UUID, int]  # how many attempts never reached Twilio, by message
    changed: set[UUID] = field(default_factory=set)
    ended: list[tuple[UUID, Disposition, str]] = field(default_factory=list)
    alerts: set[UUID] = field(default_factory=set)  # messages that failed for a fault of ours
    told: list[tuple[UUID, int, MessageStatus]] = field(default_factory=list)  # message, attempt, status
    pauses: list[Pause] = field(default_factory=list)
    opted_out: list[tuple[UUID, str | None]] = field(default_factory=list)
    answered: list[UUID] = field(default_factory=list)
    expenses: list[Expense] = field(default_factory=list)
    templates_unusable: list[tuple[str, int]] = field(default_factory=list)  # ContentSid, error code
    journal: list[Entry] = field(default_factory=list)
    twice: list[UUID] = field(default_factory=list)  # messages that Twilio has twice
    doubtful: int = 0  # calls that ended in doubt
    proven_at: datetime | None = None  # when a call was begun that shows that the channel works
    too_fast_at: datetime | None = None  # when the last call was begun that Twilio or WhatsApp calls too fast
    untaken: list[tuple[UUID, int]] = field(default_factory=list)  # attempts that have not reached anybody after all
    rate_share: float | None = None  # how much of the rate is used from now on, if that has changed


class Reports:
    """Records reports, in batches of one transaction each."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        topics: Topics,
        prices: Prices,
        *,
        polls: Sequence[timedelta] = POLLS,
        grace: timedelta,
        on_template_unusable: Callable[[str, int], None] = lambda _sid, _code: None,
    ) -> None:
        self._pool = pool
        self._on_template_unusable = on_template_unusable
        self._topics = topics
        self._prices = prices
        self._polls = polls
        self._grace = grace
        self._outbox = Outbox("sender")

    async def record(self, reported: Sequence[Reported]) -> None:
        """Record what is reported and what follows: statuses, retries, pauses, opt-outs, events. Can be repeated."""
        if not reported:
            return
        async with self._pool.acquire() as connection, connection.transaction():
            batch = await self._record(connection, reported)
        _tell(reported, batch)

    async def record_within(self, connection: "Connection", reported: Sequence[Reported]) -> None:
        """The same in the caller's transaction."""
        await self._record(connection, reported)

    async def _record(self, connection: "Connection", reported: Sequence[Reported]) -> _Batch:
        batch = await self._read(connection, reported)
        for each in reported:
            self._follow(batch, each)
        for content_sid, code in batch.templates_unusable:  # before the message is due again
            self._on_template_unusable(content_sid, code)
        await self._write(connection, batch)
        return batch

    async def doubt_lapsed_leases(self) -> int:
        """Whatever a dead process was sending is in doubt: Twilio may have it."""
        rows = await self._pool.fetch(_LAPSED)
        lapsed = [Reported(row["message_id"], row["attempt"], InDoubt("lease_ran_out"), Source.LEASE) for row in rows]
        await self.record(lapsed)
        return len(lapsed)

    async def claim_checks(self, most: int) -> list[Check]:
        """Messages that Twilio is to be asked about now; nobody else asks about them for a while."""
        async with self._pool.acquire() as connection, connection.transaction():
            room = await polling.lock(connection)
            free = len(room.slots(most).at)
            delays = [*self._polls[1:], LAST_LOOK]
            rows = await connection.fetch(_CLAIM_CHECKS, free, LOOK_UP_AGAIN, delays, PARKED_RECHECK) if free else []
            await polling.use(connection, room.slots(len(rows)))
        return [
            Check(
                row["message_id"],
                row["attempt"],
                Stage(row["stage"]),
                row["recipient"],
                row["marker"],
                row["sid"],
                row["since"],
                row["until"],
                frozenset(row["known"] or ()),
            )
            for row in rows
        ]

    async def ask_again(self, check: Check) -> None:
        """Twilio did not answer about a message that it has: that look does not count, and another one follows soon."""
        await self._pool.execute(_ASK_AGAIN, check.message_id, check.attempt, POLL_AGAIN)

    async def asked_too_much(self) -> None:
        """Twilio said so: no replica asks for a while."""
        await polling.rest(self._pool)

    async def give_up_unheard(self) -> int:
        """Let go of messages of which Twilio knew no end at the last look; a callback may still tell of one."""
        given_up: list[asyncpg.Record] = await self._pool.fetch(_GIVE_UP, len(self._polls), UNHEARD, GIVEN_UP_AT_ONCE)
        for row in given_up:
            log.warning("Twilio never told what became of a message", message_id=str(row["message_id"]))
        return len(given_up)

    # --- reading and deciding ---------------------------------------------------------------------------------------

    async def _read(self, connection: "Connection", reported: Sequence[Reported]) -> _Batch:
        ids = sorted({each.message_id for each in reported})
        messages = await connection.fetch(_LOCK_MESSAGES, ids)
        attempts = await connection.fetch(_ATTEMPTS, ids)
        channel = await connection.fetchrow("SELECT strikes, doubts, clock_timestamp() AS now FROM channel")
        assert channel is not None
        return _Batch(
            now=channel["now"],
            strikes=channel["strikes"],
            doubts=channel["doubts"],
            messages={row["message_id"]: _message(row) for row in messages},
            progress={row["message_id"]: _progress(row) for row in messages},
            attempts={(row["message_id"], row["attempt"]): _attempt(row) for row in attempts},
            lost=Counter(row["message_id"] for row in attempts if row["state"] == AttemptState.LOST),
        )

    def _follow(self, batch: _Batch, reported: Reported) -> None:
        attempt = batch.attempts.get((reported.message_id, reported.attempt))
        if attempt is None:
            log.warning("report of an attempt that is not ours", message_id=str(reported.message_id))
            return
        message = batch.messages[reported.message_id]
        situation = Situation(
            now=batch.now,
            grace=self._grace,
            has_template=purpose_of(message.purpose) is not None,
            strikes=batch.strikes,
            is_code=message.purpose is DirectPurpose.CODE,
            first_poll=self._polls[0],
            age=batch.now - attempt.started_at,
            lost=batch.lost[reported.message_id],
            failed_as=reported.failed_as,
        )
        known = batch.progress[reported.message_id]
        was_refused, was_lost = attempt.state is AttemptState.REFUSED, attempt.state is AttemptState.LOST
        change = follow(known, reported.attempt, reported.report, situation, refused=was_refused)
        _note_answer(batch, reported, attempt, change, was_sending=known.stage is Stage.SENDING)
        _note_attempt(attempt, reported.report, change)
        _note_speed(batch, attempt, reported.report, change)
        _note_twice(batch, reported, attempt, was_lost=was_lost)
        _note_cost(batch, reported, attempt, self._prices)
        if change:
            batch.journal += _happened(reported, known, change)
            _note_change(batch, reported, attempt, change)

    # --- writing ----------------------------------------------------------------------------------------------------

    async def _write(self, connection: "Connection", batch: _Batch) -> None:
        await self._write_messages(connection, batch)
        await self._write_attempts(connection, batch)
        if batch.answered:
            users = [batch.messages[each].user_id for each in batch.answered]
            await connection.execute(_SENT_JUST_NOW, users, batch.answered, batch.now)
        await self._write_opt_outs(connection, batch)
        events = await self._status_events(connection, batch)  # before what they tell is settled otherwise
        settled = await settle_messages(connection, batch.ended, batch.now)
        await self._outbox.add(
            connection, self._topics.message_statuses, [*events, *settled_events(settled, batch.now)]
        )
        await self._write_channel(connection, batch)
        await written_first.give_back(connection, batch.untaken)  # after the channel, as the dispatcher does
        await journal.write(connection, batch.journal, batch.now)
        await spending.record(connection, self._prices.currency, batch.expenses)
        if any(batch.progress[each].stage is Stage.RETRYING for each in batch.changed):
            await connection.execute(_WAKE)

    async def _write_opt_outs(self, connection: "Connection", batch: _Batch) -> None:
        for message_id, phone in batch.opted_out:
            message = batch.messages[message_id]
            if phone:
                await connection.execute(_REFUSES, phone, batch.now)
            if message.purpose is not DirectPurpose.CODE:  # which went to another phone than the user's
                await connection.execute(_OPT_OUT, message.user_id, phone, batch.now)

    async def _write_messages(self, connection: "Connection", batch: _Batch) -> None:
        if not batch.changed:
            return
        ids = list(batch.changed)
        progress = [batch.progress[each] for each in ids]
        await connection.execute(
            _SAVE_PROGRESS,
            ids,
            [each.stage.value for each in progress],
            [each.status.value for each in progress],
            [each.retries for each in progress],
            [each.looks for each in progress],
            [each.as_template for each in progress],
            [each.due_at for each in progress],
            [each.detail for each in progress],
            [each.sid for each in progress],
            [each.error_code for each in progress],
            batch.now,
        )

    async def _write_attempts(self, connection: "Connection", batch: _Batch) -> None:
        changed = [(key, attempt) for key, attempt in batch.attempts.items() if attempt.changed]
        if changed:
            await connection.execute(
                _SAVE_ATTEMPTS,
                [message_id for (message_id, _), _ in changed],
                [number for (_, number), _ in changed],
                [attempt.state for _, attempt in changed],
                [attempt.sid for _, attempt in changed],
                [attempt.error_code for _, attempt in changed],
                batch.now,
                [attempt.cost.charged if attempt.cost else 0 for _, attempt in changed],
                [attempt.cost.counts if attempt.cost else False for _, attempt in changed],
                [attempt.detail for _, attempt in changed],
            )

    async def _status_events(self, connection: "Connection", batch: _Batch) -> list[MessageStatusReported]:
        if not batch.told:
            return []
        rows = await connection.fetch(_TELLS, list({message_id for message_id, _, _ in batch.told}))
        tells = {row["message_id"]: row for row in rows}
        events = []
        for message_id, number, status in batch.told:
            attempt = batch.attempts.get((message_id, number))  # None: it only waits to be made
            row = tells.get(message_id)
            events.append(
                MessageStatusReported(
                    message_id=message_id,
                    attempt=number,
                    status=status,
                    reported_by="sender",
                    reported_at=batch.now,
                    message_sid=attempt.sid if attempt else None,
                    error_code=attempt.error_code if attempt else None,
                    user_id=batch.messages[message_id].user_id,
                    notification_ids=tuple(row["all_ids"]) if row else (),
                    shown_notification_ids=tuple(row["shown_ids"] or ()) if row else (),
                    numbers=_numbers(row),
                )
            )
        return events

    async def _write_channel(self, connection: "Connection", batch: _Batch) -> None:
        if batch.doubtful and not batch.proven_at:
            in_a_row = await connection.fetchval(_DOUBT, batch.doubtful)
            if in_a_row >= DOUBTS_IN_A_ROW:
                batch.pauses.append(Pause("in_doubt", channel_pause(batch.strikes, None)))
        if batch.pauses:
            worst = max(batch.pauses, key=lambda pause: (pause.alert, pause.duration))
            until = await connection.fetchval(_PAUSE, batch.now, worst.duration, worst.reason)
            batch.journal.append(Entry(Happened.PAUSED, detail=worst.reason, until=until))
        elif (batch.strikes or batch.doubts) and batch.proven_at:
            was_paused = await connection.fetchval(_RESUME, batch.proven_at)
            batch.journal += [Entry(Happened.RESUMED)] * bool(was_paused)
        if batch.too_fast_at:
            await self._slow_down(connection, batch, batch.too_fast_at)

    async def _slow_down(self, connection: "Connection", batch: _Batch, begun_at: datetime) -> None:
        row = await connection.fetchrow(_THROTTLE)
        assert row is not None
        known = Throttle(row["throttle_share"], row["throttled_at"])
        slower = known.slower(begun_at, row["now"])
        if slower != known:
            await connection.execute(_SLOW_DOWN, slower.share, slower.since)
            batch.rate_share = slower.share
            batch.journal.append(Entry(Happened.SLOWED, detail=f"{slower.share:.0%}"))


def _note_answer(
    batch: _Batch, reported: Reported, attempt: _Attempt, change: Change | None, *, was_sending: bool
) -> None:
    """What an answer says beside the message's progress: when the user was written to, and that the channel works."""
    if reported.source is not Source.ANSWER:
        return
    if was_sending and batch.messages[reported.message_id].purpose is None:
        batch.answered.append(reported.message_id)
    batch.doubtful += isinstance(reported.report, InDoubt)
    works = not isinstance(reported.report, (InDoubt, Unavailable)) and not (change and change.pause)
    if works:
        batch.proven_at = max(filter(None, (batch.proven_at, attempt.started_at)))
    if isinstance(reported.report, Accepted) and not change:
        # A callback or a look-up came first; a callback does not say whom and what the message tells.
        # What we report never goes back, nor to an attempt before the last one.
        known = batch.progress[reported.message_id]
        if known.attempt == reported.attempt:
            status = known.status if known.stage in (Stage.TAKEN, Stage.ENDED) else reported.report.status
            batch.told.append((reported.message_id, reported.attempt, status))


def _note_attempt(attempt: _Attempt, report: Report, change: Change | None) -> None:
    before = (attempt.state, attempt.detail, attempt.sid, attempt.error_code)
    match report:
        case Accepted():
            attempt.sid = attempt.sid or report.sid or None
            if attempt.state is not AttemptState.REFUSED:
                attempt.state = AttemptState.ACCEPTED
        case InDoubt():
            if attempt.state is AttemptState.SENDING:
                attempt.state, attempt.detail = AttemptState.IN_DOUBT, report.reason
        case NotFound() | Disproven():
            if change and change.progress.stage is Stage.RETRYING:
                attempt.state = AttemptState.LOST
        case Unclear() | Unasked():
            pass
        case Unavailable():
            attempt.state, attempt.detail = AttemptState.REFUSED, report.reason
        case _:
            attempt.state, attempt.error_code = AttemptState.REFUSED, report.code
            attempt.detail = word_of(report)
    attempt.changed |= before != (attempt.state, attempt.detail, attempt.sid, attempt.error_code)


def _note_speed(batch: _Batch, attempt: _Attempt, report: Report, change: Change | None) -> None:
    """Whether a call was too fast; one that comes late counts by when it was begun."""
    match report:
        case RateLimited() | Delayed(cause=Cause.CHANNEL_BUSY) if change:
            batch.too_fast_at = max(filter(None, (batch.too_fast_at, attempt.started_at)))
        case _:
            return


def _note_twice(batch: _Batch, reported: Reported, attempt: _Attempt, *, was_lost: bool) -> None:
    """What two complete looks did not find has turned up, and was sent again meanwhile: somebody has it twice."""
    if not (was_lost and attempt.state is AttemptState.ACCEPTED):
        return
    states = [each.state for (message_id, _), each in batch.attempts.items() if message_id == reported.message_id]
    if states.count(AttemptState.ACCEPTED) > 1:
        batch.twice.append(reported.message_id)
        batch.journal.append(Entry(Happened.TWICE, reported.message_id, reported.attempt, reported.source.value))


def _happened(reported: Reported, known: Progress, change: Change) -> Iterator[Entry]:
    """What a change says to whoever reads the message's story later, beside what its attempts say."""
    after = change.progress
    entry = partial(Entry, message_id=reported.message_id, attempt=reported.attempt)
    match after.stage:
        case Stage.PARKED:
            yield entry(Happened.PARKED, detail=after.detail)
        case Stage.IN_DOUBT if known.stage is Stage.SENDING:
            yield entry(Happened.DOUBTED, detail=after.detail, until=after.due_at)
        case Stage.IN_DOUBT:
            yield entry(Happened.NOT_FOUND, until=after.due_at)
        case Stage.RETRYING:
            yield entry(Happened.RETRIES, detail=after.detail, error_code=after.error_code, until=after.due_at)
        case _ if known.stage in DOUBTFUL:
            yield entry(Happened.RESOLVED, detail=reported.source.value)
        case _:
            return


def _note_cost(batch: _Batch, reported: Reported, attempt: _Attempt, prices: Prices) -> None:
    """What is not taken costs nothing, or Twilio's fee for a failure; the difference is booked on the attempt's day."""
    known = attempt.cost
    if known is None:
        return
    counts = attempt.state not in (AttemptState.REFUSED, AttemptState.LOST)
    charged = known.price
    if attempt.state is AttemptState.LOST:
        charged = 0
    elif attempt.state is AttemptState.REFUSED:
        charged = prices.of_failure(reported.failed_as, attempt.error_code) if known.counts else known.charged
    if known.counts and not counts:
        batch.untaken.append((reported.message_id, reported.attempt))
    if (counts, charged) != (known.counts, known.charged):
        batch.expenses.append(
            Expense(known.day, known.charge, charged - known.charged, int(counts) - int(known.counts))
        )
        attempt.cost = replace(known, charged=charged, counts=counts)
        attempt.changed = True


def _note_change(batch: _Batch, reported: Reported, attempt: _Attempt, change: Change) -> None:
    message_id = reported.message_id
    batch.progress[message_id] = change.progress
    batch.changed.add(message_id)
    if change.ended_as:
        batch.ended.append((message_id, change.ended_as, change.progress.detail))
    if change.alert:
        batch.alerts.add(message_id)
    if change.template_unusable and attempt.content_sid and attempt.error_code:
        batch.templates_unusable.append((attempt.content_sid, attempt.error_code))
    if change.pause:
        batch.pauses.append(change.pause)
    if change.opted_out:
        batch.opted_out.append((message_id, attempt.recipient))
    batch.told += _told(reported, attempt, change)


def _told(reported: Reported, attempt: _Attempt, change: Change) -> Iterator[tuple[UUID, int, MessageStatus]]:
    """What others hear of a change: callbacks speak for themselves, and each attempt has its own story."""
    retrying, heard = change.progress.stage is Stage.RETRYING, reported.source is Source.CALLBACK
    if retrying:
        if attempt.error_code and not heard:
            yield reported.message_id, reported.attempt, reported.failed_as
        yield reported.message_id, reported.attempt + 1, MessageStatus.WAITING
    elif not heard and not _looks_again(change):
        yield reported.message_id, reported.attempt, change.progress.status


def _looks_again(change: Change) -> bool:
    """Whether a look-up found nothing yet: there is nothing new to tell."""
    return change.progress.stage is Stage.IN_DOUBT and change.progress.looks > 0


def _tell(reported: Sequence[Reported], batch: _Batch) -> None:
    for each in reported:
        reports_recorded.labels(each.source.value, type(each.report).__name__).inc()
    for pause in batch.pauses:
        level = log.error if pause.alert else log.warning
        level("Twilio: sending is paused", reason=pause.reason, seconds=pause.duration.total_seconds())
    if batch.rate_share is not None:
        log.warning("Twilio: too fast, sending is slowed down", percent=round(100 * batch.rate_share))
    for message_id, disposition, detail in batch.ended:
        known = batch.progress[message_id]
        level = log.error if disposition is Disposition.FAILED else log.warning
        level(
            "Twilio: a message could not be sent",
            message_id=str(message_id),
            reason=detail,
            error_code=known.error_code,
            explanation=str(advice_of(known.error_code)) if known.error_code else None,
            ended_as=disposition.value,
            alert=message_id in batch.alerts or None,
        )
    for message_id in batch.twice:
        faults_of_ours.labels(TOLD_TWICE).inc()
        log.error("Twilio has a message twice", message_id=str(message_id), alert=True)
    for message_id in batch.alerts:
        known = batch.progress[message_id]
        faults_of_ours.labels(known.detail).inc()
        if known.stage is Stage.PARKED:
            log.error("Twilio: a person must find out whether it has a message", message_id=str(message_id),
                      reason=known.detail, alert=True)  # fmt: skip


def _numbers(row: asyncpg.Record | None) -> tuple[int, ...]:
    """The place of each notification in its message; answers have none, nor has what was told before there were any."""
    numbers = row["numbers"] if row else []
    return () if None in numbers else tuple(numbers)


def _progress(row: asyncpg.Record) -> Progress:
    return Progress(
        stage=Stage(row["stage"]),
        status=MessageStatus(row["status"]),
        attempt=row["attempt"],
        retries=row["retries"],
        looks=row["looks"],
        as_template=row["as_template"],
        due_at=row["due_at"],
        detail=row["detail"],
        sid=row["sid"],
        error_code=row["error_code"],
    )


def _message(row: asyncpg.Record) -> _Message:
    return _Message(row["user_id"], DirectPurpose(row["purpose"]) if row["purpose"] else None)


def _attempt(row: asyncpg.Record) -> _Attempt:
    return _Attempt(
        AttemptState(row["state"]),
        row["detail"],
        row["started_at"],
        row["recipient"],
        row["sid"],
        row["error_code"],
        row["content_sid"],
        _cost(row) if row["charge"] else None,
    )


def _cost(row: asyncpg.Record) -> _Cost:
    return _Cost(row["spent_on"], Charge(row["charge"]), row["price_micros"], row["charged_micros"], row["counts"])


_LOCK_MESSAGES = """
SELECT message_id, user_id, purpose, stage, status, attempt, retries, looks, as_template, due_at, detail, sid,
    error_code
FROM messages WHERE message_id = ANY($1::uuid[]) ORDER BY message_id FOR UPDATE
"""

_ATTEMPTS = """
-- Without their texts, which are by far the most of them.
SELECT message_id, attempt, state, detail, started_at, recipient, sid, error_code, content_sid, charge, spent_on,
    price_micros, charged_micros, counts
FROM attempts WHERE message_id = ANY($1::uuid[])
"""

_SAVE_PROGRESS = """
UPDATE messages
SET stage = changed.stage, status = changed.status, retries = changed.retries, looks = changed.looks,
    as_template = changed.as_template, due_at = changed.due_at, detail = changed.detail, sid = changed.sid,
    error_code = changed.error_code, changed_at = $11,
    lease_until = CASE WHEN changed.stage = 'sending' THEN lease_until END,
    leased_by = CASE WHEN changed.stage = 'sending' THEN leased_by END
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[], $6::boolean[], $7::timestamptz[], $8::text[],
            $9::text[], $10::int[])
    AS changed(message_id, stage, status, retries, looks, as_template, due_at, detail, sid, error_code)
WHERE messages.message_id = changed.message_id
"""

_SAVE_ATTEMPTS = """
UPDATE attempts
SET state = changed.state, sid = changed.sid, error_code = changed.error_code, ended_at = $6,
    charged_micros = changed.charged_micros, counts = changed.counts, detail = changed.detail
FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::int[], $7::bigint[], $8::boolean[], $9::text[])
    AS changed(message_id, attempt, state, sid, error_code, charged_micros, counts, detail)
WHERE attempts.message_id = changed.message_id AND attempts.attempt = changed.attempt
"""

_SENT_JUST_NOW = """
-- The interval counts from when Twilio had the message, which is later than when it was begun.
UPDATE contacts SET last_digest_at = $3
FROM (
    SELECT user_id FROM contacts
    WHERE user_id = ANY($1::uuid[]) AND last_digest_id = ANY($2::uuid[])
    ORDER BY user_id FOR UPDATE  -- in the order in which the dispatcher locks them
) AS answered
WHERE contacts.user_id = answered.user_id
"""

_OPT_OUT = "UPDATE contacts SET opted_out_phone = $2, opted_out_at = $3 WHERE user_id = $1"

_REFUSES = """
INSERT INTO refusing_phones (phone_hash, refused_at) VALUES (sha256(convert_to($1, 'UTF8')), $2)
ON CONFLICT (phone_hash) DO UPDATE SET refused_at = excluded.refused_at
"""

_TELLS = """
SELECT message_id, array_agg(notification_id ORDER BY number, position) AS all_ids,
    array_agg(number ORDER BY number, position) AS numbers,
    array_agg(notification_id ORDER BY number, position) FILTER (WHERE disposition = 'in_message') AS shown_ids
FROM notifications
WHERE message_id = ANY($1::uuid[]) AND disposition IN ('in_message', 'grouped')
GROUP BY message_id
"""

_DOUBT = "UPDATE channel SET doubts = doubts + $1 RETURNING doubts"

_PAUSE = """
UPDATE channel
SET paused_at = $1::timestamptz, paused_until = greatest(paused_until, $1::timestamptz + $2::interval), reason = $3,
    strikes = strikes + 1, probing_until = NULL
RETURNING paused_until
"""

_RESUME = """
-- Whether it was paused. A call that was begun before the pause proves nothing.
UPDATE channel
SET paused_at = NULL, paused_until = NULL, probing_until = NULL, reason = '', strikes = 0, doubts = 0
FROM (SELECT paused_at AS since FROM channel FOR UPDATE) AS before
WHERE since IS NULL OR since <= $1
RETURNING since IS NOT NULL
"""

_THROTTLE = "SELECT throttle_share, throttled_at, clock_timestamp() AS now FROM channel FOR UPDATE"

_SLOW_DOWN = "UPDATE channel SET throttle_share = $1, throttled_at = $2"

_LAPSED = """
SELECT message_id, attempt FROM messages WHERE stage = 'sending' AND lease_until < clock_timestamp() LIMIT 500
"""

_CLAIM_CHECKS = """
WITH claimed AS (
    SELECT message_id FROM messages
    WHERE stage IN ('in_doubt', 'parked', 'taken') AND due_at <= clock_timestamp()
        AND (stage <> 'taken' OR looks < cardinality($3::interval[]))
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
), checked AS (
    UPDATE messages
    SET due_at = clock_timestamp() + CASE stage
            WHEN 'in_doubt' THEN $2::interval
            WHEN 'parked' THEN $4::interval
            ELSE ($3::interval[])[least(looks + 1, cardinality($3::interval[]))]
        END,
        looks = CASE stage WHEN 'taken' THEN looks + 1 ELSE looks END
    WHERE message_id IN (SELECT message_id FROM claimed)
    RETURNING message_id, user_id, attempt, stage, sid
)
SELECT checked.*, current.recipient, current.marker, coalesce(current.ended_at, current.started_at) AS until,
    first.since,
    -- What Twilio shows of that time and is known to be another message.
    CASE WHEN stage <> 'taken' THEN (
        SELECT array_agg(other.sid) FROM messages JOIN attempts AS other USING (message_id)
        WHERE messages.user_id = checked.user_id AND other.sid IS NOT NULL
            AND (other.message_id, other.attempt) <> (checked.message_id, checked.attempt)
            AND other.started_at > first.since - interval '1 hour'
    ) END AS known
FROM checked JOIN attempts AS current USING (message_id, attempt)
    CROSS JOIN LATERAL (
        SELECT min(started_at) AS since FROM attempts WHERE attempts.message_id = checked.message_id
    ) AS first
"""

_ASK_AGAIN = """
UPDATE messages SET due_at = clock_timestamp() + $3::interval, looks = greatest(looks - 1, 0)
WHERE message_id = $1 AND attempt = $2 AND stage = 'taken'
"""

_GIVE_UP = """
UPDATE messages SET stage = 'ended', detail = $2, changed_at = clock_timestamp()
WHERE message_id IN (
    SELECT message_id FROM messages
    WHERE stage = 'taken' AND due_at <= clock_timestamp() AND looks >= $1 LIMIT $3 FOR UPDATE SKIP LOCKED
)
RETURNING message_id
"""

_WAKE = f"SELECT pg_notify('{DUE_CHANNEL}', '')"
