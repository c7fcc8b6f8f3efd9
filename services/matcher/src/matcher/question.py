"""What one listing asks of every partition: its rows, and the verdicts on every wish, column after column."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from common.listing import Listing
from common.rules import RULES, Whereabouts
from matcher.verdicts import Indexed, Wishes, wishes_for

PLACE: Final = 0
"""The column of places, which each partition judges by itself."""

COLUMNS: Final = RULES[1:]
"""The rules that searches differ in, by column: the status is the listing's own matter."""

Row = tuple[int, Hashable]
"""A row of bits: its column, and what a listing says there."""

Columns = NDArray[np.int32]


def criteria() -> tuple[Wishes, ...]:
    """No wishes yet, for each column; those of column PLACE stay empty."""
    return tuple(wishes_for(rule) for rule in COLUMNS)


@dataclass(frozen=True)
class Question:
    at: Whereabouts
    said: tuple[Any, ...]
    rows: tuple[Row, ...]
    tables: NDArray[np.uint8]
    """The verdicts on all wishes, one column after the other."""
    starts: NDArray[np.int64]
    """By column, where its verdicts begin in `tables`."""
    after_rows: Columns
    """What is not certain of a search that is in all rows, or flagged."""
    without_rows: Columns
    """What is not certain of any search, or flagged."""

    @classmethod
    def of(cls, listing: Listing, wanted: Sequence[Wishes]) -> "Question":
        said = tuple(rule.says(listing) for rule in COLUMNS)
        rows: list[Row] = []
        tables: list[NDArray[np.uint8]] = []
        starts = np.zeros(len(COLUMNS), np.int64)
        after_rows, without_rows, start = [], [], 0
        for column, wishes in enumerate(wanted):
            if column == PLACE or not isinstance(wishes, Indexed) or len(wishes) == 1:
                continue
            table = wishes.table(said[column])
            if table.fails:
                rows += [(column, key) for key in wishes.keys(said[column])]
            if table.fails or table.flags:
                without_rows.append(column)
                if table.flags or not wishes.decided_by_rows:
                    after_rows.append(column)
                starts[column] = start
                tables.append(table.verdicts)
                start += len(table.verdicts)
        return cls(
            at=said[PLACE],
            said=said,
            rows=tuple(rows),
            tables=np.concatenate(tables) if tables else np.zeros(1, np.uint8),
            starts=starts,
            after_rows=np.array(after_rows, np.int32),
            without_rows=np.array(without_rows, np.int32),
        )
