"""What routes need: the parts that `main` has wired, and who calls."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final, cast
from uuid import UUID

import asyncpg
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.accounts import Accounts
from api.activity import Activity
from api.bearers import Bearer, Bearers
from api.browser_sessions import BrowserSessions
from api.consents import Consents
from api.erasure import Erasure
from api.export import Exports
from api.flat_choices import FlatChoices
from api.forecasts import Forecasts
from api.issuer import IssuerAwayError
from api.phone_links import PhoneLinks
from api.previews import Previews
from api.problems import RETRY_AFTER_OUTAGE_S, Problem
from api.rates import RateLimits
from api.recent import RecentListings
from api.recipients import Recipients
from api.security import AccessTokens, Passwords, TokenFault
from api.settings import ApiSettings
from api.statistics import Statistics
from api.subscriptions import Subscriptions
from api.watch import Watch
from common.events import Recipient
from common.kafka import Publisher
from common.links import Links


@dataclass(frozen=True)
class Services:
    """Everything that routes use, connected."""

    settings: ApiSettings
    pool: asyncpg.Pool
    publisher: Publisher
    accounts: Accounts
    browser_sessions: BrowserSessions
    consents: Consents
    erasure: Erasure
    exports: Exports
    recipients: Recipients
    subscriptions: Subscriptions
    phones: PhoneLinks
    choices: FlatChoices
    activity: Activity
    statistics: Statistics
    recent: RecentListings
    previews: Previews
    watch: Watch
    forecasts: Forecasts
    rates: RateLimits
    passwords: Passwords
    tokens: AccessTokens
    bearers: Bearers
    links: Links


def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


Wired = Annotated[Services, Depends(_services)]

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


async def _bearer(services: Wired, credentials: Credentials) -> Bearer:
    if credentials is None:
        raise not_signed_in()
    try:
        bearer = await services.bearers.bearer_of(credentials.credentials)
    except IssuerAwayError:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The issuer of your token cannot be asked for its keys at the moment; try again soon.",
            kind="issuer-away",
            headers={"Retry-After": str(RETRY_AFTER_OUTAGE_S)},
        ) from None
    if isinstance(bearer, TokenFault):
        raise token_refused(bearer)
    return bearer


def not_signed_in() -> Problem:
    """Nothing says who calls."""
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "Send a valid access token: Authorization: Bearer <token>. POST /api/v1/auth/token gives one.",
        kind="not-signed-in",
        headers={"WWW-Authenticate": CHALLENGE},
    )


def token_refused(fault: TokenFault) -> Problem:
    """A token that says nothing, and what is wrong with it (RFC 6750)."""
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        f"The access token is not accepted. {fault.value}",
        kind=f"token-{fault.name.lower().replace('_', '-')}",
        headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token", error_description="{fault.value}"'},
    )


CHALLENGE: Final = 'Bearer realm="itarent"'

SignedIn = Annotated[Bearer, Depends(_bearer)]
"""Who calls, and how they signed in; without a valid access token it is a 401."""


def _user(bearer: SignedIn) -> UUID:
    return bearer.user_id


User = Annotated[UUID, Depends(_user)]
"""The id of the user who calls; without a valid access token it is a 401."""


async def _caller(services: Wired, user_id: User) -> Recipient:
    recipient = await services.recipients.of(user_id)
    if recipient is None:
        raise token_refused(TokenFault.ENDED)
    return recipient


Caller = Annotated[Recipient, Depends(_caller)]
"""The user who calls, as a recipient; a token of an account that has gone is a 401."""
