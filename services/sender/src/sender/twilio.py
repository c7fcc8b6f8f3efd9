"""Twilio: the only module that speaks to it. Its answers and failures leave as outcomes, never as exceptions."""

import contextlib
import functools
import json
import re
from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client
from yarl import URL

from common.events import MessageStatus
from common.prices import MILLIONTHS, Micros
from sender.comparison import Listed
from sender.outcomes import Accepted, InDoubt, Outcome, Unavailable, refusal_of
from sender.progress import Unclear

log = structlog.get_logger()

CONNECT_TIMEOUT_S: Final = 5.0
CLOCK_SKEW: Final = timedelta(minutes=2)
"""How far Twilio's clock may be from ours when a message is looked up by its time."""
PAGE: Final = 50
MOST_LOOKED_AT: Final = 200
WHOLE_PAGE: Final = 1000
"""The most messages that Twilio lists at once."""
ADDRESS: Final = "whatsapp:"
CREATED_BY_API: Final = "outbound-api"
SID: Final = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")
MOST_CODE: Final = 2**31 - 1
LONGEST_PAUSE_S: Final = 300


@dataclass(frozen=True)
class Request:
    """A message to be created: free text, or a template with its variables."""

    to: str  # E.164
    status_callback: str | None
    body: str | None = None
    content_sid: str | None = None
    content_variables: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Found:
    """A message as Twilio has it."""

    sid: str
    status: MessageStatus
    error_code: int | None


@dataclass(frozen=True)
class Sought:
    """An attempt whose answer was lost: what Twilio's message would look like if it was taken."""

    to: str  # E.164
    marker: str  # a part of its text that no other message to this phone has
    since: datetime  # before the first attempt of the message was made
    until: datetime  # when the last one was known to be over
    known: AbstractSet[str] = frozenset()  # MessageSids that belong to other attempts


@dataclass(frozen=True)
class Page:
    """A part of Twilio's list, the newest first; `next` is where it goes on, None at its end."""

    messages: tuple[Listed, ...]
    next: str | None


@dataclass(frozen=True)
class Account:
    """The account, as Twilio has it."""

    name: str
    active: bool
    status: str
    trial: bool


@dataclass(frozen=True)
class WhatsAppSender:
    """A number that is registered with WhatsApp for the account; `status` is Twilio's word."""

    address: str  # whatsapp:+…
    online: bool
    status: str


