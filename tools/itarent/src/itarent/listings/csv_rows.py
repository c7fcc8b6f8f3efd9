"""Rows of a CSV file with the line at which each begins; a row that cannot be read does not take others with it."""

import collections
import csv
from collections.abc import Iterable, Iterator
from typing import Final

from itarent.listings.outcomes import Refusal, Refused

LONGEST_CELL: Final = 50_000  # more than any field of a listing may hold
csv.field_size_limit(LONGEST_CELL)


def csv_rows(lines: Iterable[str], delimiter: str = ",") -> Iterator[tuple[int, list[str] | Refused]]:
    """Each row that is not blank, with its first physical line, counted from 1; quoted cells may hold line breaks.

    Where quotes are not closed, only the line with the opening one is refused, and reading goes on with the next.
    """
    source = _Lines(lines)
    while True:
        line = source.next_line
        source.taken.clear()
        # A reader of its own for each row costs little and forgets what a broken row has left behind.
        reader = csv.reader(source, delimiter=delimiter, strict=True)
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            source.give_back_all_but_first()
            yield line, Refused(Refusal.BROKEN_QUOTES, value=str(error))
            continue
        if cells:
            yield line, cells


class _Lines:
    """Lines of a file, which can be taken back: those that a broken row took in vain."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._fresh = iter(lines)
        self._again: collections.deque[str] = collections.deque()
        self.taken: list[str] = []
        self.next_line = 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = self._again.popleft() if self._again else next(self._fresh)
        self.taken.append(text)
        self.next_line += 1
        return text

    def give_back_all_but_first(self) -> None:
        again = self.taken[1:]
        self._again.extendleft(reversed(again))
        self.next_line -= len(again)
