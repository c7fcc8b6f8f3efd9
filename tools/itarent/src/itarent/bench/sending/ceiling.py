"""What the simulator can take at the most, from a client that does next to nothing: others are to be the bottleneck."""

import asyncio
import base64
import time
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlencode, urlsplit

import uvloop

from itarent.bench.sending.peers import Account, Form, NotCreatedError

END: Final = b"\r\n\r\n"
CREATED: Final = b"HTTP/1.1 201"
LENGTH: Final = b"content-length: "


def ceiling(account: Account, forms: Sequence[Form], in_flight: int) -> float:
    """Messages a second over so many connections, of requests that are ready."""
    requests = [_request(account, form) for form in forms]
    return uvloop.run(_rate(account, requests, in_flight))


async def _rate(account: Account, requests: Sequence[bytes], in_flight: int) -> float:
    left = iter(requests)
    began = time.perf_counter()
    await asyncio.gather(*(_send_each(account, left) for _ in range(in_flight)))
    return len(requests) / (time.perf_counter() - began)


async def _send_each(account: Account, requests: Iterator[bytes]) -> None:
    where = urlsplit(account.base_url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(END)
        if not head.startswith(CREATED):
            raise NotCreatedError
        await reader.readexactly(int(head.partition(LENGTH)[2].partition(b"\r\n")[0]))
    writer.close()
    await writer.wait_closed()


def _request(account: Account, form: Form) -> bytes:
    where = urlsplit(account.messages_url)
    data = {
        "To": f"whatsapp:{form.to}",
        "From": account.sender,
        "Body": form.body,
        "StatusCallback": form.status_callback,
    }
    body = urlencode(data).encode()
    head = (
        f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n"
        f"Authorization: Basic {base64.b64encode(f'{account.sid}:{account.token}'.encode()).decode()}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
