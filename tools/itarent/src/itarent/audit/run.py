"""An audit from beginning to end: the facts in the right order, then flat by flat."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from math import lcm
from uuid import UUID

from common.listing import Listing
from common.shards import Shard
from itarent.audit.balance import Auditor, Balance, Fault, Problem
from itarent.audit.facts import Effect, ListingVersion, Origin, Row
from itarent.audit.replay import turns
from itarent.audit.searches import Searches
from itarent.audit.sources import Kafka, Published, Tables, shards_now

Versions = Mapping[Origin, Published]


async def audit(kafka: Kafka, database_url: str) -> Balance:
    """The balance of a system, which may be running.

    First how far the services have read, then their tables at one moment, then the topics: whatever the tables hold
    was published before, and what the services did not yet read is pending, not missing. Each version is to take effect
    once in every shard of the matcher, for its users.
    """
    shards = Shard.all(await shards_now(database_url))
    progress = await kafka.progress(shards)
    balance = Balance()
    async with Tables.at_one_moment(database_url) as tables:
        effects = await tables.effects()
        told = await tables.told()
        await kafka.add_told(told)
        published = await kafka.listings()
        unread = await kafka.notifications_since(progress)
        searches = Searches(await kafka.subscriptions())
        auditors: dict[Shard, Auditor] = {}
        for users in _together(shards, chain.from_iterable(effects.values())):
            (now,) = (shard for shard in shards if shard.shares_users_with(users))
            missed = without_effect(published, _for(users, chain.from_iterable(effects.values())))
            in_flight = {each.of for origin, each in missed.items() if not progress.has_reached(origin, now)}
            auditors[users] = Auditor(searches, told, unread=unread, in_flight=in_flight, balance=balance, users=users)
            _note(missed.values(), in_flight, balance)
        async for flat_id, of_flat, rows in _flats(effects, tables):
            if not all(effect.origin in published for effect in of_flat):
                balance.flats_beyond_history += 1
                continue
            for users, auditor in auditors.items():
                auditor.audit(flat_id, list(turns(_with_listings(_for(users, of_flat), published))), rows)
    balance.listing_versions = len({each.of for each in published.values() if each.json})
    return balance


def _together(now: Sequence[Shard], effects: Iterable[Effect]) -> Sequence[Shard]:
    """Users that have always been of one shard together, whatever number of shards there was."""
    return Shard.all(lcm(*{shard.of for shard in now}, *{effect.shard.of for effect in effects}))


def _for(users: Shard, effects: Iterable[Effect]) -> list[Effect]:
    return [effect for effect in effects if effect.shard.shares_users_with(users)]


def _note(missed: Iterable[Published], in_flight: AbstractSet[ListingVersion], balance: Balance) -> None:
    for each in missed:
        if each.of in in_flight:
            balance.pending += 1
        else:
            balance.miss(1, Problem(Fault.NO_EFFECT, each.of))


def without_effect(published: Versions, effects: Iterable[Effect]) -> dict[Origin, Published]:
    """What was published, was news when it was, and never took effect.

    No news is a version that is not newer than one that came before, and a tombstone of what is not offered.
    """
    took_effect = {effect.origin: effect for effect in effects}
    known: dict[str, tuple[int, bool]] = {}
    missed: dict[Origin, Published] = {}
    for origin in sorted(published.keys() | took_effect.keys()):
        effect, record = took_effect.get(origin), published.get(origin)
        if effect:
            known[effect.of.listing_id] = (effect.of.version, record.active if record else not effect.tombstone)
        elif record:
            version, offered = known.get(record.of.listing_id, (-1, False))
            if record.of.version > version if record.json else offered:
                missed[origin] = record
    return missed


def _with_listings(effects: Iterable[Effect], published: Versions) -> Iterator[tuple[Effect, Listing | None]]:
    """As the matcher matched them: an advertisement with what was found out about it."""
    for effect in effects:
        listing = published[effect.origin].listing
        yield effect, listing and listing.model_copy(update={"appraisal": effect.appraisal})


async def _flats(
    effects: Mapping[UUID, list[Effect]], tables: Tables
) -> AsyncIterator[tuple[UUID, Sequence[Effect], Sequence[Row]]]:
    """Every flat that has versions or rows, each once; both come in the order of the flats' ids."""
    waiting = sorted(effects, reverse=True)
    async for flat_id, rows in tables.rows_by_flat():
        while waiting and waiting[-1] < flat_id:
            missing = waiting.pop()
            yield missing, effects[missing], ()
        if waiting and waiting[-1] == flat_id:
            waiting.pop()
        yield flat_id, effects.get(flat_id, ()), rows
    for flat_id in reversed(waiting):
        yield flat_id, effects[flat_id], ()
