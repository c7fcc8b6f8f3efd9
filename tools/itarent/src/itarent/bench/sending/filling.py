"""A ledger of millions of rows, as it stands after months: nearly all of it is history, and a little waits."""

import contextlib
import datetime as dt
import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import UUID

from itarent.bench.demand import recipient
from itarent.bench.sending.load import listings, notification

if TYPE_CHECKING:
    from common.outbox import Connection

OF_A_MESSAGE: Final = 4
OF_A_USER: Final = 20
WAITING: Final = 0.01
"""The share of messages that are open digests, the newest."""
CROWD: Final = "bench:crowd"
"""The listing that one of two hundred notifications is about; each other is told to a hundred users."""


@dataclass(frozen=True)
class Filled:
    """What was filled in: how many of each, numbered from 0 from the oldest to the newest."""

    notifications: int

    @property
    def messages(self) -> int:
        return self.notifications // OF_A_MESSAGE

    @property
    def closed(self) -> int:
        """The messages that Twilio has; the later ones are open."""
        return int(self.messages * (1 - WAITING))

    @property
    def users(self) -> int:
        return self.notifications // OF_A_USER


def id_of(what: str, number: int) -> UUID:
    """The id of a filled `user` or `message`."""
    return UUID(hashlib.md5(f"{what}/{number}".encode(), usedforsecurity=False).hexdigest())


async def fill(connection: "Connection", rows: int, seed: int) -> Filled:
    """So many notifications with their messages, attempts, users and journal: the same with the same seed."""
    filled, now = Filled(rows), dt.datetime.now(dt.UTC)
    renter = recipient(0, now)
    asked = notification(listings(1, random.Random(seed))[0], 0, now)  # noqa: S311 - seeded
    async with _without_indexes(connection):
        await connection.execute("SELECT setseed($1)", 1 / (1 + seed))
        await connection.execute(_RECIPIENTS, filled.users, renter.model_dump_json(), str(renter.user_id), renter.phone)
        await connection.execute(_CONTACTS, filled.users)
        await connection.execute(_MESSAGES, filled.messages, filled.closed, filled.users)
        await connection.execute(_ATTEMPTS, _BODY)
        await connection.execute(
            _NOTIFICATIONS,
            filled.notifications,
            filled.closed,
            filled.users,
            CROWD,
            asked.model_dump_json(),
            *map(str, (asked.notification_id, asked.user_id, asked.flat_id, asked.card.listing_id)),
        )
        await connection.execute(_JOURNAL)
    await connection.execute("VACUUM ANALYZE")
    return filled


@contextlib.asynccontextmanager
async def _without_indexes(connection: "Connection") -> AsyncIterator[None]:
    """Indexes and constraints are made anew after the body: row by row they would take ten times as long."""
    await connection.execute("SET synchronous_commit = off; SET maintenance_work_mem = '1GB'")
    constraints = await connection.fetch(_CONSTRAINTS)
    for each in constraints:
        await connection.execute(f"ALTER TABLE {each['table']} DROP CONSTRAINT {each['name']}")
    indexes = await connection.fetch(_INDEXES)
    for each in indexes:
        await connection.execute(f"DROP INDEX {each['name']}")
    yield
    for each in [*indexes]:
        await connection.execute(each["definition"])
    for each in reversed(constraints):
        await connection.execute(f"ALTER TABLE {each['table']} ADD CONSTRAINT {each['name']} {each['definition']}")


_BODY: Final = "\n".join(
    [
        "*4 annunci* · Bilocale a Milano",
        *(
            f"\n{number}. *Appartamento ristrutturato con balcone, a due passi dalla metropolitana*\n"
            "appartamento · 2 locali · 55 m² · Milano, Loreto\n1.100 € al mese + 120 € di spese\n"
            "https://bench.example/annunci/104512377/"
            for number in range(1, 4)
        ),
        "\nTutti e 4: https://bot.example/m/",
    ]
)

_CONSTRAINTS: Final = """
-- Those that refer to others first.
SELECT conrelid::regclass::text AS table, quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE connamespace = 'sender'::regnamespace AND contype IN ('p', 'f', 'u')
ORDER BY contype <> 'f', oid
"""

