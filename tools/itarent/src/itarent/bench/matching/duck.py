"""DuckDB: the rows sorted by key and highest rent, so that it skips the blocks of all other places."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import duckdb
import numpy as np

from common.listing import Listing
from itarent.bench.matching.measure import Loaded, one_by_one
from itarent.bench.matching.oracle import Numbers
from itarent.bench.matching.searches import Searches
from itarent.bench.matching.table import CLASSES, Rows, Table


@contextmanager
def duck(searches: Searches, scratch: Path) -> Iterator[Loaded]:
    table = Table(searches)
    file = scratch / "searches.duckdb"
    with closing(duckdb.connect(file)) as connection:
        _fill(connection, table.rows())

        def match(listing: Listing) -> Numbers:
            probe = table.probe(listing)
            keys = [key for of_class in probe.keys for key in of_class]
            if not keys:
                return table.answer(np.empty(0, np.int32), listing)
            lows, highs = zip(*probe.rents, strict=True)
            asked = _MATCH.format(keys=", ".join("?" for _ in keys))
            found = connection.execute(asked, [*keys, *lows, *highs, *probe.rest()]).fetchnumpy()
            return table.answer(np.asarray(found["ref"], np.int32), listing)

        yield Loaded(file.stat().st_size, one_by_one(match))


def _fill(connection: "duckdb.DuckDBPyConnection", rows: Rows) -> None:
    columns = {name: np.ascontiguousarray(column) for name, column in rows.columns().items()}
    connection.register("given", columns)
    connection.execute("CREATE TABLE searches AS FROM given")
    connection.unregister("given")
    connection.execute("CHECKPOINT")


_OF_CLASS: Final = " ".join(f"WHEN {each} THEN ?" for each in range(len(CLASSES)))
_MATCH: Final = f"""
SELECT ref
FROM searches
WHERE key IN ({{keys}})
  AND rent_low <= CASE key % {len(CLASSES)} {_OF_CLASS} END AND rent_high >= CASE key % {len(CLASSES)} {_OF_CLASS} END
  AND area_low <= ? AND area_high >= ? AND deposit_high >= ? AND available_high >= ?
  AND word0 & ? = ? AND word1 & ? = ? AND word2 & ? = ?
"""  # noqa: S608 - numbers of our own
