"""The matcher's composition root: everything is made here, and handed on to what needs it."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator

from starlette.applications import Starlette

from common.kafka import Publisher, make_broker
from common.postgres import migrate, open_pool
from common.service import health_routes, in_background, run, serve
from common.settings import load
from common.telemetry import configure_logging
from matcher.appraisals import Appraisals
from matcher.commutes import Commutes
from matcher.compiling import compile_kernels
from matcher.engines import Engine, engine_at
from matcher.handlers import subscribe
from matcher.layout import take_up
from matcher.parting import Partings
from matcher.progress import Progress
from matcher.searches import Searches
from matcher.settings import Settings
from matcher.snapshot import Of, Snapshots
from matcher.store import Store

POOL_SIZE = 4


def main() -> None:
    settings = load(Settings)
    configure_logging("matcher", settings.log_level_of("matcher"), settings.log_file)
    run(matcher(settings))


async def matcher(settings: Settings) -> None:
    """Match until SIGTERM; the batch in hand is finished."""
    async with matching(settings) as progress:
        app = Starlette(routes=health_routes(progress.healthy))
        await serve(app, settings.http_host, settings.http_port)


@contextlib.asynccontextmanager
async def matching(settings: Settings) -> AsyncIterator[Progress]:
    """Match within the block. No listing is taken before every search is loaded."""
    bootstrap, topics = settings.kafka_bootstrap_servers, settings.topics
    shard = settings.shard
    compile_kernels()
    await migrate(settings.database_url, "matcher")
    await take_up(bootstrap, topics, settings.database_url, shard)
    async with (
        _engine(settings) as engine,
        open_pool(settings.database_url, "matcher", size=POOL_SIZE) as pool,
        Publisher.connected(bootstrap, "matcher", compression="zstd") as publisher,
        Searches.loaded(bootstrap, topics.subscriptions, shard.holds, _snapshots(settings)) as searches,
        in_background(searches.follow()),
        make_broker(bootstrap, "matcher") as broker,
    ):
        progress = Progress()
        subscribe(
            broker,
            topics=topics,
            shard=shard,
            instance_id=settings.kafka_instance_id,
            publisher=publisher,
            searches=searches,
            store=Store(pool, shard),
            appraisals=Appraisals(
                pool, shard, settings.zone_rents, Commutes(pool, engine, settings.commute_within_seconds)
            ),
            partings=Partings(pool, shard),
            progress=progress,
            clock=_now,
        )
        await broker.start()
        yield progress


def _snapshots(settings: Settings) -> Snapshots | None:
    if settings.matcher_snapshot is None:
        return None
    return Snapshots(settings.matcher_snapshot, Of(settings.topics.subscriptions.name, settings.shard.service), _now)


@contextlib.asynccontextmanager
async def _engine(settings: Settings) -> AsyncIterator[Engine | None]:
    if settings.commute_engine is None or settings.commute_url is None:
        yield None
        return
    async with engine_at(settings.commute_engine, settings.commute_url, _now) as engine:
        yield engine


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
