"""`itarent listings`: real listings into the system."""

import asyncio
import contextlib
import datetime as dt
import itertools
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from common.comuni import Comuni
from common.events import ListingPublished
from common.kafka import Publisher, create_topics
from common.listing import Listing
from common.topics import Topics
from itarent.listings.draft import Judge
from itarent.listings.files import Format, How, UnusableFileError, files_in, opened, outcomes
from itarent.listings.importing import Publish, import_outcomes
from itarent.listings.mapping import UnusableMappingError, load_mapping, load_points
from itarent.listings.outcomes import Outcome
from itarent.listings.tally import RefusedReport, Seen, Tally
from itarent.local import BootstrapServers

app = typer.Typer(no_args_is_help=True)


@app.callback()
def listings() -> None:
    """Bring real listings in."""


@app.command("import")
def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="CSV, JSON Lines or JSON, also packed (.gz); or directories")
    ],
    *,
    mapping: Annotated[str | None, typer.Option(help="what the columns mean: a mapping's name or file")] = None,
    form: Annotated[Format, typer.Option("--format", help="what the files hold")] = Format.AUTO,
    zones: Annotated[Path | None, typer.Option(help="CSV with a point for each zone (with --mapping)")] = None,
    observed_at: Annotated[
        dt.datetime | None, typer.Option(help="when payloads without a time of change were read (UTC): their version")
    ] = None,
    refused: Annotated[Path, typer.Option(help="where to report what is refused")] = Path("refused.jsonl"),
    limit: Annotated[int | None, typer.Option(min=1, help="read no more rows than this")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the counts as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="publish nothing")] = False,
    bootstrap_servers: BootstrapServers,
    namespace: Annotated[str, typer.Option(envvar="KAFKA_NAMESPACE")] = "itarent",
) -> None:
    """Read listings from files and publish them. It can be run again: what is known already changes nothing.

    Exit status: 0 when everything was read, 2 when a file or a mapping cannot be used, 130 after Ctrl-C.
    """
    tally = Tally()
    try:
        how = _how(mapping, form, zones, observed_at)
        files = files_in(paths)
        with RefusedReport(refused) as report, _progress(files, hidden=as_json) as progress:
            rows = itertools.islice(_rows(files, how, progress), limit)
            asyncio.run(_run(rows, None if dry_run else _kafka(bootstrap_servers, namespace), report, tally))
    except (UnusableFileError, UnusableMappingError) as error:
        raise _end(str(error), 2) from error
    except KafkaError as error:
        raise _end(f"Kafka at {bootstrap_servers} does not take the listings: {error!r}", 2) from error
    except KeyboardInterrupt:
        raise _end("Stopped. The same import can be run again without effect on what it has published.", 130) from None
    finally:
        if tally.read:
            _show(tally, refused, as_json=as_json)


def _how(mapping: str | None, form: Format, zones: Path | None, observed_at: dt.datetime | None) -> How:
    chosen = load_mapping(mapping) if mapping else None
    if zones and chosen is None:
        raise UnusableMappingError("--zones needs --mapping, which says what the columns of the points are called")
    judge = Judge(Comuni.load(), observed_at.replace(tzinfo=dt.UTC) if observed_at else None)
    return How(judge, form, chosen, load_points(chosen, zones) if chosen and zones else None)


@dataclass(frozen=True)
class _Kafka:
    bootstrap_servers: str
    topics: Topics


def _kafka(bootstrap_servers: str, namespace: str) -> _Kafka:
    if not bootstrap_servers:
        raise _end("No system runs here: set KAFKA_BOOTSTRAP_SERVERS, or use --dry-run", 2)
    return _Kafka(bootstrap_servers, Topics.within(namespace))


@contextlib.asynccontextmanager
async def _publishing(kafka: _Kafka | None) -> AsyncIterator[Publish]:
    if kafka is None:
        yield _publish_nothing
        return
    await create_topics(kafka.bootstrap_servers, [kafka.topics.listings])
    async with Publisher.connected(kafka.bootstrap_servers, "listings-import") as publisher:

        async def publish(batch: Sequence[Listing]) -> None:
            await publisher.publish(kafka.topics.listings, [ListingPublished(listing=listing) for listing in batch])

        yield publish


async def _publish_nothing(_batch: Sequence[Listing]) -> None:
    await asyncio.sleep(0)  # Ctrl-C reaches a task where it waits


async def _run(rows: Iterator[Outcome], kafka: _Kafka | None, report: RefusedReport, tally: Tally) -> None:
    async with _publishing(kafka) as publish:
        await import_outcomes(rows, publish, report, tally, Seen())


def _rows(files: Sequence[Path], how: How, progress: Progress) -> Iterator[Outcome]:
    """The outcomes of all files, one file after the other, with the bytes read shown."""
    task = progress.task_ids[0]
    before = 0
    for path in files:
        with opened(path) as file:
            for count, outcome in enumerate(outcomes(path, file, how)):
                if count % _ROWS_BETWEEN_UPDATES == 0:
                    progress.update(task, completed=before + file.bytes_read, description=path.name)
                yield outcome
        before += path.stat().st_size
        progress.update(task, completed=before)


_ROWS_BETWEEN_UPDATES = 500


def _progress(files: Sequence[Path], *, hidden: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), disable=hidden or not sys.stderr.isatty())
    progress.add_task("listings", total=sum(path.stat().st_size for path in files))
    return progress


def _show(tally: Tally, refused: Path, *, as_json: bool) -> None:
    if as_json:
        typer.echo(tally.as_json())
        return
    table = Table("", "rows", title="Listings imported", title_justify="left")
    for name, count in (("read", tally.read), ("accepted", tally.accepted), ("repeated", tally.repeated)):
        table.add_row(name, f"{count:,}")
    table.add_row(f"refused (see {refused})" if tally.refused else "refused", f"{tally.refused:,}", end_section=True)
    for reason, count in tally.refused_by_reason.most_common():
        table.add_row(f"  {reason}", f"{count:,}")
    for flag, count in tally.flags.most_common():
        table.add_row(f"accepted, {flag}", f"{count:,}")
    Console().print(table)


def _end(message: str, status: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(status)
