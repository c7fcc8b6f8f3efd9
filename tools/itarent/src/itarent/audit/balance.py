"""The balance of a flat: what was to be told against what the ledger holds, match by match and row by row. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final
from uuid import UUID

from common.events import Disposition, Reason, notification_id_of
from common.search import Alert, Subscription
from common.shards import EVERYBODY, Shard
from itarent.audit.facts import ListingVersion, Requested, Row, Told
from itarent.audit.replay import Known, Turn, in_other_orders, said_to
from itarent.audit.searches import Searches

NOT_ASKED_FOR: Final = "not_asked_for"
"""What becomes of a match whose search, like all others of its user, does not want to be told of this."""

_ALERT_OF: Final[Mapping[Reason, Alert]] = {
    Reason.NEW: Alert.NEW,
    Reason.RETURNED: Alert.NEW,
    Reason.PRICE_DROP: Alert.PRICE_DROP,
    Reason.WITHDRAWN: Alert.WITHDRAWN,
}
_ENDED_UNSEEN: Final = frozenset({"rejected", "failed", "undelivered", "canceled", "suppressed"})


class Fault(StrEnum):
    """What does not balance."""

    NO_EFFECT = "published, and never took effect"
    NOT_IN_LEDGER = "to be told, and not in the ledger"
    NOT_JUSTIFIED = "in the ledger, and no version and no search justify it"
    NOT_PROVEN = "in the ledger with a disposition that its message and the sender's events do not bear out"


@dataclass(frozen=True)
class Problem:
    """A fault, by the ids that lead to it."""

    fault: Fault
    of: ListingVersion
    flat_id: UUID | None = None
    user_id: UUID | None = None
    reason: str = ""
    disposition: str = ""


@dataclass
class Balance:
    """Every match is in one disposition, pending, or unaccounted."""

    listing_versions: int = 0
    matches: int = 0
    by_disposition: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    unaccounted: int = 0
    unexpected: int = 0
    flats_beyond_history: int = 0
    """Flats of which the topic no longer holds every version: they cannot be played again."""
    problems: list[Problem] = field(default_factory=list)
    unfinished: Mapping[str, int] = field(default_factory=dict)
    """Rows of the sender's ledger that should have ended and did not, by their kind: none, if none is."""

    @property
    def balanced(self) -> bool:
        return self.unaccounted == self.unexpected == 0 and not self.unfinished

    def miss(self, count: int, problem: Problem) -> None:
        self.unaccounted += count
        self.problems.append(problem)

    def suspect(self, problem: Problem) -> None:
        self.unexpected += 1
        self.problems.append(problem)


