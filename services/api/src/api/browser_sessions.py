"""Sign-ins of browsers: the cookie holds the refresh token, which is exchanged for the next one now and then."""

import datetime as dt
import hashlib
from typing import Final

import asyncpg
from itsdangerous import Signer

from api.accounts import Accounts, SignIn
from api.security import REFRESH_TOKEN_VALID_FOR, digest

RENEWED_AFTER: Final = dt.timedelta(minutes=15)
FORGIVEN_FOR: Final = dt.timedelta(seconds=30)
"""How long a token that was exchanged still counts: two tabs open at once, or an answer is lost on the way.

Its successor follows from it, so that both come to hold the same one: a sign-in never forks.
"""


class BrowserSessions:
    """Refresh tokens as `Accounts` issues them, used for many requests."""

    def __init__(self, pool: asyncpg.Pool, accounts: Accounts, secret: str) -> None:
        self._pool = pool
        self._accounts = accounts
        self._signer = Signer(secret, salt="itarent.browser-sessions", digest_method=hashlib.sha256)

    async def resume(self, token: str) -> SignIn | None:
        """Whose sign-in a token belongs to, and the token to hold from now on; None where it is not valid any more.

        A token that was exchanged a while ago has been stolen, or its successor has: the sign-in ends.
        """
        current = await self._pool.fetchrow(_CURRENT, digest(token), REFRESH_TOKEN_VALID_FOR, RENEWED_AFTER)
        if current is not None:
            return SignIn(current["sign_in_id"], current["user_id"], token)
        return await self._renew(token) or await self._accounts.go_on(token)

    async def _renew(self, token: str) -> SignIn | None:
        successor = self._signer.get_signature(token).decode()
        async with self._pool.acquire() as connection, connection.transaction():
            renewed = await connection.fetchrow(_RENEW, digest(token), FORGIVEN_FOR)
            if renewed is None:
                return None
            await connection.execute(_ISSUE, digest(successor), renewed["sign_in_id"], REFRESH_TOKEN_VALID_FOR)
        return SignIn(renewed["sign_in_id"], renewed["user_id"], successor)


_CURRENT = """
SELECT sign_in_id, user_id FROM refresh_tokens JOIN sign_ins USING (sign_in_id)
WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now() AND expires_at - $2::interval > now() - $3::interval
"""

_RENEW = """
-- The sign-in is locked first, so that it cannot end while its next token is issued.
WITH going_on AS MATERIALIZED (
    SELECT sign_in_id, user_id FROM sign_ins
    WHERE sign_in_id = (SELECT sign_in_id FROM refresh_tokens WHERE token_hash = $1)
    FOR UPDATE
)
UPDATE refresh_tokens SET used_at = coalesce(used_at, now()) FROM going_on
WHERE token_hash = $1 AND (used_at IS NULL OR used_at > now() - $2::interval) AND expires_at > now()
RETURNING going_on.sign_in_id, user_id
"""

_ISSUE = """
INSERT INTO refresh_tokens (token_hash, sign_in_id, expires_at) VALUES ($1, $2, now() + $3::interval)
ON CONFLICT (token_hash) DO NOTHING
"""
