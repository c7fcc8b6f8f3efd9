"""Who calls: the bearer of a token of ours, or of the external issuer's."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from api.accounts import Accounts
from api.issuer import ALGORITHMS, Identity, Issuer
from api.security import AccessTokens, TokenFault, algorithm_of


@dataclass(frozen=True)
class Bearer:
    """A user who is signed in."""

    user_id: UUID
    sign_in_id: UUID | None = None
    """Ours; None where the external issuer keeps it."""
    signed_in_at: dt.datetime | None = None
    """When the external issuer last asked who it is; None where we can ask for the password."""


class Bearers:
    """Reads tokens. Which one is whose follows from the algorithm, each verifier takes its own algorithms only."""

    def __init__(self, accounts: Accounts, tokens: AccessTokens, issuer: Issuer | None) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._issuer = issuer

    async def bearer_of(self, token: str) -> Bearer | TokenFault:
        """Who bears a token; the first token of an external identity opens its account.

        Raises:
            IssuerAwayError: the external issuer cannot be asked about this one.
        """
        algorithm = algorithm_of(token)
        if algorithm is None:
            return TokenFault.MALFORMED
        if algorithm == self._tokens.algorithm:
            return await self._of_own(token)
        if self._issuer and algorithm in ALGORITHMS:
            return await self._of_issuer(self._issuer, token)
        return TokenFault.UNVERIFIED

    async def _of_own(self, token: str) -> Bearer | TokenFault:
        own = self._tokens.read(token)
        if isinstance(own, TokenFault):
            return own
        lasts = await self._accounts.lasts(own.sign_in_id, own.user_id)
        return Bearer(own.user_id, own.sign_in_id) if lasts else TokenFault.ENDED

    async def _of_issuer(self, issuer: Issuer, token: str) -> Bearer | TokenFault:
        identity = await issuer.identify(token)
        if not isinstance(identity, Identity):
            return identity
        user_id = await self._accounts.of_identity(identity, dt.datetime.now(dt.UTC))
        return Bearer(user_id, signed_in_at=identity.signed_in_at) if user_id else TokenFault.ENDED
