"""Passwords, access tokens, refresh tokens and keys."""

import asyncio
import datetime as dt
import hashlib
import hmac
import secrets
from typing import Final
from uuid import UUID, uuid4

import jwt
from pwdlib import PasswordHash

ACCESS_TOKEN_VALID_FOR: Final = dt.timedelta(minutes=15)
REFRESH_TOKEN_VALID_FOR: Final = dt.timedelta(days=30)
AT_ONCE: Final = 2  # an Argon2 hash takes 64 MiB and a core for some 50 ms


class Passwords:
    """Argon2 in threads, a few at a time: hashing must neither block the event loop nor fill the memory."""

    def __init__(self) -> None:
        self._argon2 = PasswordHash.recommended()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._of_nobody = self._argon2.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        async with self._turn:
            return await asyncio.to_thread(self._argon2.hash, password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password is right. None, for an unknown user, takes as long as a wrong password."""
        async with self._turn:
            right = await asyncio.to_thread(self._argon2.verify, password, password_hash or self._of_nobody)
        return right and password_hash is not None


class AccessTokens:
    """Short-lived signed tokens (JWT) that say who calls."""

    _issuer: Final = "itarent"
    _audience: Final = "itarent-api"
    _algorithm: Final = "HS256"

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def issue(self, user_id: UUID, now: dt.datetime) -> str:
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "iat": now,
            "exp": now + ACCESS_TOKEN_VALID_FOR,
            "jti": str(uuid4()),
        }
        return jwt.encode(claims, self._secret, self._algorithm)

    def user_of(self, token: str) -> UUID | None:
        """Whose token it is, or None where it is forged, expired or meant for somebody else."""
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[self._algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["iss", "aud", "sub", "iat", "exp"]},
            )
            return UUID(claims["sub"])
        except (jwt.InvalidTokenError, ValueError):
            return None


def new_refresh_token() -> str:
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """How a random secret is stored: it has entropy enough to need no salt."""
    return hashlib.sha256(secret.encode()).digest()


def is_key(given: str, key: str) -> bool:
    """Whether a key is the right one, in a time that does not tell how much of it is."""
    return hmac.compare_digest(digest(given), digest(key))
