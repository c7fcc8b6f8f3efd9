"""The flats of a message, for whoever has its link."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.responses import Response

from api import words
from api.dependencies import Wired
from api.pages.drawing import draw

router = APIRouter()


@router.get("/m/{token}")
async def message(request: Request, services: Wired, token: str) -> Response:
    """All flats of a message, in its reader's language."""
    message_id = services.links.message_of(token)
    told = await services.activity.message_page(message_id) if message_id else None
    if told is None or not told.flats:
        language = words.language_of(request.headers.get("accept-language", ""))
        context = {"said": words.SAID[language], "language": language}
        return draw(request, "message_gone.html", HTTPStatus.NOT_FOUND, context)
    context = {"said": words.SAID[told.language], "language": told.language, "told": told}
    return draw(request, "message.html", HTTPStatus.OK, context)
