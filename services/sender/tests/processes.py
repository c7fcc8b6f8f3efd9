"""The sender as a process, and what tests ask of it from outside."""

import contextlib
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg

from testkit.servers import Database
from testkit.waiting import PATIENCE_S, eventually

Environment = dict[str, str]
VERIFY_TOKEN = "a-verify-token-of-tests"
COMMAND = [sys.executable, "-m", "sender"]


@contextlib.asynccontextmanager
async def started(environment: Environment, folder: Path) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """A sender that serves, and ends with the body, in good order unless the body has killed it."""
    log_file = folder / "log"
    with log_file.open("ab") as log, subprocess.Popen(COMMAND, env=environment, cwd=folder, stderr=log) as process:  # noqa: ASYNC220 - only this test runs
        try:
            await eventually(lambda: _serves(environment))
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            ended = process.wait(timeout=PATIENCE_S)
    logged = log_file.read_text()
    assert ended in (0, -signal.SIGKILL), logged
    assert "+39333" not in logged
    assert VERIFY_TOKEN not in logged


def _serves(environment: Environment) -> bool:
    with contextlib.suppress(OSError):
        return health(environment)["status"] == "ok"
    return False


def health(environment: Environment) -> dict[str, str | None]:
    health: dict[str, str | None] = json.loads(get(environment, "/healthz"))
    return health


def get(environment: Environment, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{environment['HTTP_PORT']}{path}") as answer:
        content: bytes = answer.read()
    return content


async def eventually_in(database: Database, condition: str, *arguments: object) -> None:
    connection = await asyncpg.connect(database.url("sender"))
    try:
        await eventually(lambda: _holds(connection, condition, *arguments))
    finally:
        await connection.close()


async def _holds(connection: "asyncpg.Connection[Any]", condition: str, *arguments: object) -> bool:
    with contextlib.suppress(asyncpg.UndefinedTableError):
        return bool(await connection.fetchval(condition, *arguments))
    return False
