"""The life of a service's process: one event loop, HTTP for health and metrics, background tasks that may not die."""

import asyncio
import contextlib
import gc
import importlib.metadata
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any, Final

import uvicorn
import uvloop
from prometheus_client import REGISTRY, CollectorRegistry, make_asgi_app
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from common.kafka import BackOff

VERSION: Final = importlib.metadata.version("itarent-common")
"""Of this system: its members are released together."""

OBJECTS_BETWEEN_COLLECTIONS: Final = 10_000

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


class NobodySaidSoError(Exception):
    """The service was cancelled, and not by a signal: something that it called lost count of its own cancellations."""

    def __str__(self) -> str:
        return str(self.__doc__)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a service until it is told to stop (SIGINT, SIGTERM), also while it is still starting."""
    _collect_garbage_seldom()
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        uvloop.run(_until_told_to_stop(main))


def _collect_garbage_seldom() -> None:
    """What was imported stays, and what a batch is made of is no garbage: to look for some takes time for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)


async def _until_told_to_stop(main: Coroutine[Any, Any, None]) -> None:
    loop, task, told = asyncio.get_running_loop(), asyncio.ensure_future(main), asyncio.Event()

    def stop() -> None:
        told.set()
        task.cancel()

    for each in STOPPING:
        loop.add_signal_handler(each, stop)
    try:
        await task
    except asyncio.CancelledError as error:
        if told.is_set():
            raise
        raise NobodySaidSoError from error


async def serve(app: ASGIApp, host: str, port: int, *, proxies: str = "127.0.0.1") -> None:
    """Serve HTTP until SIGINT or SIGTERM. Whose X-Forwarded-For is believed, `proxies` says."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        lifespan="off",
        forwarded_allow_ips=proxies,
    )
    await _Server(config).serve()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn raises the signal again when it has stopped: that would end the process before it has tidied up."""
        loop = asyncio.get_running_loop()
        for each in STOPPING:
            loop.add_signal_handler(each, self.handle_exit, each, None)
        try:
            yield
        finally:
            for each in STOPPING:
                loop.remove_signal_handler(each)


@contextlib.asynccontextmanager
async def in_background(*tasks: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run tasks beside the body and cancel them after it. If one fails, the body is cancelled and the error raised:
    a service without its heart must end and be started again, not look alive.
    """
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(task) for task in tasks]
        yield
        for task in running:
            task.cancel()


def health_routes(
    healthy: Callable[[], bool] = lambda: True, told: Callable[[], Mapping[str, object]] = dict
) -> list[BaseRoute]:
    """`/healthz`: 200 while `healthy()`, else 503; the body tells more. `/metrics`: Prometheus.

    A line that is stopped is told with 200: to be started anew by itself would only fill the dead letters.
    Where several processes serve one port, PROMETHEUS_MULTIPROC_DIR names the directory in which their metrics add up.
    """

    async def healthz(_request: Request) -> JSONResponse:
        working, stopped = healthy(), BackOff.stopped()
        status = ("stopped" if stopped else "ok") if working else "failing"
        body = {"status": status, "version": VERSION, "stopped_lines": stopped, **told()}
        return JSONResponse(body, status_code=200 if working else 503)

    return [Route("/healthz", healthz), Mount("/metrics", make_asgi_app(_registry()))]


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    every_process = CollectorRegistry()
    MultiProcessCollector(every_process)  # type: ignore[no-untyped-call]
    return every_process
