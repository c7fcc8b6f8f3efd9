"""The audit again and again, told as metrics: by a process of its own each time, which may fill a machine's memory."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from prometheus_client import Gauge
from starlette.applications import Starlette

from common.service import health_routes, in_background, run, serve
from common.telemetry import configure_logging

log = structlog.get_logger()

findings = Gauge(
    "itarent_audit_findings",
    "What the last audit that could tell found wrong: unaccounted matches, unexpected rows, unfinished rows",
    ["kind"],
)
matches = Gauge("itarent_audit_matches", "Matches that the last audit that could tell has accounted for, or tried to")
finished_at = Gauge(
    "itarent_audit_finished_timestamp_seconds",
    "When the last audit ended that could tell whether everything balances, in seconds since 1970; 0: none has",
)

AGAIN_AFTER: Final = timedelta(minutes=5)
"""When an audit is tried again that could not read the system."""
COULD_TELL: Final = frozenset({0, 1})
"""Exit statuses of `itarent audit` that come with a balance."""


def audit_every(period: timedelta, environment: Mapping[str, str], host: str, port: int) -> None:
    """Audit now and after each period until SIGTERM; `environment` says what is audited. Serves /metrics and /healthz.

    Each audit must end within a period.
    """
    configure_logging("auditor", "INFO")
    run(_serve(period, environment, host, port))


async def _serve(period: timedelta, environment: Mapping[str, str], host: str, port: int) -> None:
    async with in_background(_again_and_again(period, environment)):
        await serve(Starlette(routes=health_routes()), host, port)


async def _again_and_again(period: timedelta, environment: Mapping[str, str]) -> None:
    while True:
        balance = await _balance(period, environment)
        if balance:
            _tell(balance)
        await asyncio.sleep((period if balance else AGAIN_AFTER).total_seconds())


async def _balance(within: timedelta, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """What an audit says; None if it cannot tell, or takes too long. What is wrong it says itself on stderr."""
    command = (sys.executable, "-m", "itarent", "audit", "--json")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    try:
        async with asyncio.timeout(within.total_seconds()):
            said, _ = await process.communicate()
    except TimeoutError:
        log.error("the audit takes too long", seconds=within.total_seconds())  # noqa: TRY400 - no traceback tells more
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode not in COULD_TELL:
        log.error("the audit cannot tell", status=process.returncode)
        return None
    balance: dict[str, Any] = json.loads(said)
    return balance


def _tell(balance: Mapping[str, Any]) -> None:
    found = {
        "unaccounted": balance["unaccounted"],
        "unexpected": balance["unexpected"],
        "unfinished": sum(balance["unfinished"].values()),
    }
    for kind, count in found.items():
        findings.labels(kind).set(count)
    matches.set(balance["matches"])
    finished_at.set(time.time())
    level = log.error if any(found.values()) else log.info
    level("audited", matches=balance["matches"], pending=balance["pending"], **found)
