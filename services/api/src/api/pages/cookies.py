"""Cookies of the pages. They are written when the answer begins, whatever answers: a page, a redirect, an error."""

from dataclasses import dataclass
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_WRITTEN: Final = "itarent_cookies"


class WriteCookies:
    """Adds the cookies that were set while a request was handled."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        written: dict[str, str] = scope.setdefault("state", {}).setdefault(_WRITTEN, {})

        async def send_with_cookies(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for cookie in written.values():
                    headers.append("Set-Cookie", cookie)
            await send(message)

        return await self._app(scope, receive, send_with_cookies)


@dataclass(frozen=True)
class Cookies:
    """The cookies of one request. Over TLS their names bind them to this very host (`__Host-`)."""

    request: Request
    over_tls: bool

    def get(self, name: str) -> str | None:
        return self.request.cookies.get(self._named(name))

    def set(self, name: str, value: str, max_age: int | None = None) -> None:
        """Keep a value in the browser; without `max_age` until it is closed. The last one of a name counts."""
        carrier = Response()
        carrier.set_cookie(
            self._named(name), value, max_age=max_age, path="/", secure=self.over_tls, httponly=True, samesite="lax"
        )
        getattr(self.request.state, _WRITTEN)[name] = carrier.headers["set-cookie"]

    def drop(self, name: str) -> None:
        self.set(name, "", max_age=0)

    def _named(self, name: str) -> str:
        return f"__Host-itarent_{name}" if self.over_tls else f"itarent_{name}"
