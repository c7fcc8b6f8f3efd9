"""Each day of Twilio's list of messages is compared with the ledger: what one side does not know is found and kept.

One replica compares a day, claimed by its row; page by page, so that another one goes on where a dead one ended.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog
from prometheus_client import Gauge

from common.events import MessageStatus
from common.postgres import CONNECTION_LOST
from sender import polling
from sender.comparison import CHECKING, CORRECTED, Finding, Kind, Known, Listed, differences, is_of, recovered
from sender.progress import AttemptState
from sender.reports import Reported, Reports, Source, reported_status
from sender.twilio import LookupFailed, Twilio

if TYPE_CHECKING:
    from common.outbox import Connection

log = structlog.get_logger()

findings_told = Gauge(
    "itarent_sender_comparison_findings",
    "Differences between Twilio's list and the ledger that were found within the last 24 hours, by kind",
    ["kind"],
)
overdue_seconds = Gauge(
    "itarent_sender_comparison_overdue_seconds",
    "For how long the comparison of a day with Twilio's list has been due and is not done; 0: none is",
)

GRACE: Final = timedelta(hours=4)
"""How long after its end (midnight UTC) a day is compared: so long a message may wait in Twilio's own queue."""
CATCH_UP: Final = 7
"""How many days back a comparison is made up for that was missed."""
KEPT: Final = timedelta(days=90)
LEASE: Final = timedelta(minutes=5)
LOOK_EVERY_S: Final = 60.0

AROUND: Final = timedelta(days=2)
"""How far the attempt of a message whose answer was lost may be from the time that Twilio says it made it."""
TOO_NEW: Final = timedelta(minutes=2)
"""A message so young may be on only one of the two sides, since its call still runs."""
MISSING_AT_ONCE: Final = 500
ASKED_AT_ONCE: Final = 4


@dataclass(frozen=True)
class Comparison:
    """A day's comparison as it stands."""

    day: date
    compared_by: str
    started_at: datetime
    finished_at: datetime | None
    listed: int
    """Messages of Twilio's list that we, or others with our number, have sent."""
    passed_over: int
    """What else the list holds: what people wrote, automatic replies, an operator's test message."""
    asked: int
    """Messages that the ledger has, and the day's list had not: Twilio was asked about each."""
    findings: tuple[Finding, ...]

    @property
    def by_kind(self) -> Counter[Kind]:
        return Counter(each.kind for each in self.findings)


class BeingCompared(Exception):  # noqa: N818 - a decision: come again later
    """Somebody else compares this day now."""


