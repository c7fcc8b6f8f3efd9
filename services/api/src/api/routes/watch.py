"""The watch page: one look at the whole system, for operators."""

from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Cookie, Depends, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from itsdangerous import BadData, URLSafeTimedSerializer
from sse_starlette import EventSourceResponse

from api.dependencies import Services, Wired
from api.problems import Problem, unknown
from api.security import is_key

router = APIRouter(prefix="/watch", include_in_schema=False)

COOKIE: Final = "itarent_watch"
SIGNED_IN_FOR_S: Final = 12 * 3600

_templates = Jinja2Templates(Path(__file__).parent.parent / "templates")


def _is_operator(services: Wired, cookie: Annotated[str | None, Cookie(alias=COOKIE)] = None) -> bool:
    try:
        _passes(services).loads(cookie or "", max_age=SIGNED_IN_FOR_S)
    except BadData:
        return False
    return True


IsOperator = Annotated[bool, Depends(_is_operator)]


def _operator(is_operator: IsOperator) -> None:
    if not is_operator:
        raise Problem(HTTPStatus.UNAUTHORIZED, "Open /watch?key=<the operator's key> first.", kind="not-an-operator")


def _passes(services: Services) -> URLSafeTimedSerializer:
    """Signs the cookie with the operator's key: a new key signs everybody out."""
    return URLSafeTimedSerializer(services.settings.operator_key.get_secret_value(), salt="watch")


@router.get("")
async def page(request: Request, services: Wired, is_operator: IsOperator, key: str | None = None) -> Response:
    if key is not None and is_key(key, services.settings.operator_key.get_secret_value()):
        return _let_in(services)
    if not is_operator:
        return _templates.TemplateResponse(request, "watch_closed.html", status_code=HTTPStatus.UNAUTHORIZED)
    return _templates.TemplateResponse(request, "watch.html")


def _let_in(services: Services) -> RedirectResponse:
    """Leave the key behind: it must not stay in the address bar."""
    response = RedirectResponse("/watch", status_code=HTTPStatus.SEE_OTHER)
    response.set_cookie(
        COOKIE,
        str(_passes(services).dumps("operator")),
        max_age=SIGNED_IN_FOR_S,
        path="/watch",
        httponly=True,
        samesite="strict",
        secure=services.settings.served_over_tls,
    )
    return response


@router.get("/events", dependencies=[Depends(_operator)])
async def events(services: Wired) -> EventSourceResponse:
    """Server-sent events: `flow`, `newest`, `ahead`, `outage`."""
    return EventSourceResponse(services.watch.events(), ping=15)


@router.get("/messages/{message_id}", dependencies=[Depends(_operator)])
async def story(services: Wired, message_id: UUID) -> dict[str, Any]:
    told = await services.watch.story_of(message_id)
    if told is None:
        raise unknown("message")
    return told
