"""Register, sign in, and stay signed in."""

import datetime as dt
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from api import rates
from api.accounts import SignIn as Begun
from api.bodies import Body
from api.dependencies import Services, Wired
from api.problems import Problem
from api.routes.me import TimeZone
from api.security import ACCESS_TOKEN_VALID_FOR
from common.events import Language
from common.model import Request as Sent

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])

Email = Annotated[
    str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s.]+$"), AfterValidator(lambda email: email.casefold())
]


class Registration(Sent):
    email: Email
    password: SecretStr = Field(min_length=10, max_length=128)
    language: Language = Language.ITALIAN
    time_zone: TimeZone = "Europe/Rome"


class SignIn(Sent):
    email: Email
    password: SecretStr = Field(max_length=128)


class Refresh(Sent):
    refresh_token: str = Field(max_length=200)


class Tokens(BaseModel):
    """An access token for the next minutes, and a refresh token that is good for one use."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the type's name
    expires_in: int = Field(description="seconds")
    refresh_token: str


@router.post("/register", status_code=HTTPStatus.CREATED)
async def register(request: Request, services: Wired, sent: Annotated[Registration, Body(Registration)]) -> Tokens:
    """Create an account and sign in."""
    await services.rates.spend(rates.REGISTRATIONS_OF_ADDRESS, _address(request))
    password_hash = await services.passwords.hash(sent.password.get_secret_value())
    user_id = await services.accounts.register(
        sent.email, password_hash, sent.language, sent.time_zone, dt.datetime.now(dt.UTC)
    )
    if user_id is None:
        raise Problem(HTTPStatus.CONFLICT, "This e-mail address has an account: sign in.", kind="email-taken")
    return _tokens(services, await services.accounts.begin(user_id))


@router.post("/token")
async def sign_in(request: Request, services: Wired, sent: Annotated[SignIn, Body(SignIn)]) -> Tokens:
    """Exchange e-mail and password for tokens."""
    await services.rates.spend(rates.SIGN_INS_OF_ADDRESS, _address(request))
    await services.rates.spend(rates.SIGN_INS_OF_EMAIL, sent.email, _address(request))
    account = await services.accounts.with_email(sent.email)
    password_hash = account.password_hash if account else None
    if not await services.passwords.verify(sent.password.get_secret_value(), password_hash) or account is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "The e-mail address or the password is wrong.",
            kind="wrong-credentials",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return _tokens(services, await services.accounts.begin(account.user_id))


@router.post("/refresh")
async def refresh(services: Wired, sent: Annotated[Refresh, Body(Refresh)]) -> Tokens:
    """Exchange a refresh token for new tokens. Using one twice ends the sign-in that it belongs to."""
    begun = await services.accounts.go_on(sent.refresh_token)
    if begun is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "The refresh token is not valid, or no longer: sign in again.",
            kind="refresh-refused",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return _tokens(services, begun)


_EXPIRES_IN: Final = int(ACCESS_TOKEN_VALID_FOR.total_seconds())


def _tokens(services: Services, begun: Begun) -> Tokens:
    access_token = services.tokens.issue(begun.user_id, dt.datetime.now(dt.UTC))
    return Tokens(access_token=access_token, expires_in=_EXPIRES_IN, refresh_token=begun.refresh_token)


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