class Reconciliation:
    """Compares days; any number of replicas may run it, and operators beside them."""

    def __init__(self, pool: asyncpg.Pool, twilio: Twilio, reports: Reports, *, name: str) -> None:
        self._pool = pool
        self._twilio = twilio
        self._reports = reports
        self._name = name

    async def run(self) -> None:
        """Compare what is due, again and again until cancelled."""
        while True:
            try:
                await self.look(datetime.now(UTC))
            except LookupFailed as failed:
                log.warning("Twilio's list cannot be read, trying again", reason=str(failed))
            except (*CONNECTION_LOST, TimeoutError) as error:
                log.warning("the database is away, trying again", error=type(error).__name__)
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self, now: datetime) -> None:
        """Compare each day that is over and was not compared since, and tell what was found."""
        try:
            for row in await self._pool.fetch(_DUE, now, GRACE, CATCH_UP):
                with contextlib.suppress(BeingCompared):
                    compared = await self.compare(row["day"], now)
                    log.info("Twilio's list was compared with the ledger", **_in_short(compared))
        finally:
            await self._tell(now)

    async def compare(self, day: date, now: datetime, *, anew: bool = False) -> Comparison:
        """Compare a day, or go on with a comparison that somebody left; `anew`: also one that is done.

        Raises:
            LookupFailed: Twilio did not answer; what was compared so far is kept.
            BeingCompared: somebody else does it.
        """
        await self._claim(day, now, anew=anew)
        try:
            while not (at := await self._position(day))["all_listed"]:
                await self._take_page(day, at["next_page"], now)
            while missing := await self._missing(day, now):
                await self._ask_about(day, missing)
            await self._finish(day, now)
        except BaseException:
            with contextlib.suppress(*CONNECTION_LOST):
                await self._pool.execute(_LEAVE, day, self._name)
            raise
        compared = await stored(self._pool, day)
        assert compared is not None
        return compared

    # --- who compares -----------------------------------------------------------------------------------------------

    async def _claim(self, day: date, now: datetime, *, anew: bool) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_OPEN, day, now, self._name)
            row = await connection.fetchrow(_LOCK, day)
            assert row is not None
            if row["held"] and row["compared_by"] != self._name:
                raise BeingCompared(f"{day} is being compared by {row['compared_by']}")
            if row["finished_at"] is not None:
                if not anew and row["started_at"] >= _over(day) + GRACE:
                    raise BeingCompared(f"{day} was compared by {row['compared_by']}")
                await connection.execute("DELETE FROM comparisons WHERE day = $1", day)
                await connection.execute(_OPEN, day, now, self._name)
            await connection.execute(_HOLD, day, self._name, LEASE)

    async def _position(self, day: date) -> asyncpg.Record:
        """How far it is; the lease goes on."""
        row = await self._pool.fetchrow(_GO_ON, day, self._name, LEASE)
        if row is None:
            raise BeingCompared(f"somebody else has gone on with {day}")
        return row

    # --- Twilio's list ----------------------------------------------------------------------------------------------

    async def _take_page(self, day: date, at: str | None, now: datetime) -> None:
        try:
            async with self._asking():
                page = await self._twilio.sent_on(day, at)
        except LookupFailed as failed:
            if at is None or failed.http_status not in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
                raise
            await self._pool.execute(_FROM_ITS_BEGINNING, day, self._name)  # the place is no longer known there
            return
        compared = [each for each in page.messages if each.ours and each.body != CHECKING]
        findings, corrected = await self._compared(compared, now)
        await self._reports.record(corrected)
        async with self._pool.acquire() as connection, connection.transaction():
            passed_over = len(page.messages) - len(compared)
            await connection.execute(_TAKEN, day, self._name, page.next, len(compared), passed_over)
            await _keep(connection, day, findings, [each.sid for each in compared])

    async def _compared(self, listed: Sequence[Listed], now: datetime) -> tuple[list[Finding], list[Reported]]:
        known = await self._known(listed)
        doubtful = await self._doubtful([each for each in listed if each.sid not in known])
        findings: list[Finding] = []
        corrected: list[Reported] = []
        for each in listed:
            of = known.get(each.sid) or next((one for one in doubtful if is_of(each, one)), None)
            found = list(_found(each, of, now))
            findings += found
            corrected += [_report(of, each) for one in found if of and one.kind in CORRECTED]
        return findings, corrected

    async def _known(self, listed: Sequence[Listed]) -> dict[str, Known]:
        """The attempts of these messages, by SID."""
        rows = await self._pool.fetch(_BY_SID, [each.sid for each in listed])
        return {row["sid"]: _known_of(row) for row in rows}

    async def _doubtful(self, unknown: Sequence[Listed]) -> list[Known]:
        """Attempts to the same phones of which nobody knows whether Twilio has them, or that were given up as lost."""
        times = [each.created_at for each in unknown if each.created_at]
        if not times:
            return []
        phones = list({each.to for each in unknown})
        return [
            _known_of(row)
            for row in await self._pool.fetch(_DOUBTFUL, phones, min(times) - AROUND, max(times) + AROUND)
        ]

    # --- what the list does not hold --------------------------------------------------------------------------------

    async def _missing(self, day: date, now: datetime) -> list[Known]:
        """Some of the attempts of a day that Twilio took, as the ledger says, and that were not on the day's list."""
        await self._position(day)
        until = min(_over(day), now - TOO_NEW)
        rows = await self._pool.fetch(_MISSING, day, _over(day) - timedelta(days=1), until, MISSING_AT_ONCE)
        return [_known_of(row) for row in rows]

    async def _ask_about(self, day: date, missing: Sequence[Known]) -> None:
        places = asyncio.Semaphore(ASKED_AT_ONCE)

        async def ask(known: Known) -> None:
            async with places:
                await self._ask(day, known)

        for done in await asyncio.gather(*map(ask, missing), return_exceptions=True):
            if isinstance(done, BaseException):
                raise done

    async def _ask(self, day: date, known: Known) -> None:
        """It was sent on another day, or never; or Twilio does not know it."""
        sid = known.sid or ""
        async with self._asking():
            listed = await self._twilio.has(sid)
        if listed:
            findings = list(differences(listed, known))
            await self._reports.record([_report(known, listed) for each in findings if each.kind is Kind.STATUS])
        else:
            said = f"{known.status} here"
            findings = [Finding(Kind.UNKNOWN_THERE, sid, known.message_id, known.attempt, said)]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_ASKED, day)
            await _keep(connection, day, findings, [sid])

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Twilio is asked when it may be, and by nobody for a while after it says that this is too much."""
        await polling.one(self._pool)
        try:
            yield
        except LookupFailed as failed:
            if failed.http_status == HTTPStatus.TOO_MANY_REQUESTS:
                await polling.rest(self._pool)
            raise

    # --- what was found ---------------------------------------------------------------------------------------------

    async def _finish(self, day: date, now: datetime) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("DELETE FROM comparison_seen WHERE day = $1", day)
            await connection.execute(_FINISH, day, self._name, now)
            await connection.execute("DELETE FROM comparisons WHERE day < $1", (now - KEPT).date())

    async def _tell(self, now: datetime) -> None:
        counted = {row["kind"]: row["count"] for row in await self._pool.fetch(_FOUND_LATELY, now)}
        for kind in Kind:
            findings_told.labels(kind.value).set(counted.get(kind.value, 0))
        due = [row["day"] for row in await self._pool.fetch(_DUE, now, GRACE, CATCH_UP)]
        overdue_seconds.set((now - _over(min(due)) - GRACE).total_seconds() if due else 0)


async def stored(pool: asyncpg.Pool, day: date) -> Comparison | None:
    """What was found the last time that a day was compared; None if it never was."""
    row = await pool.fetchrow("SELECT * FROM comparisons WHERE day = $1", day)
    if row is None:
        return None
    findings = await pool.fetch(
        "SELECT kind, sid, message_id, attempt, detail FROM comparison_findings WHERE day = $1 ORDER BY kind, sid", day
    )
    return Comparison(
        day=day,
        compared_by=row["compared_by"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        listed=row["listed"],
        passed_over=row["passed_over"],
        asked=row["asked"],
        findings=tuple(
            Finding(Kind(each["kind"]), each["sid"], each["message_id"], each["attempt"], each["detail"])
            for each in findings
        ),
    )


def _over(day: date) -> datetime:
    """When a day is over."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _found(listed: Listed, of: Known | None, now: datetime) -> Iterator[Finding]:
    """What there is to say of a message and the attempt that it is of: found by its SID, or in doubt until now."""
    if of is None:
        if listed.created_at is None or listed.created_at <= now - TOO_NEW:
            yield Finding(Kind.UNKNOWN_HERE, listed.sid, detail=f"{listed.status} at Twilio")
    elif of.sid == listed.sid:
        yield from differences(listed, of)
    else:
        yield recovered(listed, of)


