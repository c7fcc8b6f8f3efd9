"""HTTP: Twilio's callbacks, answered when Kafka has acknowledged them.

Bare ASGI for the callbacks, since routing and request objects would cost more than all that is done with them.
"""

import asyncio
import datetime as dt
import hmac
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, assert_never
from urllib.parse import urlsplit

import structlog
from aiokafka.errors import KafkaError
from prometheus_client import Counter
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from common.events import InboundMessageReceived, MessageStatusReported
from common.kafka import Publisher
from common.service import health_routes
from common.topics import Topic, Topics
from status_webhook.callbacks import (
    Callback,
    IncompleteCallbackError,
    account_of,
    read_either,
    read_inbound,
    read_status,
)
from status_webhook.form import Form
from status_webhook.settings import Settings
from status_webhook.signature import SignatureCheck

log = structlog.get_logger()

callbacks_answered = Counter("itarent_callbacks_total", "Requests at Twilio's addresses, by answer", ["status"])

# Twilio gives up after 15 s in all: both of these together leave it time to hear the answer.
BODY_WITHIN_S: Final = 5.0
PUBLISHED_WITHIN_S: Final = 5.0
MOST_BYTES: Final = 64 * 1024
FORM: Final = b"application/x-www-form-urlencoded"


def read_nothing(_form: Form, _query: Form, _now: dt.datetime) -> None:
    """A probe: whoever can sign it learns that callbacks get through. It says nothing."""


READERS: Final[dict[str, Callable[[Form, Form, dt.datetime], Callback | None]]] = {
    "/twilio/status": read_status,
    "/twilio/inbound": read_inbound,
    "/twilio": read_either,
    "/twilio/check": read_nothing,
}


class RefusedError(Exception):
    """A request that is answered without being published: the message goes to whoever sent it."""

    def __init__(self, status: HTTPStatus, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


class Webhook:
    """The ASGI application."""

    def __init__(
        self,
        settings: Settings,
        publisher: Publisher,
        *,
        body_within_s: float = BODY_WITHIN_S,
        published_within_s: float = PUBLISHED_WITHIN_S,
    ) -> None:
        self._public_url = settings.webhook_public_url
        self._prefix = str(urlsplit(settings.webhook_public_url or "").path)
        self._unable = _why_nothing_can_be_checked(settings)
        if self._unable:
            log.warning("no callback of Twilio is taken", reason=self._unable)
        self._signature = SignatureCheck(settings.whatsapp_api_token.get_secret_value())
        self._account = settings.whatsapp_business_account_id
        self._verify_token = settings.whatsapp_webhook_verify_token
        self._topics = settings.topics
        self._publisher = publisher
        self._body_within_s = body_within_s
        self._published_within_s = published_within_s
        self._beside: ASGIApp = Starlette(routes=health_routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self._path_of(scope)
        if scope["type"] != "http" or path not in READERS:
            await self._beside(scope, receive, send)
            return
        try:
            await self._take(path, scope, receive)
        except RefusedError as refused:
            log.warning("callback refused", path=path, status=refused.status.value, reason=str(refused))
            await _answer(send, refused.status, str(refused), refused.headers)
        else:
            await _answer(send, HTTPStatus.NO_CONTENT)

    def _path_of(self, scope: Scope) -> str:
        """The path after the public URL: proxies pass it on whole, or without the public URL's own path."""
        path: str = scope["raw_path"].decode("latin-1")
        return path if path in READERS else path.removeprefix(self._prefix)

    async def _take(self, path: str, scope: Scope, receive: Receive) -> None:
        """Check a callback and publish what it says.

        Raises:
            RefusedError: it was not published, or perhaps not.
        """
        if self._unable:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, self._unable)
        headers = dict(scope["headers"])
        _require_form(scope["method"], headers)
        form = await self._form(headers, receive)
        query = self._verified_query(path, scope["query_string"], form, headers)
        try:
            callback = READERS[path](form, query, dt.datetime.now(dt.UTC))
        except IncompleteCallbackError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
        if callback:
            await self._publish(callback)

    async def _form(self, headers: dict[bytes, bytes], receive: Receive) -> Form:
        if int(headers.get(b"content-length", b"0")) > MOST_BYTES:
            raise _too_large()
        try:
            async with asyncio.timeout(self._body_within_s):
                body = await _body(receive)
        except TimeoutError as error:
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "The body came too slowly.", connection="close") from error
        return _parsed(body)

    def _verified_query(self, path: str, raw_query: bytes, form: Form, headers: dict[bytes, bytes]) -> Form:
        """The query, once it is certain that Twilio sent all of this, for our account."""
        url = f"{self._public_url}{path}"
        if raw_query:
            url += f"?{raw_query.decode('latin-1')}"
        if not self._signature.accepts(url, form, headers.get(b"x-twilio-signature")):
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                "X-Twilio-Signature does not fit: compare WEBHOOK_PUBLIC_URL with the address that Twilio was given, "
                "and WHATSAPP_API_TOKEN with the account's auth token.",
            )
        if account_of(form) != self._account:
            raise RefusedError(HTTPStatus.FORBIDDEN, "AccountSid is not WHATSAPP_BUSINESS_ACCOUNT_ID.")
        query = _parsed(raw_query)
        if self._verify_token and not hmac.compare_digest(
            (query.get("t") or "").encode(), self._verify_token.get_secret_value().encode()
        ):
            raise RefusedError(
                HTTPStatus.FORBIDDEN, "WHATSAPP_WEBHOOK_VERIFY_TOKEN is set: the address must carry it as t=…"
            )
        return query

    async def _publish(self, callback: Callback) -> None:
        try:
            async with asyncio.timeout(self._published_within_s):
                await self._publisher.publish(_topic_of(callback, self._topics), [callback])
        except (KafkaError, TimeoutError) as error:
            log.warning("kafka does not take callbacks", error=type(error).__name__)
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, "Kafka has not confirmed: please send again.", retry_after="5"
            ) from error


