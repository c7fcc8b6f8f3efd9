"""The Content API as HTTP clients see it, and what a template's approval means for messages."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from testkit.waiting import eventually
from twilio_simulator import SimulatorClient, running_simulator
from twilio_simulator.simulator import Behaviour

ANNA = "+393335550101"
TEXT = {
    "friendly_name": "news",
    "language": "en",
    "variables": {"1": "3 listings"},
    "types": {"twilio/text": {"body": "News for you: {{1}} and no more."}},
}
CODE = {
    "friendly_name": "code",
    "language": "it",
    "variables": {"1": "482913"},
    "types": {
        "whatsapp/authentication": {
            "add_security_recommendation": True,
            "code_expiration_minutes": 10,
            "actions": [{"type": "COPY_CODE", "copy_code_text": "Copia codice"}],
        }
    },
}
APPROVAL = {"name": "news_1", "category": "UTILITY"}
PATIENT = Behaviour(pace=timedelta(days=1))


class Caller:
    """A client of Twilio's with the account's credentials."""

    def __init__(self, simulator: SimulatorClient, session: aiohttp.ClientSession) -> None:
        self._simulator = simulator
        self._session = session

    async def call(self, method: str, path: str, given: object = None, **options: Any) -> tuple[int, Any]:
        simulator = self._simulator
        credentials = aiohttp.encode_basic_auth(simulator.account_sid, options.pop("token", simulator.auth_token))
        headers = {"Authorization": credentials} | options.pop("headers", {})
        body = options or {"json": given}
        async with self._session.request(method, f"{simulator.base_url}/v1/{path}", headers=headers, **body) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def created(self, given: object = TEXT) -> str:
        status, content = await self.call("POST", "Content", given)
        assert status == 201
        sid: str = content["sid"]
        return sid

    async def approval(self, sid: str) -> Any:
        _, approvals = await self.call("GET", f"Content/{sid}/ApprovalRequests")
        return approvals["whatsapp"]["status"]

    async def send(self, sid: str, **variables: str) -> tuple[int, int | None]:
        """The answer's HTTP status and error code."""
        simulator = self._simulator
        form = {
            "To": f"whatsapp:{ANNA}",
            "From": simulator.sender,
            "ContentSid": sid,
            "ContentVariables": json.dumps(variables or {"1": "7 listings"}),
        }
        url = f"{simulator.base_url}/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
        headers = {"Authorization": aiohttp.encode_basic_auth(simulator.account_sid, simulator.auth_token)}
        async with self._session.post(url, data=form, headers=headers) as answer:
            return answer.status, (await answer.json()).get("code")


async def test_a_template_is_reviewed_by_itself_and_shown_with_its_approval() -> None:
    async with running_simulator() as simulator, aiohttp.ClientSession() as session:
        caller = Caller(simulator, session)
        sid = await caller.created()
        assert await caller.approval(sid) == "unsubmitted"
        status, submitted = await caller.call("POST", f"Content/{sid}/ApprovalRequests/whatsapp", APPROVAL)
        assert (status, submitted["status"]) == (201, "received")

        async def approved() -> bool:
            return bool(await caller.approval(sid) == "approved")

        await eventually(approved)
        _, page = await caller.call("GET", "ContentAndApprovals?PageSize=1")
        [content] = page["contents"]
        assert (page["meta"]["key"], page["meta"]["next_page_url"]) == ("contents", None)
        assert (content["types"], content["approval_requests"]["category"]) == (TEXT["types"], "UTILITY")
        assert (await caller.call("DELETE", f"Content/{sid}"))[0] == 204
        assert (await caller.call("GET", f"Content/{sid}"))[0] == 404


