"""SQLite: the rows in a table that is its own index, ordered by key and highest rent."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from common.listing import Listing
from itarent.bench.matching.measure import Loaded, one_by_one
from itarent.bench.matching.oracle import Numbers
from itarent.bench.matching.searches import Searches
from itarent.bench.matching.table import Rows, Table


@contextmanager
def sqlite(searches: Searches, scratch: Path) -> Iterator[Loaded]:
    table = Table(searches)
    file = scratch / "searches.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        _fill(connection, table.rows())

        def match(listing: Listing) -> Numbers:
            probe = table.probe(listing)
            rest = probe.rest()
            refs: list[int] = []
            for look in probe.looks():
                refs += [ref for (ref,) in connection.execute(_MATCH, (*look, *rest))]
            return table.answer(np.array(refs, np.int32), listing)

        yield Loaded(file.stat().st_size, one_by_one(match))


def _fill(connection: sqlite3.Connection, rows: Rows) -> None:
    for statement in _SETTINGS:
        connection.execute(statement)
    connection.execute(_TABLE)
    columns = rows.columns().values()
    connection.execute("BEGIN")
    for first in range(0, len(rows.key), _ROWS_AT_ONCE):
        block = [column[first : first + _ROWS_AT_ONCE].tolist() for column in columns]
        connection.executemany(_INSERT, zip(*block, strict=True))
    connection.execute("COMMIT")
    connection.execute("ANALYZE")


_ROWS_AT_ONCE: Final = 100_000
_SETTINGS: Final = (
    "PRAGMA page_size = 16384",
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -4000000",
    "PRAGMA mmap_size = 8000000000",
)
_TABLE: Final = f"""
CREATE TABLE searches (
    {", ".join(f"{name} INTEGER NOT NULL" for name in Rows.NAMES)},
    PRIMARY KEY (key, rent_high, ref)
) WITHOUT ROWID
"""
_INSERT: Final = f"INSERT INTO searches VALUES ({', '.join('?' for _ in Rows.NAMES)})"  # noqa: S608 - names of our own
_MATCH: Final = """
SELECT ref
FROM searches
WHERE key = ? AND rent_low <= ? AND rent_high >= ?
  AND area_low <= ? AND area_high >= ? AND deposit_high >= ? AND available_high >= ?
  AND word0 & ? = ? AND word1 & ? = ? AND word2 & ? = ?
"""
