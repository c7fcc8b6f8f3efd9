"""Into how many shards the matcher is divided, and what happens when their number changes.

What a shard knows of the flats keeps its renters from being told of them again. So a new layout begins where the old
one ended: each shard with what was known for its users before, and at the listing that comes next.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final, TypeVar, cast

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError

from common.postgres import connect
from common.shards import Shard
from common.topics import Topics

log = structlog.get_logger()

T = TypeVar("T")

COORDINATED_WITHIN_S: Final = 30.0
UNCOORDINATED: Final = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)

WITHOUT_MEMBERS: Final = frozenset({"Empty", "Dead"})
"""Kafka's words for a group that nobody is in."""


class LayoutError(Exception):
    """Why a matcher cannot start as the shard that it is told to be."""


class NoCommonShardsError(LayoutError):
    def __init__(self, kept_for: int, wanted: int) -> None:
        super().__init__(
            f"MATCHER_SHARDS is {wanted}, and what is known is kept for {kept_for}. One number must be a multiple of "
            "the other, so that the users of a shard were together before, or will be: go by way of 1."
        )


class StillRunningError(LayoutError):
    def __init__(self, groups: Iterable[str], wanted: int) -> None:
        super().__init__(
            f"MATCHER_SHARDS is {wanted}, and matchers that were started with another number still run "
            f"({', '.join(groups)}). Stop them; ten seconds after the last one this one can start."
        )


class NotLevelError(LayoutError):
    def __init__(self, kept_for: int, wanted: int) -> None:
        super().__init__(
            f"MATCHER_SHARDS is {wanted}, and of the {kept_for} shards before some have handled listings that others "
            "have not. Start those again, publish nothing until `itarent check system` finds that all have read "
            "everything, and stop them then."
        )


async def take_up(bootstrap_servers: str, topics: Topics, database_url: str, shard: Shard) -> None:
    """See to it that what is known is kept for this layout: whoever is the first to start in a new one divides it.

    Raises:
        LayoutError: it cannot be divided so, or not yet.
    """
    async with contextlib.AsyncExitStack() as stack:
        connection = await connect(database_url, "matcher-layout")
        stack.push_async_callback(connection.close)
        if await connection.fetchval("SELECT shards FROM layout") == shard.of:
            return
        async with connection.transaction():
            kept_for: int = await connection.fetchval("SELECT shards FROM layout FOR UPDATE")
            if kept_for != shard.of:
                await _divide(connection, bootstrap_servers, topics, kept_for, shard.of)


async def _divide(
    connection: "asyncpg.Connection[Any]", bootstrap_servers: str, topics: Topics, kept_for: int, wanted: int
) -> None:
    if max(kept_for, wanted) % min(kept_for, wanted):
        raise NoCommonShardsError(kept_for, wanted)
    async with _administrator(bootstrap_servers) as admin:
        before = {shard: topics.group(shard.service) for shard in Shard.all(kept_for)}
        if running := [group for group in before.values() if await _has_members(admin, group)]:
            raise StillRunningError(running, wanted)
        if await connection.fetchval(_NOT_LEVEL, wanted):
            raise NotLevelError(kept_for, wanted)
        reached = {shard: await _reached(admin, group, topics) for shard, group in before.items()}
    for shard in Shard.all(wanted):
        offsets = [reached[each] for each in before if each.shares_users_with(shard)]
        await _begin_at(bootstrap_servers, topics.group(shard.service), _lowest(offsets))
    # Where this is the last that happens, the next one to start repeats what was done in Kafka.
    await connection.execute(_SPLIT, kept_for, wanted)
    await connection.execute("DELETE FROM known WHERE shard > $1", wanted)
    await connection.execute("UPDATE layout SET shards = $1", wanted)
    log.info("the matcher is divided anew", shards=wanted, before=kept_for)


@contextlib.asynccontextmanager
async def _administrator(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _coordinated(ask: Callable[[], Awaitable[T]]) -> T:
    """What a group's coordinator answers: Kafka makes it when somebody first asks."""
    async with asyncio.timeout(COORDINATED_WITHIN_S):
        while True:
            with contextlib.suppress(*UNCOORDINATED):
                return await ask()
            await asyncio.sleep(0.1)


async def _has_members(admin: AIOKafkaAdminClient, group: str) -> bool:
    (answer,) = cast("list[Any]", await _coordinated(lambda: admin.describe_consumer_groups([group])))
    return answer.groups[0][2] not in WITHOUT_MEMBERS


async def _reached(admin: AIOKafkaAdminClient, group: str, topics: Topics) -> dict[TopicPartition, int]:
    """The offset that a group reads next, by partition; 0 where it has read nothing."""
    committed = await _coordinated(lambda: admin.list_consumer_group_offsets(group))
    read = (topics.listings, topics.partings)
    partitions = [TopicPartition(topic.name, number) for topic in read for number in range(topic.partitions)]
    return {at: max(0, committed[at].offset) if at in committed else 0 for at in partitions}


def _lowest(reached: list[dict[TopicPartition, int]]) -> dict[TopicPartition, int]:
    return {at: min(each[at] for each in reached) for at in reached[0]}


async def _begin_at(bootstrap_servers: str, group: str, offsets: dict[TopicPartition, int]) -> None:
    """Without this a shard would read all listings again: it would tell nobody of them, but new ones would wait."""
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign(list(offsets))
        await consumer.commit(offsets)


_NOT_LEVEL = """
-- Whether shards that are to become one know different versions.
SELECT EXISTS (
    SELECT FROM known, layout
     GROUP BY (shard - 1) % $1::int, listing_id, version, active, shards
    HAVING shards > $1::int AND count(*) < shards / $1::int
)
"""

_SPLIT = """
-- The users of shard 3 of 4 were those of shard 1 of 2.
INSERT INTO known (shard, listing_id, flat_id, version, active, content, asked, partition, "offset")
SELECT new, listing_id, flat_id, version, active, content, asked, partition, "offset"
  FROM generate_series($1::int + 1, $2::int) AS new JOIN known ON known.shard = (new - 1) % $1::int + 1
"""