def _report(known: Known, listed: Listed) -> Reported:
    return reported_status(
        known.message_id, known.attempt, Source.LOOK_UP, status=listed.status, sid=listed.sid, code=listed.error_code
    )


def _in_short(compared: Comparison) -> dict[str, object]:
    counts = {kind.value: count for kind, count in compared.by_kind.items()}
    return {"day": compared.day.isoformat(), "listed": compared.listed, "asked": compared.asked, **counts}


async def _keep(connection: "Connection", day: date, findings: Sequence[Finding], seen: Sequence[str]) -> None:
    """Keep what was found of these messages, once however often they are gone through."""
    await connection.execute(_SEE, day, seen)
    await connection.executemany(
        _FIND,
        [(day, each.kind.value, each.sid, each.message_id, each.attempt, each.detail) for each in findings],
    )


def _known_of(row: asyncpg.Record) -> Known:
    return Known(
        message_id=row["message_id"],
        attempt=row["attempt"],
        last=row["last"],
        state=AttemptState(row["state"]),
        status=MessageStatus(row["status"]),
        charged=row["charged_micros"],
        currency=row["currency"] or "",
        sid=row["sid"],
        marker=row["marker"],
        to=row["recipient"],
    )


_DUE = """
-- Days that are over, for long enough, and were not compared since.
SELECT over.day::date FROM compared_since, generate_series(
    greatest(compared_since.day, ($1::timestamptz AT TIME ZONE 'UTC')::date - $3::int)::timestamp,
    $1::timestamptz AT TIME ZONE 'UTC' - interval '1 day' - $2::interval, interval '1 day'
) AS over(day)
WHERE NOT EXISTS (
    SELECT FROM comparisons
    WHERE comparisons.day = over.day::date AND finished_at IS NOT NULL
        AND started_at AT TIME ZONE 'UTC' >= over.day + interval '1 day' + $2::interval
)
ORDER BY over.day
"""

