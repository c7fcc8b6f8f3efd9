"""What one listing asks of every partition: its rows, and the verdicts on every wish."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from common.listing import Listing
from common.rules import RULES, Whereabouts
from matcher.kernels import Asked
from matcher.verdicts import TERMS, Bounded, Limits, Listed, Wishes

PLACE: Final = 0
"""The column of places, which each partition judges by itself."""

COLUMNS: Final = RULES[1:]
"""The rules that searches differ in, by column: the status is the listing's own matter."""

Row = tuple[int, Hashable]
"""A row of bits: its column, and what a listing says there."""


@dataclass(frozen=True)
class Question:
    at: Whereabouts
    said: tuple[Any, ...]
    rows: tuple[Row, ...]
    after_rows: Asked
    """What is not certain of a search that is in all rows, or flagged; without the place."""
    without_rows: Asked
    """What is not certain of any search, or flagged; without the place."""
    judged: dict[tuple[int, int], int]
    """Verdicts of rare wishes, by column and number: several partitions ask for the same."""

    @classmethod
    def of(cls, listing: Listing, wanted: Sequence[Wishes], limits: Limits) -> "Question":
        said = tuple(rule.says(listing) for rule in COLUMNS)
        rows: list[Row] = []
        after_rows, without_rows, tables = [], [], []
        starts, start = np.zeros(len(COLUMNS), np.int64), 0
        spans = np.zeros((2, len(limits.low), TERMS))
        for column, wishes in enumerate(wanted):
            match wishes:
                case _ if column == PLACE or len(wishes) == 1:
                    pass
                case Bounded():
                    rows += [(column, key) for key in wishes.keys(said[column])]
                    spans[:, wishes.which] = wishes.span(said[column])
                    starts[column] = -1 - wishes.which
                    after_rows.append(column)
                    without_rows.append(column)
                case Listed():
                    table = wishes.table(said[column])
                    if table.fails:
                        rows += [(column, key) for key in wishes.keys(said[column])]
                    if table.flags:
                        after_rows.append(column)
                    if table.fails or table.flags:
                        without_rows.append(column)
                        starts[column] = start
                        tables.append(table.verdicts)
                        start += len(table.verdicts)
                case _:
                    pass
        asked = Asked(
            checked=np.array(after_rows, np.int32),
            place=_NOTHING,
            tables=np.concatenate(tables) if tables else _NOTHING,
            starts=starts,
            low=limits.low,
            high=limits.high,
            terms=limits.terms,
            unknown=limits.unknown,
            value_low=spans[0],
            value_high=spans[1],
        )
        return cls(said[PLACE], said, tuple(rows), asked, asked._replace(checked=np.array(without_rows, np.int32)), {})


_NOTHING: Final = np.zeros(1, np.uint8)
