"""The api as a process: it starts from its environment, and a signal ends it cleanly."""

import asyncio
import os
import signal
import sys

import httpx

from common.topics import Topics
from local_servers.ports import free_port
from testkit.servers import Database
from testkit.waiting import PATIENCE_S, eventually

from .conftest import OPERATOR_KEY, api_settings


def _environment(kafka: str, topics: Topics, database: Database, port: int) -> dict[str, str]:
    settings = api_settings(kafka, topics, database, http_port=port)
    values = {name.upper(): getattr(settings, name) for name in type(settings).model_fields}
    plain = {name: getattr(value, "get_secret_value", lambda value=value: value)() for name, value in values.items()}
    return {**os.environ, **{name: str(value) for name, value in plain.items() if value is not None}}


async def test_a_process_ends_soon_after_sigterm_although_somebody_watches(
    kafka: str, topics: Topics, database: Database
) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api", env=_environment(kafka, topics, database, port), stderr=asyncio.subprocess.PIPE
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as http:

        async def healthy() -> bool:
            try:
                return (await http.get("/healthz")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(healthy)
        await http.get("/watch", params={"key": OPERATOR_KEY})
        async with http.stream("GET", "/watch/events") as events:
            await anext(events.aiter_lines())
            process.send_signal(signal.SIGTERM)
            _, log = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode == 0, log.decode()[-2000:]
    assert b"Traceback" not in log


async def test_a_wrong_environment_is_named_variable_by_variable() -> None:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": "mysql://x"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "api", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    named = {line.split(":")[0] for line in said.decode().splitlines()}
    assert {"DATABASE_URL", "JWT_SECRET", "PRODUCER_KEY", "OPERATOR_KEY", "KAFKA_BOOTSTRAP_SERVERS"} <= named
    assert "mysql" not in said.decode()
