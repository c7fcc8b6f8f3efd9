"""The simulator as a process."""

import asyncio
import logging
import signal
import sys

import uvloop
from pydantic import ValidationError

from twilio_simulator.server import SimulatorServer, bound_socket
from twilio_simulator.settings import Settings
from twilio_simulator.simulator import Simulator

log = logging.getLogger(__name__)


async def serve(settings: Settings) -> None:
    inbound_url = settings.inbound_webhook_url
    simulator = Simulator(
        settings.account(),
        settings.twilio_auth_token.get_secret_value(),
        join_words=settings.twilio_sandbox_join,
        inbound_url=str(inbound_url) if inbound_url else None,
        behaviour=settings.behaviour(),
        state_file=settings.state_file,
    )
    listener = bound_socket(settings.http_host, settings.http_port)
    host, port = listener.getsockname()[:2]
    log.info("The Twilio simulator listens on http://%s:%s", host, port)
    async with simulator.started():
        server = SimulatorServer(simulator)
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signal_number, server.stop)
        await server.serve(sockets=[listener])


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = Settings()
    except ValidationError as error:
        problems = error.errors(include_input=False)
        sys.exit("\n".join(f"{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}" for problem in problems))
    try:
        uvloop.run(serve(settings))
    except OSError as error:
        sys.exit(f"HTTP_HOST={settings.http_host}, HTTP_PORT={settings.http_port} cannot be used: {error}")
