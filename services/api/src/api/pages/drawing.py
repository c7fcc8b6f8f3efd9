"""How pages are drawn: Jinja's templates, in which a name that nobody set is an error."""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api import words
from api.pages import charts, telling

_environment: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent.parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.globals.update(words=words, charts=charts, telling=telling)
_templates: Final = Jinja2Templates(env=_environment)


def draw(request: Request, template: str, status: HTTPStatus, context: Mapping[str, Any]) -> Response:
    return _templates.TemplateResponse(request, template, dict(context), status_code=status)
