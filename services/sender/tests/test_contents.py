"""Templates at Twilio, by the official client against the simulated Content API."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from common.events import Language
from sender.contents import Contents, NotTaken, differs, standings_of
from sender.templates import Approval, Purpose, Standings, templates
from sender.twilio import LookupFailed, Twilio, base_url_of
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind, SimulatorClient

KEY = (Purpose.DIGEST, Language.ITALIAN)
ITALIAN = templates()[KEY]
CODE = templates()[Purpose.CODE, Language.ENGLISH]


@pytest.fixture
async def contents(simulator: SimulatorClient) -> AsyncIterator[Contents]:
    async with _twilio(simulator, simulator.auth_token) as twilio:
        yield Contents(twilio)


def _twilio(simulator: SimulatorClient, token: str) -> AbstractAsyncContextManager[Twilio]:
    return Twilio.connected(
        simulator.base_url, simulator.account_sid, token, simulator.sender, timeout_s=10, in_flight=2
    )


async def _standings(contents: Contents) -> Standings:
    return standings_of(templates(), await contents.all())


async def test_all_templates_are_taken_and_approved_and_found_again_by_their_names(contents: Contents) -> None:
    assert (await _standings(contents)).of(*KEY).approval is Approval.MISSING
    for template in templates().values():
        sid = await contents.create(template)
        assert await contents.request_approval(sid, template) is Approval.RECEIVED

    async def approved() -> bool:
        standings = await _standings(contents)
        return {standings.of(*key).approval for key in templates()} == {Approval.APPROVED}

    await eventually(approved)
    found = {content.name: content for content in await contents.all()}
    assert len(found) == len(templates())
    assert not any(differs(template, found[template.name]) for template in templates().values())


async def test_the_list_is_read_to_its_last_page(contents: Contents, simulator: SimulatorClient) -> None:
    await simulator.add_templates({f"HX{n:032x}": f"Text {n} and no more" for n in range(450)})
    assert len({content.sid for content in await contents.all()}) == 450


async def test_a_rejection_is_told_with_its_reason(contents: Contents, simulator: SimulatorClient) -> None:
    await simulator.script(Fault(FaultKind.REJECT, reason="TAG_CONTENT_MISMATCH"))
    await contents.request_approval(await contents.create(ITALIAN), ITALIAN)

    async def rejected() -> bool:
        standing = (await _standings(contents)).of(*KEY)
        assert standing.content_sid is None
        return (standing.approval, standing.reason) == (Approval.REJECTED, "TAG_CONTENT_MISMATCH")

    await eventually(rejected)


async def test_what_cannot_be_approved_is_refused_with_its_code(contents: Contents) -> None:
    sid = await contents.create(CODE)
    await contents.request_approval(sid, CODE)
    with pytest.raises(NotTaken, match="HTTP 400"):
        await contents.request_approval(sid, CODE)
    with pytest.raises(NotTaken, match="HTTP 404, error 20404"):
        await contents.request_approval("HX" + "9" * 32, CODE)
    with pytest.raises(NotTaken, match="HTTP 400"):
        await contents.create(replace(ITALIAN, types={"twilio/text": {"body": ""}}))


async def test_a_text_that_was_changed_at_twilio_differs_from_its_file(contents: Contents) -> None:
    await contents.create(
        replace(ITALIAN, types={"twilio/text": {"body": "Something {{1}} else {{2}} here {{3}} now."}})
    )
    [found] = await contents.all()
    assert differs(ITALIAN, found)
    assert not differs(ITALIAN, replace(found, types={**ITALIAN.types, "twilio/new-type": {}}))


async def test_a_wrong_token_is_told_as_such(simulator: SimulatorClient) -> None:
    async with _twilio(simulator, "wrong") as twilio:
        with pytest.raises(LookupFailed, match="HTTP 401, error 20003"):
            await Contents(twilio).all()


@pytest.mark.parametrize(
    ("messages", "contents"),
    [
        ("https://api.twilio.com", "https://content.twilio.com"),
        ("https://api.dublin.ie1.twilio.com", "https://content.dublin.ie1.twilio.com"),
        ("http://127.0.0.1:4010", "http://127.0.0.1:4010"),
    ],
)
def test_the_content_api_is_where_the_messages_url_says(messages: str, contents: str) -> None:
    assert base_url_of("content", messages) == contents
