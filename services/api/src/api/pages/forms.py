"""Forms: read once, refused unless they are ours, and their faults in the reader's words."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import Depends, Request
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from api.bodies import READ_WITHIN_S
from api.pages.visits import Visitor
from api.problems import Problem
from api.words import Said

TOKEN: Final = "form_token"  # noqa: S105 - the field's name
MOST_FIELDS: Final = 400


@dataclass(frozen=True)
class Form:
    """What was typed, field by field, as the page shows it again; and what is wrong with which field."""

    values: Mapping[str, list[str]] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str, default: str = "") -> str:
        """The text of a field, without blanks around it."""
        return next(iter(self.values.get(name, ())), default).strip()

    def raw(self, name: str) -> str:
        """The text of a field exactly as it was typed: a password."""
        return next(iter(self.values.get(name, ())), "")

    def all(self, name: str) -> list[str]:
        return [value.strip() for value in self.values.get(name, ())]

    def has(self, name: str, value: str) -> bool:
        return value in self.values.get(name, ())

    def count(self, name: str) -> int:
        return len(self.values.get(name, ()))

    def at(self, name: str, index: int) -> str:
        """What stands in a row of a field that occurs several times."""
        values = self.values.get(name, ())
        return values[index].strip() if index < len(values) else ""

    def refused(self, faults: Mapping[str, str]) -> "Form":
        return Form(self.values, faults)


async def _form(request: Request, visit: Visitor) -> Form:
    """The form that was sent: by our own page, in this browser, for whoever is signed in now."""
    if not _same_origin(request, visit.services.settings.public_url):
        raise _FORGED
    form = await _read(request)
    if not visit.is_own_form(form.raw(TOKEN)):
        raise _FORGED
    return form


Sent = Annotated[Form, Depends(_form)]
"""The form of a POST; every one declares it, so that nothing is changed by a form of somebody else's."""

_FORGED: Final = Problem(HTTPStatus.FORBIDDEN, "This form was not sent by a page of ours.", kind="form-refused")


def _same_origin(request: Request, public_url: str) -> bool:
    """What browsers say about who sends; one that says nothing is judged by the form's token alone."""
    if site := request.headers.get("sec-fetch-site"):
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    if origin is None:
        return True
    return origin.partition("://")[2] in {urlsplit(public_url).netloc, request.headers.get("host")}


async def _read(request: Request) -> Form:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A form is sent here.", kind="not-a-form")
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            sent = await request.form(max_fields=MOST_FIELDS)
    except HTTPException:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This form has too many fields.", kind="too-large") from None
    values: dict[str, list[str]] = {}
    for name, value in sent.multi_items():
        # U+0000 cannot be stored, and nobody types it.
        values.setdefault(name, []).append(str(value).replace("\0", ""))
    return Form(values)


def faults_of(error: ValidationError, said: Said, names: Mapping[tuple[str, ...], str] | None = None) -> dict[str, str]:
    """A sentence for each field that is wrong. `names` maps places in the model to fields where they differ."""
    faults: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_input=False):
        faults.setdefault(_field(fault["loc"], names or {}), _sentence(fault, said))
    return faults


def _field(place: Iterable[int | str], names: Mapping[tuple[str, ...], str]) -> str:
    """The field of a fault: of the longest part of its place that has a name of its own."""
    parts = tuple(str(part) for part in place)
    for length in range(len(parts), 0, -1):
        if name := names.get(parts[:length]):
            return name
    return parts[0] if parts else ""


def _sentence(fault: ErrorDetails, said: Said) -> str:
    context: dict[str, Any] = fault.get("ctx", {})
    if context.get("min_length") == 1 and fault["type"] == "string_too_short":
        return str(said.faults.missing)
    for name in (f"of_{fault['loc'][-1]}", fault["type"]):  # some fields have one sentence for all that can be wrong
        if text := getattr(said.faults, name, None):
            return str(text.format(**context))
    return str(said.faults.other)
