"""In which order the listings of a batch are told: those that few want go before those that a crowd wants."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from matcher.crowd import Told
from matcher.difference import Change
from matcher.index import Index
from matcher.telling import told

MANY: Final = 10_000
"""Searches that are told of one change and are not kept until its turn, but found again: finding them is quick."""


async def in_turn(changes: Sequence[Change], index: Index) -> Iterator[Told]:
    """Who is told of each change, made as it is asked for.

    What one flat's advertisements change stays in its order, or a user would hear of a drop before hearing of the
    flat. To find out how many want each takes a while, in which the event loop has its turns.
    """
    found: list[list[Told] | None] = []
    wanted: Counter[UUID] = Counter()
    for change in changes:
        of_change = list(told(change, index))
        searches = sum(len(each.matches.numbers) for each in of_change)
        wanted[change.flat_id] += searches
        found.append(of_change if searches < MANY else None)
        await asyncio.sleep(0)
    turns = sorted(zip(changes, found, strict=True), key=lambda each: wanted[each[0].flat_id])
    return (each for change, kept in turns for each in (told(change, index) if kept is None else kept))
