"""`itarent restore`: after a database came back from a backup while Kafka has gone on, or topics while it has."""

import asyncio
import datetime as dt
from typing import Annotated, Final

import asyncpg
import typer

from api.recipients import Recipients
from api.subscriptions import Subscriptions
from common.outbox import Outbox
from common.postgres import open_pool
from common.topics import Topics
from itarent.local import BootstrapServers, postgres
from itarent.restoring.heard import listen
from itarent.restoring.offsets import rewind
from itarent.restoring.telling import Told, tell
from itarent.system import NAMESPACE

AdministratorUrl = Annotated[
    str,
    typer.Option(
        envvar="POSTGRES_ADMIN_URL",
        default_factory=postgres,
        show_default="the local system",
        help="as the database's administrator",
    ),
]
Namespace = Annotated[str, typer.Option(envvar="KAFKA_NAMESPACE", help="the prefix of all topics")]

MARGIN: Final = dt.timedelta(minutes=5)
"""What was committed when the backup began may have been published a little earlier."""


app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def database(
    since: Annotated[dt.datetime, typer.Argument(help="When the backup began, UTC: 2026-11-29T02:00:00")],
    bootstrap_servers: BootstrapServers,
    database_url: AdministratorUrl,
    namespace: Namespace = NAMESPACE,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Tell restored tables what has happened since their backup, by what Kafka knows. No service may run meanwhile.

    Who has stopped, paused or gone since stays so; what was told since is not told again; what was not is.
    """
    if not yes:
        typer.confirm("Do all services of this system stand still?", abort=True)
    told = asyncio.run(
        catch_up(bootstrap_servers, Topics.within(namespace), database_url, since.replace(tzinfo=dt.UTC))
    )
    typer.echo(
        f"{told.recipients} recipients and {told.searches} searches as they were last, {told.messages} messages that "
        f"Twilio has, {told.settled} notifications that had ended; {told.erased} accounts erased again, {told.unknown} "
        f"that are younger than the backup let go. Now start the services: they read the rest by themselves."
    )


@app.command()
def topics(database_url: AdministratorUrl, namespace: Namespace = NAMESPACE) -> None:
    """Publish all recipients and searches again, as the database has them, for topics that were lost and made anew.

    Nothing has to stand still: who knows them passes them over.
    """
    recipients, searches = asyncio.run(publish_again(database_url, Topics.within(namespace)))
    typer.echo(f"The api is publishing {recipients} recipients and {searches} searches again.")


async def publish_again(database_url: str, topics: Topics) -> tuple[int, int]:
    """How many recipients and searches were put into the api's outbox."""
    outbox = Outbox("api")
    async with open_pool(database_url, "itarent-restore", size=1, schema="api") as pool:
        recipients = await Recipients(pool, outbox, topics.recipients).publish_again()
        return recipients, await Subscriptions(pool, outbox, topics.subscriptions).publish_again()


async def catch_up(bootstrap_servers: str, topics: Topics, database_url: str, since: dt.datetime) -> Told:
    """Do it; `since` is when the backup began."""
    heard = await listen(bootstrap_servers, topics, since - MARGIN)
    told = await tell(database_url, topics, heard)
    await rewind(bootstrap_servers, topics, await _shards(database_url), since - MARGIN)
    return told


async def _shards(database_url: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval("SELECT shards FROM matcher.layout") or 1)
    finally:
        await connection.close()
