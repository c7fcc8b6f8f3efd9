"""`itarent templates`: submit the templates to Meta, and see what became of it."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from itarent.account import connected_to, twilio_account
from itarent.templates.known import Done, Known, Result, known, submitted
from sender.contents import Contents
from sender.templates import Approval, templates
from sender.twilio import LookupFailed

app = typer.Typer(no_args_is_help=True)

ASK_AGAIN_S: Final = 2.0
UNDER_REVIEW: Final = frozenset({Approval.RECEIVED, Approval.PENDING})
LOST: Final = frozenset({Approval.REJECTED, Approval.DISABLED})

AsJson = Annotated[bool, typer.Option("--json", help="a JSON array")]
WaitForIt = Annotated[bool, typer.Option("--wait", help="until Meta has decided about each; takes minutes to days")]


@app.callback()
def of_templates() -> None:
    """Texts for messages outside the 24 hours after a user's last message, which Meta has to approve."""


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """Every template's file and what Twilio knows of it: ContentSid, approval, whether its text is the file's."""

    async def show(contents: Contents) -> None:
        found = await _known(contents)
        if as_json:
            typer.echo(json.dumps([_as_json(each) for each in found], indent=2, ensure_ascii=False))
        else:
            Console().print(_table(found))

    _run(show)


@app.command()
def submit(*, wait: WaitForIt = False, as_json: AsJson = False) -> None:
    """Create what Twilio lacks and ask Meta to approve it. Can be repeated.

    Exit status: 0 when everything has been submitted (with --wait: approved), 1 when something has not.
    """

    async def go(contents: Contents) -> None:
        results = [result async for result in submitted(contents, await _known(contents))]
        typer.echo(json.dumps([_result_as_json(each) for each in results], indent=2)) if as_json else _tell(results)
        if any(each.done in (Done.FAILED, Done.CHANGE_THE_FILE) for each in results):
            raise typer.Exit(1)
        if wait:
            _end(await _decided(contents), as_json=False)

    _run(go)


@app.command()
def status(*, wait: WaitForIt = False, as_json: AsJson = False) -> None:
    """Where each approval is, with Meta's reason for a rejection. Exit status: 0 when all are approved, else 1."""

    async def show(contents: Contents) -> None:
        _end(await (_decided(contents) if wait else _known(contents)), as_json=as_json)

    _run(show)


async def _known(contents: Contents) -> list[Known]:
    return known(templates(), await contents.all())


async def _decided(contents: Contents) -> list[Known]:
    """How the templates stand once no review is under way."""
    while True:
        found = await _known(contents)
        if not any(each.standing.approval in UNDER_REVIEW for each in found):
            return found
        await asyncio.sleep(ASK_AGAIN_S)


def _end(found: Sequence[Known], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_as_json(each) for each in found], indent=2, ensure_ascii=False))
    else:
        for each in found:
            reason = f": {each.standing.reason}" if each.standing.reason else ""
            typer.echo(f"{each.template.purpose}.{each.template.language}: {each.standing.approval}{reason}")
    raise typer.Exit(0 if all(each.standing.approval is Approval.APPROVED for each in found) else 1)


def _run(command: Callable[[Contents], Coroutine[Any, Any, None]]) -> None:
    """Run a command against the account; what Twilio does not allow is said in a line."""
    account = twilio_account()

    async def go() -> None:
        async with connected_to(account) as twilio:
            await command(Contents(twilio))

    try:
        asyncio.run(go())
    except LookupFailed as failed:
        typer.echo(f"Twilio could not be asked about templates: {failed}", err=True)
        raise typer.Exit(2) from None


def _tell(results: Sequence[Result]) -> None:
    for each in results:
        detail = f" ({each.detail})" if each.detail else ""
        typer.echo(f"{each.template.purpose}.{each.template.language}: {each.done}{detail}")


def _result_as_json(result: Result) -> dict[str, object]:
    return {"name": result.template.name, "result": result.done.name.lower(), "detail": result.detail}


def _as_json(each: Known) -> dict[str, object]:
    template, standing = each.template, each.standing
    return {
        "purpose": template.purpose,
        "language": template.language,
        "name": template.name,
        "category": template.category,
        "body": template.body,
        "variables": {name: variable.means for name, variable in template.variables.items()},
        "content_sid": standing.sid,
        "approval": standing.approval,
        "rejection_reason": standing.reason,
        "differs": each.drifted,
        "older_versions": each.older,
    }


def _table(found: Sequence[Known]) -> Table:
    table = Table("template", "category", "approval", "ContentSid", "", box=None, pad_edge=False)
    for each in found:
        template, standing = each.template, each.standing
        table.add_row(
            f"{template.purpose}.{template.language}",
            template.category.lower(),
            standing.approval,
            standing.sid or "",
            _remark(each),
            style=_STYLES.get(standing.approval, "yellow"),
        )
    return table


_STYLES: Final = {Approval.APPROVED: "green"} | dict.fromkeys(LOST, "red")


def _remark(each: Known) -> str:
    remarks = [
        each.standing.reason,
        "its text at Twilio differs from the file" if each.drifted else "",
        f"{each.older} older at Twilio" if each.older else "",
    ]
    return "; ".join(filter(None, remarks))
