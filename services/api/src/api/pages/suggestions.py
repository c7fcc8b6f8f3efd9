"""Comuni and provinces that begin with what somebody types, the ones that are most likely meant first."""

from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

from common.comuni import Comuni
from common.text import Folded, fold

MOST: Final = 8


class _Entry(NamedTuple):
    rank: int  # 0: the seat of a province, which is what most people mean
    name: str
    folded: Folded
    written: str


@cache
def _entries() -> tuple[_Entry, ...]:
    comuni = Comuni.load()
    entries = []
    for comune in comuni:
        province = comuni.province(comune.province)
        is_seat = province is not None and fold(comune.name) in {fold(part) for part in province.name.split("/")}
        names = (comune.name, comune.other_name) if comune.other_name else (comune.name,)
        entries += [_Entry(0 if is_seat else 1, name, fold(name), f"{name} ({comune.province})") for name in names]
    return tuple(sorted(entries))


def suggestions(typed: str) -> list[str]:
    """Names as the form takes them, `Milano (MI)`: those that begin so, then those whose words begin so."""
    wanted = fold(typed)
    if not wanted:
        return []
    found = [entry.written for entry in _entries() if entry.folded.startswith(wanted)]
    if len(found) < MOST:
        words = wanted.split()
        found += [entry.written for entry in _entries() if _begin(words, entry) and entry.written not in found]
    return found[:MOST]


def _begin(wanted: Iterable[str], entry: _Entry) -> bool:
    """Whether words of the name begin like those that are wanted, in their order: `reggio em`, `emilia`."""
    words = iter(entry.folded.split())
    return all(any(word.startswith(each) for word in words) for each in wanted)
