"""Bodies of requests: JSON, read once and strictly; an unknown field is an error at every depth."""

import asyncio
from http import HTTPStatus
from typing import Any, Final, TypeVar

import orjson
from fastapi import Depends, Request
from pydantic import BaseModel, TypeAdapter, ValidationError

from api.problems import Problem, invalid_body
from api.searches import COMUNI
from common.comuni import Comuni

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


def validated(adapter: TypeAdapter[T], body: bytes, *, strict: bool = False) -> T:
    """A body as a value, or the problem that names each fault with its place.

    Strict means that "900" is not a number; otherwise values that can be read in one way only are accepted.
    """
    try:
        return adapter.validate_json(body, strict=strict, extra="forbid", context={COMUNI: Comuni.load()})
    except ValidationError as error:
        raise invalid_body(error, _document(body)) from None


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
