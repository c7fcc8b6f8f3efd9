"""Problems as pages: what went wrong and what to do, in the visitor's language."""

from http import HTTPStatus
from typing import Final

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from api import words
from api.pages.cookies import Cookies
from api.pages.drawing import draw
from api.pages.visits import LANGUAGE, sign_in_path
from api.problems import Problem
from common.events import Language

_FOR_PROGRAMS: Final = ("/api/", "/watch", "/static/", "/healthz", "/metrics", "/places", "/phone/state")
_TEXTS: Final = {
    HTTPStatus.FORBIDDEN: "form_refused",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "form_refused",
    HTTPStatus.TOO_MANY_REQUESTS: "too_many",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "outage",
    HTTPStatus.INTERNAL_SERVER_ERROR: "failure",
}


async def page_of(request: Request, problem: Problem) -> Response | None:
    """The page of a problem; None where a program asks. It needs no database: that may be what is wrong."""
    if request.url.path.startswith(_FOR_PROGRAMS) or "text/html" not in request.headers.get("accept", "text/html"):
        return None
    status = HTTPStatus(problem.details.status)
    if status is HTTPStatus.UNAUTHORIZED:
        return RedirectResponse(sign_in_path(request), status_code=HTTPStatus.SEE_OTHER)
    if status is HTTPStatus.UNPROCESSABLE_ENTITY:  # an address that cannot be one
        status = HTTPStatus.NOT_FOUND
    language = _language(request)
    said = words.SAID[language]
    text = _TEXTS.get(status) or ("not_found" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failure")
    wait = words.wait_of(int(problem.headers.get("Retry-After", 0)), language)
    context = {"said": said, "language": language, "text": getattr(said.problems, text), "wait": wait}
    page = draw(request, "problem.html", status, context)
    page.headers.update(problem.headers)
    return page


def _language(request: Request) -> Language:
    over_tls = request.app.state.services.settings.served_over_tls
    chosen = Cookies(request, over_tls).get(LANGUAGE)
    if chosen in set(Language):
        return Language(chosen)
    return words.language_of(request.headers.get("accept-language", ""))
