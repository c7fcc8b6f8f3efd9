"""A visit: who looks at a page, in which language, and the proof that a form is one of ours."""

import datetime as dt
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final, Self
from urllib.parse import quote, urlsplit
from uuid import UUID

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response
from itsdangerous import Signer

from api import words
from api.dependencies import Services, Wired
from api.pages.cookies import Cookies
from api.pages.drawing import draw
from api.problems import Problem
from api.security import REFRESH_TOKEN_VALID_FOR
from common.events import Language, Recipient

SESSION: Final = "session"
FORMS: Final = "forms"
LANGUAGE: Final = "language"
NOTICE: Final = "notice"
YEAR_S: Final = 365 * 24 * 3600


@dataclass(frozen=True)
class Visit:
    """Somebody looks at a page; `renter` is None where nobody is signed in."""

    request: Request
    services: Services
    cookies: Cookies
    language: Language
    renter: Recipient | None
    sign_in_id: UUID | None

    @property
    def said(self) -> words.Said:
        return words.SAID[self.language]

    @property
    def here(self) -> str:
        """The page that is looked at, to come back to it."""
        return path_of(self.request) if self.request.method == "GET" else self.request.url.path

    @property
    def time_zone(self) -> str:
        return self.renter.time_zone if self.renter else "Europe/Rome"

    def moment(self, at: dt.datetime) -> str:
        return words.moment_of(at, self.time_zone, self.language)

    def time(self, at: dt.datetime) -> str:
        return words.time_of(at, self.time_zone, self.language)

    @property
    def form_token(self) -> str:
        """What a form of this visit carries: of this browser, and of whoever is signed in."""
        browser = self.cookies.get(FORMS) or self._begin()
        return _signer(self.services).get_signature(self._signed(browser)).decode()

    def is_own_form(self, token: str) -> bool:
        browser = self.cookies.get(FORMS)
        return browser is not None and _signer(self.services).verify_signature(self._signed(browser), token)

    def _begin(self) -> str:
        browser = getattr(self.request.state, "browser", None) or secrets.token_urlsafe(16)
        self.request.state.browser = browser
        self.cookies.set(FORMS, browser)
        return str(browser)

    def _signed(self, browser: str) -> str:
        return f"{browser}/{self.renter.user_id if self.renter else ''}"

    def page(self, template: str, status: HTTPStatus = HTTPStatus.OK, **context: Any) -> Response:  # noqa: ANN401
        """A page with the words of the visitor's language."""
        notice = self.cookies.get(NOTICE)
        if notice:
            self.cookies.drop(NOTICE)
        return draw(
            self.request,
            template,
            status,
            {
                "visit": self,
                "said": self.said,
                "language": self.language,
                "renter": self.renter,
                "notice": getattr(self.said.notices, notice, None) if notice else None,
                **context,
            },
        )

    def go(self, path: str, notice: str | None = None) -> Response:
        """Go on to another page of ours, which shows the notice once."""
        if notice:
            self.cookies.set(NOTICE, notice, max_age=60)
        return RedirectResponse(path, status_code=HTTPStatus.SEE_OTHER)

    def sign_in(self, refresh_token: str) -> None:
        """Begin the session of whoever has just proven who they are; forms from before are worth nothing."""
        self.cookies.set(SESSION, refresh_token, max_age=int(REFRESH_TOKEN_VALID_FOR.total_seconds()))
        self.cookies.drop(FORMS)

    async def sign_out(self) -> None:
        if token := self.cookies.get(SESSION):
            await self.services.accounts.end(token)
        self.cookies.drop(SESSION)
        self.cookies.drop(FORMS)


@dataclass(frozen=True)
class Member(Visit):
    """Somebody who is signed in looks at a page."""

    renter: Recipient

    @property
    def user_id(self) -> UUID:
        return self.renter.user_id

    @property
    def paused_until(self) -> dt.datetime | None:
        """Until when the renter wants no messages; None: there is no pause."""
        until = self.renter.paused_until
        return until if until and until > dt.datetime.now(dt.UTC) else None

    @classmethod
    def of(cls, visit: Visit, renter: Recipient) -> Self:
        return cls(visit.request, visit.services, visit.cookies, visit.language, renter, visit.sign_in_id)


def _signer(services: Services) -> Signer:
    return Signer(services.settings.jwt_secret.get_secret_value(), salt="itarent.forms")


async def visit_of(request: Request, services: Services) -> Visit:
    """Who visits, as the cookies say; the session goes on."""
    cookies = Cookies(request, services.settings.served_over_tls)
    renter, sign_in_id = await _renter(services, cookies)
    return Visit(request, services, cookies, _language(request, cookies, renter), renter, sign_in_id)


async def _renter(services: Services, cookies: Cookies) -> tuple[Recipient | None, UUID | None]:
    """Who is signed in, and by which sign-in."""
    token = cookies.get(SESSION)
    if not token:
        return None, None
    session = await services.browser_sessions.resume(token)
    renter = await services.recipients.of(session.user_id) if session else None
    if session is None or renter is None:
        cookies.drop(SESSION)
        return None, None
    if session.refresh_token != token:
        cookies.set(SESSION, session.refresh_token, max_age=int(REFRESH_TOKEN_VALID_FOR.total_seconds()))
    if cookies.get(LANGUAGE) != renter.language:
        cookies.set(LANGUAGE, renter.language, max_age=YEAR_S)  # for pages that know nobody
    return renter, session.sign_in_id


def _language(request: Request, cookies: Cookies, renter: Recipient | None) -> Language:
    if renter:
        return renter.language
    chosen = cookies.get(LANGUAGE)
    if chosen in set(Language):
        return Language(chosen)
    return words.language_of(request.headers.get("accept-language", ""))


async def _visit(request: Request, services: Wired) -> Visit:
    return await visit_of(request, services)


Visitor = Annotated[Visit, Depends(_visit)]
"""Whoever visits, signed in or not."""


def _member(visit: Visitor) -> Member:
    if visit.renter is None:
        raise Problem(HTTPStatus.UNAUTHORIZED, "Sign in first.", kind="sign-in-first")
    return Member.of(visit, visit.renter)


SignedIn = Annotated[Member, Depends(_member)]
"""Whoever is signed in; others are sent to the sign-in page, and come back after it."""


def sign_in_path(request: Request) -> str:
    """Where to sign in, and then come back to the page that was asked for."""
    if request.method != "GET":
        return "/sign-in"
    path = path_of(request)
    return f"/sign-in?next={quote(path, safe='/')}" if path != "/" else "/sign-in"


def path_of(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def own_path(path: str) -> str:
    """A path of ours to go on to; whatever leads elsewhere becomes the start page."""
    try:
        parts = urlsplit(path)
    except ValueError:  # brackets that close no address
        return "/"
    leads_elsewhere = parts.scheme or parts.netloc or not path.startswith("/") or path.startswith(("//", "/\\"))
    return "/" if leads_elsewhere or not path.isprintable() or "\\" in path else path
