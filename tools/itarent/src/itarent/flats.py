"""`itarent flats`: which advertisements are taken for one flat and why, and parting those that are not."""

import asyncio
import datetime as dt
import json
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, TypeVar

import asyncpg
import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from common.events import AdvertisementParted
from common.kafka import Publisher, create_topics
from common.topics import Topics
from itarent.local import BootstrapServers, DatabaseUrl

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

T = TypeVar("T")

TAKES_EFFECT_WITHIN_S: Final = 30.0

ListingIdArgument = Annotated[str, typer.Argument(metavar="LISTING", help="such as immobiliare.it:104512377")]


@dataclass(frozen=True)
class Member:
    """An advertisement of a flat: why it joined and like which other (None: it was there first), how it stands now."""

    listing_id: str
    flat_id: str
    joined_by: str | None
    joined_like: str | None
    offered: bool | None
    title: str | None
    parted_from: str | None


@app.callback()
def flats() -> None:
    """Look at the advertisements that are taken for one flat, and part those that are not."""


@app.command()
def show(
    listing: ListingIdArgument,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="a JSON array")] = False,
    database_url: DatabaseUrl,
) -> None:
    """Every advertisement of the flat that LISTING is taken for, and by which reason it joined."""
    members = _run(_members(database_url, listing))
    if not members:
        raise _end(f"The matcher has not seen {listing}.", 1)
    typer.echo(json.dumps([asdict(each) for each in members], indent=2)) if as_json else Console().print(
        _table(members)
    )


@app.command()
def part(
    listing: ListingIdArgument,
    *,
    apart_from: Annotated[
        list[str] | None,
        typer.Option("--from", metavar="OTHER", help="of which it is no part; all others if not given"),
    ] = None,
    bootstrap_servers: BootstrapServers,
    namespace: Annotated[str, typer.Option(envvar="KAFKA_NAMESPACE")] = "itarent",
    database_url: DatabaseUrl,
) -> None:
    """Say that LISTING is not of one flat with the others: it gets one of its own, and is never joined with them again.

    Who was not told of one of them, because it was taken for the other, is told now; nobody is told twice.
    """
    if not bootstrap_servers:
        raise _end("No system runs here: set KAFKA_BOOTSTRAP_SERVERS.", 2)
    members = _run(_members(database_url, listing))
    others = tuple(apart_from or (each.listing_id for each in members if each.listing_id != listing))
    if not others:
        raise _end(f"{listing} is the only advertisement of its flat: name the others with --from.", 1)
    known = _run(_apart(database_url, listing))
    topics = Topics.within(namespace)
    together = {each.listing_id for each in members} & {*others}
    _run(_publish(bootstrap_servers, topics, listing, tuple(sorted({*others, *known}))))
    if together and not _run(_parted(database_url, listing, together)):
        raise _end("The matcher has not taken it up yet: it will, as soon as it runs.", 1)
    typer.echo(f"{listing} is apart from {', '.join(sorted(others))}.")


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (KafkaError, asyncpg.PostgresError, OSError) as error:
        raise _end(f"The system cannot be reached: {error!r}", 2) from error


def _end(why: str, status: int) -> typer.Exit:
    typer.echo(why, err=True)
    return typer.Exit(status)


async def _members(database_url: str, listing: str) -> list[Member]:
    return [_member(row) for row in await _fetch(database_url, _MEMBERS, listing)]


def _member(row: asyncpg.Record) -> Member:
    return Member(
        listing_id=row["listing_id"],
        flat_id=str(row["flat_id"]),
        joined_by=row["joined_by"],
        joined_like=row["joined_like"],
        offered=row["active"],
        title=json.loads(row["content"]).get("title") if row["content"] else None,
        parted_from=str(row["parted_from"]) if row["parted_from"] else None,
    )


async def _apart(database_url: str, listing: str) -> list[str]:
    return [row["other_id"] for row in await _fetch(database_url, _APART, listing)]


async def _fetch(database_url: str, query: str, listing: str) -> list[asyncpg.Record]:
    if not database_url:
        raise _end("No system runs here: set AUDIT_DATABASE_URL, as a role that reads the schema matcher.", 2)
    connection = await asyncpg.connect(database_url)
    try:
        return list(await connection.fetch(query, listing))
    finally:
        await connection.close()


async def _publish(bootstrap_servers: str, topics: Topics, listing: str, others: tuple[str, ...]) -> None:
    parted = AdvertisementParted(listing_id=listing, apart_from=others, parted_at=dt.datetime.now(dt.UTC))
    await create_topics(bootstrap_servers, [topics.partings])
    async with Publisher.connected(bootstrap_servers, "flats") as publisher:
        await publisher.publish(topics.partings, [parted])


async def _parted(database_url: str, listing: str, others: set[str]) -> bool:
    """Wait until it is apart from the others; False if that takes too long."""
    try:
        async with asyncio.timeout(TAKES_EFFECT_WITHIN_S):
            while await _are_together(database_url, listing, others):  # noqa: ASYNC110 - another process parts them
                await asyncio.sleep(0.2)
    except TimeoutError:
        return False
    return True


async def _are_together(database_url: str, listing: str, others: set[str]) -> bool:
    return any(each.listing_id in others for each in await _members(database_url, listing))


def _table(members: Sequence[Member]) -> Table:
    table = Table("advertisement", "joined by", "like", "offered", "title", title_justify="left")
    table.title = f"flat {members[0].flat_id}"
    for each in members:
        offered = {True: "yes", False: "no", None: ""}[each.offered]
        table.add_row(each.listing_id, each.joined_by or "", each.joined_like or "", offered, each.title or "")
    if any(each.parted_from for each in members):
        table.caption = f"parted from flat {members[0].parted_from}"
    return table


_MEMBERS = """
-- What it says is what the first shard knows of it.
SELECT each.listing_id, each.flat_id, joined_by, joined_like, active, content::text,
       (SELECT parted_from FROM matcher.partings WHERE partings.flat_id = each.flat_id LIMIT 1) AS parted_from
  FROM matcher.advertisements AS each
       LEFT JOIN matcher.known ON known.listing_id = each.listing_id AND shard = 1
 WHERE each.flat_id = (SELECT flat_id FROM matcher.advertisements WHERE listing_id = $1)
 ORDER BY joined_by IS NOT NULL, each.listing_id
"""

_APART = "SELECT other_id FROM matcher.apart WHERE listing_id = $1"
