"""Accounts: who may sign in, and the refresh tokens of each sign-in."""

from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg

from api.recipients import Recipients
from api.security import REFRESH_TOKEN_VALID_FOR, digest, new_refresh_token
from common.events import Language, Recipient


@dataclass(frozen=True)
class Account:
    user_id: UUID
    password_hash: str


@dataclass(frozen=True)
class Session:
    """A sign-in that goes on: the refresh token is good for one use."""

    user_id: UUID
    refresh_token: str


class Accounts:
    def __init__(self, pool: asyncpg.Pool, recipients: Recipients) -> None:
        self._pool = pool
        self._recipients = recipients

    async def register(self, email: str, password_hash: str, language: Language, time_zone: str) -> UUID | None:
        """Create an account with its recipient; None where the e-mail address has one."""
        user_id = uuid4()
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(_REGISTER, user_id, email, password_hash):
                return None
            recipient = Recipient(user_id=user_id, revision=1, language=language, time_zone=time_zone)
            await self._recipients.create(connection, recipient)
        return user_id

    async def account_of(self, email: str) -> Account | None:
        row = await self._pool.fetchrow(_ACCOUNT, email)
        return Account(row["user_id"], row["password_hash"]) if row else None

    async def email_of(self, user_id: UUID) -> str | None:
        email: str | None = await self._pool.fetchval(_EMAIL, user_id)
        return email

    async def open_session(self, user_id: UUID) -> Session:
        """Begin a new family of refresh tokens."""
        token = new_refresh_token()
        await self._pool.execute(_BEGIN, digest(token), uuid4(), user_id, REFRESH_TOKEN_VALID_FOR)
        return Session(user_id, token)

    async def continue_session(self, refresh_token: str) -> Session | None:
        """Exchange a refresh token for the next one; None where it is not valid.

        A token that was used before has been stolen, or its successor has: the whole family ends.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            used = await connection.fetchrow(_CONTINUE, digest(refresh_token))
            if used is None:
                await connection.execute(_END_FAMILY_OF, digest(refresh_token))
                return None
            token = new_refresh_token()
            await connection.execute(_BEGIN, digest(token), used["family"], used["user_id"], REFRESH_TOKEN_VALID_FOR)
        return Session(used["user_id"], token)


_REGISTER = """
INSERT INTO users (user_id, email, password_hash) VALUES ($1, $2, $3) ON CONFLICT (email) DO NOTHING RETURNING true
"""

_ACCOUNT = "SELECT user_id, password_hash FROM users WHERE email = $1"

_EMAIL = "SELECT email FROM users WHERE user_id = $1"

_BEGIN = """
INSERT INTO refresh_tokens (token_hash, family, user_id, expires_at) VALUES ($1, $2, $3, now() + $4::interval)
"""

_CONTINUE = """
UPDATE refresh_tokens SET used_at = now() WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()
RETURNING family, user_id
"""

_END_FAMILY_OF = """
DELETE FROM refresh_tokens WHERE family = (SELECT family FROM refresh_tokens WHERE token_hash = $1)
"""
