"""Bodies of requests: JSON, read once and strictly; an unknown field is an error at every depth."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final, TypeVar

import orjson
from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import models_json_schema

from api.problems import Problem, ProblemDetails, invalid_body
from api.searches import COMUNI
from common.comuni import Comuni

ModelT = TypeVar("ModelT", bound=BaseModel)
T = TypeVar("T")

READ_WITHIN_S: Final = 20.0
REFS: Final = "#/components/schemas/{model}"


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


class _ReadBody:
    """A FastAPI dependency that reads the body as a model."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model
        self._adapter = TypeAdapter(model)

    async def __call__(self, request: Request) -> BaseModel:
        return validated(self._adapter, await received(request) or b"null")


def Body(model: type[BaseModel]) -> Any:  # noqa: ANN401, N802 - used as FastAPI's own `Body` is
    """Declare that a parameter is the request's body, read as `model`.

    `draft: Annotated[Draft, Body(Draft)]`.
    FastAPI's own bodies cannot forbid unknown fields in models that ignore them elsewhere.
    """
    return Depends(_ReadBody(model))


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description of an application, with the bodies that are read here."""
    schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    bodies = [(route, body.model) for route in _routes(app) for body in _bodies_of(route.dependant)]
    models: set[type[BaseModel]] = {ProblemDetails, *(model for _, model in bodies)}
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=REFS)
    schema.setdefault("components", {}).setdefault("schemas", {}).update(definitions["$defs"])
    for route, model in bodies:
        for method in route.methods or ():
            content = {"application/json": {"schema": {"$ref": REFS.format(model=model.__name__)}}}
            schema["paths"][route.path_format][method.lower()]["requestBody"] = {"required": True, "content": content}
    return schema


def _routes(app: FastAPI) -> Iterator[APIRoute]:
    routes = (context.original_route for context in iter_route_contexts(app.routes))
    return (route for route in routes if isinstance(route, APIRoute) and route.include_in_schema)


def _bodies_of(dependant: Dependant) -> Iterator[_ReadBody]:
    return (each.call for each in dependant.dependencies if isinstance(each.call, _ReadBody))
