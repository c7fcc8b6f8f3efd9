"""Passwords, access tokens, refresh tokens, keys and pseudonyms."""

import asyncio
import datetime as dt
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import Final
from uuid import UUID, uuid4

import jwt
from pwdlib import PasswordHash

ACCESS_TOKEN_VALID_FOR: Final = dt.timedelta(minutes=15)
REFRESH_TOKEN_VALID_FOR: Final = dt.timedelta(days=30)
AT_ONCE: Final = 2  # an Argon2 hash takes 64 MiB and a core for some 50 ms
LONGEST_TOKEN: Final = 8192


class Passwords:
    """Argon2 in threads, a few at a time: hashing must neither block the event loop nor fill the memory."""

    def __init__(self, argon2: PasswordHash | None = None) -> None:
        self._argon2 = argon2 or PasswordHash.recommended()
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


class TokenFault(Enum):
    """What is wrong with a token, as far as its bearer may know: more is said only when the signature is right."""

    MALFORMED = "It is not a JWT that could be one of ours."
    UNVERIFIED = "Its signature, algorithm or key is not one that is accepted here."
    FOREIGN = "It was issued by somebody else, or for somebody else."
    INCOMPLETE = "A claim that is required is missing or makes no sense."
    NOT_YET = "It is not valid yet: compare the clocks."
    EXPIRED = "It has expired: refresh it."
    ENDED = "Its sign-in has ended, or its account has gone: sign in again."


_FAULTS: Final = (
    (jwt.ExpiredSignatureError, TokenFault.EXPIRED),
    (jwt.ImmatureSignatureError, TokenFault.NOT_YET),
    ((jwt.InvalidAudienceError, jwt.InvalidIssuerError), TokenFault.FOREIGN),
    ((jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError), TokenFault.UNVERIFIED),
    (jwt.DecodeError, TokenFault.MALFORMED),  # after the bad signature, which is one as well
    (jwt.InvalidTokenError, TokenFault.INCOMPLETE),
)

NO_TOKEN: Final = (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading a token can raise; the last ones come from JSON that was made to."""


def fault_of(error: Exception) -> TokenFault:
    """What an error of `NO_TOKEN` says about the token."""
    return next((fault for kinds, fault in _FAULTS if isinstance(error, kinds)), TokenFault.MALFORMED)


def algorithm_of(token: str) -> str | None:
    """The algorithm that a token names in its unverified header: who is to verify it, never how."""
    if len(token) > LONGEST_TOKEN:
        return None
    try:
        return str(jwt.get_unverified_header(token)["alg"])
    except (*NO_TOKEN, KeyError):
        return None


@dataclass(frozen=True)
class OwnToken:
    """What an access token of ours says."""

    user_id: UUID
    sign_in_id: UUID


class AccessTokens:
    """Short-lived signed tokens (JWT) that say who calls, and in which sign-in."""

    algorithm: Final = "HS256"
    _issuer: Final = "itarent"
    _audience: Final = "itarent-api"

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def issue(self, user_id: UUID, sign_in_id: UUID, now: dt.datetime) -> str:
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": str(user_id),
            "sid": str(sign_in_id),
            "iat": now,
            "exp": now + ACCESS_TOKEN_VALID_FOR,
            "jti": str(uuid4()),
        }
        return jwt.encode(claims, self._secret, self.algorithm)

    def read(self, token: str) -> OwnToken | TokenFault:
        """What a token says, once it is known to be ours and valid now."""
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[self.algorithm],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["iss", "aud", "sub", "sid", "iat", "exp"]},
            )
        except NO_TOKEN as error:
            return fault_of(error)
        try:
            return OwnToken(UUID(claims["sub"]), UUID(claims["sid"]))
        except (ValueError, TypeError, AttributeError):
            return TokenFault.INCOMPLETE


def new_refresh_token() -> str:
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """How a random secret is stored: it has entropy enough to need no salt."""
    return hashlib.sha256(secret.encode()).digest()


def is_key(given: str, key: str) -> bool:
    """Whether a key is the right one, in a time that does not tell how much of it is."""
    return hmac.compare_digest(digest(given), digest(key))


class Pseudonyms:
    """Keyed hashes of what is easily guessed: without the key, all phone numbers there are can be tried in an hour."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def of_phone(self, phone: str) -> bytes:
        return self._hash(f"phone/{phone}")

    def of_identity(self, issuer: str, subject: str) -> bytes:
        return self._hash(f"identity/{len(issuer)}/{issuer}/{subject}")

    def _hash(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode(), "sha256")
