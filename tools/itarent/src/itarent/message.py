"""`itarent message ID`: all that is known of one message, from its notifications to its last status."""

import asyncio
import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final
from uuid import UUID

import asyncpg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.twilio_errors import advice_of
from itarent.local import postgres

DatabaseUrl = Annotated[
    str,
    typer.Option(
        envvar=["AUDIT_DATABASE_URL", "DATABASE_URL"],
        default_factory=postgres,
        show_default="the local system",
        help="as a role that reads the schemas api and sender",
    ),
]

GOOD: Final = frozenset({"delivered", "read"})
BAD: Final = frozenset({"failed", "undelivered", "rejected", "canceled", "refused"})


@dataclass(frozen=True)
class Step:
    """Something that happened to the message."""

    at: dt.datetime
    attempt: int
    what: str
    by: str
    sid: str | None = None
    error_code: int | None = None

    @property
    def error(self) -> str | None:
        return None if self.error_code is None else str(advice_of(self.error_code))


@dataclass(frozen=True)
class Told:
    """A notification that the message tells, or was to tell."""

    notification_id: UUID
    reason: str
    disposition: str
    detail: str
    title: str | None


@dataclass(frozen=True)
class Story:
    """A message as the ledger has it, what happened to it in order, and what it tells. No phone and no text."""

    message_id: UUID
    kind: str  # digest, or what a direct message is for
    stage: str
    status: str
    detail: str
    due_at: dt.datetime | None  # when it is tried again, where it waits
    steps: tuple[Step, ...]
    told: tuple[Told, ...]


def message(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="message id, MessageSid, or the reference at the end of its text")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="the story as JSON")] = False,
    database_url: DatabaseUrl,
) -> None:
    """Tell the whole story of a message: every status with its time, each attempt, and what it tells.

    Exit status: 0 when there is such a message, 1 when there is none, 2 when it cannot be told.
    """
    if not database_url:
        typer.echo("No system runs here: set DATABASE_URL, or give --database-url.", err=True)
        raise typer.Exit(2)
    try:
        story = asyncio.run(_story_of(name.strip(), database_url))
    except (asyncpg.PostgresError, OSError) as error:
        typer.echo(f"The database cannot be read: {error}", err=True)
        raise typer.Exit(2) from error
    if story is None:
        typer.echo(f"There is no message {name}. Take the id from the watch page, the API or the log.", err=True)
        raise typer.Exit(1)
    typer.echo(json.dumps(_as_json(story), indent=2, default=str)) if as_json else _show(story, Console())


async def _story_of(name: str, database_url: str) -> Story | None:
    connection = await asyncpg.connect(database_url)
    try:
        row = await connection.fetchrow(_query_of(name), name)
        if row is None:
            return None
        message_id = row["message_id"]
        return Story(
            message_id=UUID(str(message_id)),
            kind=row["purpose"] or row["kind"],
            stage=row["stage"],
            status=row["status"],
            detail=row["detail"],
            due_at=row["due_at"] if row["stage"] in ("waiting", "retrying", "in_doubt") else None,
            steps=_in_order(row, [Step(**step) for step in await connection.fetch(_STEPS, message_id)]),
            told=tuple(Told(**dict(each)) for each in await connection.fetch(_TOLD, message_id)),
        )
    finally:
        await connection.close()


def _query_of(name: str) -> str:
    if re.fullmatch(r"(SM|MM)[0-9a-fA-F]{32}", name):
        return _BY_SID
    if re.fullmatch(r"[0-9a-fA-F]{10}", name):
        return _BY_REFERENCE
    return _BY_ID


def _in_order(row: asyncpg.Record, steps: Sequence[Step]) -> tuple[Step, ...]:
    opened = Step(row["opened_at"], 1, "waiting", "sender")
    return (opened, *sorted(steps, key=lambda step: (step.at, step.attempt)))


def _as_json(story: Story) -> dict[str, Any]:
    return {**asdict(story), "steps": [{**asdict(step), "error": step.error} for step in story.steps]}


def _show(story: Story, console: Console) -> None:
    console.print(Text.assemble(("Message ", "bold"), str(story.message_id), f" ({story.kind})"))
    now = Text.assemble("It is ", (story.status, _style(story.status)))
    if story.detail:
        now.append(f": {story.detail.replace('_', ' ')}")
    if story.due_at:
        now.append(f"; next {_moment(story.due_at)}")
    console.print(now)
    console.print(_steps_table(story.steps))
    if story.told:
        console.print(_told_table(story.told))


def _steps_table(steps: Sequence[Step]) -> Table:
    table = Table("when", "attempt", "status", "says", "MessageSid", "error", box=None, header_style="bold")
    for step in steps:
        error = f"{step.error_code}: {step.error}" if step.error_code else ""
        status = Text(step.what, style=_style(step.what))
        table.add_row(_moment(step.at), str(step.attempt), status, step.by, step.sid or "", error)
    return table


def _told_table(told: Sequence[Told]) -> Table:
    table = Table("notification", "reason", "ended", "flat", box=None, header_style="bold")
    for each in told:
        ended = f"{each.disposition} {each.detail}".strip().replace("_", " ")
        table.add_row(str(each.notification_id), each.reason, ended, Text(each.title or ""))
    return table


def _moment(at: dt.datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _style(status: str) -> str:
    return "green" if status in GOOD else "red" if status in BAD else ""


_BY_ID: Final = "SELECT * FROM sender.messages WHERE message_id::text = lower($1)"

_BY_REFERENCE: Final = """
SELECT * FROM sender.messages WHERE left(replace(message_id::text, '-', ''), 10) = lower($1)
"""

_BY_SID: Final = """
SELECT messages.* FROM sender.messages JOIN sender.attempts USING (message_id) WHERE attempts.sid = $1
"""

_STEPS: Final = """
-- Calls as the sender's ledger has them, and every status as the api has heard it from sender and callbacks.
SELECT started_at AS at, attempt, 'calling Twilio' AS what, 'sender' AS by, NULL AS sid, NULL::int AS error_code
FROM sender.attempts WHERE message_id = $1
UNION ALL
SELECT reported_at, attempt, status, reported_by, message_sid, error_code
FROM api.message_statuses WHERE message_id = $1
"""

_TOLD: Final = """
SELECT ledger.notification_id, ledger.reason, disposition, detail,
    coalesce(nullif(card ->> 'title', ''), card ->> 'comune_name') AS title
FROM sender.notifications AS ledger LEFT JOIN api.notifications AS known USING (notification_id)
WHERE ledger.message_id = $1 ORDER BY ledger.position
"""
