"""Notifications as records, by the thousand: to the byte what `common.kafka.encode` makes of `NotificationRequested`.

One listing may be told to tens of thousands, so only what differs between two users is made anew for each: their ids
and searches. The shapes around that (fields, headers, the listing's card) are cut out of one event that is encoded as
every other, once for each change and reason. Slices come when they are asked for: memory does not grow with a crowd.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from typing import Final, NamedTuple, Self
from uuid import UUID, uuid5

import numpy as np
from numpy.typing import NDArray

from common.batches import LARGEST_BATCH, Written
from common.batches import headers as headers_written
from common.events import NAMESPACE, MatchedSearch, NotificationRequested, Reason, card_of, notification_name
from common.kafka import LARGEST_EVENT, EventTooLargeError, encode
from common.search import Criterion
from common.topics import Topic
from matcher import ids
from matcher.crowd import NONE, Register, Told, Users, crowd
from matcher.writing import (
    BEFORE_VALUE,
    PIECES,
    VALUE_PIECES,
    Batches,
    Notifications,
    Searches,
    Texts,
    value_sizes,
    write,
)

AT_ONCE: Final = 2_000
"""Notifications of a slice, at least where there are so many: encoding them holds up everything else for 4 ms."""


class Subject(NamedTuple):
    """What notifications tell of, and why."""

    listing_id: str
    flat_id: UUID
    reason: Reason

    @classmethod
    def of(cls, told: Told) -> Self:
        assert told.change.listing, "nobody is told of a listing that was never seen"
        return cls(told.change.listing.listing_id, told.change.flat_id, told.reason)


@dataclass(frozen=True)
class Slice:
    """Batches for each partition of the topic, and how many notifications they hold of each subject."""

    batches: Sequence[Sequence[Written]]
    told: Counter[Subject]

    def __len__(self) -> int:
        return self.told.total()


@dataclass(frozen=True)
class Encoder:
    """Encodes for a topic, as the service that `source` names."""

    register: Register
    topic: Topic
    partitions: int
    source: str

    def slices(self, told: Iterable[Told], now: dt.datetime) -> Iterator[Slice]:
        """One notification for each user of whom a search asks for it, naming all of the user's that are told.

        Of a withdrawal all are told: what waits for them is to be dropped. The searches stand in the order of their
        ids. Slices hold up to twice AT_ONCE notifications, each made when it is asked for.

        Raises:
            EventTooLargeError: more of one user's searches match than go into an event.
        """
        parts: list[_Part] = []
        size = 0
        for each in told:
            everybody = crowd(each, self.register)
            shape = _Shape.of(each, now, self.topic, self.source) if len(everybody.starts) else None
            for users in everybody.parts(AT_ONCE):
                assert shape
                parts.append(_Part(each, shape, users))
                size += len(users.starts)
                if size >= AT_ONCE:
                    yield self._encoded(parts)
                    parts, size = [], 0
        if parts:
            yield self._encoded(parts)

    def _encoded(self, parts: "Sequence[_Part]") -> Slice:
        users = Users.together([part.users for part in parts])
        sizes_of_parts = [len(part.users.starts) for part in parts]
        user_ids = ids.texts(self.register.user_ids[users.numbers[users.starts]])
        rents, rent_of = _numbered(users.heard, _rent)
        notifications = Notifications(
            ids=_own_ids(parts, ids.as_bytes(user_ids)),
            user_ids=user_ids,
            shapes=Texts.of(piece for part in parts for piece in part.shape.pieces),
            shape_of=np.repeat(np.arange(len(parts)), sizes_of_parts),
            rents=rents,
            rent_of=rent_of,
            first=np.append(users.starts, len(users.numbers)),
            searches=self._searches(users),
        )
        told: Counter[Subject] = Counter()
        for part, size in zip(parts, sizes_of_parts, strict=True):
            told[Subject.of(part.told)] += size
        return Slice(_batches(notifications, ids.partitions_of(user_ids, self.partitions), self.partitions), told)

    def _searches(self, users: Users) -> Searches:
        """The searches of each user, in the order of their ids."""
        numbers, verdicts = users.numbers, users.verdicts
        if len(users.starts) < len(numbers):
            high, low = self.register.subscription_ids[numbers].view(">u8").T
            of_user = np.repeat(np.arange(len(users.starts)), np.diff(users.starts, append=len(numbers)))
            order = np.lexsort((low, high, of_user))
            numbers, verdicts = numbers[order], verdicts[order]
        shapes, shape_of = _numbered(verdicts, _search)
        return Searches(
            ids=ids.texts(self.register.subscription_ids[numbers]),
            revisions=self.register.revisions[numbers],
            names=self.register.names(numbers),
            shapes=shapes,
            shape_of=shape_of,
        )


_CRITERIA: Final = tuple(Criterion)

_ID, _USER, _SEARCH = (uuid5(NAMESPACE, f"the place of {what}") for what in ("an id", "a user", "a search"))
"""What stands in an event's shape where each notification has its own."""


