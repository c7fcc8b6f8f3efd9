"""What Twilio's own OpenAPI specification says of the simulator's requests and answers."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio
from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from testkit.specification import ACCOUNT, MESSAGE, MESSAGES, needs_specification, request_to_twilio, specification_of
from twilio_simulator import SimulatorClient, running_simulator

ANNA = "+393335550101"
FORM = "application/x-www-form-urlencoded"

pytestmark = [needs_specification, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def specification() -> OpenAPI:
    return specification_of(MESSAGES, MESSAGE, ACCOUNT)


@dataclass
class Exchange:
    request: MockRequest
    response: MockResponse

    def request_is_specified(self, specification: OpenAPI) -> bool:
        try:
            specification.validate_request(self.request)
        except OpenAPIError:
            return False
        return True


class Account:
    """Makes requests to the simulator's account, and keeps them as openapi-core reads them."""

    def __init__(self, simulator: SimulatorClient, session: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self._session = session
        self._authorization = aiohttp.encode_basic_auth(simulator.account_sid, simulator.auth_token)

    async def call(self, method: str, path: str, form: list[tuple[str, str]] | None = None) -> Exchange:
        uri = f"/2010-04-01/Accounts/{self.simulator.account_sid}{path}"
        body = urlencode(form).encode() if form is not None else None
        headers = {"Authorization": self._authorization} | ({"Content-Type": FORM} if body else {})
        async with self._session.request(
            method, f"{self.simulator.base_url}{uri}", data=body, headers=headers
        ) as response:
            answer = MockResponse(await response.read(), response.status, content_type="application/json")
        return Exchange(request_to_twilio(method, uri, headers, body), answer)

    async def create(self, *parameters: tuple[str, str]) -> Exchange:
        form = {"To": f"whatsapp:{ANNA}", "From": self.simulator.sender, "Body": "Ciao"}
        changed = {name for name, _ in parameters}
        kept = [(name, value) for name, value in form.items() if name not in changed]
        return await self.call("POST", "/Messages.json", kept + [pair for pair in parameters if pair[1] != "(none)"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account() -> AsyncIterator[Account]:
    async with running_simulator() as simulator, aiohttp.ClientSession() as session:
        await simulator.join(ANNA)
        yield Account(simulator, session)


@pytest.mark.parametrize(
    "parameters",
    [
        [],
        [("StatusCallback", "https://example.org/status?n=1&a=2#rc=3&rp=all")],
        [("ValidityPeriod", "600"), ("Attempt", "1"), ("MaxPrice", "0.5"), ("ProvideFeedback", "true")],
        [("MessagingServiceSid", "MG" + "0" * 32), ("ApplicationSid", "AP" + "0" * 32)],
        [("MediaUrl", "https://example.org/1.jpg"), ("MediaUrl", "https://example.org/2.jpg")],
        [("SmartEncoded", "false"), ("ContentRetention", "discard"), ("AddressRetention", "retain")],
        [("ScheduleType", "fixed"), ("SendAt", "2030-01-01T00:00:00Z"), ("RiskCheck", "disable")],
        [("NewerThanTheSpecification", "1")],
    ],
)
async def test_requests_that_the_specification_allows_are_accepted_and_answered_as_it_says(
    specification: OpenAPI, account: Account, parameters: list[tuple[str, str]]
) -> None:
    exchange = await account.create(*parameters)
    assert exchange.request_is_specified(specification)
    assert exchange.response.status_code == 201
    specification.validate_response(exchange.request, exchange.response)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("To", "(none)"),
        ("ValidityPeriod", "soon"),
        ("Attempt", "1.5"),
        ("MaxPrice", "cheap"),
        ("ProvideFeedback", "perhaps"),
        ("ForceDelivery", "1x"),
        ("SmartEncoded", "yes please"),
        ("ContentSid", "HX123"),
        ("ContentSid", "hx" + "a" * 32),
        ("MessagingServiceSid", "MG" + "g" * 32),
        ("ApplicationSid", "AP"),
        ("ContentRetention", "forget"),
        ("AddressRetention", "hide"),
        ("TrafficType", "paid"),
        ("ScheduleType", "weekly"),
        ("SendAt", "tomorrow"),
        ("RiskCheck", "maybe"),
    ],
)
async def test_requests_that_the_specification_forbids_are_refused(
    specification: OpenAPI, account: Account, name: str, value: str
) -> None:
    exchange = await account.create((name, value))
    assert not exchange.request_is_specified(specification)
    assert exchange.response.status_code == 400


@pytest.mark.parametrize("query", ["", "?PageSize=1", f"?To=whatsapp%3A%2B{ANNA[1:]}&DateSent%3E=2026-01-01T00:00:00Z"])
async def test_lists_are_answered_as_the_specification_says(
    specification: OpenAPI, account: Account, query: str
) -> None:
    await account.create()
    await account.create()
    exchange = await account.call("GET", f"/Messages.json{query}")
    assert exchange.request_is_specified(specification)
    specification.validate_response(exchange.request, exchange.response)


@pytest.mark.parametrize(
    "query", ["?PageSize=0", "?PageSize=1001", "?PageSize=many", "?Page=-1", "?DateSent=yesterday"]
)
async def test_lists_that_the_specification_forbids_are_refused(
    specification: OpenAPI, account: Account, query: str
) -> None:
    exchange = await account.call("GET", f"/Messages.json{query}")
    assert not exchange.request_is_specified(specification)
    assert exchange.response.status_code == 400


async def test_a_message_and_the_account_are_answered_as_the_specification_says(
    specification: OpenAPI, account: Account
) -> None:
    created = await account.create()
    sid = json.loads(created.response.data or b"")["sid"]
    for method, path, form in (
        ("GET", f"/Messages/{sid}.json", None),
        ("POST", f"/Messages/{sid}.json", [("Body", "")]),
        ("GET", ".json", None),
    ):
        exchange = await account.call(method, path, form)
        assert exchange.request_is_specified(specification)
        assert exchange.response.status_code == 200
        specification.validate_response(exchange.request, exchange.response)
