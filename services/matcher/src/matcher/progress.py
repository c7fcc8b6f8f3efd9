"""Whether the matcher gets on: what `/healthz` says. Kafka or PostgreSQL being away is no reason to start it anew."""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

LONGEST_BATCH_SECONDS: Final = 300.0
"""Every wait in a batch ends earlier, by its own timeout: one that takes longer hangs."""


class Progress:
    def __init__(self) -> None:
        self._begun: float | None = None

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """The time within which a batch is handled."""
        self._begun = time.monotonic()
        try:
            yield
        finally:
            self._begun = None

    def healthy(self) -> bool:
        return self._begun is None or time.monotonic() - self._begun < LONGEST_BATCH_SECONDS
