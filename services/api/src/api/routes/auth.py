"""Register, sign in, stay signed in, and sign out."""

import datetime as dt
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from api import rates
from api.accounts import SignIn as Begun
from api.bodies import Body
from api.dependencies import CHALLENGE, Services, User, Wired
from api.problems import Problem, may_answer
from api.routes.me import NewPassword, Password, TimeZone
from api.security import ACCESS_TOKEN_VALID_FOR
from common.events import Language
from common.model import Request as Sent

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])

_BARRED: Final = "@\\s\\x00-\\x1f\\x7f-\\x9f\N{ZERO WIDTH NO-BREAK SPACE}"
"""From an address; programs do not agree whether `\\s` means the controls and U+FEFF."""

Email = Annotated[
    str,
    Field(max_length=254, pattern=rf"^[^{_BARRED}]+@[^{_BARRED}]+\.[^{_BARRED}.]+$"),
    AfterValidator(lambda email: email.casefold()),
]


class Registration(Sent):
    email: Email
    password: NewPassword
    language: Language = Language.ITALIAN
    time_zone: TimeZone = "Europe/Rome"


class SignIn(Sent):
    email: Email
    password: Password


class RefreshToken(Sent):
    refresh_token: SecretStr = Field(max_length=200)


class Tokens(BaseModel):
    """An access token for the next minutes, and a refresh token that is good for one use."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the type's name
    expires_in: int = Field(description="seconds")
    refresh_token: str


@router.post("/register", status_code=HTTPStatus.CREATED, responses=may_answer(409, 429))
async def register(request: Request, services: Wired, sent: Annotated[Registration, Body(Registration)]) -> Tokens:
    """Create an account, which accepts the terms, and sign in."""
    await services.rates.spend(rates.REGISTRATIONS_OF_ADDRESS, _network(request))
    password_hash = await services.passwords.hash(sent.password.get_secret_value())
    now = dt.datetime.now(dt.UTC)
    user_id = await services.accounts.register(sent.email, password_hash, sent.language, sent.time_zone, now)
    if user_id is None:
        raise Problem(HTTPStatus.CONFLICT, "This e-mail address has an account: sign in.", kind="email-taken")
    return _tokens(services, await services.accounts.begin(user_id))


@router.post("/token", responses=may_answer(401, 429))
async def sign_in(request: Request, services: Wired, sent: Annotated[SignIn, Body(SignIn)]) -> Tokens:
    """Exchange e-mail and password for tokens."""
    await services.rates.spend(rates.SIGN_INS_OF_ADDRESS, _network(request))
    await services.rates.spend(rates.SIGN_INS_OF_EMAIL_AND_ADDRESS, sent.email, _network(request))
    await services.rates.spend(rates.SIGN_INS_OF_EMAIL, sent.email)
    account = await services.accounts.with_email(sent.email)
    password_hash = account.password_hash if account else None
    if not await services.passwords.verify(sent.password.get_secret_value(), password_hash) or account is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "The e-mail address or the password is wrong.",
            kind="wrong-credentials",
            headers={"WWW-Authenticate": CHALLENGE},
        )
    return _tokens(services, await services.accounts.begin(account.user_id))


@router.post("/refresh", responses=may_answer(401, 429))
async def refresh(request: Request, services: Wired, sent: Annotated[RefreshToken, Body(RefreshToken)]) -> Tokens:
    """Exchange a refresh token for new tokens. Using one twice ends the sign-in that it belongs to."""
    await services.rates.spend(rates.REFRESHES_OF_ADDRESS, _network(request))
    begun = await services.accounts.go_on(sent.refresh_token.get_secret_value())
    if begun is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "The refresh token is not valid, or no longer: sign in again.",
            kind="refresh-refused",
            headers={"WWW-Authenticate": CHALLENGE},
        )
    return _tokens(services, begun)


@router.post("/sign-out", status_code=HTTPStatus.NO_CONTENT)
async def sign_out(services: Wired, sent: Annotated[RefreshToken, Body(RefreshToken)]) -> None:
    """End the sign-in that a refresh token belongs to, with its access tokens; one that has ended stays ended."""
    await services.accounts.end(sent.refresh_token.get_secret_value())


@router.post("/sign-out/everywhere", status_code=HTTPStatus.NO_CONTENT)
async def sign_out_everywhere(services: Wired, user_id: User) -> None:
    """End every sign-in of the caller, this one too."""
    await services.accounts.end_all(user_id)


_EXPIRES_IN: Final = int(ACCESS_TOKEN_VALID_FOR.total_seconds())


def _tokens(services: Services, begun: Begun) -> Tokens:
    access_token = services.tokens.issue(begun.user_id, begun.sign_in_id, dt.datetime.now(dt.UTC))
    return Tokens(access_token=access_token, expires_in=_EXPIRES_IN, refresh_token=begun.refresh_token)


def _network(request: Request) -> str:
    return rates.network_of(request.client.host) if request.client else "unknown"
