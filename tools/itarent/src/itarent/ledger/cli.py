"""`itarent ledger`: what happened to a message, a user's or a listing's; and orders about them."""

import asyncio
import datetime as dt
import getpass
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

import asyncpg
import typer
from aiokafka.errors import KafkaError
from rich.console import Console

from common.postgres import open_pool
from common.prices import prices
from common.topics import Topics
from itarent.ledger.lost import Lost, letters_about
from itarent.ledger.shown import show as show_story
from itarent.ledger.story import Ledger, MessageStory, Story
from itarent.ledger.telling import headline_of, lines_of, moment
from itarent.local import BootstrapServers, postgres, running
from itarent.printable import printable
from sender.orders import ALL, CHANNELS, Carried, Done, Impossible, Order, Orders
from sender.reports import Reports

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

T = TypeVar("T")

SENDER: Final = "sender"


def _namespace() -> str:
    return found.namespace if (found := running()) else "itarent"


def _price_table() -> str:
    return found.given.get("WHATSAPP_PRICE_TABLE", "") if (found := running()) else ""


Reading = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar=["AUDIT_DATABASE_URL", "DATABASE_URL"],
        default_factory=postgres,
        show_default="the local system",
        help="as a role that reads the schemas sender and api",
    ),
]
Writing = Annotated[
    str,
    typer.Option(
        "--database-url",
        envvar=["DATABASE_URL", "AUDIT_DATABASE_URL"],
        default_factory=postgres,
        show_default="the local system",
        help="as the role sender",
    ),
]
Namespace = Annotated[
    str, typer.Option(envvar="KAFKA_NAMESPACE", default_factory=_namespace, show_default="the local system's")
]
PriceTable = Annotated[
    str, typer.Option(envvar="WHATSAPP_PRICE_TABLE", default_factory=_price_table, show_default="the packaged one")
]
AsJson = Annotated[bool, typer.Option("--json", help="the story as JSON")]
Message = Annotated[
    str, typer.Argument(metavar="MESSAGE", help="its id, its MessageSid, or the reference at the end of its text")
]
Why = Annotated[str, typer.Option("--why", prompt="Why", help="for whoever reads the trail")]
By = Annotated[str, typer.Option("--by", default_factory=getpass.getuser, show_default="who is signed in here")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask whether it is meant")]
OneUser = Annotated[UUID | None, typer.Option("--user", help="only what goes to this user")]
Channel = Annotated[str | None, typer.Option("--channel", help=f"only this channel: {', '.join(CHANNELS[1:])}")]


@app.callback()
def ledger() -> None:
    """See what happened to a message, a user's or a listing's; send again, settle, cancel; pause and resume sending."""


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MESSAGE|USER|LISTING",
            help="an id of a message, notification or user, a MessageSid, a text's reference, or a listing's id",
        ),
    ],
    *,
    as_json: AsJson = False,
    bootstrap_servers: BootstrapServers,
    namespace: Namespace,
    database_url: Reading,
) -> None:
    """Tell the whole story: what happened, why, and what can be done; then everything in order.

    Exit status: 0 when there is one, 1 when there is none, 2 when it cannot be told.
    """
    name = name.strip()
    story = _run(_read(database_url, lambda ledger: ledger.of(name)))
    lost = _lost(name, story, bootstrap_servers, namespace)
    if story is None and not lost:
        typer.echo(f"Nothing is known of {name}. Take ids from the watch page, the API or the log.", err=True)
        raise typer.Exit(1)
    now = dt.datetime.now(dt.UTC)
    if as_json:
        typer.echo(json.dumps(_as_json(story, lost, now), indent=2, default=str))
        return
    console = Console()
    if story:
        show_story(story, console, now)
    for each in lost:
        console.print(printable(each.said), style="yellow", markup=False, highlight=False)


@app.command()
def parked(*, as_json: AsJson = False, database_url: Reading) -> None:
    """What waits for a person: messages of which nobody can find out whether Twilio has them.

    Exit status: 0 when there are none, 1 when there are.
    """
    found = _run(_read(database_url, lambda ledger: ledger.parked()))
    now = dt.datetime.now(dt.UTC)
    if as_json:
        typer.echo(json.dumps([_as_json(each, [], now) for each in found], indent=2, default=str))
    elif not found:
        typer.echo("No message waits for a person.")
    else:
        for each in found:
            show_story(each, Console(), now)
    raise typer.Exit(1 if found else 0)


# --- orders -----------------------------------------------------------------------------------------------------------


@app.command()
def retry(
    message: Message,
    *,
    why: Why,
    by: By,
    yes: Yes = False,
    namespace: Namespace,
    price_table: PriceTable,
    database_url: Writing,
) -> None:
    """Send a message as soon as the gates allow: one that waits, has failed, or of which you know Twilio has it not."""
    story = _the_message(database_url, message)
    _confirm(story, "Send it again? If Twilio has it after all, the user gets it twice.", yes=yes)
    order = Order(by, why)
    _carry_out(database_url, namespace, price_table, lambda orders: orders.retry(story.message_id, order))


@app.command()
def settle(
    message: Message,
    *,
    sent: Annotated[bool, typer.Option("--sent/--not-sent", help="whether Twilio has it, as you have found out")],
    sid: Annotated[str | None, typer.Option(help="its MessageSid at Twilio, by which its status is then asked")] = None,
    why: Why,
    by: By,
    yes: Yes = False,
    namespace: Namespace,
    price_table: PriceTable,
    database_url: Writing,
) -> None:
    """End a doubt: Twilio has the message, or has not and it is not to be sent any more."""
    story = _the_message(database_url, message)
    _confirm(story, f"Settle that Twilio {'has' if sent else 'does not have'} it?", yes=yes)
    order = Order(by, why)
    _carry_out(
        database_url, namespace, price_table, lambda orders: orders.settle(story.message_id, order, sent=sent, sid=sid)
    )


