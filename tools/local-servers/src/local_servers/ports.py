"""Free TCP ports on the loopback address."""

import socket
from collections.abc import Collection, Mapping
from random import SystemRandom

LOOPBACK = "127.0.0.1"
TRIES = 100
BELOW_OUTGOING = range(20_000, 32_000)
"""Where any port is looked for: those from 32768 on may go to an outgoing connection while a server restarts."""


def free_port(preferred: int = 0, *, avoid: Collection[int] = ()) -> int:
    """`preferred` if it can be bound now, else the next free one above it; 0 is any.

    `avoid` are ports that others are about to bind.

    Raises:
        NoFreePort: none of TRIES ports from `preferred` on is free.
    """
    candidates = range(preferred, preferred + TRIES) if preferred else SystemRandom().sample(BELOW_OUTGOING, TRIES)
    for candidate in candidates:
        if candidate in avoid:
            continue
        with socket.socket() as probe:
            # As servers do: a port whose last connections are only waiting to expire counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, candidate))
            except OSError:
                continue
        return candidate
    raise NoFreePort(preferred)


def free_ports(preferred: Mapping[str, int]) -> dict[str, int]:
    """A different free port for each name, the preferred one where it is free."""
    chosen: dict[str, int] = {}
    for name, port in preferred.items():
        chosen[name] = free_port(port, avoid={*preferred.values(), *chosen.values()} - {port})
    return chosen


class NoFreePort(Exception):  # noqa: N818 - named by what is the case
    """A hundred ports from the preferred one on are all taken."""

    def __init__(self, preferred: int) -> None:
        super().__init__(f"No free port between {preferred} and {preferred + TRIES - 1}; stop what listens there.")