class LookupFailed(Exception):  # noqa: N818 - a decision: look again later
    """Twilio could not be asked: it refused (`http_status`), said nothing (`asked`), or was not reached at all."""

    def __init__(
        self, reason: str, *, code: int | None = None, http_status: int | None = None, asked: bool = True
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.http_status = http_status
        self.asked = asked


class Refused(Exception):  # noqa: N818 - the border to the library: it becomes an outcome or a failed look-up
    """Twilio answered, and not with success. Raised before the library turns it into an error without headers."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        self.status = status
        self.code = _code_in(text)
        super().__init__(f"HTTP {status}, error {self.code}")
        self.retry_after = _seconds(headers.get("Retry-After"))
        self.request_id = headers.get("Twilio-Request-Id", "")


class _PooledHttpClient(AsyncHttpClient):  # type: ignore[misc] # the library has no types
    """The library's transport over our session: its own has no timeouts, hides retries and has mixed up answers."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.is_async = True

    async def request(  # noqa: PLR0917 - the library's signature
        self,
        method: str,
        uri: str,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - the session has ours
        allow_redirects: bool = False,
    ) -> Response:
        async with self._session.request(
            method,
            uri,
            params=params,
            **_body(data, headers),
            headers={**(headers or {}), **({"Authorization": _authorization(*auth)} if auth else {})},
            allow_redirects=allow_redirects,
        ) as response:
            text = (await response.read()).decode(errors="replace")  # whatever a proxy in between may say
            if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise Refused(response.status, text, response.headers)
            return Response(response.status, text, response.headers)


@functools.lru_cache(maxsize=1)
def _authorization(username: str, password: str) -> str:
    return aiohttp.encode_basic_auth(username, password)


def _body(data: Mapping[str, Any] | None, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """A form, but JSON where the library says so in the header: its own asynchronous client sends a form there too."""
    if (headers or {}).get("Content-Type") == "application/json":
        return {"json": data}
    return {"data": encoded(data)} if data else {}


def encoded(form: Mapping[str, str]) -> bytes:
    """A form as it travels. yarl writes it in a sixth of the time that urllib takes, a tenth of a whole call."""
    return URL.build(query=form).raw_query_string.encode()


class Twilio:
    """Creates and looks up messages of one WhatsApp sender."""

    def __init__(self, client: Any, sender: str) -> None:  # noqa: ANN401 - the library has no types
        self._client = client
        self._sender = sender
        self.contents = client.content.v1  # of the library, for `sender.contents`
        self._messages_url = client.api.absolute_url(f"/2010-04-01/Accounts/{client.account_sid}/Messages.json")

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(
        cls, base_url: str, account_sid: str, token: str, sender: str, *, timeout_s: float, in_flight: int
    ) -> AsyncIterator["Twilio"]:
        """A client for the life of a process, over one pool of connections; `sender` is `whatsapp:+…`."""
        # The shorter one for connecting: what ends there has certainly not left us, and is no doubt.
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s / 2))
        connector = aiohttp.TCPConnector(limit=in_flight + 4, keepalive_timeout=30)
        cookies = aiohttp.DummyCookieJar()  # an API has none for us, and a jar is looked through at each call
        async with aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=cookies) as session:
            # Without an environment the library would read TWILIO_EDGE and TWILIO_REGION and change the host.
            client = Client(account_sid, token, http_client=_PooledHttpClient(session), environment={"TWILIO_EDGE": ""})
            client.api.base_url = base_url
            client.content.base_url = base_url_of("content", base_url)
            client.messaging.base_url = base_url_of("messaging", base_url)
            _ = client.messages  # takes 50 ms the first time: not in the middle of sending
            yield cls(client, sender)

    async def create(self, request: Request) -> Outcome:
        """Create a message, once. Whatever happens after the request may have left us is in doubt."""
        try:
            # The library's own request, without the resource that it would make of each answer.
            answer = await self._client.request_async("POST", self._messages_url, data=self._form(request))
            message = json.loads(answer.content)
            sid = message.get("sid")
            if isinstance(sid, str) and SID.fullmatch(sid):
                return Accepted(sid, _status(message.get("status")))
            return InDoubt("answer_without_sid")
        except Refused as refused:
            outcome = refusal_of(refused.status, refused.code, refused.retry_after)
            if isinstance(outcome, InDoubt):  # there is no MessageSid to ask Twilio's support about
                log.warning("Twilio could not answer", http_status=refused.status, request_id=refused.request_id)
            return outcome
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Unavailable(type(error).__name__)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return InDoubt(type(error).__name__)
        except Exception as error:  # whatever it is, the request may have been taken
            log.exception("Twilio's answer could not be read", error=type(error).__name__)
            return InDoubt(f"unreadable_answer_{type(error).__name__}")

    def _form(self, request: Request) -> dict[str, Any]:
        form = {
            "To": f"{ADDRESS}{request.to}",
            "From": self._sender,
            "StatusCallback": request.status_callback,
            "Body": request.body,
            "ContentSid": request.content_sid,
            "ContentVariables": json.dumps(request.content_variables) if request.content_variables else None,
        }
        return {name: value for name, value in form.items() if value is not None}

    async def find(self, sought: Sought) -> Found | Unclear | None:
        """Whether Twilio has a message, by its phone, the time in which it was made, and its text.

        DateSent is null until a message is sent, so it is no filter: the newest are gone through until they are too
        old. A message of that time whose text Twilio does not show (an account can have texts redacted) and that is
        none of `known` may be the one.

        Raises:
            LookupFailed: Twilio did not answer, so nothing is known.
        """
        looked_at = 0
        unclear: Unclear | None = None
        try:
            chat = await self._client.messages.stream_async(
                to=f"{ADDRESS}{sought.to}", from_=self._sender, page_size=PAGE, limit=MOST_LOOKED_AT
            )
            async for message in chat:
                looked_at += 1
                match _compared(message, sought):
                    case Found() as found:
                        return found
                    case Unclear() as unclear:
                        pass
                    case _Older():
                        return unclear
                    case None:
                        pass
        except Exception as error:
            raise _lookup_failed(error) from error
        return Unclear("too_many_messages") if looked_at == MOST_LOOKED_AT else unclear

    async def fetch(self, sid: str) -> Found:
        """A message by its MessageSid.

        Raises:
            LookupFailed: Twilio did not answer, or does not know it.
        """
        try:
            return _found(await self._client.messages(sid).fetch_async())
        except Exception as error:
            raise _lookup_failed(error) from error

    async def sent_on(self, day: date, page: str | None = None) -> Page:
        """Messages from our number that Twilio sent on a day (UTC): from the first, or where an earlier page says.

        Those that Twilio has taken and never sent are on no day's list.

        Raises:
            LookupFailed: Twilio did not answer, or its answer cannot be read.
        """
        first = {"From": self._sender, "DateSent": f"{day.isoformat()}T00:00:00Z", "PageSize": WHOLE_PAGE}
        try:
            url = self._client.api.absolute_url(page) if page else self._messages_url
            answer = await self._client.request_async("GET", url, params=None if page else first)
            return _page(json.loads(answer.content), urlsplit(self._messages_url).path)
        except Exception as error:
            raise _lookup_failed(error) from error

    async def has(self, sid: str) -> Listed | None:
        """A message by its MessageSid; None if Twilio does not know it.

        Raises:
            LookupFailed: Twilio did not answer, or its answer cannot be read.
        """
        try:
            url = self._messages_url.replace("/Messages.json", f"/Messages/{sid}.json")
            return _listed(json.loads((await self._client.request_async("GET", url)).content))
        except Refused as refused:
            if refused.status == HTTPStatus.NOT_FOUND:
                return None
            raise _lookup_failed(refused) from refused
        except Exception as error:
            raise _lookup_failed(error) from error

    async def account(self) -> Account:
        """The account that we use.

        Raises:
            LookupFailed: Twilio did not answer, or does not accept our credentials.
        """
        try:
            found = await self._client.api.accounts(self._client.account_sid).fetch_async()
        except Exception as error:
            raise _lookup_failed(error) from error
        status, kind = str(found.status), str(found.type)
        return Account(str(found.friendly_name or ""), status == "active", status, trial=kind == "Trial")

    async def whatsapp_senders(self) -> list[WhatsAppSender]:
        """The numbers that the account has registered with WhatsApp; the sandbox is none of them.

        Raises:
            LookupFailed: Twilio did not answer.
        """
        try:
            found = await self._client.messaging.v2.channels_senders.list_async(channel="whatsapp", page_size=PAGE)
        except Exception as error:
            raise _lookup_failed(error) from error
        return [
            WhatsAppSender(str(each.sender_id), str(each.status).startswith("ONLINE"), str(each.status))
            for each in found
        ]


