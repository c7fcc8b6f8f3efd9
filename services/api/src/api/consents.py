"""The trail of consents: who agreed to what, how and when. It is only added to, and it outlives the account."""

import datetime as dt
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from api.paging import Cursor
from api.security import Pseudonyms
from common.model import Value

if TYPE_CHECKING:
    from common.outbox import Connection


class What(StrEnum):
    """What somebody agreed to, or took back."""

    TERMS_ACCEPTED = "terms_accepted"  # by opening an account
    PHONE_CLAIMED = "phone_claimed"
    PHONE_PROVEN = "phone_proven"
    PHONE_UNLINKED = "phone_unlinked"
    PHONE_LOST = "phone_lost"  # another account has proven it since
    STOPPED = "stopped"
    STARTED = "started"
    ERASED = "erased"


class How(StrEnum):
    """By which way it was said."""

    API = "api"  # a request of the signed-in account: pages and programs alike
    REGISTRATION = "registration"
    ISSUER = "issuer"  # the first sign-in through an external issuer
    MESSAGE = "message"  # a message from the phone
    CODE = "code"  # a code that was sent to the phone


class Consent(Value):
    """One entry of the trail. Equal hashes are equal phones; without our key a hash says nothing."""

    consent_id: UUID
    what: What
    how: How
    at: dt.datetime
    phone_hash: str | None
    message_sid: str | None


class Consents:
    """The table `consents`."""

    def __init__(self, pool: asyncpg.Pool, pseudonyms: Pseudonyms) -> None:
        self._pool = pool
        self._pseudonyms = pseudonyms

    async def record(
        self,
        connection: "Connection",
        user_id: UUID,
        what: What,
        how: How,
        at: dt.datetime,
        *,
        phone: str | None = None,
        message_sid: str | None = None,
    ) -> None:
        """Add an entry to the caller's transaction, which makes what it tells of true."""
        phone_hash = self._pseudonyms.of_phone(phone) if phone else None
        await connection.execute(_RECORD, user_id, what, how, at, phone_hash, message_sid)

    async def of(self, user_id: UUID, after: Cursor | None, limit: int) -> tuple[list[Consent], Cursor | None]:
        """A user's entries, oldest first, and where the next page begins."""
        rows = await self._pool.fetch(_PAGE, user_id, after and after.at, after and after.id, limit + 1)
        page = [_consent(row) for row in rows[:limit]]
        return page, Cursor(page[-1].at, page[-1].consent_id) if len(rows) > limit else None

    async def make_anonymous(self, connection: "Connection", user_id: UUID) -> None:
        """Empty what could identify an erased account; the table refuses it for one that is still there."""
        await connection.execute(_MAKE_ANONYMOUS, user_id)


def _consent(row: asyncpg.Record) -> Consent:
    return Consent(
        consent_id=row["consent_id"],
        what=What(row["what"]),
        how=How(row["how"]),
        at=row["at"],
        phone_hash=row["phone_hash"].hex() if row["phone_hash"] else None,
        message_sid=row["message_sid"],
    )


_RECORD = """
INSERT INTO consents (user_id, what, how, at, phone_hash, message_sid) VALUES ($1, $2, $3, $4, $5, $6)
"""

_PAGE = """
SELECT consent_id, what, how, at, phone_hash, message_sid FROM consents
WHERE user_id = $1 AND ($2::timestamptz IS NULL OR (at, consent_id) > ($2, $3::uuid))
ORDER BY at, consent_id LIMIT $4
"""

_MAKE_ANONYMOUS = """
UPDATE consents SET phone_hash = NULL, message_sid = NULL
WHERE user_id = $1 AND (phone_hash IS NOT NULL OR message_sid IS NOT NULL)
"""
