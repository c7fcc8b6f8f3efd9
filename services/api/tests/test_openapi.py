"""The OpenAPI description is complete, true, and the one that is committed."""

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from api.main import application
from api.settings import ApiSettings

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    return application(ApiSettings.model_construct(public_url="http://localhost")).openapi()


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        yield from ((f"{method.upper()} {path}", operation) for method, operation in methods.items())


def json_schemas(operation: Document) -> Iterator[Document]:
    """Of what an operation takes and of what it answers when all is well."""
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    for each in (operation.get("requestBody", {}), *answers):
        if "application/json" in each.get("content", {}):
            yield each["content"]["application/json"]["schema"]


def test_the_description_is_valid_openapi(document: Document) -> None:
    validate(document)


def test_every_body_and_every_answer_has_an_example_that_it_accepts(document: Document) -> None:
    for name, operation in operations(document):
        for schema in json_schemas(operation):
            examples = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]].get("examples")
            assert examples, f"{name}: {schema}"
            for example in examples:
                OAS31Validator({**schema, "components": document["components"]}).validate(example)


def test_every_operation_says_what_it_does_who_may_call_it_and_how_it_refuses(document: Document) -> None:
    for name, operation in operations(document):
        assert operation.get("description"), name
        assert "security" in operation, name
        for status, answer in operation["responses"].items():
            assert status.startswith("2") or "application/problem+json" in answer["content"], f"{name}: {status}"