def base_url_of(api: str, base_url: str) -> str:
    """Where another of Twilio's APIs is: each has a host of its own there, a simulator has one for all."""
    parts = urlsplit(base_url)
    if not parts.netloc.endswith("twilio.com"):
        return base_url
    return f"{parts.scheme}://{parts.netloc.replace('api.', f'{api}.', 1)}"


def _lookup_failed(error: Exception) -> LookupFailed:
    if isinstance(error, Refused):
        return LookupFailed(str(error), code=error.code, http_status=error.status)
    unreached = isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))
    return LookupFailed(type(error).__name__, asked=not unreached)


class NoAccount(Twilio):
    """In Twilio's place where no account is set, which only a sender may do without that sends nothing."""

    def __init__(self) -> None:
        self.contents = None

    async def create(self, request: Request) -> Outcome:  # noqa: ARG002 - there is nobody to take it
        return Unavailable("no_account")

    async def find(self, sought: Sought) -> Found | Unclear | None:  # noqa: ARG002
        raise LookupFailed("no_account")

    async def fetch(self, sid: str) -> Found:  # noqa: ARG002
        raise LookupFailed("no_account")


def _page(body: Any, path: str) -> Page:  # noqa: ANN401 - whatever JSON a server has sent
    following = body["next_page_uri"]
    if following is not None and not str(following).startswith(f"{path}?"):
        raise ValueError("next_page_uri leads elsewhere: our credentials do not")
    return Page(tuple(map(_listed, body["messages"])), following)


def _listed(message: Any) -> Listed:  # noqa: ANN401 - whatever JSON a server has sent
    created_at = message["date_created"]
    return Listed(
        sid=str(message["sid"]),
        ours=message["direction"] == CREATED_BY_API,
        to=str(message["to"] or "").removeprefix(ADDRESS),
        body=str(message["body"] or ""),
        status=_status(message["status"]),
        error_code=_code(message["error_code"]),
        created_at=parsedate_to_datetime(created_at) if created_at else None,
        segments=int(message["num_segments"] or 1),
        price=_price(message["price"]),
        currency=str(message["price_unit"] or "").upper(),
    )


def _price(told: str | None) -> Micros | None:
    """What was charged: Twilio tells it below zero, and late or never."""
    return round(abs(Decimal(told)) * MILLIONTHS) if told else None


@dataclass(frozen=True)
class _Older:
    """A message from before the attempt: so are all that follow."""


def _compared(message: Any, sought: Sought) -> Found | Unclear | _Older | None:  # noqa: ANN401 - the library has no types
    created = message.date_created
    if created and created < sought.since - CLOCK_SKEW:
        return _Older()
    if str(message.sid) in sought.known:
        return None
    if sought.marker in (message.body or ""):
        return _found(message)
    may_be = not message.body and (not created or created <= sought.until + CLOCK_SKEW)
    return Unclear("text_not_shown") if may_be else None


def _found(message: Any) -> Found:  # noqa: ANN401 - the library has no types
    return Found(str(message.sid), _status(message.status), _code(message.error_code))


def _status(word: object) -> MessageStatus:
    try:
        return MessageStatus(str(word))
    except ValueError:
        return MessageStatus.UNKNOWN


def _code_in(text: str) -> int | None:
    try:
        return _code(json.loads(text)["code"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _code(value: object) -> int | None:
    """An error code, also where it is told as text; None for what can be none, and for 0, which is no error."""
    text = str(value)
    code = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_CODE)) else 0
    return code if 0 < code <= MOST_CODE else None


def _seconds(header: str | None) -> timedelta | None:
    """A Retry-After in seconds, however long Twilio would have us wait."""
    text = header or ""
    if not (text.isascii() and text.isdecimal()):
        return None
    return timedelta(
        seconds=LONGEST_PAUSE_S if len(text) > len(str(LONGEST_PAUSE_S)) else min(int(text), LONGEST_PAUSE_S)
    )
