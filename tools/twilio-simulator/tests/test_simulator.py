"""The simulator over HTTP: its API through the official package, its callbacks, its sandbox, its faults."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import pytest
from aiohttp import web
from twilio.base.exceptions import TwilioRestException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from testkit.waiting import PATIENCE_S
from twilio_simulator import Fault, FaultKind, SimulatorClient, running_simulator
from twilio_simulator.limits import Limits
from twilio_simulator.resources import Status
from twilio_simulator.simulator import Behaviour

ANNA = "+393335550101"
PACE = timedelta(milliseconds=20)
ALL_THE_WAY = ["sending", "sent", "delivered"]


class Post(Protocol):
    """Creates a message to Anna, with parameters changed as told. The HTTP status and the answer."""

    async def __call__(self, **changes: str) -> tuple[int, dict[str, Any]]: ...


@dataclass
class Request:
    url: str
    form: dict[str, str]
    headers: Mapping[str, str]


@dataclass
class Receiver:
    """Records what it gets. `answers` are the HTTP statuses of the next requests; 204 afterwards."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        origin = self.url.removesuffix("/status")
        self.requests.append(Request(f"{origin}{request.raw_path}", form, request.headers))
        self._arrived.set()
        return web.Response(status=self.answers.pop(0) if self.answers else 204)

    async def requests_when(self, count: int) -> list[Request]:
        """Wait until so many have arrived."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.requests) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return self.requests

    async def statuses_when(self, count: int) -> list[str]:
        return [request.form["MessageStatus"] for request in await self.requests_when(count)]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/status"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def simulator(receiver: Receiver) -> AsyncIterator[SimulatorClient]:
    async with running_simulator(inbound_url=f"{receiver.url}/inbound") as simulator:
        await simulator.join(ANNA, "Anna Rossi")
        yield simulator


@pytest.fixture
async def http(simulator: SimulatorClient) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that knows the account."""
    authorization = aiohttp.encode_basic_auth(simulator.account_sid, simulator.auth_token)
    async with aiohttp.ClientSession(headers={"Authorization": authorization}) as session:
        yield session


@pytest.fixture
def post(simulator: SimulatorClient, http: aiohttp.ClientSession) -> Post:
    async def create(**changes: str) -> tuple[int, dict[str, Any]]:
        form = {"To": f"whatsapp:{ANNA}", "From": simulator.sender, "Body": "Ciao"} | changes
        url = f"{simulator.base_url}/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
        async with http.post(url, data=form) as response:
            return response.status, await response.json()

    return create


def official_client(simulator: SimulatorClient, http_client: AsyncTwilioHttpClient | None = None) -> Client:
    client = Client(simulator.account_sid, simulator.auth_token, http_client=http_client)
    client.api.base_url = simulator.base_url
    return client


# The API


async def test_the_official_package_creates_fetches_lists_and_deletes_messages(simulator: SimulatorClient) -> None:
    client = official_client(simulator)

    def use() -> None:
        created = client.messages.create(to=f"whatsapp:{ANNA}", from_=simulator.sender, body="Ciao")
        assert created.sid.startswith("SM")
        assert created.status == "queued"
        assert created.error_code is None
        fetched = client.messages(created.sid).fetch()
        assert (fetched.body, fetched.to) == ("Ciao", f"whatsapp:{ANNA}")
        assert [message.sid for message in client.messages.list(to=f"whatsapp:{ANNA}")] == [created.sid]
        assert client.messages(created.sid).update(body="").body == ""
        assert client.messages(created.sid).delete()
        assert client.api.accounts(simulator.account_sid).fetch().status == "active"

    await asyncio.to_thread(use)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of how the package itself uses aiohttp
async def test_the_official_asynchronous_client_works_unchanged(simulator: SimulatorClient) -> None:
    async with AsyncTwilioHttpClient() as http_client:
        client = official_client(simulator, http_client)
        created = await client.messages.create_async(to=f"whatsapp:{ANNA}", from_=simulator.sender, body="Ciao")
        assert (await client.messages(created.sid).fetch_async()).sid == created.sid
        with pytest.raises(TwilioRestException) as refused:
            await client.messages.create_async(to="whatsapp:333 1234567", from_=simulator.sender, body="Ciao")
        assert (refused.value.status, refused.value.code) == (400, 21211)


