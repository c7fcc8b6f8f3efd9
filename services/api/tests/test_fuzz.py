"""The api under thousands of generated requests: no 5xx, and no answer that its description does not allow.

Schemathesis makes the requests from the description itself: examples, limits, random ones that fit and that do not,
and chains of them. FUZZ_EXAMPLES says how many random ones each operation gets; `make fuzz` makes many.
"""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Final

import pytest

from testkit.factories import make_notification
from testkit.waiting import eventually

from .conftest import PRODUCER_KEY, Api, Renter
from .test_activity import accepted

CONFIG: Final = Path(__file__).parent / "fuzz" / "schemathesis.toml"
EXAMPLES: Final = os.environ.get("FUZZ_EXAMPLES", "5")

ENDS_A_SESSION: Final = ("auth_sign_out_everywhere", "me_erase")
"""After one of these every request is a 401: they are fuzzed apart, so that the others stay signed in."""


@pytest.mark.timeout(3600)  # for `make fuzz`: what is sent is bounded by FUZZ_EXAMPLES
async def test_no_generated_request_is_answered_with_a_failure_or_beyond_the_description(unlimited_api: Api) -> None:
    renter = await renter_with_history(unlimited_api)
    apart = [option for name in ENDS_A_SESSION for option in ("--exclude-operation-id", name)]
    await fuzz(renter, *apart)
    assert (await renter.call("GET", "/me")).status_code == 200, "The renter was signed out: not all was fuzzed."


async def test_what_ends_a_session_answers_before_and_after_as_described(unlimited_api: Api) -> None:
    for name in ENDS_A_SESSION:
        renter = await unlimited_api.renter(password="una frase lunga")
        await fuzz(renter, "--include-operation-id", name)
        assert (await renter.call("GET", "/me")).status_code == 401, f"{name} did nothing."


async def renter_with_history(api: Api) -> Renter:
    """Somebody with a phone, a search, a match, and a message that told it."""
    renter = await api.renter()
    await renter.prove()
    await renter.call("POST", "/subscriptions", json={"name": "Bilocale", "search": {"places": ["Roma"]}})
    notification = make_notification(user_id=await renter.id())
    await api.services.publisher.publish(api.topics.notifications, [notification])
    await api.services.publisher.publish(api.topics.message_statuses, [accepted(notification.user_id, notification)])
    await eventually(lambda: api.sql("SELECT count(*) FROM messages"))
    return renter


async def fuzz(renter: Renter, *options: str) -> None:
    """Run schemathesis against the running api, with every check; fail with its report."""
    headers = {"Authorization": f"Bearer {renter.tokens['access_token']}", "X-Api-Key": PRODUCER_KEY}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "--no-color"),
        *("run", f"{renter.api.url}/api/v1/openapi.json", "--max-examples", EXAMPLES, *options),
        *(option for name, value in headers.items() for option in ("--header", f"{name}: {value}")),
        cwd=CONFIG.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        report, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    sys.stdout.buffer.write(report)  # pytest shows it when the test fails, and `make fuzz` in any case
    assert process.returncode == 0, "Schemathesis has found something: its report is above."
