"""Who is told of a change: one notification for each user and reason, whichever of the user's searches match."""

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from prometheus_client import Counter

from common.events import MatchedSearch, NotificationRequested, Reason, card_of, notification_id_of
from common.explain import match
from common.listing import Listing
from common.rules import RULES, Finding
from common.search import Criterion, Search, Subscription, UnknownPolicy
from matcher.difference import ALERT_OF, Change, reason_for
from matcher.index import Index

matches = Counter("itarent_matcher_matches_total", "Searches that are told of a listing, by reason", ["reason"])

AT_ONCE: Final = 200
"""How much is done before the event loop gets its turn: a flat that all of Milano wants takes a while."""

T = TypeVar("T")


async def announcements(change: Change, index: Index, now: dt.datetime) -> AsyncIterator[NotificationRequested]:
    """Tell of a change those who ask to be told. Of a withdrawal all are told: what waits for them is to be dropped."""
    listing = change.listing
    if listing is None:
        return
    told = await _told(change, index)
    card = card_of(listing)
    async for (user_id, reason), subscriptions in _unhurried(told.items()):
        asking = [each for each in subscriptions if ALERT_OF[reason] in each.alerts]
        if asking or reason is Reason.WITHDRAWN:
            yield NotificationRequested(
                notification_id=notification_id_of(change.flat_id, user_id, reason, listing),
                user_id=user_id,
                flat_id=change.flat_id,
                reason=reason,
                searches=tuple(_matched(each, reason, listing) for each in subscriptions),
                card=card,
                previous_rent_cents=_last_heard(change, asking) if reason is Reason.PRICE_DROP else None,
                parted=change.parted,
                requested_at=now,
            )


async def _told(change: Change, index: Index) -> dict[tuple[UUID, Reason], list[Subscription]]:
    told: defaultdict[tuple[UUID, Reason], list[Subscription]] = defaultdict(list)
    async for subscription in _unhurried(_candidates(change, index)):
        if reason := reason_for(change, partial(match, subscription.search), subscription.price_drop):
            told[subscription.user_id, reason].append(subscription)
            matches.labels(reason).inc()
    return told


def _last_heard(change: Change, asking: Iterable[Subscription]) -> int | None:
    """The lowest rent of which a user has heard by any of the searches that ask for drops."""
    heard = (change.dropped_from(each.price_drop) for each in asking)
    return min((each for each in heard if each is not None), default=None)


def _candidates(change: Change, index: Index) -> Iterator[Subscription]:
    met: set[UUID] = set()
    for listing in change.announced_by:
        for subscription in index.candidates(listing):
            if subscription.subscription_id not in met:
                met.add(subscription.subscription_id)
                yield subscription


def _matched(subscription: Subscription, reason: Reason, listing: Listing) -> MatchedSearch:
    return MatchedSearch(
        subscription_id=subscription.subscription_id,
        revision=subscription.revision,
        name=subscription.name,
        unknown=_unknown(subscription.search, listing) if listing.active else (),
        alert=ALERT_OF[reason] in subscription.alerts,
    )


def _unknown(search: Search, listing: Listing) -> tuple[Criterion, ...]:
    """The criteria that passed with a flag, as `explain` finds them, without its sentences."""
    return tuple(
        rule.criterion
        for rule in RULES
        if rule.find(search, listing) is Finding.UNKNOWN and rule.policy(search) is UnknownPolicy.FLAG
    )


async def _unhurried(items: Iterable[T]) -> AsyncIterator[T]:
    for number, item in enumerate(items):
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
        yield item