async def test_templates_and_reviews_survive_a_restart_and_a_reset(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    async with (
        running_simulator(state_file=file, behaviour=PATIENT) as simulator,
        aiohttp.ClientSession() as session,
    ):
        caller = Caller(simulator, session)
        sid = await caller.created()
        await caller.call("POST", f"Content/{sid}/ApprovalRequests/whatsapp", APPROVAL)
        await simulator.reset()
        assert await caller.approval(sid) == "received"
    async with running_simulator(state_file=file) as simulator, aiohttp.ClientSession() as session:
        caller = Caller(simulator, session)

        async def approved() -> bool:
            return bool(await caller.approval(sid) == "approved")

        await eventually(approved)
        await simulator.join(ANNA)
        assert await caller.send(sid) == (201, None)


@pytest.mark.parametrize(
    ("approval", "window_is_open", "answer"),
    [
        ("approved", False, (201, None)),
        ("pending", True, (201, None)),
        ("pending", False, (400, 63016)),
        ("rejected", True, (400, 63040)),
        ("paused", True, (400, 63041)),
        ("disabled", False, (400, 63042)),
    ],
)
async def test_approval_decides_about_messages(
    approval: str, answer: tuple[int, int | None], *, window_is_open: bool
) -> None:
    at_once = Behaviour(errors_by_callback=frozenset())
    async with running_simulator(behaviour=at_once) as simulator, aiohttp.ClientSession() as session:
        caller = Caller(simulator, session)
        sid = await caller.created()
        await simulator.judge_template(sid, approval)
        await simulator.join(ANNA)
        if not window_is_open:
            await simulator.expire(ANNA, "window")
        assert await caller.send(sid) == answer


async def test_a_code_is_sent_in_whatsapps_own_words() -> None:
    async with running_simulator() as simulator, aiohttp.ClientSession() as session:
        caller = Caller(simulator, session)
        sid = await caller.created(CODE)
        await simulator.judge_template(sid, "approved")
        await simulator.join(ANNA)
        assert await caller.send(sid, **{"1": "482913"}) == (201, None)
        assert await caller.send(sid, **{"1": "482913", "2": "more"}) == (400, 63028)
        [message] = await simulator.messages()
    assert message.body.startswith("482913 è il tuo codice di verifica.")
    assert "10 minuti" in message.body


@pytest.mark.parametrize(
    ("given", "submitted", "reason"),
    [
        (CODE, {"name": "code_1", "category": "UTILITY"}, "INCORRECT_CATEGORY"),
        (TEXT, {"name": "news_1", "category": "AUTHENTICATION"}, "INCORRECT_CATEGORY"),
        (TEXT | {"types": {"twilio/text": {"body": "News: {{1}}."}}}, APPROVAL, "INVALID_FORMAT"),
    ],
)
async def test_meta_rejects_what_its_rules_forbid(given: object, submitted: object, reason: str) -> None:
    async with running_simulator() as simulator, aiohttp.ClientSession() as session:
        caller = Caller(simulator, session)
        sid = await caller.created(given)
        await caller.call("POST", f"Content/{sid}/ApprovalRequests/whatsapp", submitted)

        async def rejected() -> bool:
            return bool(await caller.approval(sid) == "rejected")

        await eventually(rejected)
        _, approvals = await caller.call("GET", f"Content/{sid}/ApprovalRequests")
    assert approvals["whatsapp"]["rejection_reason"] == reason


async def test_what_twilio_would_not_take_is_refused() -> None:
    async with running_simulator() as simulator, aiohttp.ClientSession() as session:
        caller = Caller(simulator, session)
        sid = await caller.created()
        approvals = f"Content/{sid}/ApprovalRequests/whatsapp"
        refused = [
            await caller.call("GET", "Content", token="wrong"),
            await caller.call("POST", "Content", data={"language": "en"}),
            await caller.call("POST", "Content", data=b"{", headers={"Content-Type": "application/json"}),
            await caller.call("POST", "Content", {"language": "en"}),
            await caller.call("POST", "Content", TEXT | {"variables": {"1": 3}}),
            await caller.call("POST", "Content", TEXT | {"types": {"twilio/text": {"body": "x" * 1601}}}),
            await caller.call("POST", "Content", TEXT | {"types": {"twilio/unheard-of": {}}}),
            await caller.call("POST", approvals, {"name": "News 1", "category": "UTILITY"}),
            await caller.call("POST", approvals, {"name": "news_1", "category": "SERVICE"}),
            await caller.call("POST", approvals, {}),
            await caller.call("GET", "Content?PageSize=1001"),
            await caller.call("GET", "Content?PageSize=many"),
            await caller.call("GET", "Content/HX" + "9" * 32),
        ]
    assert [status for status, _ in refused] == [401, 415, *[400] * 10, 404]
    assert all(body["message"] and body["code"] for _, body in refused)
