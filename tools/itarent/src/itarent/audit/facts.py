"""What the audit reads: the versions that took effect, the ledger's rows, and what the sender has told of them."""

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

from common.events import Disposition
from common.listing import Appraisal
from common.shards import EVERYBODY, Shard

LONG_AGO: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
NOT_YET: Final = dt.datetime.max.replace(tzinfo=dt.UTC)


class Origin(NamedTuple):
    """The record of the listings' topic that a version came in."""

    partition: int
    offset: int


class ListingVersion(NamedTuple):
    listing_id: str
    version: int


@dataclass(frozen=True, slots=True)
class Effect:
    """A version that took effect, as the matcher has noted it; `number` gives their order within a flat."""

    number: int
    of: ListingVersion
    tombstone: bool
    flat_id: UUID
    origin: Origin
    position: tuple[int, ...]
    """The searches in force: per partition of the subscriptions' topic, the offset of the next record."""
    shard: Shard = EVERYBODY
    """For whose searches: a version takes effect once in each shard of the matcher."""
    appraisal: Appraisal = field(default_factory=Appraisal)
    """What the matcher had found out about the version when it matched it."""
    began_at: dt.datetime = LONG_AGO
    """When the matcher began the try that was noted, by the database's clock: what was told before is of another."""


@dataclass(frozen=True, slots=True)
class SidesTold:
    """The users of a shard were told of the sides of a flat that had been parted; `number` as of an effect."""

    number: int
    position: tuple[int, ...]
    shard: Shard = EVERYBODY


@dataclass(frozen=True, slots=True)
class Side:
    """A flat that was taken for a part of another one, which ended with the parting: what moved, and who was told."""

    flat_id: UUID
    parted_from: UUID
    listing_ids: frozenset[str]
    told: tuple[SidesTold, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A notification in the ledger, and the message that it is in."""

    notification_id: UUID
    user_id: UUID
    flat_id: UUID
    reason: str
    of: ListingVersion
    disposition: str
    stage: str | None  # of its message; None: it is in none
    status: str | None
    as_template: bool
    recent: bool
    """Whether it was settled so lately that the sender's topic still holds what was told of it."""
    erased: bool = False
    """Whether its user is erased, and the searches that would justify it are forgotten, or soon will be."""
    received_at: dt.datetime = NOT_YET
    """When the sender took it, by the same clock."""


@dataclass
class Requested:
    """What the matcher has asked the sender to tell, by notification: first at what time, and what is not read yet."""

    at: dict[UUID, dt.datetime] = field(default_factory=dict)
    unread: set[UUID] = field(default_factory=set)


@dataclass
class Told:
    """What the sender has told of notifications, on its topic or in its outbox."""

    settled: defaultdict[UUID, set[Disposition]] = field(default_factory=lambda: defaultdict(set))
    in_messages: set[UUID] = field(default_factory=set)
    shown: set[UUID] = field(default_factory=set)
