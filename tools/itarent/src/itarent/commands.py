"""What the commands that run something have in common: how they end, and how they refuse."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any

import typer
from rich.console import Console

from itarent.refusal import Refusal
from local_servers.home import InUse
from local_servers.maven import JarDiffers
from local_servers.ports import NoFreePort
from local_servers.processes import DidNotStart

REFUSALS = (Refusal, DidNotStart, InUse, JarDiffers, NoFreePort, PermissionError)
"""Errors whose message says what to do: shown without a traceback."""


def until_stopped(command: Coroutine[Any, Any, None], console: Console) -> None:
    """Run `command` to its end, or until Ctrl-C, SIGTERM or a closed terminal cancels it, which is no failure."""
    try:
        with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_cancelled_by_signals(command))
    except REFUSALS as refusal:
        console.print(str(refusal), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


async def _cancelled_by_signals(command: Coroutine[Any, Any, None]) -> None:
    """As asyncio does for SIGINT."""
    task = asyncio.ensure_future(command)
    for each in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(each, task.cancel)
    await task
