"""uvicorn with what the simulator needs of it: connections that can be cut, and an end that watchers notice."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from twilio_simulator.api import CUT, TwilioApi
from twilio_simulator.content_api import content_app
from twilio_simulator.control import control_app
from twilio_simulator.resources import API_VERSION
from twilio_simulator.senders_api import senders_app
from twilio_simulator.simulator import Simulator


def application(simulator: Simulator) -> ASGIApp:
    """Twilio's three APIs, and beside them the page with its control API."""
    messaging, control = TwilioApi(simulator), control_app(simulator)
    others = {"v1": content_app(simulator), "v2": senders_app(simulator)}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(f"/{API_VERSION}/"):
            await messaging(scope, receive, send)
        else:
            await others.get(path[1:3], control)(scope, receive, send)

    return app


class CuttableProtocol(HttpToolsProtocol):
    """Gives the application the means to cut its connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {CUT: self.transport.abort}  # type: ignore[dict-item] # ASGI lets servers add some


class SimulatorServer(uvicorn.Server):
    """Serves the simulator on a socket that is already bound."""

    def __init__(self, simulator: Simulator) -> None:
        config = uvicorn.Config(
            application(simulator),
            http=CuttableProtocol,
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=3,
            timeout_keep_alive=75,  # as load balancers do: longer than clients keep a connection that they do not use
        )
        super().__init__(config)
        self._simulator = simulator

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process (`main`), which lets a test have servers of its own."""
        yield

    def stop(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._simulator.store.end_watches()
        await super().shutdown(sockets)


def bound_socket(host: str, port: int) -> socket.socket:
    """Listen at once, so that the address is known before the server runs; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Without the protocol's name asyncio leaves Nagle's algorithm on, which costs 40 ms per answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    listener.listen(2048)
    return listener
