"""What is found out about listings before they are matched, and stands from then on.

Signals come from the listing itself and the rents of its zone, journeys from a routing engine. What was found out is
committed before anybody is told: a batch that comes again goes by it, whatever an engine answers by then, and so does
the audit.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import asyncpg

from common.listing import Appraisal, Journey, Listing, ListingId
from common.search import Search
from common.shards import Shard
from common.signals import noticed
from common.zone_rents import ZoneRents
from matcher.commutes import Commutes, Way, ways_wanted_by
from matcher.difference import Known, Published

Version = tuple[ListingId, int]
Asking = Callable[[Listing], Iterable[Search]]
"""The searches that ask for minutes, and that a listing fits in all else."""


@dataclass(frozen=True)
class _Found:
    """What is found out about a listing without asking anybody, and what is to be asked."""

    appraisal: Appraisal
    ways: AbstractSet[Way]

    @property
    def matters(self) -> bool:
        """Whether it decides anything: that an engine did not answer does so too."""
        return bool(self.ways) or self.appraisal != Appraisal()

    def with_journeys(self, told: Mapping[Way, Journey]) -> Appraisal:
        journeys = tuple(told[way] for way in sorted(self.ways) if way in told)
        return self.appraisal.model_copy(update={"journeys": journeys}) if journeys else self.appraisal


@dataclass(frozen=True)
class Appraisals:
    pool: asyncpg.Pool
    shard: Shard
    zone_rents: ZoneRents | None
    commutes: Commutes

    async def made(
        self, published: Sequence[Published], known: Mapping[ListingId, Known], asking: Asking
    ) -> list[Published]:
        """The same, with what is found out about each listing that is offered and is news."""
        found = {
            _version(each.listing): self._find(each.listing, known.get(each.listing_id), asking)
            for each in published
            if each.listing and each.listing.active and _is_news(each.listing, known.get(each.listing_id))
        }
        told = await self.commutes.journeys({way for each in found.values() for way in each.ways})
        settled = await self._settle({key: each.with_journeys(told) for key, each in found.items() if each.matters})
        return [_appraised(each, settled) for each in published]

    def _find(self, listing: Listing, known: Known | None, asking: Asking) -> _Found:
        """Published again as it was, a listing is judged as it was."""
        if known and known.offered and _says_the_same(known.offered, listing):
            return _Found(known.offered.appraisal, frozenset())
        seen = noticed(listing, self.zone_rents)
        return _Found(seen.appraisal, self._wanted(seen, asking))

    def _wanted(self, listing: Listing, asking: Asking) -> set[Way]:
        if self.commutes.engine is None:
            return set()
        return ways_wanted_by(listing, asking(listing))

    async def _settle(self, found: Mapping[Version, Appraisal]) -> dict[Version, Appraisal]:
        """Make it known; what was found out earlier about the same version stands."""
        if not found:
            return {}
        appraisals = [each.model_dump(mode="json", exclude_defaults=True) for each in found.values()]
        listing_ids, versions = zip(*found, strict=True)
        rows = await self.pool.fetch(_SETTLE, listing_ids, versions, appraisals, self.shard.number, self.shard.of)
        return {(row["listing_id"], row["version"]): Appraisal.model_validate(row["appraisal"]) for row in rows}


def _version(listing: Listing) -> Version:
    return listing.listing_id, listing.version


def _is_news(listing: Listing, known: Known | None) -> bool:
    return known is None or known.version < listing.version


def _says_the_same(before: Listing, after: Listing) -> bool:
    return before == after.model_copy(update={"version": before.version, "appraisal": before.appraisal})


def _appraised(published: Published, appraisals: Mapping[Version, Appraisal]) -> Published:
    """With its appraisal, or with none: what a source writes there is no finding of ours."""
    listing = published.listing
    appraisal = appraisals.get(_version(listing), Appraisal()) if listing else None
    if listing is None or listing.appraisal == appraisal:
        return published
    return replace(published, listing=listing.model_copy(update={"appraisal": appraisal}))


_SETTLE = """
-- Read and written in one statement: two instances that hold the same version agree.
INSERT INTO appraisals (listing_id, version, appraisal, shard, shards)
SELECT listing_id, version, appraisal, $4, $5
  FROM unnest($1::text[], $2::bigint[], $3::jsonb[]) AS found (listing_id, version, appraisal)
ON CONFLICT (shards, shard, listing_id, version) DO UPDATE SET appraisal = appraisals.appraisal
RETURNING listing_id, version, appraisal
"""