def _numbered(values: NDArray[np.int64], pieces: Callable[[int], Iterable[bytes]]) -> tuple[Texts, NDArray[np.int64]]:
    """The pieces of each different value, and of each value the number of its pieces."""
    different, which = np.unique(values, return_inverse=True)
    return Texts.of(chain.from_iterable(map(pieces, different.tolist()))), which


@lru_cache(maxsize=4096)
def _search(verdict: int) -> tuple[bytes, ...]:
    """How a search with this verdict is written: what stands around its id, its revision and its name as JSON."""
    unknown = tuple(each for bit, each in enumerate(_CRITERIA) if verdict >> 1 >> bit & 1)
    shape = MatchedSearch(subscription_id=_SEARCH, revision=0, name="", unknown=unknown, alert=bool(verdict & 1))
    return _cut(shape.model_dump_json().encode(), str(_SEARCH), "0", '""')


class _Shape(NamedTuple):
    """What all notifications of a change for a reason have in common: what stands around that which each has."""

    name: tuple[bytes, ...]  # around the user's id, in that which a notification's id is derived from
    pieces: tuple[bytes, ...]  # see `matcher.writing.PIECES`

    @classmethod
    def of(cls, told: Told, now: dt.datetime, topic: Topic, source: str) -> Self:
        change, reason, listing = told.change, told.reason, told.change.listing
        assert listing, "nobody is told of a listing that was never seen"
        search = MatchedSearch(subscription_id=_SEARCH, revision=0, name="")
        notification = NotificationRequested(
            notification_id=_ID,
            user_id=_USER,
            flat_id=change.flat_id,
            reason=reason,
            searches=(search,),
            card=card_of(listing),
            parted=change.parted,
            requested_at=now,
        )
        encoded = encode(topic, notification, source)
        assert encoded.value
        headers = headers_written({name: value.encode() for name, value in encoded.headers.items()})
        of_value = _cut(encoded.value, str(_ID), str(_USER), search.model_dump_json(), _RENT % "null")
        return cls(
            name=_cut(notification_name(change.flat_id, _USER, reason, listing).encode(), str(_USER)),
            pieces=of_value + _cut(headers, str(_ID), str(_USER)),
        )


class _Part(NamedTuple):
    """Users who are told of one change, for one reason."""

    told: Told
    shape: _Shape
    users: Users


def _own_ids(parts: "Iterable[_Part]", user_ids: list[bytes]) -> NDArray[np.uint8]:
    """The ids of notifications, as texts: derived from what each part tells, and from the user."""
    rows = pairwise(accumulate((len(part.users.starts) for part in parts), initial=0))
    names = (
        before + user_id + after
        for part, (begin, end) in zip(parts, rows, strict=False)
        for before, after in (part.shape.name,)
        for user_id in user_ids[begin:end]
    )
    return ids.texts(ids.derived(NAMESPACE, names))


def _batches(notifications: Notifications, partition_of: NDArray[np.uint32], partitions: int) -> list[list[Written]]:
    """The records of each partition, in as few batches as they fit into."""
    sizes = value_sizes(notifications)
    if sizes.max() > LARGEST_EVENT:
        row = int(sizes.argmax())
        id_ = notifications.ids[row].tobytes().decode()
        raise EventTooLargeError(f"{NotificationRequested.type} {id_} has {sizes[row]} bytes.")
    order = np.argsort(partition_of, kind="stable")
    ends = np.searchsorted(partition_of[order], np.arange(partitions), side="right")
    shapes = notifications.shapes
    headers = shapes.ends[PIECES - 1 :: PIECES] - shapes.starts[VALUE_PIECES::PIECES] + 2 * ids.TEXT_LENGTH
    out = np.empty(int(sizes.sum() + len(sizes) * (BEFORE_VALUE + headers.max())), np.uint8)
    written = Batches(*np.empty((4, len(sizes)), np.int64))
    count = write(notifications, sizes, order, ends, LARGEST_BATCH, out, written)
    batches: list[list[Written]] = [[] for _ in range(partitions)]
    for begin, end, records, partition in np.array(written)[:, :count].T.tolist():
        batches[partition].append(Written(out[begin:end].tobytes(), records))
    return batches


_RENT: Final = '"previous_rent_cents":%s'


@lru_cache(maxsize=4096)
def _rent(heard: int) -> tuple[bytes]:
    return ((_RENT % ("null" if heard == NONE else heard)).encode(),)


def _cut(text: bytes, *marks: str) -> tuple[bytes, ...]:
    """What stands before, between and after the marks, which follow each other in the text."""
    pieces = []
    for mark in marks:
        before, found, text = text.partition(mark.encode())
        assert found
        pieces.append(before)
    return (*pieces, text)
