"""Problem details (RFC 9457): every error over HTTP says what is wrong, where, and what is allowed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import asyncpg
import structlog
from aiokafka.errors import KafkaError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from common.postgres import CONNECTION_LOST

log = structlog.get_logger()

MEDIA_TYPE: Final = "application/problem+json"
MOST_FAULTS: Final = 100
RETRY_AFTER_OUTAGE_S: Final = 5


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str | None = None
    """Where in the body, a JSON pointer (RFC 6901); empty is the body itself."""
    parameter: str | None = None
    """Which parameter of the address."""
    detail: str


class ProblemDetails(BaseModel):
    """The body of an error, of media type `application/problem+json`."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] | None = None


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """An error that is answered as problem details; `kind` is the last part of its type URI."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        kind: str | None = None,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.details = ProblemDetails(
            type=f"urn:itarent:problem:{kind}" if kind else "about:blank",
            title=status.phrase,
            status=status,
            detail=detail,
            errors=list(errors) or None,
        )
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        return JSONResponse(
            self.details.model_dump(exclude_none=True),
            status_code=self.details.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


def unknown(what: str) -> Problem:
    """What does not exist, or belongs to somebody else: the two cannot be told apart from outside."""
    return Problem(HTTPStatus.NOT_FOUND, f"You have no such {what}.")


def invalid_body(error: ValidationError, document: object) -> Problem:
    """The faults of a body, given the document that was sent, or None where it is not JSON at all."""
    faults = error.errors(include_url=False, include_input=False)
    if faults[0]["type"] == "json_invalid":
        return Problem(
            HTTPStatus.BAD_REQUEST, f"The body is not valid JSON: {faults[0]['ctx']['error']}.", kind="not-json"
        )
    places = [fault["loc"] for fault in faults]
    telling = [fault for fault in faults if not _follows_from_another(fault, places)]
    return invalid([Fault(pointer=_pointer(fault["loc"], document), detail=_sentence(fault)) for fault in telling])


def invalid(faults: Sequence[Fault]) -> Problem:
    """A body that is JSON and cannot be taken."""
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, _counted(len(faults)), kind="invalid-body", errors=faults[:MOST_FAULTS]
    )


def _counted(faults: int) -> str:
    shown = f"; the first {MOST_FAULTS} are listed" if faults > MOST_FAULTS else ""
    return f"The body has {faults} {'fault' if faults == 1 else 'faults'}{shown}."


def _follows_from_another(fault: ErrorDetails, places: Sequence[tuple[int | str, ...]]) -> bool:
    """A list whose only item is wrong is also called too short, which would mislead."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(other[: len(place)] == place != other for other in places)


def _sentence(fault: ErrorDetails) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return "There is no such field: check its spelling."
        case "missing":
            return "This field is required."
        case "too_short" if fault["ctx"]["field_type"] == "Tuple":
            return f"At least {fault['ctx']['min_length']} is required."
        case _:
            return f"{fault['msg'].removeprefix('Value error, ')}."


def _pointer(place: tuple[int | str, ...], document: object) -> str:
    """A pydantic location as a JSON pointer: tags of unions are in the one and not in the other."""
    parts: list[str] = []
    for index, part in enumerate(place):
        last = index == len(place) - 1
        if isinstance(document, dict) and isinstance(part, str):
            if part not in document and (not last or part == document.get("kind")):
                continue
            document = document.get(part)
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
        parts.append(str(part))
    return "".join(f"/{escaped(part)}" for part in parts)


def escaped(name: str) -> str:
    """A part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


Show: TypeAlias = Callable[[Request, Problem], Awaitable[Response | None]]
"""Shows a problem to a person, or leaves it to the API."""


def install(app: FastAPI, show: Show) -> None:
    """Answer every error of an application: by a page where `show` has one, else with problem details."""

    async def answer(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.details.status == HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers["Allow"] = ", ".join(methods_at(request))
        return await show(request, problem) or problem.response()

    for kind in (
        Problem,
        HTTPException,
        RequestValidationError,
        asyncpg.ForeignKeyViolationError,
        *_OUTAGES,
        Exception,
    ):
        app.add_exception_handler(kind, answer)


def methods_at(request: Request) -> list[str]:
    """The methods that an address takes: several routes share one, and the router names those of the first only."""
    routes = [context.original_route for context in iter_route_contexts(request.app.routes)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in here for method in getattr(route, "methods", None) or _OF_FILES})


_OF_FILES: Final = ("GET", "HEAD")
_HINTS: Final[Mapping[int, str]] = {
    404: "There is nothing at this address.",
    405: "This address does not take this method; Allow names those that it takes.",
}
_OUTAGES: Final = (*CONNECTION_LOST, KafkaError, TimeoutError)


def problem_of(error: Exception) -> Problem:
    """What is answered to an error."""
    match error:
        case Problem():
            return error
        case HTTPException():
            detail = _HINTS.get(error.status_code, str(error.detail))
            return Problem(HTTPStatus(error.status_code), detail, headers=error.headers)
        case RequestValidationError():
            return _invalid_parameters(error)
        case asyncpg.ForeignKeyViolationError():
            # Our rows refer to accounts and sign-ins only: this one ended while the request was under way.
            return Problem(
                HTTPStatus.UNAUTHORIZED,
                "Your sign-in has ended, or your account has gone: sign in again.",
                kind="token-ended",
                headers={"WWW-Authenticate": 'Bearer realm="itarent", error="invalid_token"'},
            )
        case _ if isinstance(error, _OUTAGES):
            log.warning("a request met an outage", error=type(error).__name__)
            return Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "A part of the system does not answer. Nothing was changed unless you are told so; try again soon.",
                kind="outage",
                headers={"Retry-After": str(RETRY_AFTER_OUTAGE_S)},
            )
        case _:
            return Problem(
                HTTPStatus.INTERNAL_SERVER_ERROR, "We made a mistake. It has been recorded; trying again may help."
            )


def _invalid_parameters(error: RequestValidationError) -> Problem:
    faults = [Fault(parameter=str(fault["loc"][-1]), detail=_sentence(fault)) for fault in error.errors()]
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "A parameter of the address is not allowed.",
        kind="invalid-parameter",
        errors=faults,
    )


MEANINGS: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.FORBIDDEN: "You may not do this.",
    HTTPStatus.NOT_FOUND: "There is no such thing, or it is somebody else's.",
    HTTPStatus.CONFLICT: "What is there already does not allow it.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many of these: `Retry-After` says when to try again.",
    HTTPStatus.BAD_REQUEST: "The body is not JSON.",
    HTTPStatus.UNAUTHORIZED: "No valid credentials came with the request.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not declared as JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request is understood and not allowed: `errors` says what, and where.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A part of the system does not answer: `Retry-After` says when to try again.",
}
WITH_RETRY_AFTER: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
RETRY_AFTER: Final = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}}


def may_answer(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that refuses with these statuses for reasons of its own."""
    return {status: documented(HTTPStatus(status)) for status in statuses}


def documented(status: HTTPStatus) -> dict[str, Any]:
    """A response with problem details, for the OpenAPI description."""
    described: dict[str, Any] = {
        "description": MEANINGS[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
    return described | ({"headers": RETRY_AFTER} if status in WITH_RETRY_AFTER else {})