_INDEXES: Final = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = 'sender'::regnamespace
"""

_RECIPIENTS: Final = """
INSERT INTO recipients (user_id, revision, recipient)
SELECT id, 1, replace(replace($2, $3, id::text), $4, '+39333' || lpad(n::text, 7, '0'))
FROM generate_series(0, $1::bigint - 1) AS n, LATERAL (SELECT md5('user/' || n)::uuid AS id) AS named
"""

_CONTACTS: Final = """
INSERT INTO contacts (user_id, last_digest_at, turns)
SELECT md5('user/' || n)::uuid, now() - random() * interval '10 days', 5 FROM generate_series(0, $1::bigint - 1) AS n
"""

_MESSAGES: Final = """
-- One in a hundred of those that Twilio has has no final status yet; one in five of the open ones is due.
INSERT INTO messages (message_id, user_id, kind, stage, status, opened_at, due_at, latest_at, attempt, sid, changed_at)
SELECT md5('message/' || n)::uuid, md5('user/' || n * 7919 % $3::bigint)::uuid, 'digest',
    CASE WHEN n >= $2 THEN 'waiting' WHEN n > $2 * 0.99 THEN 'taken' ELSE 'ended' END,
    CASE WHEN n >= $2 THEN 'waiting' WHEN n > $2 * 0.99 THEN 'sent' ELSE 'delivered' END,
    at, CASE WHEN n >= $2 THEN at ELSE at + interval '1 hour' END + (random() - 0.2) * interval '1 hour',
    at + interval '3 days', (n < $2)::int, CASE WHEN n < $2 THEN 'SM' || md5('sid/' || n) END, at
FROM generate_series(0, $1::bigint - 1) AS n,
    LATERAL (SELECT now() - interval '90 days' * (1 - n::float8 / $1) AS at) AS opened
"""

_ATTEMPTS: Final = """
INSERT INTO attempts (message_id, attempt, state, started_at, ended_at, recipient, body, marker, sid, charge, currency,
    spent_on, price_micros, charged_micros)
SELECT message_id, 1, 'accepted', opened_at, opened_at, '+393335550101', $1 || message_id, message_id::text, sid,
    'service', 'USD', opened_at::date, 5000, 5000
FROM messages WHERE sid IS NOT NULL
"""

_NOTIFICATIONS: Final = """
INSERT INTO notifications (notification_id, user_id, flat_id, reason, listing_id, version, asked_for, disposition,
    message_id, event, received_at, settled_at, number)
SELECT id, user_id, flat_id, 'new', listing_id, 1, true,
    CASE WHEN m >= $2 THEN 'waiting' WHEN n % 20 = 0 THEN 'suppressed' WHEN n % 10 < 6 THEN 'in_message'
        ELSE 'grouped' END,
    CASE WHEN m >= $2 OR n % 20 > 0 THEN md5('message/' || m)::uuid END,
    CASE WHEN m >= $2 THEN replace(replace(replace(replace(
        $5, $6, id::text), $7, user_id::text), $8, flat_id::text), '"' || $9 || '"', '"' || listing_id || '"') END,
    at, CASE WHEN m < $2 THEN at END, CASE WHEN m < $2 AND n % 20 > 0 THEN 1 + n % 4 END
FROM generate_series(0, $1::bigint - 1) AS n,
    LATERAL (SELECT n / 4 AS m, now() - interval '90 days' * (1 - n::float8 / $1) AS at,
        CASE WHEN n % 4 = 3 AND n BETWEEN $1 / 2 AND $1 / 2 + $1 / 50 THEN $4 ELSE 'bench:' || n / 400 * 4 + n % 4 END
            AS listing_id) AS told,
    LATERAL (SELECT md5('notification/' || n)::uuid AS id, md5('user/' || m * 7919 % $3::bigint)::uuid AS user_id,
        md5('flat/' || listing_id)::uuid AS flat_id) AS named
"""

_JOURNAL: Final = """
INSERT INTO journal (message_id, at, what, detail, until)
SELECT message_id, opened_at, 'waits', 'interval', due_at FROM messages WHERE random() < 0.05
"""
