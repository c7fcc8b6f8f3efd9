"""A simulator inside the running process, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from twilio_simulator.client import SimulatorClient, connected
from twilio_simulator.messages import Account
from twilio_simulator.server import SimulatorServer, bound_socket
from twilio_simulator.simulator import Behaviour, Simulator

ACCOUNT_SID = "AC" + "0123456789abcdef" * 2
AUTH_TOKEN = "70cde70cde70cde70cde70cde70cde70"  # noqa: S105 - it opens nothing but this simulator
QUICK = Behaviour(pace=timedelta(milliseconds=20))


@asynccontextmanager
async def running_simulator(
    *,
    inbound_url: str | None = None,
    number: str = "+14155238886",
    sandbox: bool = True,
    behaviour: Behaviour = QUICK,
    state_file: Path | None = None,
    port: int = 0,
) -> AsyncIterator[SimulatorClient]:
    """A simulator on a free port of the loopback, without limits and in a hurry unless `behaviour` says otherwise."""
    simulator = Simulator(
        Account(ACCOUNT_SID, number, sandbox=sandbox),
        AUTH_TOKEN,
        join_words="silver-harbour",
        inbound_url=inbound_url,
        behaviour=behaviour,
        state_file=state_file,
    )
    listener = bound_socket("127.0.0.1", port)
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = SimulatorServer(simulator)
    async with simulator.started():
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with connected(base_url, AUTH_TOKEN) as client:
                yield client
        finally:
            server.stop()
            await serving
