"""A log that is followed as it grows, over its rotations."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

LOOK_EVERY_S: Final = 0.1


def size_of(log: Path) -> int:
    """How much has been written so far; 0 while there is no log."""
    with suppress(FileNotFoundError):
        return log.stat().st_size
    return 0


async def lines_of(log: Path, *, after: int) -> AsyncIterator[str]:
    """The whole lines that are written after so many bytes, for ever."""
    while True:
        with suppress(FileNotFoundError), log.open("rb") as file:
            file.seek(after)
            rest = b""
            while True:
                read = file.read()
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
                if not read and _is_rotated(log, file):
                    break
                await asyncio.sleep(LOOK_EVERY_S)
            after = 0
        await asyncio.sleep(LOOK_EVERY_S)


def _is_rotated(log: Path, file: IO[bytes]) -> bool:
    """Whether another file has taken the name, or this one was emptied."""
    now, opened = log.stat(), os.fstat(file.fileno())
    return now.st_ino != opened.st_ino or now.st_size < file.tell()
