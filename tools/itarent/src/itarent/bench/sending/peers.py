"""Whoever else creates messages at Twilio: the bare client, Apprise, and aiohttp as the most that Python can do."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
import uvloop
from apprise.plugins.twilio import NotifyTwilio
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client


@dataclass(frozen=True)
class Account:
    """Where messages are created, and in whose name."""

    base_url: str
    sid: str
    token: str
    sender: str  # whatsapp:+…

    @property
    def messages_url(self) -> str:
        return f"{self.base_url}/2010-04-01/Accounts/{self.sid}/Messages.json"


@dataclass(frozen=True)
class Form:
    """A message to be created."""

    to: str  # E.164
    body: str
    status_callback: str


Create = Callable[[Form], Awaitable[object]]


class NotCreatedError(Exception):
    """A peer was refused: it would be fast, and do nothing."""


def rate_of(peer: "Peer", account: Account, forms: Sequence[Form], in_flight: int) -> float:
    """Messages a second, with so many calls at once. In a loop of its own, like a service's."""
    return uvloop.run(_rate_of(peer, account, forms, in_flight))


async def _rate_of(peer: "Peer", account: Account, forms: Sequence[Form], in_flight: int) -> float:
    async with peer(account, in_flight) as create:
        left = iter(forms)
        began = time.perf_counter()
        await asyncio.gather(*(_create_each(create, left) for _ in range(in_flight)))
        return len(forms) / (time.perf_counter() - began)


async def _create_each(create: Create, forms: Iterable[Form]) -> None:
    for form in forms:
        await create(form)


@asynccontextmanager
async def aiohttp_alone(account: Account, in_flight: int) -> AsyncIterator[Create]:
    """The request, and nothing of its answer but that it was taken."""
    connector = aiohttp.TCPConnector(limit=in_flight)
    auth = {"Authorization": aiohttp.encode_basic_auth(account.sid, account.token)}
    async with aiohttp.ClientSession(connector=connector, headers=auth) as session:

        async def create(form: Form) -> None:
            data = {
                "To": f"whatsapp:{form.to}",
                "From": account.sender,
                "Body": form.body,
                "StatusCallback": form.status_callback,
            }
            async with session.post(account.messages_url, data=data) as answer:
                await answer.read()
                if not answer.ok:
                    raise NotCreatedError

        yield create


@asynccontextmanager
async def bare_client(account: Account, _in_flight: int) -> AsyncIterator[Create]:
    """Twilio's own client over Twilio's own asynchronous transport, as it is documented."""
    async with AsyncTwilioHttpClient() as transport:
        client = Client(account.sid, account.token, http_client=transport, environment={"TWILIO_EDGE": ""})
        client.api.base_url = account.base_url
        _ = client.messages  # takes 50 ms the first time

        async def create(form: Form) -> None:
            message = await client.messages.create_async(
                to=f"whatsapp:{form.to}",
                from_=account.sender,
                body=form.body,
                status_callback=form.status_callback,
            )
            if not message.sid:
                raise NotCreatedError

        yield create


@asynccontextmanager
async def apprise(account: Account, in_flight: int) -> AsyncIterator[Create]:
    """Apprise's plugin for Twilio, which knows no callback.

    Its address is a constant of the class and its throttle is 5 messages a second: both are replaced, or there would
    be nothing to measure. Its asynchronous call runs the synchronous one in the loop's threads, one for each call here.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(in_flight))

    class Redirected(NotifyTwilio):  # type: ignore[no-untyped-call] # the library has no types
        notify_sms_url = account.messages_url
        request_rate_per_sec = 0

    number = account.sender.replace("whatsapp:", "w:")

    async def create(form: Form) -> None:
        plugin = Redirected(account.sid, account.token, number, targets=[f"w:{form.to}"])  # type: ignore[no-untyped-call]
        if not await plugin.async_notify(body=form.body):
            raise NotCreatedError

    yield create


Peer = Callable[[Account, int], AbstractAsyncContextManager[Create]]

PEERS: Final = {"aiohttp alone": aiohttp_alone, "bare twilio client": bare_client, "Apprise": apprise}
