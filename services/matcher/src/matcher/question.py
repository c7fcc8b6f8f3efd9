"""What one listing asks of every partition: its rows, and the verdicts on every wish."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from common.listing import Listing
from common.rules import RULES, Whereabouts
from matcher.kernels import IN_NO_TABLE, Asked, Verdicts
from matcher.verdicts import Wishes

PLACE: Final = 0
"""The column of places, which each partition judges by itself."""

COLUMNS: Final = RULES[1:]
"""The rules that searches differ in, by column: the status is the listing's own matter."""

Row = tuple[int, Hashable]
"""A row of bits: its column, and what a listing says there."""


@dataclass(frozen=True)
class Question:
    at: Whereabouts
    said: dict[int, Any]
    """What the listing says, by column, where there are wishes for it."""
    rows: tuple[Row, ...]
    asked: Asked
    untold: tuple[int, ...]
    """Columns that are in no table."""
    judged: dict[tuple[int, int], int]
    """What the rules said of wishes for these, by column and number: several partitions ask for the same."""

    @classmethod
    def of(cls, listing: Listing, wanted: Sequence[Wishes]) -> "Question":
        asking = _Asking()
        said = {
            column: COLUMNS[column].says(listing)
            for column, wishes in enumerate(wanted)
            if column == PLACE or len(wishes) > 1
        }
        for column, says in said.items():
            if column != PLACE:
                asking.about(column, wanted[column], says)
        return cls(said[PLACE], said, tuple(asking.rows), asking.asked(), tuple(asking.untold), {})


class _Asking:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.untold: list[int] = []
        self._after_rows: list[int] = []
        self._without_rows: list[int] = []
        self._seldom: list[int] = []
        self._tables: list[Verdicts] = [_NOTHING]
        self._end = 0
        self._starts = [IN_NO_TABLE] * len(COLUMNS)

    def about(self, column: int, wishes: Wishes, said: Any) -> None:  # noqa: ANN401 - what the rule reads
        table = wishes.table(said)
        if table is None:
            self.untold.append(column)
        elif table.fails or table.flags:
            self._starts[column] = self._end
            self._tables.append(table.verdicts)
            self._end += len(table.verdicts)
        else:
            return
        if wishes.seldom:
            self._seldom.append(column)
            return
        self._without_rows.append(column)
        if table is None or table.flags or not wishes.certain_in_rows:
            self._after_rows.append(column)
        if table and table.fails:
            self.rows += [(column, key) for key in wishes.keys(said)]

    def asked(self) -> Asked:
        return Asked(
            after_rows=np.array(self._after_rows + self._seldom, np.int32),
            often_after_rows=len(self._after_rows),
            without_rows=np.array(self._without_rows + self._seldom, np.int32),
            often_without_rows=len(self._without_rows),
            tables=np.concatenate(self._tables),
            starts=np.array(self._starts, np.int32),
        )


_NOTHING: Final = np.zeros(0, np.uint8)
