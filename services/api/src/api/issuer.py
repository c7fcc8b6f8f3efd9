"""An external OIDC issuer: its tokens, verified with the keys that it publishes."""

import asyncio
import datetime as dt
import time
from dataclasses import dataclass
from typing import Any, Final

import jwt
import structlog
from jwt import PyJWK, PyJWKClient, PyJWKSet

from api.security import NO_TOKEN, TokenFault, fault_of

log = structlog.get_logger()

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric ones only: with a shared secret, the published key itself could sign."""

LEEWAY: Final = dt.timedelta(seconds=30)
KEYS_FRESH_FOR_S: Final = 600.0
ASK_AT_MOST_EVERY_S: Final = 30.0  # however many tokens name keys that nobody knows
ANSWER_WITHIN_S: Final = 5.0
LONGEST_SUBJECT: Final = 255  # OpenID Connect's own bound; it also says ASCII
LONGEST_EMAIL: Final = 254


class IssuerAwayError(Exception):
    """The issuer does not publish its keys at the moment, and this token names one that is not known yet."""


@dataclass(frozen=True)
class Identity:
    """Whom the issuer vouches for; `email` only where the issuer has verified it."""

    issuer: str
    subject: str
    email: str | None
    issued_at: dt.datetime
    signed_in_at: dt.datetime
    """When the person was last asked who they are, as far as the token says."""


class PublishedKeys:
    """The issuer's keys by their ids. Known keys go on to count while the issuer is away."""

    def __init__(self, url: str, *, ask_at_most_every_s: float = ASK_AT_MOST_EVERY_S) -> None:
        self._client = PyJWKClient(url, cache_jwk_set=False, timeout=ANSWER_WITHIN_S)
        self._ask_at_most_every_s = ask_at_most_every_s
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at = self._asked_at = float("-inf")
        self._one_asks = asyncio.Lock()

    async def key(self, key_id: str) -> PyJWK | None:
        """A key, or None if the issuer has none of that id.

        Raises:
            IssuerAwayError: nobody knows, since the issuer does not answer.
        """
        # Whoever finds a known key waits for nobody who asks.
        if key_id not in self._keys or (self._age() > KEYS_FRESH_FOR_S and not self._one_asks.locked()):
            async with self._one_asks:
                await self._ask()
        known = self._keys.get(key_id)
        if known is None and self._fetched_at < self._asked_at:
            raise IssuerAwayError
        return known

    def _age(self) -> float:
        return time.monotonic() - self._fetched_at

    async def _ask(self) -> None:
        if time.monotonic() - self._asked_at < self._ask_at_most_every_s:
            return
        self._asked_at = time.monotonic()
        try:
            published = PyJWKSet.from_dict(await asyncio.to_thread(self._client.fetch_data))
        except (jwt.PyJWTError, ValueError, OSError) as error:
            log.warning("the issuer's keys cannot be read", error=type(error).__name__)
            return
        self._keys = {key.key_id: key for key in published.keys if key.key_id and key.public_key_use in {"sig", None}}
        self._fetched_at = time.monotonic()


class Issuer:
    """Verifies tokens of one issuer that are meant for us."""

    def __init__(self, issuer: str, audience: str, keys: PublishedKeys) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys

    async def identify(self, token: str) -> Identity | TokenFault:
        """Whom a token vouches for.

        Raises:
            IssuerAwayError: it cannot be verified at the moment.
        """
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            key = await self._keys.key(key_id) if key_id else None
            if key is None:
                return TokenFault.UNVERIFIED
            return _identity(self._verified(token, key))
        except NO_TOKEN as error:
            return fault_of(error)

    def _verified(self, token: str, key: PyJWK) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=ALGORITHMS,
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY,
            options={"require": ["iss", "aud", "sub", "iat", "exp"]},
        )
        return claims


def _identity(claims: dict[str, Any]) -> Identity | TokenFault:
    subject: str = claims["sub"]
    if not (subject.isascii() and subject.isprintable() and 0 < len(subject) <= LONGEST_SUBJECT):
        return TokenFault.INCOMPLETE
    return Identity(
        issuer=claims["iss"],
        subject=subject,
        email=_verified_email(claims),
        issued_at=dt.datetime.fromtimestamp(int(claims["iat"]), dt.UTC),
        signed_in_at=dt.datetime.fromtimestamp(int(claims.get("auth_time", claims["iat"])), dt.UTC),
    )


def _verified_email(claims: dict[str, Any]) -> str | None:
    email = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(email, str):
        return None
    is_address = "@" in email and email.isprintable() and len(email) <= LONGEST_EMAIL
    return email.casefold() if is_address else None
