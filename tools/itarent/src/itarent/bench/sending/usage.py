"""What a process uses of the machine while something is measured."""

import contextlib
from collections.abc import Callable, Iterator

import psutil

from itarent.supervision import Service


@contextlib.contextmanager
def used(service: Service) -> Iterator[Callable[[], float]]:
    """Seconds of CPU that a service has used since; after the body, in it."""
    process = psutil.Process(service.pid)
    before, after = _seconds(process), 0.0

    def seconds() -> float:
        return (after or _seconds(process)) - before

    yield seconds
    after = _seconds(process)


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