_OPEN = """
INSERT INTO comparisons (day, started_at, compared_by, lease_until) VALUES ($1, $2, $3, '-infinity')
ON CONFLICT (day) DO NOTHING
"""

_LOCK = """
SELECT compared_by, started_at, finished_at, lease_until > clock_timestamp() AS held
FROM comparisons WHERE day = $1 FOR UPDATE
"""

_HOLD = "UPDATE comparisons SET compared_by = $2, lease_until = clock_timestamp() + $3::interval WHERE day = $1"

_GO_ON = """
UPDATE comparisons SET lease_until = clock_timestamp() + $3::interval
WHERE day = $1 AND compared_by = $2 AND finished_at IS NULL
RETURNING next_page, all_listed
"""

_LEAVE = """
UPDATE comparisons SET lease_until = '-infinity' WHERE day = $1 AND compared_by = $2 AND finished_at IS NULL
"""

_TAKEN = """
UPDATE comparisons
SET next_page = $3, all_listed = $3::text IS NULL, listed = listed + $4, passed_over = passed_over + $5
WHERE day = $1 AND compared_by = $2
"""

_FROM_ITS_BEGINNING = """
UPDATE comparisons SET next_page = NULL, listed = 0, passed_over = 0 WHERE day = $1 AND compared_by = $2
"""

_ASKED = "UPDATE comparisons SET asked = asked + 1 WHERE day = $1"

_FINISH = """
UPDATE comparisons SET finished_at = greatest($3, clock_timestamp()), lease_until = NULL, next_page = NULL
WHERE day = $1 AND compared_by = $2
"""

_ATTEMPT = """
SELECT message_id, attempts.attempt, attempts.attempt = messages.attempt AS last, attempts.state, messages.status,
    charged_micros, currency, attempts.sid, marker, recipient
FROM attempts JOIN messages USING (message_id)
"""

_BY_SID = f"{_ATTEMPT} WHERE attempts.sid = ANY($1::text[])"

_DOUBTFUL = f"""
{_ATTEMPT}
WHERE attempts.sid IS NULL AND attempts.state IN ('sending', 'in_doubt', 'lost') AND recipient = ANY($1::text[])
    AND started_at BETWEEN $2 AND $3
"""

_MISSING = f"""
-- What was erased here, an operator may have deleted there.
{_ATTEMPT}
WHERE attempts.state = 'accepted' AND attempts.sid IS NOT NULL AND recipient IS NOT NULL
    AND started_at >= $2 AND started_at < $3
    AND NOT EXISTS (
        SELECT FROM comparison_seen WHERE comparison_seen.day = $1 AND comparison_seen.sid = attempts.sid
    )
LIMIT $4
"""

_SEE = "INSERT INTO comparison_seen (day, sid) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING"

_FIND = """
INSERT INTO comparison_findings (day, kind, sid, message_id, attempt, detail) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
"""

_FOUND_LATELY = """
SELECT kind, count(*) FROM comparisons JOIN comparison_findings USING (day)
WHERE finished_at > $1::timestamptz - interval '1 day' GROUP BY kind
"""
