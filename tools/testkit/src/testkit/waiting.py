"""Waiting for what happens soon, with a deadline instead of a sleep."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, overload

PATIENCE_S: Final = 30.0  # nobody waits for it but a test that fails, and a machine may be busy
T = TypeVar("T")


@overload
async def eventually(condition: Callable[[], Awaitable[T]], *, within_seconds: float = PATIENCE_S) -> T: ...
@overload
async def eventually(condition: Callable[[], T], *, within_seconds: float = PATIENCE_S) -> T: ...
async def eventually(condition: Callable[[], T | Awaitable[T]], *, within_seconds: float = PATIENCE_S) -> T:
    """The first true value of `condition`, which may be a coroutine function; an AssertionError counts as not yet.

    Raises:
        TimeoutError: it did not come true in time; the last AssertionError, if any, is its cause.
    """
    deadline = time.monotonic() + within_seconds
    while True:
        doubt: AssertionError | None = None
        try:
            value = condition()
            result: T = await value if inspect.isawaitable(value) else value
        except AssertionError as error:
            doubt = error
        else:
            if result:
                return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {within_seconds:g} s: {inspect.getsource(condition).strip()}") from doubt
        await asyncio.sleep(0.02)
