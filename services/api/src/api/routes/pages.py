"""Pages for people: what this is, and the flats of a message behind its link."""

from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

from api import words
from api.dependencies import Wired

router = APIRouter(include_in_schema=False)

_templates: Final = Jinja2Templates(Path(__file__).parent.parent / "templates")
_templates.env.globals["words"] = words


@router.get("/")
async def home(request: Request) -> Response:
    return _templates.TemplateResponse(request, "home.html")


@router.get("/m/{token}")
async def message(request: Request, services: Wired, token: str) -> Response:
    """All flats of a message, for whoever has its link."""
    message_id = services.links.message_of(token)
    told = await services.activity.message_page(message_id) if message_id else None
    if told is None or not told.items:
        return _no_message(request)
    context = {"said": words.WORDS[told.language], "language": told.language, "items": told.items}
    return _templates.TemplateResponse(request, "message.html", context)


def _no_message(request: Request) -> Response:
    language = words.language_of(request.headers.get("accept-language", ""))
    context = {"said": words.WORDS[language], "language": language}
    return _templates.TemplateResponse(request, "message_gone.html", context, status_code=HTTPStatus.NOT_FOUND)