class Auditor:
    """Balances flats, one after the other, for the users of one shard.

    What is under way is no fault: notifications that the sender has not read, and versions that the matcher is not done
    with (`in_flight`), although it may already have told of them.
    """

    def __init__(
        self,
        searches: Searches,
        told: Told,
        *,
        requested: Requested,
        in_flight: AbstractSet[ListingVersion],
        balance: Balance | None = None,
        users: Shard = EVERYBODY,
    ) -> None:
        self.balance = balance or Balance()
        self._users = users
        self._searches = searches
        self._told = told
        self._requested = requested
        self._in_flight = in_flight

    def audit(self, flat_id: UUID, turns: Sequence[Turn], rows: Iterable[Row]) -> None:
        """Account for every match of a flat's versions, then for every row of the ledger that is of these users."""
        ledger = {row.notification_id: row for row in rows if self._users.holds(row.user_id)}
        due: set[UUID] = set()
        for turn in turns:
            for (user_id, said), subscriptions in self._matches(turn).items():
                self.balance.matches += len(subscriptions)
                if isinstance(said, Known):
                    self.balance.by_disposition[said.value] += len(subscriptions)
                elif not _is_asked_for(said, subscriptions):
                    self.balance.by_disposition[NOT_ASKED_FOR] += len(subscriptions)
                else:
                    notification_id = notification_id_of(flat_id, user_id, said, turn.listing)
                    due.add(notification_id)
                    problem = Problem(Fault.NOT_IN_LEDGER, turn.effect.of, flat_id, user_id, said)
                    self._account(notification_id, ledger.get(notification_id), len(subscriptions), problem)
        for row in ledger.values():
            self._check(row, turns, is_due=row.notification_id in due)

    def _matches(self, turn: Turn) -> Mapping[tuple[UUID, Reason | Known], list[Subscription]]:
        """The searches that a version concerns, by their user and what is to be said."""
        matches: defaultdict[tuple[UUID, Reason | Known], list[Subscription]] = defaultdict(list)
        position = turn.effect.position
        candidates = {
            subscription.subscription_id: subscription
            for listing in turn.concerns
            for subscription in self._searches.candidates(listing, position)
        }
        for subscription in candidates.values():
            if self._users.holds(subscription.user_id) and (said := said_to(subscription, turn)):
                matches[subscription.user_id, said].append(subscription)
        return matches

    def _account(self, notification_id: UUID, row: Row | None, matches: int, problem: Problem) -> None:
        if row:
            self.balance.by_disposition[row.disposition] += matches
        elif notification_id in self._requested.unread:
            self.balance.pending += matches
        else:
            self.balance.miss(matches, problem)

    def _check(self, row: Row, turns: Sequence[Turn], *, is_due: bool) -> None:
        fault: Fault | None = None
        replayable = not row.erased and row.of not in self._in_flight
        if not is_due and replayable and not self._was_justified(row, turns):
            fault = Fault.NOT_JUSTIFIED
        elif not _is_proven(row, self._told):
            fault = Fault.NOT_PROVEN
        if fault:
            self.balance.suspect(Problem(fault, row.of, row.flat_id, row.user_id, row.reason, row.disposition))

    def _was_justified(self, row: Row, turns: Sequence[Turn]) -> bool:
        """Whether it was right at an earlier moment.

        A crash may let a version be matched twice, of which only the second time is noted: the first time its flat
        may have had fewer versions, or versions in another order, and its user other searches.
        """
        for index, turn in enumerate(turns):
            if turn.effect.of != row.of:
                continue
            moments = [replace(turn, before=earlier.before) for earlier in turns[: index + 1]]
            # The sender may have taken it in later: its database was away, too.
            requested_at = self._requested.at.get(row.notification_id, row.received_at)
            if min(requested_at, row.received_at) < turn.effect.began_at:
                moments += in_other_orders(turn, turns)
            searches = list(self._searches.ever_of(row.user_id, turn.effect.position))
            reasons = {said_to(each, moment) for each in searches for moment in moments}
            ids = {
                notification_id_of(row.flat_id, row.user_id, reason, turn.listing)
                for reason in reasons
                if isinstance(reason, Reason)
            }
            if row.notification_id in ids:
                return True
        return False


def _is_asked_for(reason: Reason, subscriptions: Iterable[Subscription]) -> bool:
    """Of a withdrawal every user is told: what waits for them is to be dropped."""
    return reason is Reason.WITHDRAWN or any(_ALERT_OF[reason] in each.alerts for each in subscriptions)


def _is_proven(row: Row, told: Told) -> bool:
    """Whether a row's disposition agrees with the state of its message and with what the sender has told of it."""
    match row.disposition:
        case Disposition.WAITING:
            return row.stage == "waiting"
        case Disposition.IN_MESSAGE | Disposition.GROUPED:
            went_out = row.stage not in {None, "waiting"} and row.status not in _ENDED_UNSEEN
            return went_out and _is_shown_as_told(row, told)
        case Disposition.SUPPRESSED | Disposition.EXPIRED | Disposition.FAILED as ended:
            return not row.recent or Disposition(ended) in told.settled.get(row.notification_id, set())
        case _:
            return False


def _is_shown_as_told(row: Row, told: Told) -> bool:
    """A retry as a template shows nothing of what the first attempt may have shown."""
    if row.notification_id not in told.in_messages or (row.as_template and row.disposition == Disposition.GROUPED):
        return True
    return (row.notification_id in told.shown) is (row.disposition == Disposition.IN_MESSAGE)
