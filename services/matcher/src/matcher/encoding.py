"""Notifications as records, by the thousand: to the byte what `common.kafka.encode` makes of `NotificationRequested`.

One listing may be told to tens of thousands, so only what differs between two users is made anew for each: their ids
and searches. The shapes around that (fields, headers, the listing's card) are cut out of one event that is encoded as
every other, once for each change and reason. Slices come when they are asked for: memory does not grow with a crowd.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, pairwise, repeat
from typing import Final, NamedTuple, Self
from uuid import UUID, uuid5

import numpy as np

from common.events import NAMESPACE, MatchedSearch, NotificationRequested, Reason, card_of, notification_name
from common.kafka import LARGEST_EVENT, EventTooLargeError, Ready, encode
from common.search import Criterion
from common.topics import Topic
from matcher import ids
from matcher.crowd import NONE, Register, Told, Users, crowd

AT_ONCE: Final = 2_000
"""Notifications of a slice, at least where there are so many: encoding them holds up everything else for 4 ms."""


class Tally(NamedTuple):
    """How many notifications of a listing are in a slice."""

    listing_id: str
    flat_id: UUID
    reason: Reason
    notifications: int

    @classmethod
    def of(cls, told: Told, users: Users) -> Self:
        assert told.change.listing
        return cls(told.change.listing.listing_id, told.change.flat_id, told.reason, len(users.starts))


@dataclass(frozen=True)
class Slice:
    """Records that are ready, for each partition of the topic, and of which listings they tell."""

    records: Sequence[Sequence[Ready]]
    tallies: Sequence[Tally]

    def __len__(self) -> int:
        return sum(tally.notifications for tally in self.tallies)


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
        user_ids = ids.texts(self.register.user_ids[users.numbers[users.starts]])
        records = _records(parts, ids.as_bytes(user_ids), self._searches(users), users.heard.tolist())
        partitions = ids.partitions_of(user_ids, self.partitions)
        order = np.argsort(partitions, kind="stable")
        ends = np.searchsorted(partitions[order], np.arange(self.partitions + 1)).tolist()
        in_order = [records[row] for row in order.tolist()]
        return Slice(
            tuple(in_order[begin:end] for begin, end in pairwise(ends)),
            [Tally.of(part.told, part.users) for part in parts],
        )

    def _searches(self, users: Users) -> list[bytes]:
        """The searches of each user, as the members of a JSON array."""
        numbers = users.numbers
        subscription_ids = ids.as_bytes(ids.texts(self.register.subscription_ids[numbers]))
        revisions = self.register.revisions[numbers].tolist()
        written = [
            _search(verdict) % search
            for verdict, search in zip(
                users.verdicts.tolist(),
                zip(subscription_ids, revisions, self.register.names(numbers), strict=True),
                strict=True,
            )
        ]
        if len(users.starts) == len(written):
            return written
        bounds = pairwise([*users.starts.tolist(), len(written)])
        return [b",".join(sorted(written[begin:end])) for begin, end in bounds]


_CRITERIA: Final = tuple(Criterion)

_ID, _USER, _SEARCH = (uuid5(NAMESPACE, f"the place of {what}") for what in ("an id", "a user", "a search"))
"""What stands in an event's shape where each notification has its own."""


@lru_cache(maxsize=4096)
def _search(verdict: int) -> bytes:
    """How a search with this verdict is written: a format of its id, its revision and its name as JSON."""
    unknown = tuple(each for bit, each in enumerate(_CRITERIA) if verdict >> 1 >> bit & 1)
    shape = MatchedSearch(subscription_id=_SEARCH, revision=0, name="", unknown=unknown, alert=bool(verdict & 1))
    id_, revision, name, rest = _cut(shape.model_dump_json().encode(), str(_SEARCH), "0", '""')
    return id_ + b"%b" + revision + b"%d" + name + b"%b" + rest


class _Shape(NamedTuple):
    """What all notifications of a change for a reason have in common, around what each has of its own."""

    name: tuple[bytes, ...]  # that the id is derived from; around the user
    value: tuple[bytes, ...]  # around the id, the user, the searches and the rent before
    headers: list[tuple[str, bytes]]

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
        name = notification_name(change.flat_id, _USER, reason, listing).encode()
        return cls(
            name=_cut(name, str(_USER)),
            value=_cut(encoded.value, str(_ID), str(_USER), search.model_dump_json(), _RENT % "null"),
            headers=[(name, value.encode()) for name, value in encoded.headers.items()],
        )

    def names(self, user_ids: Iterable[bytes]) -> Iterable[bytes]:
        """What each user's id is derived from."""
        before, after = self.name
        return [before + user_id + after for user_id in user_ids]

    def values(self, notifications: Iterable[tuple[bytes, bytes, bytes, int]]) -> list[bytes]:
        """The events, each of its id, its user, its searches, and the rent that a drop is measured from."""
        before, to_user, to_searches, to_rent, after = self.value
        return [
            b"".join((before, id_, to_user, user_id, to_searches, searches, to_rent, _rent(heard), after))
            for id_, user_id, searches, heard in notifications
        ]

    def headers_of(self, own: Sequence[bytes], user_ids: Sequence[bytes]) -> Iterable[list[tuple[str, bytes]]]:
        columns = (self._column(header, own, user_ids) for header in self.headers)
        return map(list, zip(*columns, strict=False))

    @staticmethod
    def _column(
        header: tuple[str, bytes], own: Sequence[bytes], user_ids: Sequence[bytes]
    ) -> Iterable[tuple[str, bytes]]:
        name, value = header
        if value == str(_ID).encode():
            return zip(repeat(name), own, strict=False)
        if value == str(_USER).encode():
            return zip(repeat(name), user_ids, strict=False)
        return repeat(header)


class _Part(NamedTuple):
    """Users who are told of one change, for one reason."""

    told: Told
    shape: _Shape
    users: Users


def _records(parts: Iterable[_Part], user_ids: list[bytes], searches: list[bytes], heard: list[int]) -> list[Ready]:
    """A notification for each user of each part."""
    ends = accumulate((len(part.users.starts) for part in parts), initial=0)
    shapes = [(part.shape, slice(*bounds)) for part, bounds in zip(parts, pairwise(ends), strict=True)]
    names = chain.from_iterable(shape.names(user_ids[rows]) for shape, rows in shapes)
    own = ids.as_bytes(ids.texts(ids.derived(NAMESPACE, names)))
    notifications = list(zip(own, user_ids, searches, heard, strict=True))
    values = list(chain.from_iterable(shape.values(notifications[rows]) for shape, rows in shapes))
    if (largest := max(map(len, values))) > LARGEST_EVENT:
        raise EventTooLargeError(f"{NotificationRequested.type}: one of the events has {largest} bytes.")
    headers = chain.from_iterable(shape.headers_of(own[rows], user_ids[rows]) for shape, rows in shapes)
    return list(zip(user_ids, values, headers, strict=True))


_RENT: Final = '"previous_rent_cents":%s'


@lru_cache(maxsize=4096)
def _rent(heard: int) -> bytes:
    return (_RENT % ("null" if heard == NONE else heard)).encode()


def _cut(text: bytes, *marks: str) -> tuple[bytes, ...]:
    """What stands before, between and after the marks, which follow each other in the text."""
    pieces = []
    for mark in marks:
        before, found, text = text.partition(mark.encode())
        assert found
        pieces.append(before)
    return (*pieces, text)
