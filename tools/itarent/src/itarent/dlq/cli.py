"""`itarent dlq`: dead letters are looked at, replayed when the cause is mended, or dropped."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Final

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.records import Origin
from common.telemetry import mask
from common.topics import Topics
from itarent.dlq.letters import DeadLetters, Letter, Lost, Record, Unplayable
from itarent.local import BootstrapServers
from itarent.printable import printable

app = typer.Typer(no_args_is_help=True)

HIDDEN: Final = "(hidden: the topic is restricted; --reveal shows it)"
AT_ONCE: Final = 500

Namespace = Annotated[str, typer.Option(envvar="KAFKA_NAMESPACE")]
Id = Annotated[str | None, typer.Argument(metavar="ID", help="topic/partition/offset, as `list` shows it")]
OfTopic = Annotated[str | None, typer.Option("--topic", help="the topic that the records came from")]


@app.callback()
def dlq() -> None:
    """Look at records that could never be handled, replay or drop them."""


@app.command("list")
def list_(
    *,
    topic: OfTopic = None,
    as_json: Annotated[bool, typer.Option("--json", help="a JSON array")] = False,
    bootstrap_servers: BootstrapServers,
    namespace: Namespace = "itarent",
) -> None:
    """Every dead letter: its id, when it came, why, and how large it is."""

    async def show(letters: DeadLetters) -> None:
        found = _of(await letters.all(), topic)
        if as_json:
            typer.echo(json.dumps([_as_json(letter) for letter in found], indent=2))
        elif found:
            Console().print(_table(found))
        else:
            typer.echo("There are no dead letters.")

    _run(bootstrap_servers, namespace, show)


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="topic/partition/offset, as `list` shows it")],
    *,
    reveal: Annotated[bool, typer.Option(help="show what a restricted topic's record holds")] = False,
    bootstrap_servers: BootstrapServers,
    namespace: Namespace = "itarent",
) -> None:
    """One dead letter: where it came from, why, its headers and what it holds."""

    async def tell(letters: DeadLetters) -> None:
        [letter] = _chosen(await letters.all(), letter_id, None)
        record = await letters.record(letter)
        hidden = letter.topic.restricted and not reveal
        for line in _told(letter, record, hidden=hidden):
            typer.echo(printable(line))

    _run(bootstrap_servers, namespace, tell)


@app.command()
def replay(
    letter_id: Id = None,
    *,
    topic: OfTopic = None,
    bootstrap_servers: BootstrapServers,
    namespace: Namespace = "itarent",
) -> None:
    """Publish dead letters again as they were, with the same id, and remove them.

    It can be interrupted and repeated: readers know what they have handled. A record that still cannot be read becomes
    a new dead letter.
    """

    async def again(letters: DeadLetters) -> None:
        chosen = _chosen(await letters.all(), letter_id, topic)
        failed = [refusal for letter in chosen if (refusal := await _replayed(letters, letter))]
        for refusal in failed:
            typer.echo(refusal, err=True)
        typer.echo(f"Replayed: {len(chosen) - len(failed)}.")
        if failed:
            raise typer.Exit(1)

    _run(bootstrap_servers, namespace, again)


async def _replayed(letters: DeadLetters, letter: Letter) -> str:
    """Replay one; why it was not, if it was not."""
    try:
        await letters.replay(letter)
    except (Lost, Unplayable) as refusal:
        return str(refusal)
    return ""


@app.command()
def drop(
    letter_id: Id = None,
    *,
    topic: OfTopic = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    bootstrap_servers: BootstrapServers,
    namespace: Namespace = "itarent",
) -> None:
    """Remove dead letters for good."""

    async def remove(letters: DeadLetters) -> None:
        chosen = _chosen(await letters.all(), letter_id, topic)
        if not yes:
            question = f"Drop {letter_id or f'{len(chosen)} dead letters of {topic}'} for good?"
            await asyncio.to_thread(typer.confirm, question, abort=True)
        for start in range(0, len(chosen), AT_ONCE):
            await letters.drop(chosen[start : start + AT_ONCE])
        typer.echo(f"Dropped: {len(chosen)}.")

    _run(bootstrap_servers, namespace, remove)


def _run(bootstrap_servers: str, namespace: str, act: Callable[[DeadLetters], Coroutine[Any, Any, None]]) -> None:
    """Exit status: 0 when it was done, 1 when a letter is not there or cannot be replayed, 2 without Kafka."""
    if not bootstrap_servers:
        raise _end("No system runs here: set KAFKA_BOOTSTRAP_SERVERS, or give --bootstrap-servers.", 2)

    async def connected() -> None:
        async with DeadLetters.connected(bootstrap_servers, Topics.within(namespace)) as letters:
            await act(letters)

    try:
        asyncio.run(connected())
    except Lost as lost:
        raise _end(str(lost), 1) from lost
    except KafkaError as error:
        raise _end(f"Kafka at {bootstrap_servers} does not answer as it should: {error!r}", 2) from error


def _chosen(letters: Sequence[Letter], letter_id: str | None, topic: str | None) -> list[Letter]:
    """The letter of an id, or all of a topic."""
    if (letter_id is None) == (topic is None):
        raise _end("Name one dead letter by its id, or all of a topic with --topic.", 2)
    if letter_id is None:
        return _of(letters, topic)
    origin = Origin.parse(letter_id)
    if origin is None:
        raise _end(f"{letter_id} is no id: it reads topic/partition/offset, as `itarent dlq list` shows it.", 2)
    found = [letter for letter in letters if letter.origin == origin]
    if not found:
        raise Lost(origin)
    return found


def _of(letters: Sequence[Letter], topic: str | None) -> list[Letter]:
    return [letter for letter in letters if topic in (None, letter.topic.name)]


def _end(message: str, status: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(status)


def _table(letters: Sequence[Letter]) -> Table:
    table = Table(title=f"{len(letters)} dead letters", title_justify="left")
    table.add_column("id (topic/partition/offset)", overflow="fold", no_wrap=False)
    for heading in ("when", "reason"):
        table.add_column(heading, overflow="fold")
    table.add_column("bytes", justify="right")
    for letter in letters:
        since = f"{letter.since:%Y-%m-%d %H:%M:%S} UTC"
        # As text: a reason names fields as the record has them, and is no markup.
        table.add_row(*map(Text, (str(letter.origin), since, printable(letter.reason), f"{letter.size:,}")))
    return table


def _as_json(letter: Letter) -> dict[str, Any]:
    return {
        "id": str(letter.origin),
        "topic": letter.topic.name,
        "restricted": letter.topic.restricted,
        "since": letter.since.isoformat(),
        "reason": letter.reason,
        "bytes": letter.size,
    }


def _told(letter: Letter, record: Record, *, hidden: bool) -> list[str]:
    """The letter line by line; of a restricted topic only what cannot tell who somebody is, unless it is asked for."""
    origin = letter.origin
    return [
        f"Id:        {origin}",
        f"Origin:    topic {origin.topic}, partition {origin.partition}, offset {origin.offset}",
        f"Since:     {letter.since:%Y-%m-%d %H:%M:%S} UTC",
        f"Reason:    {letter.reason}",
        "Headers:",
        *(f"  {name}: {_header(name, value, hidden=hidden)}" for name, value in record.headers),
        "Value:",
        HIDDEN if hidden else _value(record.value or b""),
    ]


def _header(name: str, value: bytes | None, *, hidden: bool) -> str:
    if hidden and name == "dlq_key":
        return HIDDEN
    text = (value or b"").decode(errors="backslashreplace")
    return mask(text) if hidden else text


def _value(value: bytes) -> str:
    """JSON as people read it, else the text, else the bytes."""
    try:
        return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return value.decode(errors="backslashreplace")
