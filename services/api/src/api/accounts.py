"""Accounts: who may sign in, and the refresh tokens of each sign-in."""

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg

from api.consents import Consents, How, What
from api.issuer import Identity
from api.recipients import Recipients
from api.security import REFRESH_TOKEN_VALID_FOR, Pseudonyms, digest, new_refresh_token
from common.events import Language, Recipient

if TYPE_CHECKING:
    from common.outbox import Connection


@dataclass(frozen=True)
class Account:
    """Who may sign in; `password_hash` is None where an external issuer vouches for them."""

    user_id: UUID
    email: str | None
    password_hash: str | None = field(repr=False)


@dataclass(frozen=True)
class SignIn:
    """A sign-in that goes on: the refresh token is good for one use."""

    sign_in_id: UUID
    user_id: UUID
    refresh_token: str = field(repr=False)


class Accounts:
    def __init__(self, pool: asyncpg.Pool, recipients: Recipients, consents: Consents, pseudonyms: Pseudonyms) -> None:
        self._pool = pool
        self._recipients = recipients
        self._consents = consents
        self._pseudonyms = pseudonyms

    async def register(
        self, email: str, password_hash: str, language: Language, time_zone: str, now: dt.datetime
    ) -> UUID | None:
        """Create an account with its recipient; None where the e-mail address has one."""
        recipient = Recipient(user_id=uuid4(), revision=1, language=language, time_zone=time_zone)
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(_REGISTER, recipient.user_id, email, password_hash):
                return None
            await self._open(connection, recipient, How.REGISTRATION, now)
        return recipient.user_id

    async def of_identity(self, identity: Identity, now: dt.datetime) -> UUID | None:
        """The account of an external identity, which is created at first sight; None where it was erased since.

        An e-mail address that another account has stays with that account: who owns it is not for the issuer to say.
        """
        if known := await self._known(self._pool, identity):
            return known
        recipient = Recipient(user_id=uuid4(), revision=1)
        async with self._pool.acquire() as connection, connection.transaction():
            if await connection.fetchval(_WAS_ERASED, self._hash_of(identity), identity.issued_at):
                return None
            for email in (identity.email, None):
                values = (recipient.user_id, email, identity.issuer, identity.subject)
                if await connection.fetchval(_REGISTER_IDENTITY, *values):
                    await self._open(connection, recipient, How.ISSUER, now)
                    return recipient.user_id
                if known := await self._known(connection, identity):  # another request was first
                    return known
        return None

    async def _known(self, connection: "Connection | asyncpg.Pool", identity: Identity) -> UUID | None:
        user_id: UUID | None = await connection.fetchval(_OF_IDENTITY, identity.issuer, identity.subject)
        return user_id

    def _hash_of(self, identity: Identity) -> bytes:
        return self._pseudonyms.of_identity(identity.issuer, identity.subject)

    async def _open(self, connection: "Connection", recipient: Recipient, how: How, now: dt.datetime) -> None:
        await self._recipients.create(connection, recipient)
        await self._consents.record(connection, recipient.user_id, What.TERMS_ACCEPTED, how, now)

    async def with_email(self, email: str) -> Account | None:
        row = await self._pool.fetchrow(f"{_ACCOUNT} WHERE email = $1", email)
        return _account(row) if row else None

    async def of(self, user_id: UUID) -> Account | None:
        row = await self._pool.fetchrow(f"{_ACCOUNT} WHERE user_id = $1", user_id)
        return _account(row) if row else None

    async def change_password(self, user_id: UUID, password_hash: str, *, keep: UUID | None) -> None:
        """Set a new password, and end every sign-in but the one that asked for it."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_CHANGE_PASSWORD, user_id, password_hash)
            await connection.execute(_END_OTHERS, user_id, keep)

    # --- sign-ins ---

    async def begin(self, user_id: UUID) -> SignIn:
        """Begin a sign-in."""
        async with self._pool.acquire() as connection, connection.transaction():
            sign_in_id = uuid4()
            await connection.execute(_BEGIN, sign_in_id, user_id)
            return await self._issue(connection, sign_in_id, user_id)

    async def go_on(self, refresh_token: str) -> SignIn | None:
        """Exchange a refresh token for the next one; None where it is not valid.

        A token that was used before has been stolen, or its successor has: the sign-in ends.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            used = await connection.fetchrow(_USE, digest(refresh_token))
            if used is None:
                await connection.execute(_END_IF_USED, digest(refresh_token))
                return None
            return await self._issue(connection, used["sign_in_id"], used["user_id"])

    async def lasts(self, sign_in_id: UUID, user_id: UUID) -> bool:
        """Whether a sign-in has not ended, and its account is there."""
        return await self._pool.fetchval(_LASTS, sign_in_id, user_id) is not None

    async def end(self, refresh_token: str) -> None:
        """End the sign-in that a refresh token belongs to, if there is one."""
        await self._pool.execute(_END, digest(refresh_token))

    async def end_all(self, user_id: UUID) -> None:
        """End every sign-in of a user."""
        await self._pool.execute(_END_ALL, user_id)

    async def _issue(self, connection: "Connection", sign_in_id: UUID, user_id: UUID) -> SignIn:
        token = new_refresh_token()
        await connection.execute(_ISSUE, digest(token), sign_in_id, REFRESH_TOKEN_VALID_FOR)
        return SignIn(sign_in_id, user_id, token)


def _account(row: asyncpg.Record) -> Account:
    return Account(row["user_id"], row["email"], row["password_hash"])


_REGISTER = """
INSERT INTO users (user_id, email, password_hash) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING RETURNING true
"""

_OF_IDENTITY = "SELECT user_id FROM users WHERE issuer = $1 AND subject = $2"

_REGISTER_IDENTITY = """
INSERT INTO users (user_id, email, issuer, subject) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING true
"""

_WAS_ERASED = "SELECT true FROM erased_identities WHERE identity_hash = $1 AND erased_at >= $2"

_ACCOUNT = "SELECT user_id, email, password_hash FROM users"

_CHANGE_PASSWORD = "UPDATE users SET password_hash = $2 WHERE user_id = $1"  # noqa: S105 - a statement

_BEGIN = "INSERT INTO sign_ins (sign_in_id, user_id) VALUES ($1, $2)"

_ISSUE = """
INSERT INTO refresh_tokens (token_hash, sign_in_id, expires_at) VALUES ($1, $2, now() + $3::interval)
"""

_USE = """
-- The sign-in is locked first, so that it cannot end while its next token is issued.
WITH going_on AS MATERIALIZED (
    SELECT sign_in_id, user_id FROM sign_ins
    WHERE sign_in_id = (SELECT sign_in_id FROM refresh_tokens WHERE token_hash = $1)
    FOR UPDATE
)
UPDATE refresh_tokens SET used_at = now() FROM going_on
WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()
RETURNING going_on.sign_in_id, user_id
"""

_END_IF_USED = """
DELETE FROM sign_ins WHERE sign_in_id = (
    SELECT sign_in_id FROM refresh_tokens WHERE token_hash = $1 AND used_at IS NOT NULL
)
"""

_LASTS = "SELECT true FROM sign_ins WHERE sign_in_id = $1 AND user_id = $2"

_END = "DELETE FROM sign_ins WHERE sign_in_id = (SELECT sign_in_id FROM refresh_tokens WHERE token_hash = $1)"

_END_ALL = "DELETE FROM sign_ins WHERE user_id = $1"

_END_OTHERS = "DELETE FROM sign_ins WHERE user_id = $1 AND sign_in_id IS DISTINCT FROM $2"
