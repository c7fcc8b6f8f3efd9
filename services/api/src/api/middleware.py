"""What is done with every request: bounds, security headers, metrics. Plain ASGI."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem

KIB: Final = 1024
MOST_BYTES: Final = 1024 * KIB
MOST_BYTES_OF: Final[Mapping[str, int]] = {"/api/v1/listings": 8 * 1024 * KIB}  # 500 listings with descriptions

requests_served = Counter(
    "itarent_http_requests_total", "Requests that were answered, by route and status", ["method", "route", "status"]
)
request_seconds = Histogram("itarent_http_request_seconds", "Time until the answer began", ["route"])


class Bounds:
    """Refuses bodies that are too large (413) or are not JSON where the API wants it (415)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        most = MOST_BYTES_OF.get(scope["path"], MOST_BYTES)
        headers = Headers(scope=scope)
        if scope["path"].startswith("/api/") and _has_body(headers) and not _is_json(headers):
            return await _NOT_JSON.response()(scope, receive, send)
        return await self._app(scope, _bounded(receive, most, _declared_length(headers)), send)


def _bounded(receive: Receive, most: int, declared: int) -> Receive:
    """A body that is too large, whether it says so or not, is refused where it is read: there a person gets a page."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        if declared > most:
            raise _too_large(most)
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise _too_large(most)
        return message

    return bounded


def _declared_length(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or _declared_length(headers) > 0


def _is_json(headers: Headers) -> bool:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _too_large(most: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body of at most {most // KIB} KiB is taken here.", kind="too-large"
    )


_NOT_JSON: Final = Problem(
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "Send the body as JSON, with the header Content-Type: application/json.",
    kind="not-json",
    headers={"Accept-Post": "application/json"},
)

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",  # addresses of message pages are secrets
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class SecurityHeaders:
    """Adds what keeps browsers safe; over TLS also that they come back over TLS only."""

    def __init__(self, app: ASGIApp, *, served_over_tls: bool) -> None:
        self._app = app
        self._headers = dict(SECURITY_HEADERS)
        if served_over_tls:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                # What is answered is private unless a route says otherwise, as the static files do.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Metrics:
    """Counts requests by the template of their route: an id in the address must not become a label."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began = time.perf_counter()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = scope.get("route")  # the format is the path without the types of its parts
                route = getattr(found, "path_format", getattr(found, "path", "unrouted"))
                method = scope["method"] if scope["method"] in _METHODS else "other"
                requests_served.labels(method, route, message["status"]).inc()
                request_seconds.labels(route).observe(time.perf_counter() - began)
            await send(message)

        return await self._app(scope, receive, send_counted)