@app.command()
def cancel(
    message: Message,
    *,
    why: Why,
    by: By,
    yes: Yes = False,
    namespace: Namespace,
    price_table: PriceTable,
    database_url: Writing,
) -> None:
    """Let a message that waits never go out."""
    story = _the_message(database_url, message)
    _confirm(story, f"Cancel it, with the {len(story.told)} notifications that it tells?", yes=yes)
    order = Order(by, why)
    _carry_out(database_url, namespace, price_table, lambda orders: orders.cancel(story.message_id, order))


@app.command()
def pause(
    *,
    user: OneUser = None,
    channel: Channel = None,
    why: Why,
    by: By,
    yes: Yes = False,
    namespace: Namespace,
    price_table: PriceTable,
    database_url: Writing,
) -> None:
    """Let nothing go out: to anybody, over one channel, or to one user. What is to be told waits until it expires."""
    scope = _scope(user, channel)
    _ask(f"Pause sending {_named(user, channel)}?", yes=yes)
    order = Order(by, why)
    _carry_out(database_url, namespace, price_table, lambda orders: orders.pause(order, channel=scope, user_id=user))


@app.command()
def resume(
    *,
    user: OneUser = None,
    channel: Channel = None,
    why: Why,
    by: By,
    yes: Yes = False,
    namespace: Namespace,
    price_table: PriceTable,
    database_url: Writing,
) -> None:
    """Take a pause back; one that Twilio caused as well, for the next message to try."""
    scope = _scope(user, channel)
    _ask(f"Resume sending {_named(user, channel)}?", yes=yes)
    order = Order(by, why)
    _carry_out(database_url, namespace, price_table, lambda orders: orders.resume(order, channel=scope, user_id=user))


def _scope(user: UUID | None, channel: str | None) -> str:
    if channel is not None and (user or channel not in CHANNELS):
        raise _end("Give --user, or --channel with one of: " + ", ".join(CHANNELS), 2)
    return channel or ALL


def _named(user: UUID | None, channel: str | None) -> str:
    return f"to user {user}" if user else f"over {channel}" if channel and channel != ALL else "to everybody"


def _the_message(database_url: str, name: str) -> MessageStory:
    story = _run(_read(database_url, lambda ledger: ledger.of(name.strip())))
    if not isinstance(story, MessageStory):
        raise _end(f"There is no message {name}.", 1)
    return story


def _confirm(story: MessageStory, question: str, *, yes: bool) -> None:
    typer.echo(f"Message {story.message_id} ({story.kind}), opened at {moment(story.opened_at)}:")
    typer.echo(printable("\n".join(headline_of(story, dt.datetime.now(dt.UTC)))))
    _ask(question, yes=yes)


def _ask(question: str, *, yes: bool) -> None:
    if not (yes or typer.confirm(question)):
        raise _end("Nothing was changed.", 1)


def _carry_out(
    database_url: str, namespace: str, price_table: str, order: Callable[[Orders], Awaitable[Carried]]
) -> None:
    async def carry_out() -> Carried:
        if not database_url:
            raise _end("No system runs here: set DATABASE_URL, or give --database-url.", 2)
        async with open_pool(database_url, "itarent-ledger", size=1, schema=SENDER) as pool:
            topics, table = Topics.within(namespace), prices(Path(price_table) if price_table else None)
            return await order(Orders(pool, topics, Reports(pool, topics, table, grace=dt.timedelta())))

    match _run(carry_out()):
        case Done(stage=None, in_flight=in_flight):
            typer.echo(f"Done.{f' {in_flight} calls that had begun are finished.' if in_flight else ''}")
        case Done(stage=stage):
            typer.echo(f"Done: the message is {stage.value.replace('_', ' ')}." if stage else "Done.")
        case Impossible(because=because):
            raise _end(because, 1)


# --- reading ----------------------------------------------------------------------------------------------------------


async def _read(database_url: str, ask: Callable[[Ledger], Awaitable[T]]) -> T:
    if not database_url:
        raise _end("No system runs here: set DATABASE_URL, or give --database-url.", 2)
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await ask(Ledger(connection))
    finally:
        await connection.close()


def _lost(name: str, story: Story | None, bootstrap_servers: str, namespace: str) -> list[Lost]:
    """Dead letters are looked through for what is no message: one that was sent came through."""
    if not bootstrap_servers or isinstance(story, MessageStory):
        return []
    try:
        return asyncio.run(letters_about(name, bootstrap_servers, Topics.within(namespace)))
    except (KafkaError, OSError) as error:
        typer.echo(f"The dead letters cannot be read: {error!r}", err=True)
        return []


def _as_json(story: Story | None, lost: list[Lost], now: dt.datetime) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if isinstance(story, MessageStory):
        lines = [{"at": each.at, "call": each.attempt, "by": each.by, "said": each.said} for each in lines_of(story)]
        told = {"headline": headline_of(story, now), "lines": lines}
    return {**told, **(asdict(story) if story else {}), "dead_letters": [each.letter for each in lost]}


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (asyncpg.PostgresError, OSError, ValueError) as error:
        raise _end(f"The sender's tables cannot be reached: {error}", 2) from error


def _end(why: str, status: int) -> typer.Exit:
    typer.echo(why, err=True)
    return typer.Exit(status)
