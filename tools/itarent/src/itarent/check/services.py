"""Whether each service answers, in which version, and what it says of itself."""

import contextlib
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import httpx

from common.service import VERSION
from common.twilio_errors import CODES, Advice, Meaning, advice_of
from itarent.check.report import Finding, described, failed, ok, skipped, warning
from itarent.check.where import Where
from itarent.environment import SENDER, SERVICES
from sender.plan import HELD

ANSWER_WITHIN_S = 5.0


async def services(where: Where) -> list[Finding]:
    """A finding or more for each service."""
    async with httpx.AsyncClient(timeout=ANSWER_WITHIN_S) as http:
        names = dict.fromkeys([*SERVICES, *where.services])
        return [finding for name in names for finding in await _service(name, where, http)]


async def pause_of(where: Where) -> Advice | None:
    """Why the sender sends nothing just now, if Twilio is the cause and the sender says so."""
    async with httpx.AsyncClient(timeout=ANSWER_WITHIN_S) as http:
        with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
            health = (await http.get(f"{where.services[SENDER]}/healthz")).json()
            return advice_about(health["paused_for"] or "")
    return None


def advice_about(paused_for: str) -> Advice | None:
    """What Twilio's answer, after which the sender waits, tells people."""
    meaning, _, code = paused_for.partition(" ")
    if code.isdigit():
        return advice_of(int(code))
    return advice_of(CODES[Meaning(meaning)][0]) if meaning in set(Meaning) else None


async def _service(name: str, where: Where, http: httpx.AsyncClient) -> Iterable[Finding]:
    if not (url := where.services.get(name, "")):
        return [skipped(f"{name}: its address is not given", f"--{name}-url URL")]
    began = time.monotonic()
    try:
        answer = await http.get(f"{url}/healthz")
        health = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return [failed(f"{name} at {url} does not answer: {described(error)}", _look_into(name, where))]
    milliseconds = round((time.monotonic() - began) * 1000)
    if answer.status_code != HTTPStatus.OK or not isinstance(health, dict):
        return [failed(f"{name} at {url} is not healthy: {answer.status_code} {health}", _look_into(name, where))]
    said = list(complaints(name, health))
    return said or [ok(f"{name} {health.get('version', '')} answers in {milliseconds} ms")]


def complaints(name: str, health: dict[str, Any]) -> Iterable[Finding]:
    """What a service that answers says is wrong with it."""
    for topic in health.get("stopped_lines", ()):
        yield failed(
            f"{name} has stopped reading {topic}: too many records in a row could not be read",
            f"`itarent dlq list --topic {topic}` shows why; when the cause is mended, start {name} anew.",
        )
    if (reason := health.get("paused_for")) == HELD:
        yield warning(f"{name} sends nothing: an operator has paused it", "`itarent ledger resume` lets it go on.")
    elif reason:
        yield failed(f"{name} sends nothing for now: {reason}", "`itarent check twilio` says what to do.")
    if ((health.get("budget") or {}).get("used_percent") or 0) >= 100:  # noqa: PLR2004 - per cent
        yield warning(f"{name}: the month's budget is used up, and digests wait", "`itarent budget` shows what for.")
    if parked := health.get("messages_parked"):
        yield warning(f"{name}: {parked} messages wait for a person", "`itarent ledger parked` says what to do.")
    if (version := health.get("version")) != VERSION:
        yield warning(f"{name} is version {version}, this command is of {VERSION}", "Deploy one version of all.")


def _look_into(name: str, where: Where) -> str:
    log = f"{where.logs}/{name}.log" if where.logs else "its log"
    return f"Start {name}, or look into {log} for why it ended."
