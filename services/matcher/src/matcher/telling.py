"""Which searches are told of a change, and why: `difference.reason_for` of all of them at once."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from common.events import Reason
from common.listing import Listing
from common.search import PriceDrop
from matcher.crowd import Told
from matcher.difference import Change
from matcher.index import NO_MATCHES, Index, Matches

Numbers = NDArray[np.int32]


def told(change: Change, index: Index) -> Iterator[Told]:
    """The searches that are told, by reason."""
    listing = change.listing
    concerned = _any_of(change.announced_by, index)
    if listing is None or not len(concerned.numbers):
        return
    for reason, matches in _reasons(change, listing, concerned, index):
        if len(matches.numbers):
            yield Told(change, reason, matches)


def _reasons(change: Change, listing: Listing, concerned: Matches, index: Index) -> Iterator[tuple[Reason, Matches]]:
    if not listing.active:
        yield Reason.WITHDRAWN, concerned
        return
    offered = _any_of((known.offered for known in change.before if known.offered), index).numbers
    taken_down = _any_of((known.taken_down for known in change.before if known.taken_down), index).numbers
    knew = np.isin(concerned.numbers, offered)
    had_known = ~knew & np.isin(concerned.numbers, taken_down)
    yield Reason.PRICE_DROP, _dropped(change, _where(knew, concerned), index)
    yield Reason.RETURNED, _where(had_known, concerned)
    yield Reason.NEW, _where(~knew & ~had_known, concerned)


def _any_of(listings: Iterable[Listing], index: Index) -> Matches:
    """The searches that match one of the listings at least."""
    matches = [index.match(listing) for listing in listings]
    match matches:
        case []:
            return NO_MATCHES
        case [only]:
            return only
        case _:
            numbers, first = np.unique(np.concatenate([each.numbers for each in matches]), return_index=True)
            return Matches(numbers, np.concatenate([each.flagged for each in matches])[first])


def _dropped(change: Change, matches: Matches, index: Index) -> Matches:
    """Those for which the rent has dropped by as much as they want: asked once for each threshold."""
    if not len(matches.numbers):
        return matches
    thresholds = np.column_stack(
        [index.register.drop_percents[matches.numbers], index.register.drop_cents[matches.numbers]]
    )
    different, which = np.unique(thresholds, axis=0, return_inverse=True)
    dropped = [
        change.dropped_from(PriceDrop(percent=percent, cents=cents)) is not None
        for percent, cents in different.tolist()
    ]
    return _where(np.array(dropped)[which.reshape(-1)], matches)


def _where(mask: NDArray[np.bool_], matches: Matches) -> Matches:
    return Matches(matches.numbers[mask], matches.flagged[mask])