async def test_pages_of_a_list_follow_each_other_without_gap_or_repetition(
    simulator: SimulatorClient, post: Post
) -> None:
    created = [(await post(Body=str(number)))[1]["sid"] for number in range(7)]
    client = official_client(simulator)
    listed = await asyncio.to_thread(client.messages.list, from_=simulator.sender, page_size=3)
    assert [message.sid for message in listed] == created[::-1]


async def test_a_list_is_filtered_by_the_day_of_sending(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    await post(StatusCallback=receiver.url)
    await receiver.requests_when(3)
    messages = official_client(simulator).messages
    now = datetime.now(UTC)
    assert len(await asyncio.to_thread(messages.list, date_sent=now)) == 1
    assert len(await asyncio.to_thread(messages.list, date_sent_after=now - timedelta(minutes=1))) == 1
    assert await asyncio.to_thread(messages.list, date_sent_before=now - timedelta(minutes=1)) == []
    assert await asyncio.to_thread(messages.list, date_sent=now - timedelta(days=2)) == []


async def test_a_day_that_ends_a_list_is_part_of_it(simulator: SimulatorClient, http: aiohttp.ClientSession) -> None:
    await simulator.invent(ANNA, "at noon", sent_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    url = f"{simulator.base_url}/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
    account = {"Authorization": aiohttp.encode_basic_auth(simulator.account_sid, simulator.auth_token)}
    for last, expected in {"2026-02-28": 0, "2026-03-01": 1, "2026-03-01T11:00:00Z": 0}.items():
        async with http.get(url, params={"DateSent<": last}, headers=account) as response:
            assert len((await response.json())["messages"]) == expected, last


async def test_a_message_can_be_lost_invented_and_changed_behind_everybodys_back(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    _, lost = await post()
    await simulator.lose(lost["sid"])
    await simulator.invent(ANNA, "somebody else's")
    _, changed = await post(StatusCallback=receiver.url)
    told = len(await receiver.requests_when(3))
    await simulator.amend(changed["sid"], status="failed", error_code=63024, price="-0.00750", price_unit="USD")
    messages = await asyncio.to_thread(official_client(simulator).messages.list)
    assert {(each.body, each.status, each.price) for each in messages} == {
        (changed["body"], "failed", "-0.00750"),
        ("somebody else's", "delivered", None),
    }
    await simulator.callbacks_delivered()
    assert len(receiver.requests) == told


async def test_without_the_right_credentials_the_answer_is_twilios_401(simulator: SimulatorClient) -> None:
    url = f"{simulator.base_url}/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
    authorization = aiohttp.encode_basic_auth(simulator.account_sid, "wrong")
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data={"To": "x"}, headers={"Authorization": authorization}) as response,
    ):
        assert response.status == 401
        assert await response.json() == {
            "code": 20003,
            "message": "Authenticate",
            "more_info": "https://www.twilio.com/docs/errors/20003",
            "status": 401,
        }


async def test_another_account_is_not_found(simulator: SimulatorClient, http: aiohttp.ClientSession) -> None:
    url = f"{simulator.base_url}/2010-04-01/Accounts/AC{'f' * 32}/Messages.json"
    async with http.get(url) as response:
        assert (response.status, (await response.json())["code"]) == (404, 20404)


async def test_a_body_of_json_is_an_unsupported_media_type(
    simulator: SimulatorClient, http: aiohttp.ClientSession
) -> None:
    url = f"{simulator.base_url}/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
    async with http.post(url, json={"To": ANNA}) as response:
        assert response.status == 415


async def test_a_message_in_the_queue_can_be_canceled_and_a_delivered_one_cannot(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    await simulator.behave(Behaviour(pace=PACE, limits=Limits(messages_per_second=0.01)))
    _, first = await post(StatusCallback=receiver.url)
    _, second = await post()
    messages = official_client(simulator).messages
    canceled = await asyncio.to_thread(messages(second["sid"]).update, status="canceled")
    assert canceled.status == "canceled"
    await receiver.requests_when(3)
    with pytest.raises(TwilioRestException):
        await asyncio.to_thread(messages(first["sid"]).update, status="canceled")


# Limits


async def test_more_requests_than_the_account_may_make_are_answered_429(simulator: SimulatorClient, post: Post) -> None:
    await simulator.behave(Behaviour(pace=PACE, limits=Limits(requests_per_second=2)))
    answers = await asyncio.gather(*(post() for _ in range(8)))
    assert [status for status, _ in answers].count(429) >= 1
    assert {answer["code"] for status, answer in answers if status == 429} == {20429}
    assert len(await simulator.messages()) == [status for status, _ in answers].count(201)


async def test_more_requests_at_once_than_allowed_are_answered_429(simulator: SimulatorClient, post: Post) -> None:
    limits = Limits(concurrent_requests=3)
    await simulator.behave(Behaviour(pace=PACE, latency=timedelta(milliseconds=400), limits=limits))
    answers = await asyncio.gather(*(post() for _ in range(8)))
    assert sorted(status for status, _ in answers) == [201] * 3 + [429] * 5


async def test_what_exceeds_the_numbers_rate_waits_and_what_would_wait_too_long_fails_with_63018(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    await simulator.behave(Behaviour(pace=PACE, limits=Limits(messages_per_second=4, queue_seconds=0.3)))
    answers = await asyncio.gather(*(post(StatusCallback=receiver.url) for _ in range(3)))
    assert [status for status, _ in answers] == [201] * 3
    statuses = await receiver.statuses_when(7)
    assert sorted(statuses) == sorted(ALL_THE_WAY * 2 + ["failed"])
    assert "63018" in {request.form.get("ErrorCode") for request in receiver.requests}


async def test_a_message_whose_validity_runs_out_in_the_queue_fails_with_30036(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    await simulator.behave(Behaviour(pace=PACE, limits=Limits(messages_per_second=0.5)))
    await post()
    await post(StatusCallback=receiver.url, ValidityPeriod="1")
    (failed,) = await receiver.requests_when(1)
    assert (failed.form["MessageStatus"], failed.form["ErrorCode"]) == ("failed", "30036")


# Callbacks


async def test_each_status_is_told_by_a_callback_that_twilios_validator_accepts(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    _, message = await post(StatusCallback=f"{receiver.url}?n=7b&a=1#rc=3&rp=all")
    assert await receiver.statuses_when(3) == ALL_THE_WAY
    validator = RequestValidator(simulator.auth_token)
    for request in receiver.requests:
        assert request.url == f"{receiver.url}?n=7b&a=1"
        assert validator.validate(request.url, request.form, request.headers["X-Twilio-Signature"])
        assert request.form["MessageSid"] == message["sid"]
        assert request.form["To"] == f"whatsapp:{ANNA}"
    await simulator.read(ANNA)
    assert (await receiver.statuses_when(4))[-1] == "read"


async def test_a_server_error_is_retried_with_the_same_token_only_when_the_url_asks_for_it(
    receiver: Receiver, post: Post
) -> None:
    receiver.answers = [503, 500]
    await post(StatusCallback=f"{receiver.url}#rc=3&rp=all")
    await receiver.requests_when(5)
    tokens = [request.headers["I-Twilio-Idempotency-Token"] for request in receiver.requests]
    assert (len(tokens), len(set(tokens))) == (5, 3)
    receiver.requests.clear()
    receiver.answers = [503]
    await post(StatusCallback=receiver.url)
    assert await receiver.statuses_when(3) == ALL_THE_WAY


async def test_a_failed_connection_is_retried_once_and_then_given_up(simulator: SimulatorClient, post: Post) -> None:
    _, message = await post(StatusCallback="http://127.0.0.1:9/status")
    async with asyncio.timeout(PATIENCE_S):
        while (await simulator.counters()).get("callback_connect_failed") != 6:  # three statuses, twice each
            await simulator.callbacks_delivered()
    (accepted,) = await simulator.messages()
    assert (accepted.sid, accepted.status, accepted.attempts) == (message["sid"], "delivered", 6)


# The sandbox


async def test_a_phone_joins_by_writing_the_words_and_the_webhook_hears_only_what_comes_later(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    luca = "+393335550102"
    assert (await post(To=f"whatsapp:{luca}"))[1]["code"] == 63015
    await simulator.write(luca, "what is this?")
    await simulator.write(luca, "Join  Silver-Harbour")
    sid = await simulator.write(luca, "A codice 4711", button_payload="yes", replied_to="SM1")
    (inbound,) = await receiver.requests_when(1)
    assert inbound.form["MessageSid"] == sid
    assert inbound.form["From"] == f"whatsapp:{luca}"
    assert inbound.form["WaId"] == "393335550102"
    assert (inbound.form["Body"], inbound.form["ButtonPayload"]) == ("A codice 4711", "yes")
    assert inbound.form["OriginalRepliedMessageSid"] == "SM1"
    signature = inbound.headers["X-Twilio-Signature"]
    assert RequestValidator(simulator.auth_token).validate(inbound.url, inbound.form, signature)
    assert (await post(To=f"whatsapp:{luca}"))[0] == 201


async def test_a_join_lasts_three_days_and_the_window_24_hours(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    await simulator.advance_clock(timedelta(hours=25))
    assert (await post(StatusCallback=receiver.url))[0] == 201
    (outside,) = await receiver.requests_when(1)
    assert (outside.form["MessageStatus"], outside.form["ErrorCode"]) == ("failed", "63016")
    await simulator.behave(Behaviour(pace=PACE, errors_by_callback=frozenset()))
    assert (await post())[1]["code"] == 63016
    await simulator.add_templates({"HX" + "a" * 32: "Ci sono {{1}} novità"})
    status, message = await post(ContentSid="HX" + "a" * 32, ContentVariables='{"1": "3"}', Body="")
    assert (status, message["body"]) == (201, "Ci sono 3 novità")
    await simulator.advance_clock(timedelta(days=2))
    assert (await post())[1]["code"] == 63015


async def test_a_recipient_who_has_blocked_us_is_unsubscribed(simulator: SimulatorClient, post: Post) -> None:
    await simulator.block(ANNA)
    assert (await post())[1]["code"] == 21610


# Faults


@pytest.mark.parametrize(
    ("fault", "answered", "taken"),
    [
        (Fault(FaultKind.REFUSE, code=20429), 429, 0),
        (Fault(FaultKind.REFUSE, code=20003), 401, 0),
        (Fault(FaultKind.REFUSE, code=63024), 400, 0),
        (Fault(FaultKind.SERVER_ERROR, http_status=503), 503, 0),
        (Fault(FaultKind.SERVER_ERROR_TAKEN), 500, 1),
        (Fault(FaultKind.SLOW, seconds=0.01), 201, 1),
        (Fault(FaultKind.HANG, seconds=0.01), None, 0),
        (Fault(FaultKind.HANG_TAKEN, seconds=0.01), None, 1),
        (Fault(FaultKind.RESET), None, 0),
        (Fault(FaultKind.RESET_TAKEN), None, 1),
        (Fault(FaultKind.CALLBACK_FIRST), 201, 1),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
async def test_a_scripted_fault_goes_wrong_once_as_it_says(
    simulator: SimulatorClient, post: Post, fault: Fault, answered: int | None, taken: int
) -> None:
    await simulator.script(fault)
    try:
        status: int | None = (await post())[0]
    except aiohttp.ClientConnectionError:
        status = None
    assert (status, len(await simulator.messages())) == (answered, taken)
    assert (await post())[0] == 201


async def test_an_unreadable_answer_may_stand_for_a_message_that_was_taken(
    simulator: SimulatorClient, post: Post
) -> None:
    await simulator.script(Fault(FaultKind.WRONG_JSON))
    with pytest.raises(ValueError, match="Expecting value"):
        await post()
    assert len(await simulator.messages()) == 1


async def test_a_callback_can_come_before_the_answer(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    await simulator.script(Fault(FaultKind.CALLBACK_FIRST))
    await post(StatusCallback=receiver.url)
    assert receiver.requests[0].form["MessageStatus"] == "sending"


async def test_a_message_can_fail_later_with_any_code(
    simulator: SimulatorClient, receiver: Receiver, post: Post
) -> None:
    await simulator.script(Fault(FaultKind.FAIL, status=Status.UNDELIVERED, code=63024))
    await post(StatusCallback=receiver.url)
    assert await receiver.statuses_when(3) == ["sending", "sent", "undelivered"]
    assert receiver.requests[-1].form["ErrorCode"] == "63024"


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        (Fault(FaultKind.LOSE), ["sent", "delivered"]),
        (Fault(FaultKind.DOUBLE), ["sending", "sending", "sent", "delivered"]),
        (Fault(FaultKind.DELAY, seconds=0.5), ["sent", "delivered", "sending"]),
        (Fault(FaultKind.REORDER), ["sent", "sending", "delivered"]),
        (Fault(FaultKind.FORGE), ["sending", "sending", "sent", "delivered"]),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
async def test_callbacks_get_lost_doubled_late_out_of_order_and_forged(
    simulator: SimulatorClient, receiver: Receiver, post: Post, fault: Fault, statuses: list[str]
) -> None:
    await simulator.behave(Behaviour(pace=timedelta(milliseconds=60)))
    await simulator.script(fault)
    await post(StatusCallback=receiver.url)
    assert await receiver.statuses_when(len(statuses)) == statuses
    validator = RequestValidator(simulator.auth_token)
    genuine = [
        validator.validate(request.url, request.form, request.headers["X-Twilio-Signature"])
        for request in receiver.requests
    ]
    assert genuine.count(False) == (fault.kind is FaultKind.FORGE)


async def test_faults_by_chance_are_the_same_for_the_same_seed(simulator: SimulatorClient, post: Post) -> None:
    async def history() -> list[int]:
        await simulator.reset(seed=7)
        await simulator.join(ANNA)
        await simulator.script(Fault(FaultKind.SERVER_ERROR, times=None, probability=0.5))
        return [(await post())[0] for _ in range(20)]

    first = await history()
    assert set(first) == {201, 500}
    assert await history() == first


# Restart


async def test_a_restarted_simulator_knows_its_phones_and_what_it_accepted(tmp_path: Path) -> None:
    state_file = tmp_path / "state" / "twilio.jsonl"
    for _ in range(2):
        async with running_simulator(state_file=state_file) as simulator:
            await simulator.join(ANNA, "Anna Rossi")
            messages = official_client(simulator).messages
            await asyncio.to_thread(messages.create, to=f"whatsapp:{ANNA}", from_=simulator.sender, body="Ciao")
    with state_file.open("ab") as file:
        file.write(b'{"kind":"message","sid":"SM')  # what a crash leaves
    async with running_simulator(state_file=state_file) as simulator:
        assert len(await simulator.messages_when(2)) == 2
        async with asyncio.timeout(PATIENCE_S):
            while {message.status for message in await simulator.messages()} != {"delivered"}:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.01)


async def test_what_was_written_to_another_number_of_ours_opens_no_window(tmp_path: Path) -> None:
    """As when the sandbox is left for production: the 24 hours belong to a pair of numbers."""
    state_file = tmp_path / "twilio.jsonl"
    async with running_simulator(state_file=state_file) as sandbox:
        await sandbox.join(ANNA)
    async with running_simulator(state_file=state_file, sandbox=False, number="+390236790001") as simulator:
        messages = official_client(simulator).messages
        await simulator.behave(Behaviour(pace=PACE, errors_by_callback=frozenset()))
        with pytest.raises(TwilioRestException) as refused:
            await asyncio.to_thread(messages.create, to=f"whatsapp:{ANNA}", from_=simulator.sender, body="Ciao")
        assert refused.value.code == 63016
        await simulator.write(ANNA, "Ciao")
        await asyncio.to_thread(messages.create, to=f"whatsapp:{ANNA}", from_=simulator.sender, body="Ciao")
        assert len(await simulator.messages()) == 1


# The page


async def test_the_page_shows_chats_and_hears_of_changes(simulator: SimulatorClient, post: Post) -> None:
    async with aiohttp.ClientSession(simulator.base_url) as session:
        async with session.get("/") as page:
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
            assert "Phones" in await page.text()
        async with asyncio.timeout(PATIENCE_S), session.get("/simulator/events") as events:
            assert await events.content.readline() == b"retry: 1000\n"
            await post(Body="<script>alert(1)</script> https://example.org")
            await events.content.readline()
            assert ANNA.encode() in await events.content.readline()
        async with session.get(f"/simulator/phones/{ANNA}") as chat:
            assert (await chat.json())["messages"][-1]["body"] == "<script>alert(1)</script> https://example.org"


async def test_the_control_api_says_what_is_wrong_with_a_request(simulator: SimulatorClient) -> None:
    async with aiohttp.ClientSession(simulator.base_url) as session:
        async with session.post("/simulator/faults", data=b'{"kind": "explode"}') as response:
            assert response.status == 422
            assert "kind" in await response.text()
        async with session.post("/simulator/phones/12/join") as response:
            assert response.status == 422


async def test_many_phones_join_at_once(simulator: SimulatorClient, post: Post) -> None:
    bruno, carla = "+393335550102", "+393335550103"
    assert (await post(To=f"whatsapp:{bruno}"))[0] == 400
    await simulator.join_all([bruno, carla])
    assert [(await post(To=f"whatsapp:{each}"))[0] for each in (bruno, carla)] == [201, 201]
