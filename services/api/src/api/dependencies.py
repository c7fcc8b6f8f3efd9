"""What routes need: the parts that `main` has wired, and who calls."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, cast
from uuid import UUID

import asyncpg
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.accounts import Accounts
from api.activity import Activity
from api.consents import Consents
from api.phone_links import PhoneLinks
from api.problems import Problem
from api.rates import RateLimits
from api.recipients import Recipients
from api.security import AccessTokens, Passwords
from api.settings import ApiSettings
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
    consents: Consents
    recipients: Recipients
    subscriptions: Subscriptions
    phones: PhoneLinks
    activity: Activity
    watch: Watch
    rates: RateLimits
    passwords: Passwords
    tokens: AccessTokens
    links: Links


def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


Wired = Annotated[Services, Depends(_services)]

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def _user(services: Wired, credentials: Credentials) -> UUID:
    user_id = services.tokens.user_of(credentials.credentials) if credentials else None
    if user_id is None:
        raise not_signed_in()
    return user_id


def not_signed_in() -> Problem:
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "Send a valid access token: Authorization: Bearer <token>. POST /api/v1/auth/token gives one.",
        kind="not-signed-in",
        headers={"WWW-Authenticate": "Bearer"},
    )


User = Annotated[UUID, Depends(_user)]
"""The id of the user who calls; without a valid access token it is a 401."""


async def _caller(services: Wired, user_id: User) -> Recipient:
    recipient = await services.recipients.of(user_id)
    if recipient is None:
        raise not_signed_in()
    return recipient


Caller = Annotated[Recipient, Depends(_caller)]
"""The user who calls, as a recipient; a token of an account that has gone is a 401."""
