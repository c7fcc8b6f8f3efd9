"""`itarent explain SEARCH LISTING`: what each criterion decides about a listing, from files or a running system."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import asyncpg
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.searches import COMUNI, SearchDraft
from common.comuni import Comuni
from common.explain import Decision, Explanation, explain
from common.listing import Listing, ListingStatus
from common.search import Search
from itarent.local import postgres

DatabaseUrl = Annotated[
    str,
    typer.Option(
        envvar=["AUDIT_DATABASE_URL", "DATABASE_URL"],
        default_factory=postgres,
        show_default="the local system",
        help="where ids are looked up: as a role that reads the schema api",
    ),
]
STYLES: Final = {Decision.PASS: "green", Decision.FLAGGED: "yellow", Decision.FAIL: "red"}


class CannotExplainError(Exception):
    """What is to be explained cannot be had; the message says what to do."""


def explain_match(
    search: Annotated[str, typer.Argument(metavar="SEARCH", help="a file with a search as JSON, or a search's id")],
    listing: Annotated[str, typer.Argument(metavar="LISTING", help="a file with a listing as JSON, or its listing_id")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="the verdicts as JSON")] = False,
    database_url: DatabaseUrl,
) -> None:
    """Say what each criterion of a search decides about a listing, and why.

    Files hold what the API takes: a search, with its name or without, and a listing. Ids are looked up in the system
    that runs. Exit status: 0 when it matches, 1 when it does not, 2 when it cannot be told.
    """
    try:
        explanation = explain(_search(search, database_url), _listing(listing, database_url))
    except CannotExplainError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps({"matches": explanation.matches, **explanation.model_dump(mode="json")}, indent=2))
    else:
        _show(explanation, Console())
    raise typer.Exit(0 if explanation.matches else 1)


def _search(name: str, database_url: str) -> Search:
    file = Path(name)
    if file.is_file():
        document = _read(file)
        inner = document.get("search", document)
        try:
            return SearchDraft.model_validate(inner, context={COMUNI: Comuni.load()}).search()
        except ValidationError as error:
            raise CannotExplainError(f"{name} is no search: {_first_fault(error)}") from None
    try:
        subscription_id = UUID(name)
    except ValueError:
        raise CannotExplainError(f"{name} is neither a file nor the id of a search.") from None
    row = _row(database_url, _SEARCH_OF, subscription_id)
    if row is None:
        raise CannotExplainError(f"There is no search {name}. GET /api/v1/subscriptions lists a renter's.")
    return Search.model_validate_json(row["search"])


def _listing(name: str, database_url: str) -> Listing:
    file = Path(name)
    if file.is_file():
        try:
            return Listing.model_validate(_read(file))
        except ValidationError as error:
            raise CannotExplainError(f"{name} is no listing: {_first_fault(error)}") from None
    row = _row(database_url, _LISTING_OF, name)
    if row is None:
        raise CannotExplainError(f"{name} is neither a file nor a listing of the last 30 days.")
    listing = Listing.model_validate_json(row["listing"])
    return listing if row["active"] else listing.model_copy(update={"status": ListingStatus.WITHDRAWN})


def _read(file: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise CannotExplainError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise CannotExplainError(f"{file} holds no JSON object.")
    return document


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}."


def _row(database_url: str, query: str, argument: object) -> asyncpg.Record | None:
    if not database_url:
        raise CannotExplainError("No system runs here to look an id up in: set DATABASE_URL, or give files.")

    async def fetched() -> asyncpg.Record | None:
        connection = await asyncpg.connect(database_url)
        try:
            return await connection.fetchrow(query, argument)
        finally:
            await connection.close()

    try:
        return asyncio.run(fetched())
    except (asyncpg.PostgresError, OSError) as error:
        raise CannotExplainError(f"The database cannot be read: {error}") from error


def _show(explanation: Explanation, console: Console) -> None:
    table = Table("criterion", "decides", "why", box=None, header_style="bold")
    for verdict in explanation.verdicts:
        decision = Text(verdict.decision, style=STYLES[verdict.decision])
        table.add_row(verdict.criterion.replace("_", " "), decision, Text(verdict.why))
    console.print(table)
    failing = [each.criterion.replace("_", " ") for each in explanation.verdicts if each.decision is Decision.FAIL]
    outcome = f"It does not match: {', '.join(failing)}." if failing else "It matches."
    console.print(Text(outcome, style="bold"))


_SEARCH_OF: Final = "SELECT search::text FROM api.subscriptions WHERE subscription_id = $1"

_LISTING_OF: Final = """
SELECT active, listing::text FROM api.recent_listings WHERE listing_id = $1 AND listing IS NOT NULL
"""
