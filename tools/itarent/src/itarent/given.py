"""What the operator has set for a local system: `.env` of the folder, and the environment, which goes before it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from pydantic import TypeAdapter

from itarent.environment import DRAWN_HERE, SERVICES, names_of
from itarent.refusal import Refusal

WORKER_LOG: Final = "logs/whatsapp_worker.log"


@dataclass(frozen=True)
class Servers:
    """Kafka and PostgreSQL. The database's URL is its administrator's: each service gets a role of its own."""

    kafka: str
    database_url: str = field(repr=False)


@dataclass(frozen=True)
class Given:
    """`settings` go before what a local system draws; `servers` are used in place of servers of its own."""

    settings: Mapping[str, str]
    servers: Servers | None = None


class OneServerOnly(Refusal):
    """One of two settings that belong together is missing."""

    def __init__(self, given: str, missing: str) -> None:
        super().__init__(f"{given} is set in .env and {missing} is not: set both to use servers of yours, or neither.")


def given_in(folder: Path, environ: Mapping[str, str] = os.environ) -> Given:
    """What is set in the folder and the environment; the worker's log is in the folder unless LOG_FILE says otherwise.

    Raises:
        OneServerOnly: `.env` names Kafka or the database, and nothing names the other.
    """
    in_file = _set(dotenv_values(folder / ".env"))
    everything = in_file | _set(environ)
    wanted = set().union(*map(names_of, SERVICES)) - DRAWN_HERE
    settings = {name: everything[name] for name in sorted(wanted & everything.keys())}
    log_file = folder / settings.get("LOG_FILE", WORKER_LOG)
    return Given(settings | {"LOG_FILE": str(log_file)}, _servers(everything, in_file))


def _set(variables: Mapping[str, str | None]) -> dict[str, str]:
    """Those that have a value, by the name that settings know them by."""
    return {name.upper(): value for name, value in variables.items() if value}


def _servers(everything: Mapping[str, str], in_file: Mapping[str, str]) -> Servers | None:
    kafka, database = "KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL"
    match everything.get(kafka), everything.get(database):
        case str(address), str(url):
            return Servers(address, url)
        case str(), None if kafka in in_file:
            raise OneServerOnly(kafka, database)
        case None, str() if database in in_file:
            raise OneServerOnly(database, kafka)
        case _:  # a single one in the shell is a stray of another project's
            return None


def is_true(value: str | None) -> bool:
    """A flag, as settings understand it."""
    return TypeAdapter(bool).validate_python(value or "false")
