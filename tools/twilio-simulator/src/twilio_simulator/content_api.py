"""Twilio's Content API, which has a host of its own at Twilio: templates and their approval."""

import base64
from collections.abc import Callable
from hmac import compare_digest
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from twilio_simulator import codes
from twilio_simulator.codes import Refusal, error_body, meaning_of
from twilio_simulator.contents import Content, approval_json, content_json
from twilio_simulator.simulator import Simulator

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000

Answer = dict[str, object] | Refusal


class ContentApi:
    """`/v1/Content…` and `/v1/ContentAndApprovals`."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        credentials = f"{simulator.account.sid}:{simulator.auth_token}".encode()
        self._authorization = b"Basic " + base64.b64encode(credentials)

    async def contents(self, request: Request) -> Response:
        if refusal := self._unknown_client(request):
            return _json(refusal)
        if request.method == "GET":
            return _json(self._page(request, self._json_of(request)))
        given = await _given(request)
        if isinstance(given, Refusal):
            return _json(given)
        created = self._simulator.create_content(given)
        return _json(created if isinstance(created, Refusal) else self._json_of(request)(created), 201)

    async def contents_and_approvals(self, request: Request) -> Response:
        if refusal := self._unknown_client(request):
            return _json(refusal)
        as_json = self._json_of(request)
        return _json(
            self._page(request, lambda content: as_json(content) | {"approval_requests": approval_json(content)})
        )

    async def content(self, request: Request) -> Response:
        content = self._named(request)
        if isinstance(content, Refusal):
            return _json(content)
        if request.method == "DELETE":
            self._simulator.remove_content(content)
            return Response(status_code=204)
        return _json(self._json_of(request)(content))

    async def approvals(self, request: Request) -> Response:
        content = self._named(request)
        if isinstance(content, Refusal):
            return _json(content)
        whatsapp = {"type": "whatsapp"} | approval_json(content)
        url = f"{_base_url(request)}/v1/Content/{content.sid}/ApprovalRequests"
        return _json({"account_sid": self._simulator.account.sid, "sid": content.sid, "url": url, "whatsapp": whatsapp})

    async def request_approval(self, request: Request) -> Response:
        content, given = self._named(request), await _given(request)
        if isinstance(content, Refusal):
            return _json(content)
        if isinstance(given, Refusal):
            return _json(given)
        submitted = self._simulator.submit_content(content, given)
        return _json(submitted if isinstance(submitted, Refusal) else approval_json(submitted), 201)

    def _unknown_client(self, request: Request) -> Refusal | None:
        given = request.headers.get("authorization", "").encode()
        return None if compare_digest(given, self._authorization) else Refusal(codes.AUTHENTICATE)

    def _named(self, request: Request) -> Content | Refusal:
        content = self._simulator.store.contents.get(request.path_params["sid"])
        return self._unknown_client(request) or content or Refusal(codes.NOT_FOUND, request.url.path)

    def _json_of(self, request: Request) -> Callable[[Content], dict[str, object]]:
        base_url = _base_url(request)
        return lambda content: content_json(content, self._simulator.account.sid, base_url)

    def _page(self, request: Request, as_json: Callable[[Content], dict[str, object]]) -> Answer:
        try:
            size = int(request.query_params.get("PageSize", DEFAULT_PAGE_SIZE))
            page = int(request.query_params.get("Page", 0))
        except ValueError as error:
            return Refusal(codes.INVALID_PARAMETER, str(error))
        if not 1 <= size <= MAX_PAGE_SIZE or page < 0:
            return Refusal(codes.PAGE_SIZE_TOO_LARGE)
        contents = list(self._simulator.store.contents.values())
        url = f"{_base_url(request)}{request.url.path}"
        has_next = len(contents) > (page + 1) * size
        return {
            "meta": {
                "page": page,
                "page_size": size,
                "first_page_url": _page_url(url, size, 0),
                "previous_page_url": _page_url(url, size, page - 1) if page else None,
                "url": _page_url(url, size, page),
                "next_page_url": _page_url(url, size, page + 1) if has_next else None,
                "key": "contents",
            },
            "contents": [as_json(content) for content in contents[page * size : (page + 1) * size]],
        }


def _page_url(url: str, size: int, page: int) -> str:
    return f"{url}?{urlencode({'PageSize': size, 'Page': page})}"


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


async def _given(request: Request) -> Any | Refusal:  # noqa: ANN401 - whatever JSON a client sent
    if not request.headers.get("content-type", "").startswith("application/json"):
        return Refusal(codes.UNSUPPORTED_MEDIA_TYPE)
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        return Refusal(codes.INVALID_PARAMETER, str(error))


def _json(answer: Answer, http_status: int = 200) -> Response:
    if isinstance(answer, Refusal):
        body, http_status = error_body(answer), meaning_of(answer.code).http_status
    else:
        body = answer
    return Response(orjson.dumps(body), http_status, media_type="application/json")


def content_app(simulator: Simulator) -> Starlette:
    api = ContentApi(simulator)
    return Starlette(
        routes=[
            Route("/v1/Content", api.contents, methods=["GET", "POST"]),
            Route("/v1/Content/{sid}", api.content, methods=["GET", "DELETE"]),
            Route("/v1/Content/{sid}/ApprovalRequests", api.approvals),
            Route("/v1/Content/{sid}/ApprovalRequests/whatsapp", api.request_approval, methods=["POST"]),
            Route("/v1/ContentAndApprovals", api.contents_and_approvals),
        ]
    )
