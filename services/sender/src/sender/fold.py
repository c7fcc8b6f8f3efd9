"""What waits for a user, folded to one line per flat, so that a message shows how things are now."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from common.events import Card, Disposition, MatchedSearch, NotificationRequested, Reason

TOO_LATE: Final = "too_late"
"""Why something has expired: it is too old to be useful."""


@dataclass(frozen=True)
class Entry:
    """One flat as the message shows it, and the notifications that are told by it."""

    flat_id: UUID
    card: Card
    reason: Reason
    searches: tuple[MatchedSearch, ...]
    previous_rent_cents: int | None
    notification_ids: tuple[UUID, ...]


@dataclass(frozen=True)
class Settled:
    """Where a notification ends. `number`: its flat's place in the message that tells it."""

    notification_id: UUID
    disposition: Disposition
    detail: str
    number: int | None = None


@dataclass(frozen=True)
class Folded:
    """Every notification is in exactly one entry, or settled."""

    entries: tuple[Entry, ...]
    settled: tuple[Settled, ...]


def fold(
    waiting: Iterable[NotificationRequested], told: AbstractSet[UUID], useful_since: datetime | None = None
) -> Folded:
    """Fold the notifications of one user, given in the order in which they came; `told` are flats told before.

    What waits about an advertisement goes with its flat of now: it may have been parted from another meanwhile. A flat
    of which nothing was requested since `useful_since` is not told any more.
    """
    entries: list[Entry] = []
    settled: list[Settled] = []
    for flat_id, events in _by_flat(waiting).items():
        shown, detail = _shown(events, was_told=flat_id in told)
        if shown and useful_since and events[-1].requested_at < useful_since:
            settled += [Settled(event.notification_id, Disposition.EXPIRED, TOO_LATE) for event in shown]
        elif shown:
            entries.append(_entry(shown, latest=events[-1]))
        if len(shown) < len(events):
            shown_ids = {event.notification_id for event in shown}
            settled += [_suppressed(event, detail) for event in events if event.notification_id not in shown_ids]
    return Folded(tuple(entries), tuple(settled))


def _by_flat(waiting: Iterable[NotificationRequested]) -> dict[UUID, list[NotificationRequested]]:
    """The notifications of each flat in the order in which they came, the flats by their ids."""
    events = list(waiting)
    flat_of = {event.card.listing_id: event.flat_id for event in events}
    by_flat: dict[UUID, list[NotificationRequested]] = {flat_id: [] for flat_id in sorted(flat_of.values())}
    for event in events:
        by_flat[flat_of[event.card.listing_id]].append(event)
    return by_flat


def is_asked_for(event: NotificationRequested) -> bool:
    """Whether any of the searches wants to be told of this."""
    return any(search.alert for search in event.searches)


def _shown(events: Sequence[NotificationRequested], *, was_told: bool) -> tuple[list[NotificationRequested], str]:
    """The notifications of one flat that are told, and why those are not that were asked for."""
    latest = events[-1]
    if latest.reason is not Reason.WITHDRAWN:
        asked = [event for event in events if event.reason is not Reason.WITHDRAWN and is_asked_for(event)]
        return asked, "returned"
    if was_told and is_asked_for(latest):
        return [latest], "withdrawn"
    return [], "withdrawn"


def _suppressed(event: NotificationRequested, detail: str) -> Settled:
    reason = detail if is_asked_for(event) else "not_asked_for"
    return Settled(event.notification_id, Disposition.SUPPRESSED, reason)


def _entry(shown: Sequence[NotificationRequested], latest: NotificationRequested) -> Entry:
    searches = {
        search.subscription_id: search for event in shown for search in event.searches if search.alert
    }  # of several versions of a search the last one counts
    return Entry(
        flat_id=latest.flat_id,
        card=latest.card,
        reason=shown[0].reason,
        searches=tuple(searches.values()),
        previous_rent_cents=next((event.previous_rent_cents for event in shown if event.previous_rent_cents), None),
        notification_ids=tuple(event.notification_id for event in shown),
    )
