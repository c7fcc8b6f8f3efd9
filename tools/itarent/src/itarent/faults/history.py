"""What happened in a run, as plain values: read once when everything has ended, judged by `itarent.faults.laws`."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from common.events import Event, QuietHours
from itarent.audit.balance import Balance
from itarent.audit.facts import ListingVersion

FOR_EVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)


@dataclass(frozen=True)
class Published:
    """A record of a topic. `event` is None of a tombstone, and of what nobody could read."""

    key: str
    partition: int
    offset: int
    event: Event | None
    value: bytes | None = field(default=None, repr=False)

    @property
    def is_tombstone(self) -> bool:
        return self.value is None


@dataclass(frozen=True)
class Accepted:
    """A message that Twilio has accepted; `message_id` and `attempt` are those that its StatusCallback carries."""

    sid: str
    at: dt.datetime
    to: str = field(repr=False)
    message_id: UUID | None
    attempt: int | None
    body: str = field(default="", repr=False)
    status: str = "delivered"
    """What has become of it, as Twilio knows it."""


@dataclass(frozen=True)
class Message:
    """A row of `sender.messages`."""

    message_id: UUID
    user_id: UUID
    kind: str  # digest or direct
    purpose: str | None
    stage: str
    status: str
    attempt: int
    sid: str | None = None
    leased: bool = False


@dataclass(frozen=True)
class Attempt:
    """A row of `sender.attempts`."""

    message_id: UUID
    attempt: int
    state: str
    sid: str | None = None


@dataclass(frozen=True)
class Notification:
    """A row of `sender.notifications`. `flat_id` is None of what a user has asked for: a test, an answer."""

    notification_id: UUID
    user_id: UUID
    flat_id: UUID | None
    reason: str
    of: ListingVersion
    disposition: str
    message_id: UUID | None


@dataclass(frozen=True)
class Journalled:
    """A row of `sender.journal`."""

    message_id: UUID | None
    what: str
    detail: str = ""


@dataclass(frozen=True)
class Ledger:
    """The sender's schema, after the drain."""

    messages: Mapping[UUID, Message] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    notifications: Mapping[UUID, Notification] = field(default_factory=dict)
    journal: tuple[Journalled, ...] = ()
    recipients: Mapping[UUID, int] = field(default_factory=dict)  # user → revision
    unpublished: int = 0  # events in the outboxes of the sender and the api
    channel_probing: bool = False


class Wish(StrEnum):
    """What a user may ask of us that keeps messages away."""

    STOPPED = "stopped"  # STOP
    PAUSED = "paused"  # PAUSA
    UNLINKED = "unlinked"  # the phone was taken from the account
    ERASED = "erased"  # the account was deleted


@dataclass(frozen=True)
class Acknowledged:
    """A wish that the system has said it holds: from `at` on, until the user takes it back at `until`."""

    wish: Wish
    user_id: UUID
    phone: str = field(repr=False)
    at: dt.datetime
    until: dt.datetime = FOR_EVER


@dataclass(frozen=True)
class Quiet:
    """A user's quiet hours, in force from `since` (acknowledged) until `until` (a change was asked for)."""

    user_id: UUID
    hours: QuietHours
    time_zone: str
    since: dt.datetime
    until: dt.datetime = FOR_EVER


@dataclass(frozen=True)
class Spacing:
    """The least time between two digests that a user has chosen, in force from `since` until `until`."""

    user_id: UUID
    seconds: float
    since: dt.datetime
    until: dt.datetime = FOR_EVER


@dataclass(frozen=True)
class Struck:
    """A fault, from the moment it began until it was over; a kill begins and ends at once."""

    what: str
    began: dt.datetime
    ended: dt.datetime


@dataclass(frozen=True)
class Seen:
    """A breach that the strike itself has seen."""

    law: str
    what: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Jump:
    """From a moment on, the clocks of the sender and of Twilio show so much more than the machine's."""

    at: dt.datetime
    ahead: dt.timedelta


@dataclass(frozen=True)
class Clock:
    """The clock that the sender and Twilio had: the machine's, unless a family has set it."""

    jumps: tuple[Jump, ...] = ()

    def shown(self, moment: dt.datetime) -> dt.datetime:
        """What it showed at a moment of the machine's."""
        aheads = [each.ahead for each in self.jumps if each.at <= moment]
        return moment + (aheads[-1] if aheads else dt.timedelta())

    def moment(self, shown: dt.datetime) -> dt.datetime:
        """The moment of the machine's at which it showed this. A run is over before it could have been two."""
        if not self.jumps:
            return shown
        ends = [*(each.at for each in self.jumps[1:]), FOR_EVER]
        candidates = [(shown - each.ahead, each.at, end) for each, end in zip(self.jumps, ends, strict=True)]
        return min(candidates, key=lambda each: max(each[1] - each[0], each[0] - each[2], dt.timedelta()))[0]


@dataclass(frozen=True)
class Rate:
    """The limit in force over all replicas: messages a second, and how many more may come at once."""

    per_second: float
    burst: float


@dataclass(frozen=True)
class Drained:
    """How long it took until nothing was left to do; `left` says what was, if the time was over first."""

    seconds: float
    within_seconds: float
    left: str = ""


@dataclass(frozen=True)
class History:
    """Everything that the laws are judged by."""

    taken: frozenset[ListingVersion] = frozenset()
    """What producers were told was taken."""

    topics: Mapping[str, tuple[Published, ...]] = field(default_factory=dict)
    """What each topic holds, by the name of the field of `Topics`; in order within each partition."""

    dead_letters: Mapping[str, int] = field(default_factory=dict)
    """How many dead letters there are, by the topic that they come from; those that were replayed are none any more."""

    malformed: int = 0
    """How many records were published that must end as dead letters."""

    clock: Clock = field(default_factory=Clock)
    """By which the sender decides. All moments of a history are the machine's."""

    seen: tuple[Seen, ...] = ()
    """What only the strike itself could see."""

    ledger: Ledger = field(default_factory=Ledger)
    balance: Balance | None = None
    accepted: tuple[Accepted, ...] = ()
    """In the order of acceptance."""

    acknowledged: tuple[Acknowledged, ...] = ()
    quiet: tuple[Quiet, ...] = ()
    spacings: tuple[Spacing, ...] = ()
    rate: Rate | None = None
    strikes: tuple[Struck, ...] = ()
    recovered_at: dt.datetime | None = None
    """Since when nothing is broken, and what the api acknowledges reaches the sender again: some changes have."""

    drained: Drained = field(default_factory=lambda: Drained(0.0, 0.0))
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What must never be written where it can be read: a name for each, as breaches may show it, and the text."""

    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Logs, metrics, and unrestricted topics as text, by where they come from."""

    notes: Mapping[str, Any] = field(default_factory=dict)
