"""A log that is followed: whole lines, from where one began, over a rotation."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from itarent.following import lines_of, size_of
from testkit.waiting import PATIENCE_S


async def next_of(lines: AsyncIterator[str]) -> str:
    return await asyncio.wait_for(anext(lines), PATIENCE_S)


async def test_only_what_is_written_later_is_told_in_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert size_of(log) == 0
    log.write_text("before\n")
    lines = lines_of(log, after=size_of(log))
    with log.open("a") as writer:
        writer.write("first\nhal")
        writer.flush()
        assert await next_of(lines) == "first"
        writer.write("f\n")
        writer.flush()
        assert await next_of(lines) == "half"


async def test_a_rotated_log_is_followed_in_its_new_file(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text("old\n")
    lines = lines_of(log, after=0)
    assert await next_of(lines) == "old"
    with log.open("a") as writer:
        writer.write("last\n")
    log.rename(tmp_path / "worker.log.1")
    log.write_text("new\n")
    assert [await next_of(lines), await next_of(lines)] == ["last", "new"]
