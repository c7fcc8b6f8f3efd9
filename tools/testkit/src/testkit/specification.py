"""Twilio's own OpenAPI specification, for tests that hold requests and answers to it."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest

SPECIFICATION: Final = Path(
    os.environ.get("TWILIO_SPECIFICATION", Path(__file__).parents[5] / "shared/twilio/twilio_api_v2010.json")
)
MESSAGES: Final = "/2010-04-01/Accounts/{AccountSid}/Messages.json"
MESSAGE: Final = "/2010-04-01/Accounts/{AccountSid}/Messages/{Sid}.json"
ACCOUNT: Final = "/2010-04-01/Accounts/{Sid}.json"

needs_specification = pytest.mark.skipif(
    not SPECIFICATION.exists() and "CI" not in os.environ, reason="no TWILIO_SPECIFICATION"
)


def specification_of(*paths: str) -> OpenAPI:
    """The specification of these paths only: the whole takes minutes to load."""
    return OpenAPI.from_dict(_part_of(json.loads(SPECIFICATION.read_text()), paths))


def _part_of(document: dict[str, Any], paths: tuple[str, ...]) -> dict[str, Any]:
    """The document with these paths, and the schemas that they reach."""
    schemas = document["components"]["schemas"]
    kept: dict[str, Any] = {}
    waiting: list[Any] = [document["paths"][path] for path in paths]
    while waiting:
        for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(waiting.pop())):
            if name not in kept:
                kept[name] = schemas[name]
                waiting.append(schemas[name])
    components = document["components"] | {"schemas": kept}
    return document | {"paths": {path: document["paths"][path] for path in paths}, "components": components}


def request_to_twilio(method: str, uri: str, headers: Mapping[str, str], body: bytes | None = None) -> MockRequest:
    """A request as openapi-core reads it; `uri` is path and query, whichever host it was sent to."""
    parts = urlsplit(uri)
    return MockRequest(
        "https://api.twilio.com",
        method,
        parts.path,
        args=dict(parse_qsl(parts.query)),
        headers=dict(headers),
        data=body,
        content_type=headers.get("Content-Type", ""),
    )
