"""Free TCP ports on the loopback address."""

import socket

LOOPBACK = "127.0.0.1"


def free_port(preferred: int = 0) -> int:
    """`preferred` if it can be bound now, else the next free one above it; 0 leaves the choice to the system.

    Raises:
        NoFreePort: none of the hundred ports from `preferred` on is free.
    """
    candidates = range(preferred, preferred + 100) if preferred else [0]
    for candidate in candidates:
        with socket.socket() as probe:
            # As servers do: a port whose last connections are only waiting to expire counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, candidate))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port
    raise NoFreePort(preferred)


class NoFreePort(Exception):  # noqa: N818 - named by what is the case
    """No free port from {preferred} on; stop what listens there."""

    def __init__(self, preferred: int) -> None:
        super().__init__(f"No free port between {preferred} and {preferred + 99}; stop what listens there.")
