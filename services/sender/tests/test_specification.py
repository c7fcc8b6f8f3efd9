"""The sender's requests, held to Twilio's own OpenAPI specification as they leave the process."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import parse_qs
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest

from common.events import Language
from sender.answers import answer_text
from sender.digest import digest_text, template_variables
from sender.fold import fold
from sender.outcomes import Accepted
from sender.templates import Purpose, templates
from sender.twilio import Found, Request, Sought, Twilio
from testkit.specification import MESSAGE, MESSAGES, needs_specification, request_to_twilio, specification_of
from twilio_simulator import SimulatorClient

from .conftest import direct_for, flat_for

pytestmark = needs_specification

TEMPLATE = "HX" + "0" * 32
ANNA = "+393335550101"
CALLBACK = f"https://hooks.example.org/twilio/status?n={uuid4()}&a=1&t=a-token#rc=3&rp=all"
LINK = "https://bot.example/m/abc"


@pytest.fixture(scope="module")
def specification() -> OpenAPI:
    return specification_of(MESSAGES, MESSAGE)


class Wire:
    """Stands between the sender and Twilio, and keeps the requests that pass."""

    def __init__(self, twilio_url: str, session: aiohttp.ClientSession) -> None:
        self.passed: list[MockRequest] = []
        self._twilio_url = twilio_url
        self._session = session

    async def pass_on(self, request: web.Request) -> web.Response:
        body = await request.read() or None
        self.passed.append(request_to_twilio(request.method, request.path_qs, request.headers, body))
        kept = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with self._session.request(
            request.method, self._twilio_url + request.path_qs, data=body, headers=kept
        ) as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)


@contextlib.asynccontextmanager
async def served(wire: Wire) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", wire.pass_on)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_what_the_sender_asks_of_twilio_is_what_the_specification_allows(
    simulator: SimulatorClient, specification: OpenAPI
) -> None:
    await simulator.join(ANNA)
    body = templates()[Purpose.DIGEST, Language.ENGLISH].body
    await simulator.add_templates({TEMPLATE: body})
    direct = direct_for(uuid4())
    entries = fold([flat_for(uuid4())], frozenset()).entries
    digest = digest_text(entries, Language.ITALIAN, LINK)
    test = answer_text(direct, Language.RUSSIAN, "Europe/Rome", "https://bot.example", uuid4())
    variables = template_variables(entries, Language.ENGLISH, LINK)
    async with (
        aiohttp.ClientSession() as session,
        served(wire := Wire(simulator.base_url, session)) as address,
        Twilio.connected(
            address, simulator.account_sid, simulator.auth_token, simulator.sender, timeout_s=10, in_flight=4
        ) as twilio,
    ):
        for message in (
            Request(ANNA, CALLBACK, body=digest.body),
            Request(ANNA, CALLBACK, body=test.body),
            Request(ANNA, CALLBACK, content_sid=TEMPLATE, content_variables=variables),
        ):
            assert isinstance(await twilio.create(message), Accepted)
        now = datetime.now(UTC)
        found = await twilio.find(Sought(ANNA, digest.marker, now, now))
        assert isinstance(found, Found)
        assert (await twilio.fetch(found.sid)).sid == found.sid
        assert await twilio.has(found.sid)
        assert len((await twilio.sent_on(now.date())).messages) <= 3
    for request in wire.passed:
        specification.validate_request(request)
    assert [request.method for request in wire.passed] == ["post"] * 3 + ["get"] * 4
    forms = [parse_qs((request.body or b"").decode()) for request in wire.passed[:3]]
    assert [form.get("Body") for form in forms] == [[digest.body], [test.body], None]
    assert {form["StatusCallback"][0] for form in forms} == {CALLBACK}
