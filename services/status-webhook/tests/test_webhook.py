"""The webhook's promises, on real HTTP and real Kafka."""

import asyncio
import contextlib
import functools
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import aiohttp
import pytest
import uvicorn
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from common.events import InboundMessageReceived, MessageStatus, MessageStatusReported
from common.kafka import Publisher, create_topics
from common.topics import Topics
from local_servers.home import home_of, scratch_home
from local_servers.kafka import running_kafka
from local_servers.ports import free_port
from status_webhook.routes import Webhook
from status_webhook.settings import Settings
from testkit.records import records_of
from testkit.waiting import PATIENCE_S, eventually

TOKEN = "3f9c0c5a7d2b4e813f9c0c5a7d2b4e81"
ACCOUNT = "AC0123456789abcdef0123456789abcdef"
PUBLIC_URL = "https://hooks.example.org"
RENTER = "+393335550101"
OUR_NUMBER = "+14155238886"
MESSAGE_SID = "SM9f8e7d6c5b4a39281706f5e4d3c2b1a0"

MESSAGE_ID = UUID("8c5f0a52-3f0e-4f0a-9c39-0d8a2d1b7e11")
STATUS_PATH = f"/twilio/status?n={MESSAGE_ID}&a=2"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

STATUS = {
    "MessageSid": MESSAGE_SID,
    "SmsSid": MESSAGE_SID,
    "MessageStatus": "delivered",
    "SmsStatus": "delivered",
    "To": f"whatsapp:{RENTER}",
    "From": f"whatsapp:{OUR_NUMBER}",
    "ChannelToAddress": RENTER,
    "ChannelPrefix": "whatsapp",
    "EventType": "DELIVERED",
    "AccountSid": ACCOUNT,
    "ApiVersion": "2010-04-01",
}
INBOUND = {
    "MessageSid": "SM00112233445566778899aabbccddeeff",
    "SmsStatus": "received",
    "From": f"whatsapp:{RENTER}",
    "To": f"whatsapp:{OUR_NUMBER}",
    "Body": "Sì, PERCHÉ? 😀\nciao",
    "ProfileName": "Niccolò",
    "WaId": RENTER.removeprefix("+"),
    "NumMedia": "0",
    "ButtonPayload": "details-1",
    "AccountSid": ACCOUNT,
}


def make_settings(topics: Topics, kafka: str, **changes: Any) -> Settings:
    return Settings(
        _env_file=None,
        kafka_bootstrap_servers=kafka,
        kafka_namespace=topics.listings.name.removesuffix(".listings.v1"),
        **{
            "webhook_public_url": PUBLIC_URL,
            "whatsapp_api_token": SecretStr(TOKEN),
            "whatsapp_business_account_id": ACCOUNT,
            **changes,
        },
    )


@dataclass
class Twilio:
    """Posts as Twilio does: form-encoded and signed for the public address."""

    address: str
    session: aiohttp.ClientSession

    async def posts(self, path: str, form: dict[str, str], *, signed_as: str | None = None) -> aiohttp.ClientResponse:
        """Post the form; `signed_as` is the whole URL that is signed when it is not the public one of the path."""
        signature = RequestValidator(TOKEN).compute_signature(signed_as or f"{PUBLIC_URL}{path}", form)
        return await self.posts_raw(path, urlencode(form).encode(), {"X-Twilio-Signature": signature})

    async def posts_raw(self, path: str, body: bytes, headers: dict[str, str]) -> aiohttp.ClientResponse:
        async with self.session.post(f"{self.address}{path}", data=body, headers=FORM | headers) as response:
            assert await response.read() == b"" or response.status != 204
            return response


