"""Who is told of a change: the searches that are told, by number, brought together by user."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from common.events import Reason
from common.search import Alert, PriceDrop
from matcher.difference import ALERT_OF, Change
from matcher.ids import Ids
from matcher.writing import Texts


class Register(Protocol):
    """What must be known of the searches, by their numbers."""

    @property
    def subscription_ids(self) -> Ids: ...
    @property
    def user_ids(self) -> Ids: ...
    @property
    def revisions(self) -> NDArray[np.int64]: ...
    @property
    def alerts(self) -> NDArray[np.uint8]: ...
    @property
    def drop_percents(self) -> NDArray[np.uint8]: ...
    @property
    def drop_cents(self) -> NDArray[np.int32]: ...
    def names(self, numbers: NDArray[np.int32], /) -> Texts: ...


class Matches(Protocol):
    """Searches that a listing matches, by number, each once; and what they let pass as unknown, a bit a criterion."""

    @property
    def numbers(self) -> NDArray[np.int32]: ...
    @property
    def flagged(self) -> NDArray[np.uint32]: ...


NONE: Final = np.iinfo(np.int64).max


class Told(NamedTuple):
    """Searches that are to be told of a change, all for one reason."""

    change: Change
    reason: Reason
    matches: Matches


class Users(NamedTuple):
    """Searches, those of a user one after the other."""

    numbers: NDArray[np.int32]  # of the searches
    verdicts: NDArray[np.int64]  # of each: see _verdicts
    starts: NDArray[np.int64]  # where each user's begin
    heard: NDArray[np.int64]  # of each user: the rent in cents that a drop is measured from, or NONE

    @classmethod
    def together(cls, several: Sequence[Self]) -> Self:
        """All of them, one after the other."""
        before = accumulate((len(each.numbers) for each in several[:-1]), initial=0)
        return cls(
            np.concatenate([each.numbers for each in several]),
            np.concatenate([each.verdicts for each in several]),
            np.concatenate([each.starts + offset for each, offset in zip(several, before, strict=True)]),
            np.concatenate([each.heard for each in several]),
        )

    def parts(self, most: int) -> "Iterator[Users]":
        """The same, at most so many users at a time."""
        ends = np.append(self.starts, len(self.numbers))
        for first in range(0, len(self.starts), most):
            begin, *_, end = ends[first : first + most + 1]
            starts = self.starts[first : first + most] - begin
            heard = self.heard[first : first + most]
            yield Users(self.numbers[begin:end], self.verdicts[begin:end], starts, heard)


def crowd(told: Told, register: Register) -> Users:
    """Who is told, without the users of whom no search asks for it."""
    numbers, verdicts = told.matches.numbers, _verdicts(told, register)
    order, starts = _by_user(register.user_ids[numbers])
    verdicts = verdicts[order]
    if told.reason is not Reason.WITHDRAWN and len(starts):
        asked = np.logical_or.reduceat(verdicts & 1, starts)
        if not asked.all():
            lengths = np.diff(starts, append=len(order))
            kept = np.repeat(asked, lengths)
            order, verdicts = order[kept], verdicts[kept]
            starts = np.cumsum(lengths[asked]) - lengths[asked]
    numbers = numbers[order]
    return Users(numbers, verdicts, starts, _heard(told, numbers, verdicts, starts, register))


_ALERTS: Final = tuple(Alert)


def _verdicts(told: Told, register: Register) -> NDArray[np.int64]:
    """Of each search: whether it asks for alerts of this reason, and above that bit the criteria that are unknown.

    Of what is gone nobody needs to know what is unknown.
    """
    alert = np.uint8(1 << _ALERTS.index(ALERT_OF[told.reason]))
    asks: NDArray[np.int64] = (register.alerts[told.matches.numbers] & alert != 0).astype(np.int64)
    if told.reason is Reason.WITHDRAWN:
        return asks
    asks |= told.matches.flagged.astype(np.int64) << 1
    return asks


def _heard(
    told: Told,
    numbers: NDArray[np.int32],
    verdicts: NDArray[np.int64],
    starts: NDArray[np.int64],
    register: Register,
) -> NDArray[np.int64]:
    """Of each user the lowest rent of which one of the searches that ask for drops has told."""
    if told.reason is not Reason.PRICE_DROP or not len(starts):
        return np.full(len(starts), NONE)
    percents, cents = register.drop_percents[numbers], register.drop_cents[numbers]
    thresholds, which = np.unique(percents.astype(np.int64) << _CENTS_BITS | cents, return_inverse=True)
    rents = [
        told.change.dropped_from(PriceDrop(percent=each >> _CENTS_BITS, cents=each & (1 << _CENTS_BITS) - 1))
        for each in thresholds.tolist()
    ]
    heard = np.array([NONE if rent is None else rent for rent in rents], np.int64)[which]
    heard[verdicts & 1 == 0] = NONE
    lowest: NDArray[np.int64] = np.minimum.reduceat(heard, starts)
    return lowest


_CENTS_BITS: Final = 32


def _by_user(user_ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows in an order in which those of a user follow each other, and where each user's begin."""
    high, low = np.ascontiguousarray(user_ids).view(np.uint64).T
    order = np.argsort(high)
    if _differ(low[order])[~_differ(high[order])].any():  # half of an id is nearly always enough, and ten times faster
        order = np.lexsort((low, high))
    begins = _differ(high[order]) | _differ(low[order])
    return order, np.flatnonzero(begins)


def _differ(column: NDArray[np.uint64]) -> NDArray[np.bool]:
    """Where a value is another than the one before it."""
    differ = np.ones(len(column), np.bool)
    np.not_equal(column[1:], column[:-1], out=differ[1:])
    return differ
