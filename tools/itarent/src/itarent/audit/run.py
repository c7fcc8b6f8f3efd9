"""An audit from beginning to end: the facts in the right order, then flat by flat."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from math import lcm
from typing import TypeVar
from uuid import UUID

from common.shards import Shard
from itarent.audit.balance import Auditor, Balance, Fault, Problem
from itarent.audit.facts import Effect, ListingVersion, Origin, Row, Side, SidesTold
from itarent.audit.replay import Flat, Moment, Replay, Turn
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
        effects, sides = await tables.effects(), await tables.sides()
        told = await tables.told()
        balance.unfinished = await tables.unfinished()
        await kafka.add_told(told)
        published = await kafka.listings()
        requested = await kafka.requested(progress)
        searches = Searches(await kafka.subscriptions())
        auditors: dict[Shard, Auditor] = {}
        for users in _together(shards, effects.values(), sides.values()):
            (now,) = (shard for shard in shards if shard.shares_users_with(users))
            missed = without_effect(published, _for(users, chain.from_iterable(effects.values())))
            in_flight = {each.of for origin, each in missed.items() if not progress.has_reached(origin, now)}
            auditors[users] = Auditor(
                searches, told, requested=requested, in_flight=in_flight, balance=balance, users=users
            )
            _note(missed.values(), in_flight, balance)
        histories = Histories(effects, sides, published)
        async for flat_id, rows in _flats(effects.keys() | sides.keys(), tables):
            if not histories.holds(flat_id):
                balance.flats_beyond_history += 1
                continue
            for users, auditor in auditors.items():
                auditor.audit(flat_id, histories.turns(flat_id, users), rows)
    balance.listing_versions = len({each.of for each in published.values() if each.json})
    return balance


class Histories:
    """What happened to flats; one that began as a side of another goes on where that one ended."""

    def __init__(
        self, effects: Mapping[UUID, Sequence[Effect]], sides: Mapping[UUID, Side], published: Versions
    ) -> None:
        self._effects = effects
        self._sides = sides
        self._published = published

    def holds(self, flat_id: UUID) -> bool:
        """Whether every version of a flat is known."""
        side = self._sides.get(flat_id)
        of_flat = self._effects.get(flat_id, ())
        return all(effect.origin in self._published for effect in of_flat) and (
            side is None or self.holds(side.parted_from)
        )

    def turns(self, flat_id: UUID, users: Shard) -> list[Turn]:
        """What happened to a flat, for the users of one shard."""
        return list(Replay(self._beginning(flat_id, users)).play(self._moments(flat_id, users)))

    def _beginning(self, flat_id: UUID, users: Shard) -> Flat:
        side = self._sides.get(flat_id)
        if side is None:
            return {}
        other = Replay(self._beginning(side.parted_from, users))
        for _ in other.play(self._moments(side.parted_from, users)):
            pass
        return {listing_id: each for listing_id, each in other.flat.items() if listing_id in side.listing_ids}

    def _moments(self, flat_id: UUID, users: Shard) -> Iterator[Moment]:
        side = self._sides.get(flat_id)
        told = _for(users, side.told if side else ())
        effects = _for(users, self._effects.get(flat_id, ()))
        happened: list[Effect | SidesTold] = [*effects, *told]
        for each in sorted(happened, key=lambda each: each.number):
            if isinstance(each, SidesTold):
                yield each
            else:
                # As the matcher matched it: an advertisement with what was found out about it.
                listing = self._published[each.origin].listing
                yield each, listing and listing.model_copy(update={"appraisal": each.appraisal})


def _together(now: Sequence[Shard], effects: Iterable[Sequence[Effect]], sides: Iterable[Side]) -> Sequence[Shard]:
    """Users that have always been of one shard together, whatever number of shards there was."""
    then = {each.shard for each in chain.from_iterable(effects)} | {each.shard for side in sides for each in side.told}
    return Shard.all(lcm(*{shard.of for shard in then.union(now)}))


OfShard = TypeVar("OfShard", Effect, SidesTold)


def _for(users: Shard, of_shards: Iterable[OfShard]) -> list[OfShard]:
    return [each for each in of_shards if each.shard.shares_users_with(users)]


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


async def _flats(known: AbstractSet[UUID], tables: Tables) -> AsyncIterator[tuple[UUID, Sequence[Row]]]:
    """Every flat that is known or has rows, each once, in the order of their ids."""
    waiting = sorted(known, reverse=True)
    async for flat_id, rows in tables.rows_by_flat():
        while waiting and waiting[-1] < flat_id:
            yield waiting.pop(), ()
        if waiting and waiting[-1] == flat_id:
            waiting.pop()
        yield flat_id, rows
    for flat_id in reversed(waiting):
        yield flat_id, ()