@contextlib.asynccontextmanager
async def serving(webhook: Webhook) -> AsyncIterator[str]:
    """Serve the webhook on a free port and yield its address."""
    server = uvicorn.Server(uvicorn.Config(webhook, port=0, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def twilio_of(
    kafka: str,
    topics: Topics,
    *,
    body_within_s: float = PATIENCE_S,
    published_within_s: float = PATIENCE_S,
    **settings: Any,
) -> AsyncIterator[Twilio]:
    """A Twilio whose callbacks go to a webhook of its own."""
    async with (
        Publisher.connected(kafka, "status-webhook") as publisher,
        serving(
            Webhook(
                make_settings(topics, kafka, **settings),
                publisher,
                body_within_s=body_within_s,
                published_within_s=published_within_s,
            )
        ) as address,
        aiohttp.ClientSession() as session,
    ):
        yield Twilio(address, session)


@pytest.fixture
async def twilio(kafka: str, topics: Topics) -> AsyncIterator[Twilio]:
    async with twilio_of(kafka, topics) as twilio:
        yield twilio


# --- what is taken --------------------------------------------------------------------------------------------------


async def test_a_status_is_on_kafka_when_twilio_is_answered(twilio: Twilio, kafka: str, topics: Topics) -> None:
    answer = await twilio.posts(STATUS_PATH, STATUS | {"ErrorCode": "63016", "Brandnew": "1"})
    assert answer.status == 204

    [record] = await records_of(kafka, topics.message_statuses)
    event = MessageStatusReported.model_validate_json(record.value or b"")
    assert (event.message_id, event.attempt, event.message_sid) == (MESSAGE_ID, 2, MESSAGE_SID)
    assert (event.status, event.error_code, event.reported_by) == (MessageStatus.DELIVERED, 63016, "callback")
    assert event.parameters["Brandnew"] == "1"
    assert (record.key or b"").decode() == str(MESSAGE_ID)
    assert RENTER.removeprefix("+") not in str(record)


async def test_a_message_to_us_is_on_kafka_when_twilio_is_answered(twilio: Twilio, kafka: str, topics: Topics) -> None:
    assert (await twilio.posts("/twilio/inbound", INBOUND)).status == 204

    [record] = await records_of(kafka, topics.inbound_messages)
    event = InboundMessageReceived.model_validate_json(record.value or b"")
    assert (event.sender, event.recipient, event.body) == (RENTER, OUR_NUMBER, INBOUND["Body"])
    assert event.parameters["ProfileName"] == "Niccolò"
    assert (record.key or b"").decode() == hashlib.sha256(RENTER.encode()).hexdigest()


async def test_one_address_for_both_tells_them_apart(twilio: Twilio, kafka: str, topics: Topics) -> None:
    assert (await twilio.posts(f"/twilio?n={MESSAGE_ID}&a=1", STATUS)).status == 204
    assert (await twilio.posts("/twilio", INBOUND)).status == 204
    assert len(await records_of(kafka, topics.message_statuses)) == 1
    assert len(await records_of(kafka, topics.inbound_messages)) == 1


async def test_a_replayed_callback_is_the_same_event(twilio: Twilio, kafka: str, topics: Topics) -> None:
    for _ in range(2):
        assert (await twilio.posts(STATUS_PATH, STATUS)).status == 204
    first, second = await records_of(kafka, topics.message_statuses)
    assert dict(first.headers)["ce_id"] == dict(second.headers)["ce_id"]


async def test_every_one_of_many_callbacks_at_once_is_published(twilio: Twilio, kafka: str, topics: Topics) -> None:
    sids = {f"SM{number:032x}" for number in range(200)}
    answers = await asyncio.gather(*(twilio.posts("/twilio/status", STATUS | {"MessageSid": sid}) for sid in sids))
    assert {answer.status for answer in answers} == {204}
    assert {(record.key or b"").decode() for record in await records_of(kafka, topics.message_statuses)} == sids


@pytest.mark.parametrize("port", ["", ":443"])
async def test_twilio_may_sign_with_the_port_or_without(twilio: Twilio, port: str) -> None:
    answer = await twilio.posts(STATUS_PATH, STATUS, signed_as=f"{PUBLIC_URL}{port}{STATUS_PATH}")
    assert answer.status == 204


@pytest.mark.parametrize("prefix", ["/hooks", "/twilio"])
@pytest.mark.parametrize("stripped", [True, False])
async def test_a_proxy_may_strip_the_public_path_or_not(
    kafka: str, topics: Topics, prefix: str, *, stripped: bool
) -> None:
    public = PUBLIC_URL + prefix
    async with twilio_of(kafka, topics, webhook_public_url=f"{public}/") as twilio:
        path = STATUS_PATH if stripped else prefix + STATUS_PATH
        answer = await twilio.posts(path, STATUS, signed_as=public + STATUS_PATH)
    assert answer.status == 204


# --- what is refused ------------------------------------------------------------------------------------------------


def signed(body: bytes, path: str = "/twilio/status") -> dict[str, str]:
    form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    return {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(PUBLIC_URL + path, form)}


GOOD = urlencode(STATUS).encode()
UNSIGNED_POSTS: dict[str, tuple[bytes, dict[str, str]]] = {
    "no signature": (GOOD, {}),
    "an empty signature": (GOOD, {"X-Twilio-Signature": ""}),
    "another request's signature": (GOOD, signed(GOOD + b"&Body=1")),
    "a signature that is not ASCII": (GOOD, {"X-Twilio-Signature": "è"}),
    "an added parameter": (GOOD + b"&Extra=", signed(GOOD)),
    "a dropped parameter": (GOOD.replace(b"&ApiVersion=2010-04-01", b""), signed(GOOD)),
}
OTHER_ACCOUNT = urlencode(STATUS | {"AccountSid": ACCOUNT.replace("AC0", "AC1")}).encode()
MANY_FIELDS = b"&".join(b"f%d=1" % number for number in range(201))


REFUSED_POSTS: dict[str, tuple[bytes, dict[str, str], int]] = {
    "another account": (OTHER_ACCOUNT, {}, 403),
    "no status": (b"AccountSid=" + ACCOUNT.encode(), {}, 400),
    "JSON": (GOOD, {"Content-Type": "application/json"}, 415),
    "no type": (GOOD, {"Content-Type": ""}, 415),
    "not UTF-8": (GOOD + b"&x=%FF", {}, 400),
    "bytes that are not UTF-8": (GOOD + b"&x=\xff", {}, 400),
    "half a character": (GOOD + b"&x=%ED%A0%80", {}, 400),
    "UTF-16": (GOOD.decode().encode("utf-16"), {}, 400),
    "escapes that are none": (b"%&=%zz&&&=%1", {}, 403),
    "nothing": (b"", {}, 403),
    "no account": (GOOD.replace(b"&AccountSid=" + ACCOUNT.encode(), b""), {}, 403),
    "thousands of fields": (b"&".join(b"f%d=1" % number for number in range(5000)), {}, 400),
    "a megabyte": (b"Body=" + b"x" * 1_000_000, {}, 413),
    "too many fields": (MANY_FIELDS, {}, 400),
    "too large": (b"Body=" + b"x" * 65_536, {}, 413),
}


async def test_what_twilio_did_not_sign_is_forbidden(twilio: Twilio, kafka: str, topics: Topics) -> None:
    answers = {
        what: (await twilio.posts_raw("/twilio/status", body, headers)).status
        for what, (body, headers) in UNSIGNED_POSTS.items()
    }
    assert answers == dict.fromkeys(UNSIGNED_POSTS, 403)
    assert await records_of(kafka, topics.message_statuses) == []


async def test_what_is_no_callback_of_ours_is_refused(twilio: Twilio, kafka: str, topics: Topics) -> None:
    answers = {
        what: (await twilio.posts_raw("/twilio/status", body, signed(body) | headers)).status
        for what, (body, headers, _) in REFUSED_POSTS.items()
    }
    assert answers == {what: status for what, (_, _, status) in REFUSED_POSTS.items()}
    assert await records_of(kafka, topics.message_statuses) == []


@pytest.mark.parametrize("name", ["X-Twilio-Signature", "Content-Type", "Content-Length"])
async def test_a_header_that_comes_twice_lets_nothing_through(
    twilio: Twilio, kafka: str, topics: Topics, name: str
) -> None:
    headers = [("Content-Type", FORM["Content-Type"]), ("Content-Length", str(len(GOOD))), *signed(b"other=1").items()]
    at = urlsplit(twilio.address)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    doubled = [*headers, (name, dict(headers)[name]), ("Host", "localhost"), ("Connection", "close")]
    lines = "".join(f"{header}: {value}\r\n" for header, value in doubled)
    writer.write(f"POST /twilio/status HTTP/1.1\r\n{lines}\r\n".encode() + GOOD)
    status = int((await reader.readline()).split()[1])
    writer.close()
    await writer.wait_closed()
    assert status in {400, 403}
    assert await records_of(kafka, topics.message_statuses) == []


async def test_a_large_body_that_hides_its_length_is_refused(twilio: Twilio) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b"x" * 1024

    async with twilio.session.post(f"{twilio.address}/twilio/status", data=pieces(), headers=FORM) as answer:
        assert answer.status == 413


async def test_a_body_that_does_not_come_is_given_up(kafka: str, topics: Topics) -> None:
    async with twilio_of(kafka, topics, body_within_s=0.3) as twilio:
        host, port = twilio.address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /twilio/status HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
        writer.write(b"Content-Type: application/x-www-form-urlencoded\r\n\r\nMessageSid=")
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.read()  # until the webhook closes the connection
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_twilio_must_post(twilio: Twilio, method: str) -> None:
    async with twilio.session.request(method, f"{twilio.address}{STATUS_PATH}") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_a_verify_token_must_be_part_of_the_address(kafka: str, topics: Topics) -> None:
    async with twilio_of(kafka, topics, whatsapp_webhook_verify_token=SecretStr("a-token-of-sixteen")) as twilio:
        answers = [
            await twilio.posts(STATUS_PATH + more, STATUS) for more in ("", "&t=", "&t=wrong", "&t=a-token-of-sixteen")
        ]
    assert [answer.status for answer in answers] == [403, 403, 403, 204]


@pytest.mark.parametrize(
    ("unset", "value"),
    [
        ("WEBHOOK_PUBLIC_URL", None),
        ("WHATSAPP_API_TOKEN", SecretStr("")),
        ("WHATSAPP_BUSINESS_ACCOUNT_ID", ""),
    ],
)
async def test_a_webhook_that_cannot_check_signatures_runs_and_says_what_it_lacks(
    kafka: str, topics: Topics, unset: str, value: Any
) -> None:
    async with twilio_of(kafka, topics, whatsapp_enabled=False, **{unset.lower(): value}) as twilio:
        answer = await twilio.posts(STATUS_PATH, STATUS)
        assert answer.status == 503
        assert unset in await answer.text()
        async with twilio.session.get(f"{twilio.address}/healthz") as health:
            assert health.status == 200


# --- when Kafka is away ---------------------------------------------------------------------------------------------


async def test_while_kafka_is_away_callbacks_are_answered_503_and_none_that_was_taken_is_lost(
    pytestconfig: pytest.Config,
) -> None:
    home = home_of(pytestconfig.rootpath)
    with scratch_home(home) as scratch, contextlib.ExitStack() as broker:
        start = functools.partial(running_kafka, scratch, downloads=home / "downloads", port=free_port())
        kafka = broker.enter_context(start())
        topics = Topics.within("away")
        await create_topics(kafka, topics)
        async with twilio_of(kafka, topics, published_within_s=0.5) as twilio:
            await until_taken(twilio, STATUS | {"MessageStatus": "sent"})
            await asyncio.to_thread(broker.close)  # meanwhile idle connections may be closed, and are seen to be
            answer = await twilio.posts(STATUS_PATH, STATUS)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            await asyncio.to_thread(broker.enter_context, start())
            await until_taken(twilio, STATUS)
        records = await records_of(kafka, topics.message_statuses)
    # One that was answered 503 may have arrived all the same: under the id of the one that was taken.
    values = {dict(record.headers)["ce_id"]: record.value for record in reversed(records)}
    statuses = {MessageStatusReported.model_validate_json(value or b"").status for value in values.values()}
    assert (len(values), statuses) == (2, {MessageStatus.SENT, MessageStatus.DELIVERED})


async def until_taken(twilio: Twilio, form: dict[str, str]) -> None:
    async with asyncio.timeout(2 * PATIENCE_S):  # a broker starts anew
        while (await twilio.posts(STATUS_PATH, form)).status != 204:
            pass  # each 503 has waited already


# --- beside the callbacks -------------------------------------------------------------------------------------------


async def test_a_probe_is_checked_as_callbacks_are_and_publishes_nothing(
    twilio: Twilio, kafka: str, topics: Topics
) -> None:
    probe = {"AccountSid": ACCOUNT}
    assert (await twilio.posts("/twilio/check", probe)).status == 204
    assert (await twilio.posts("/twilio/check", probe, signed_as="https://elsewhere.example")).status == 403
    assert (await twilio.posts("/twilio/check", {"AccountSid": "AC" + "0" * 32})).status == 403
    for topic in topics.all():
        assert await records_of(kafka, topic) == []


async def test_health_and_metrics_are_served(twilio: Twilio) -> None:
    await twilio.posts(STATUS_PATH, STATUS)
    async with twilio.session.get(f"{twilio.address}/healthz") as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "ok")
    async with twilio.session.get(f"{twilio.address}/metrics/") as answer:
        assert 'itarent_callbacks_total{status="204"}' in await answer.text()
    async with twilio.session.get(f"{twilio.address}/twilio/") as answer:
        assert answer.status == 404
