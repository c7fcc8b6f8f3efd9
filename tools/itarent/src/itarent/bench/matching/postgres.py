"""PostgreSQL: the rows in the order of their index, which holds all columns, so that the table itself is not read."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg

from common.listing import Listing
from itarent.bench.matching.measure import Loaded, one_by_one
from itarent.bench.matching.oracle import Numbers
from itarent.bench.matching.searches import Searches
from itarent.bench.matching.table import WORDS, Rows, Table
from itarent.system import downloads
from local_servers.postgres import running_postgres


@contextmanager
def postgres(searches: Searches, scratch: Path) -> Iterator[Loaded]:
    table = Table(searches)
    with (
        running_postgres(scratch, downloads=downloads(), durable=False) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        _fill(connection, table.rows())
        yield Loaded(_size(connection), one_by_one(_Asking(connection, table).match))


class _Asking:
    def __init__(self, connection: "psycopg.Connection[Any]", table: Table) -> None:
        self._cursor = connection.cursor(binary=True)
        self._table = table

    def match(self, listing: Listing) -> Numbers:
        probe = self._table.probe(listing)
        looks = [list(column) for column in zip(*probe.looks(), strict=True)] or [[], [], []]
        self._cursor.execute(_MATCH, (*looks, *probe.rest()), prepare=True)
        ((refs,),) = self._cursor.fetchall()
        return self._table.answer(np.frombuffer(refs or b"", ">i4").astype(np.int32), listing)


def _fill(connection: "psycopg.Connection[Any]", rows: Rows) -> None:
    connection.execute(_TABLE)
    with connection.cursor().copy("COPY searches FROM STDIN (FORMAT binary)") as copy:
        copy.write(_HEADER)
        for first in range(0, len(rows.key), _ROWS_AT_ONCE):
            copy.write(_encoded(rows, slice(first, first + _ROWS_AT_ONCE)))
        copy.write(_TRAILER)
    connection.execute(_INDEX)
    connection.execute("VACUUM (ANALYZE) searches")  # from now on the index alone answers
    for setting in _SETTINGS:
        connection.execute(f"SET {setting}")


def _size(connection: "psycopg.Connection[Any]") -> int:
    ((size,),) = connection.execute("SELECT pg_total_relation_size('searches')").fetchall()
    return int(size)


# COPY's binary format: a header, for each row the number of fields and for each field its length and value, a trailer.

_ROWS_AT_ONCE: Final = 100_000
_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"


def _encoded(rows: Rows, some: slice) -> bytes:
    values = [column[some] for column in rows.columns().values()]
    sizes = [each.itemsize for each in values]
    fields = [[(f"length{number}", ">i4"), (f"value{number}", f">i{size}")] for number, size in enumerate(sizes)]
    encoded = np.empty(len(values[0]), [("count", ">i2"), *chain.from_iterable(fields)])
    encoded["count"] = len(values)
    for number, each in enumerate(values):
        encoded[f"length{number}"] = sizes[number]
        encoded[f"value{number}"] = each
    return encoded.tobytes()


_TABLE: Final = f"""
CREATE UNLOGGED TABLE searches (
    {", ".join(f"{name} integer NOT NULL" for name in Rows.NAMES[:-WORDS])},
    {", ".join(f"{name} bigint NOT NULL" for name in Rows.NAMES[-WORDS:])}
)
"""

_INDEX: Final = """
CREATE INDEX ON searches (key, rent_high)
INCLUDE (rent_low, area_low, area_high, deposit_high, available_high, word0, word1, word2, ref) WITH (fillfactor = 100)
"""

_SETTINGS: Final = (
    "jit = off",
    "plan_cache_mode = force_generic_plan",
    # The plan that is best and that estimates do not always find: the index, look by look.
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "enable_seqscan = off",
    "max_parallel_workers_per_gather = 0",
)

_MATCH: Final = """
SELECT string_agg(int4send(ref), '')
FROM unnest(%s::int[], %s::int[], %s::int[]) AS look (key, low, high)
JOIN searches USING (key)
WHERE rent_high >= look.high AND rent_low <= look.low
  AND area_low <= %s AND area_high >= %s AND deposit_high >= %s AND available_high >= %s
  AND word0 & %s = %s AND word1 & %s = %s AND word2 & %s = %s
"""
