"""Clocks that show another time than the machine's: of services, of PostgreSQL as a role sees it, of Twilio.

A service whose clock is shifted is run as `python -m itarent.faults.clocks`: the module of the service is named by
CLOCK_MODULE, the file that says how far ahead its clock is by CLOCK_FILE. PostgreSQL's functions are found by the
search path: a schema of ours stands there before its own.
"""

import datetime as dt
import os
import runpy
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from itarent.environment import API, MATCHER, SENDER, SERVICES, SIMULATOR, WEBHOOK
from itarent.faults.history import Jump

CLOCKS_MODULE: Final = "itarent.faults.clocks"
LOOKED_AT_EVERY_S: Final = 0.02
NIGHT, MOVING = "night.clock", "moving.clock"
MOVED: Final = (SENDER, SIMULATOR)
"""Whose clocks are set while they run. The api's goes on steadily: people's tokens are valid for 15 minutes of it."""


def clocked(folder: Path) -> dict[str, dict[str, str]]:
    """The environment variables of services whose clocks are in the folder."""
    return {
        name: {
            "CLOCK_MODULE": name.replace("-", "_"),
            "CLOCK_FILE": str(folder / (MOVING if name in MOVED else NIGHT)),
        }
        for name in (*SERVICES, SIMULATOR)
    }


MODULES: Final[Mapping[str, str]] = dict.fromkeys((API, MATCHER, SENDER, WEBHOOK, SIMULATOR), CLOCKS_MODULE)


@dataclass
class Clocks:
    """The clocks of one system, in the database and in files of a folder."""

    folder: Path
    database_url: str

    async def install(self, ahead: dt.timedelta) -> Jump:
        """Let all of them show another time from the start; the database has its roles, schemas and tables already."""
        begun = dt.datetime.now(dt.UTC)
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute(_SCHEMA)
            for role in ("api", "matcher", "sender"):
                await connection.execute("INSERT INTO clocks.ahead VALUES ($1, $2)", role, ahead)
                for statement in await connection.fetch(_SEEN_BY_ROLE, role):
                    await connection.execute(statement["statement"])
        finally:
            await connection.close()
        for name in (NIGHT, MOVING):
            _write(self.folder / name, ahead)
        return Jump(begun, ahead)

    async def set(self, ahead: dt.timedelta) -> Jump:
        """Set the clocks that are moved."""
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute("UPDATE clocks.ahead SET ahead = $1 WHERE role = 'sender'", ahead)
        finally:
            await connection.close()
        _write(self.folder / MOVING, ahead)
        return Jump(dt.datetime.now(dt.UTC), ahead)


def _write(file: Path, ahead: dt.timedelta) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(str(ahead.total_seconds()))
    draft.replace(file)


_SCHEMA: Final = """
CREATE SCHEMA clocks;
GRANT USAGE ON SCHEMA clocks TO PUBLIC;
CREATE TABLE clocks.ahead (role name PRIMARY KEY, ahead interval NOT NULL);
GRANT SELECT ON clocks.ahead TO PUBLIC;
CREATE FUNCTION clocks.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.clock_timestamp() + (SELECT ahead FROM clocks.ahead WHERE role = current_user)
$$;
CREATE FUNCTION clocks.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.now() + (SELECT ahead FROM clocks.ahead WHERE role = current_user)
$$;
"""

_SEEN_BY_ROLE: Final = """
-- Tables are made in the first schema of the path, functions found in the first that has them. What a column's default
-- calls was decided when its table was made.
SELECT format('ALTER ROLE %1$I IN DATABASE %2$I SET search_path = %1$I, clocks, pg_catalog',
              $1::text, current_database()) AS statement
UNION ALL
SELECT format('ALTER TABLE %I.%I ALTER %I SET DEFAULT clocks.now()', table_schema, table_name, column_name)
  FROM information_schema.columns WHERE table_schema = $1::text AND column_default = 'now()'
"""


# --- the process ------------------------------------------------------------------------------------------------------


def _run() -> None:
    """Be a service, at another time."""
    import time_machine  # noqa: PLC0415 - it replaces functions of the interpreter: only here is that wanted

    file = Path(os.environ.pop("CLOCK_FILE"))
    clock = time_machine.travel(time.time(), tick=True).start()

    def show(ahead: float) -> None:
        """By the machine's clock, which goes on while the other one is set."""
        clock.shift(time_machine.escape_hatch.time.time() + ahead - time.time())

    def follow() -> None:
        shown = first
        for wanted in _readings(file):
            if wanted != shown:
                show(wanted)
                shown = wanted

    show(first := float(file.read_text()))
    threading.Thread(target=follow, daemon=True).start()
    runpy.run_module(os.environ.pop("CLOCK_MODULE"), run_name="__main__", alter_sys=True)


def _readings(file: Path) -> Iterator[float]:
    while True:
        time.sleep(LOOKED_AT_EVERY_S)
        yield float(file.read_text())


if __name__ == "__main__":
    _run()
