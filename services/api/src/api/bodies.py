"""Bodies of requests: JSON, read once and strictly; an unknown field is an error at every depth."""

import asyncio
from collections import deque
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final, TypeVar

import orjson
from fastapi import Depends, Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from api.problems import Fault, Problem, escaped, invalid, invalid_body
from api.searches import COMUNI
from common.comuni import Comuni
from common.kafka import holds_nul

ModelT = TypeVar("ModelT", bound=BaseModel)
T = TypeVar("T")

READ_WITHIN_S: Final = 20.0


async def received(request: Request) -> bytes:
    """The body as it came; a sender who dawdles is not waited for."""
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            return await request.body()
    except TimeoutError:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"The body did not arrive within {READ_WITHIN_S:.0f} s.") from None


def validated(adapter: TypeAdapter[T], body: bytes) -> T:
    """A body as a value, or the problem that names each fault with its place.

    Strictly: neither "900" nor false is a number, and 0 is no date.
    """
    if holds_nul(body):
        raise _nul(body)
    try:
        return adapter.validate_json(body, strict=True, extra="forbid", context={COMUNI: Comuni.load()})
    except ValidationError as error:
        raise invalid_body(error, _document(body)) from None


def _nul(body: bytes) -> Problem:
    """The problem of a body with U+0000: nobody means it, and PostgreSQL stores no text with it."""
    places = [place for place, text in _texts(_document(body)) if "\0" in text]
    if not places:
        return Problem(HTTPStatus.BAD_REQUEST, "The body is not valid JSON.", kind="not-json")
    faults = [Fault(pointer=pointer, detail="A text cannot hold U+0000: leave it out.") for pointer in places]
    return invalid(faults)


def _texts(document: object) -> Iterator[tuple[str, str]]:
    """Every text with its place; the names of fields are at the place of their object."""
    waiting = deque([("", document)])  # not by recursion: a body may be nested more deeply than Python calls may
    while waiting:
        match waiting.popleft():
            case pointer, str(text):
                yield pointer, text
            case pointer, list(items):
                waiting.extend((f"{pointer}/{index}", item) for index, item in enumerate(items))
            case pointer, dict(fields):
                yield from ((pointer, name) for name in fields)
                waiting.extend((f"{pointer}/{escaped(name)}", value) for name, value in fields.items())
            case _:
                pass  # a number, true, false, null


def _document(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


class ReadBody:
    """A FastAPI dependency that reads the body as a model."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model
        self._adapter = TypeAdapter(model)

    async def __call__(self, request: Request) -> Any:  # noqa: ANN401 - of the model that the route names
        return validated(self._adapter, await received(request) or b"null")


def Body(model: type[BaseModel]) -> Any:  # noqa: ANN401, N802 - used as FastAPI's own `Body` is
    """Declare that a parameter is the request's body, read as `model`.

    `draft: Annotated[Draft, Body(Draft)]`.
    FastAPI's own bodies cannot forbid unknown fields in models that ignore them elsewhere.
    """
    return Depends(ReadBody(model))
