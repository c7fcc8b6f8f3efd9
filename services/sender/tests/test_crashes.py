"""A sender that is killed between any two steps of an attempt: every renter is texted once, and told of as it was."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from common.events import MessageStatus, MessageStatusReported, NotificationRequested, Recipient, RecipientSaved
from common.kafka import Publisher
from common.topics import Topics
from testkit.factories import NOW
from testkit.records import records_of
from testkit.servers import Database
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind, SimulatorClient

from .conftest import flat_for, renter
from .crashing_sender import POINTS
from .processes import Environment, eventually_in, started

PROGRAM = Path(__file__).with_name("crashing_sender.py")

LEFT_BEHIND = {
    # what the ledger holds of the message when the process is dead, and whether Twilio has it
    "read, not recorded": (None, False),
    "recorded, its offset not committed": ("waiting", False),
    "planned, not committed": ("waiting", False),
    "committed as sending, not called": ("sending", False),
    "called, not answered": ("sending", True),
    "answered, not recorded": ("sending", True),
    "recorded, the record not committed": ("sending", True),
    "committed, not published": ("taken", True),
    "published, and still in the outbox": ("taken", True),
    "in doubt, not looked up": ("in_doubt", True),
    "looked up, not recorded": ("in_doubt", True),
    "its callback read, not recorded": ("taken", True),
    "its callback recorded, its offset not committed": ("ended", True),
}
BEFORE_TWILIO_HAS_IT = {"committed as sending, not called"}


@dataclass(frozen=True)
class Victim:
    """The renter at whose message a process dies, and what is to be told."""

    who: Recipient
    flat: NotificationRequested

    @property
    def phone(self) -> str:
        assert self.who.phone
        return self.who.phone


async def test_killed_between_any_two_steps_it_texts_everybody_once_and_tells_of_it(  # noqa: PLR0917 - fixtures
    kafka: str, topics: Topics, database: Database, simulator: SimulatorClient, environment: Environment, tmp_path: Path
) -> None:
    assert set(LEFT_BEHIND) == set(POINTS)
    # Leases and static membership: what a process leaves is taken up as soon as the next one runs.
    environment |= {"KAFKA_INSTANCE_ID": "sender-1", "SENDER_LEASE_SECONDS": "1.5"}
    victims = {point: _victim() for point in POINTS}
    async with Publisher.connected(kafka, "tests") as publisher, Killer.of(environment, tmp_path) as killer:
        await publisher.publish(topics.recipients, [RecipientSaved(recipient=each.who) for each in victims.values()])
        async with started(environment, tmp_path):  # consents come by a topic of their own: they are known from now on
            await eventually_in(database, "SELECT count(*) = $1 FROM recipients", len(victims))
        for point, victim in victims.items():  # each process also ends what the ones before have left
            await simulator.join(victim.phone)
            if point == "called, not answered":
                await simulator.script(Fault(FaultKind.HANG_TAKEN, seconds=30, to=victim.phone))
            if point in {"in doubt, not looked up", "looked up, not recorded"}:
                await simulator.script(Fault(FaultKind.RESET_TAKEN, to=victim.phone))
            await publisher.publish(topics.notifications, [victim.flat])
            dying = asyncio.create_task(killer.kill(point, victim))
            if "callback" in point:
                await publisher.publish(topics.message_statuses, [await _delivered(database, victim)])
            await dying
            assert await _left_behind(database, simulator, victim) == LEFT_BEHIND[point], point
    async with started(environment, tmp_path):
        all_went_out = "SELECT count(*) FILTER (WHERE stage IN ('taken', 'ended')) = $1 FROM messages"
        await eventually_in(database, all_went_out, len(POINTS))
        await eventually_in(database, "SELECT count(*) = 0 FROM outbox")
    texted = sorted(message.to for message in await simulator.messages())
    assert texted == sorted(victim.phone for victim in victims.values()), "each once"
    attempts = await _attempts(database)
    for point, victim in victims.items():
        *lost, last = attempts[str(victim.who.user_id)]
        assert last == "accepted", point
        assert set(lost) <= {"lost"}, point
        # What was not called yet is made by a process that is killed too, and may lose it once more.
        _, twilio_had_it = LEFT_BEHIND[point]
        assert not lost or not twilio_had_it, point
        assert lost or point not in BEFORE_TWILIO_HAS_IT, point
    told = [
        MessageStatusReported.model_validate_json(record.value or b"")
        for record in await records_of(kafka, topics.message_statuses)
    ]
    of_flats = {flat for report in told if report.message_sid for flat in report.notification_ids}
    assert of_flats == {victim.flat.notification_id for victim in victims.values()}


def _victim() -> Victim:
    who = renter()
    return Victim(who, flat_for(who.user_id))


class Killer:
    """Runs senders that die at a named point."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, environment: Environment, folder: Path) -> AsyncIterator["Killer"]:
        pipe = asyncio.subprocess.PIPE
        with (folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(PROGRAM)),
                stdin=pipe,
                stdout=pipe,
                stderr=log,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )
        try:
            yield cls(process, folder / "log")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the sender that it may have forked
            await process.wait()

    async def kill(self, point: str, victim: Victim) -> None:
        """Run a sender until it has killed itself."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{point}\t{victim.who.user_id}\t{victim.phone}\n".encode())
        ended = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                ended = await self._process.stdout.readline()
        assert ended == b"-9\n", f"{point}: {self._log.read_text()[-5000:]}"


async def _delivered(database: Database, victim: Victim) -> MessageStatusReported:
    """The callback of a message, once Twilio has taken it."""
    taken = "SELECT message_id, sid FROM messages WHERE user_id = $1 AND stage = 'taken'"
    connection = await asyncpg.connect(database.url("sender"))
    try:
        row = await eventually(lambda: connection.fetchrow(taken, victim.who.user_id))
        assert row
    finally:
        await connection.close()
    return MessageStatusReported(
        message_id=row["message_id"],
        attempt=1,
        status=MessageStatus.DELIVERED,
        reported_by="callback",
        reported_at=NOW,
        message_sid=row["sid"],
    )


async def _left_behind(database: Database, simulator: SimulatorClient, victim: Victim) -> tuple[str | None, bool]:
    connection = await asyncpg.connect(database.url("sender"))
    try:
        stage = await connection.fetchval("SELECT stage FROM messages WHERE user_id = $1", victim.who.user_id)
    finally:
        await connection.close()
    return stage, victim.phone in {message.to for message in await simulator.messages()}


async def _attempts(database: Database) -> dict[str, list[str]]:
    connection = await asyncpg.connect(database.url("sender"))
    try:
        rows = await connection.fetch(
            "SELECT user_id::text, array_agg(state ORDER BY attempts.attempt) AS states"
            " FROM attempts JOIN messages USING (message_id) GROUP BY user_id"
        )
    finally:
        await connection.close()
    return {row["user_id"]: row["states"] for row in rows}
