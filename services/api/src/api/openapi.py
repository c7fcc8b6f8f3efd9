"""The OpenAPI description: what FastAPI knows of the routes, and what this api does besides.

Bodies are read by `bodies.Body`; errors follow from what a route depends on; what does not follow is said at the route
by `problems.may_answer`.
"""

import importlib.resources
import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.bodies import ReadBody
from api.problems import ProblemDetails, documented
from api.searches import USUAL_KIND

OF_BODIES: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
TAGS: Final = (
    {"name": "auth", "description": "Accounts, sign-ins and their tokens."},
    {"name": "me", "description": "The caller: how and when messages come, what is stored, and its end."},
    {"name": "whatsapp", "description": "The caller's phone: proof, test, window, messages."},
    {"name": "subscriptions", "description": "Saved searches."},
    {"name": "activity", "description": "What matched, what was sent, what became of it."},
    {"name": "messages", "description": "One message and everything that happened to it."},
    {"name": "listings", "description": "Listings from producers."},
    {"name": "operations", "description": "For operators: what is sent, and what runs out."},
)
EXAMPLES: Final = importlib.resources.files("api") / "examples.json"
Document = dict[str, Any]


def describe(app: FastAPI) -> Document:
    """The description of an application's routes."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        tags=list(TAGS),
        servers=[{"url": "/", "description": "the address that you read this from"}],
        routes=app.routes,
    )
    routes = [route for route in _routes(app) if route.path_format in document["paths"]]
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of errors, which no route answers
        schemas.pop(name, None)
    schemas["ProblemDetails"] = _problem_schema()
    names = _add_bodies(schemas, {body.model for route in routes for body in _bodies_of(route.dependant)})
    for name, example in json.loads(EXAMPLES.read_text()).items():
        schemas.get(name, {})["examples"] = [example]
    for route in routes:
        for method in route.methods or ():
            _complete(document["paths"][route.path_format][method.lower()], route, names)
    return document


def _routes(app: FastAPI) -> Iterator[APIRoute]:
    routes = (context.original_route for context in iter_route_contexts(app.routes))
    return (route for route in routes if isinstance(route, APIRoute))


def _bodies_of(dependant: Dependant) -> Iterator[ReadBody]:
    return (each.call for each in dependant.dependencies if isinstance(each.call, ReadBody))


def _complete(operation: Document, route: APIRoute, names: Mapping[type[BaseModel], str]) -> None:
    """Add to an operation its body, the errors that it can answer with, and a name that stays."""
    operation["operationId"] = f"{route.tags[0]}_{route.name}"
    operation.setdefault("security", [])
    for body in _bodies_of(route.dependant):
        schema = {"$ref": f"#/components/schemas/{names[body.model]}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    operation["responses"] = {
        **{str(status): answer for status, answer in operation["responses"].items() if status != "422"},
        **{str(status.value): documented(status) for status in _errors_of(operation)},
    }


def _errors_of(operation: Document) -> list[HTTPStatus]:
    """The errors that follow from what an operation takes."""
    errors = [HTTPStatus.SERVICE_UNAVAILABLE]
    if operation["security"]:
        errors.append(HTTPStatus.UNAUTHORIZED)
    if "requestBody" in operation:
        errors += OF_BODIES
    parameters = operation.get("parameters", ())
    if parameters:
        errors.append(HTTPStatus.UNPROCESSABLE_ENTITY)
    if any(parameter["in"] == "path" for parameter in parameters):
        errors.append(HTTPStatus.NOT_FOUND)
    return errors


def _problem_schema() -> Document:
    schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"]["errors"] = {
        "type": "array",
        "description": "each fault with its place",
        "items": schema.pop("$defs")["Fault"],
    }
    return schema


def _add_bodies(schemas: Document, models: set[type[BaseModel]]) -> dict[type[BaseModel], str]:
    """Add the schemas of bodies, which forbid unknown fields at every depth; those of answers, which may gain fields,
    keep their names, and a body's schema that shares one is called …Input.
    """
    ordered = sorted(models, key=lambda model: model.__name__)
    _, generated = models_json_schema([(model, "validation") for model in ordered], ref_template="{model}")
    definitions: Document = generated.get("$defs", {})
    names = {name: _name_of_body(name, definition, schemas) for name, definition in definitions.items()}
    for name, definition in definitions.items():
        schemas[names[name]] = _strict(definition, names)
    return {model: names[model.__name__] for model in ordered}


def _name_of_body(name: str, definition: Document, schemas: Document) -> str:
    return f"{name}Input" if name in schemas and "properties" in definition else name


_NOT_DEMANDED: Final = ("discriminator", "uniqueItems")


def _strict(schema: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    """A schema whose objects forbid what they do not name, with its references renamed.

    A place without a `kind` is a comune, so the other kinds demand theirs; a `discriminator` would demand it of all.
    A choice that is given twice is taken once, so bodies need no `uniqueItems`.
    """
    if isinstance(schema, list):
        return [_strict(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value, names) for key, value in schema.items() if key not in _NOT_DEMANDED}
    if isinstance(reference := strict.get("$ref"), str):
        strict["$ref"] = f"#/components/schemas/{names[reference]}"
    if strict.get("type") == "object" and "properties" in strict:
        strict["additionalProperties"] = False
        if strict["properties"].get("kind", {}).get("const", USUAL_KIND) != USUAL_KIND:
            strict["required"] = ["kind", *strict.get("required", ())]
    return strict