def _why_nothing_can_be_checked(settings: Settings) -> str:
    """Why no signature can be checked, so that no callback is taken; empty if all is well."""
    needed = {
        "WEBHOOK_PUBLIC_URL": settings.webhook_public_url,
        "WHATSAPP_API_TOKEN": settings.whatsapp_api_token,
        "WHATSAPP_BUSINESS_ACCOUNT_ID": settings.whatsapp_business_account_id,
    }
    missing = " and ".join(name for name, value in needed.items() if not value)
    return f"No signature can be checked until {missing} is set here." if missing else ""


def _topic_of(callback: Callback, topics: Topics) -> Topic:
    match callback:
        case MessageStatusReported():
            return topics.message_statuses
        case InboundMessageReceived():
            return topics.inbound_messages
        case _:
            assert_never(callback)


def _require_form(method: str, headers: dict[bytes, bytes]) -> None:
    if method != "POST":
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "Twilio is to use HTTP POST here.", allow="POST")
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != FORM:
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body must be {FORM.decode()}.")


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(HTTPStatus.BAD_REQUEST, "The connection ended before the body did.")
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _too_large() -> RefusedError:
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body must not exceed {MOST_BYTES} bytes.", connection="close"
    )


def _parsed(encoded: bytes) -> Form:
    try:
        return Form.parse(encoded)
    except ValueError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "The form is not UTF-8, or has too many fields.") from error


async def _answer(send: Send, status: HTTPStatus, text: str = "", headers: dict[str, str] | None = None) -> None:
    callbacks_answered.labels(status.value).inc()
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in (headers or {}).items()]
    if text:
        fields += [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(text.encode()))]
    await send({"type": "http.response.start", "status": status.value, "headers": fields})
    await send({"type": "http.response.body", "body": text.encode()})
