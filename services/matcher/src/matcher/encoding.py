"""Notifications as records, by the thousand: to the byte what `common.kafka.encode` makes of `NotificationRequested`.

One listing may be told to tens of thousands, so only what differs between two users is made anew for each: their ids
and searches. The shapes around that (fields, headers, the listing's card) are cut out of one event that is encoded as
every other, once for each change and reason. Slices come when they are asked for: memory does not grow with a crowd.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, pairwise, repeat
from typing import Final, NamedTuple, Self
from uuid import UUID, uuid5

import numpy as np

from common.batches import LARGEST_BATCH, Written, varint
from common.batches import headers as headers_written
from common.events import NAMESPACE, MatchedSearch, NotificationRequested, Reason, card_of, notification_name
from common.kafka import LARGEST_EVENT, EventTooLargeError, encode
from common.search import Criterion
from common.topics import Topic
from matcher import ids
from matcher.crowd import NONE, Register, Told, Users, crowd

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
        user_ids = ids.texts(self.register.user_ids[users.numbers[users.starts]])
        notifications = _notifications(parts, ids.as_bytes(user_ids), self._searches(users), users.heard.tolist())
        partitions = ids.partitions_of(user_ids, self.partitions)
        order = np.argsort(partitions, kind="stable")
        ends = np.searchsorted(partitions[order], np.arange(self.partitions + 1)).tolist()
        told: Counter[Subject] = Counter()
        for part in parts:
            told[Subject.of(part.told)] += len(part.users.starts)
        in_order = [notifications[row] for row in order.tolist()]
        return Slice(
            [list(_batches(in_order[begin:end])) for begin, end in pairwise(ends)],
            told,
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
    """What all notifications of a change for a reason have in common: formats of what each has of its own."""

    name: bytes  # that the id is derived from: of the user
    record: bytes  # of sizes and offset (_RECORD) and the key; then of id, user, searches, rent; of id and user
    value_bytes: int  # without the searches and the rent
    headers_bytes: int

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
        searches, rent = search.model_dump_json(), _RENT % "null"
        headers = headers_written({name: value.encode() for name, value in encoded.headers.items()})
        return cls(
            name=_format(notification_name(change.flat_id, _USER, reason, listing).encode(), _USER),
            record=_RECORD + _format(encoded.value, _ID, _USER, searches, rent) + _format(headers, _ID, _USER),
            value_bytes=len(encoded.value) - len(searches) - len(rent),
            headers_bytes=len(headers),
        )

    def names(self, user_ids: Iterable[bytes]) -> list[bytes]:
        """What each user's id is derived from."""
        return [self.name % user_id for user_id in user_ids]

    def written(self, offset: int, value_bytes: int, notification: "_Notification") -> bytes:
        """The record with this number in its batch: to the byte what `common.batches.record` makes of the event."""
        _, id_, user_id, searches, rent = notification
        number, size = varint(offset), varint(value_bytes)
        rest = varint(_FIXED_BYTES + len(number) + len(size) + value_bytes + self.headers_bytes)
        return self.record % (rest, number, user_id, size, id_, user_id, searches, rent, id_, user_id)


_RECORD: Final = b"%b\0\0%b" + varint(ids.TEXT_LENGTH) + b"%b%b"
"""How a record begins: a format of the size of all that follows, the offset, the key, and the size of the value."""

_FIXED_BYTES: Final = len(_RECORD % (b"", b"", b"", b"")) + ids.TEXT_LENGTH


class _Notification(NamedTuple):
    """What it shares with others, and what it has of its own."""

    shape: _Shape
    id: bytes
    user_id: bytes
    searches: bytes
    rent: bytes


class _Part(NamedTuple):
    """Users who are told of one change, for one reason."""

    told: Told
    shape: _Shape
    users: Users


def _notifications(
    parts: Iterable[_Part], user_ids: list[bytes], searches: list[bytes], heard: list[int]
) -> list[_Notification]:
    """One for each user of each part."""
    ends = accumulate((len(part.users.starts) for part in parts), initial=0)
    shapes = [(part.shape, slice(*bounds)) for part, bounds in zip(parts, pairwise(ends), strict=False)]
    names = chain.from_iterable(shape.names(user_ids[rows]) for shape, rows in shapes)
    own = ids.as_bytes(ids.texts(ids.derived(NAMESPACE, names)))
    of_each = chain.from_iterable(repeat(part.shape, len(part.users.starts)) for part in parts)
    return list(map(_Notification._make, zip(of_each, own, user_ids, searches, map(_rent, heard), strict=True)))


def _batches(notifications: Iterable[_Notification]) -> Iterator[Written]:
    """The records of one partition, in as few batches as they fit into."""
    records: list[bytes] = []
    size = 0
    for each in notifications:
        value_bytes = each.shape.value_bytes + len(each.searches) + len(each.rent)
        if value_bytes > LARGEST_EVENT:
            raise EventTooLargeError(f"{NotificationRequested.type} {each.id.decode()} has {value_bytes} bytes.")
        if records and size + value_bytes + each.shape.headers_bytes > LARGEST_BATCH:
            yield Written(b"".join(records), len(records))
            records, size = [], 0
        records.append(each.shape.written(len(records), value_bytes, each))
        size += len(records[-1])
    if records:
        yield Written(b"".join(records), len(records))


_RENT: Final = '"previous_rent_cents":%s'


@lru_cache(maxsize=4096)
def _rent(heard: int) -> bytes:
    return (_RENT % ("null" if heard == NONE else heard)).encode()


def _format(text: bytes, *marks: str | UUID) -> bytes:
    """The text as a format of what stands in it where the marks are."""
    return b"%b".join(_cut(text.replace(b"%", b"%%"), *map(str, marks)))


def _cut(text: bytes, *marks: str) -> tuple[bytes, ...]:
    """What stands before, between and after the marks, which follow each other in the text."""
    pieces = []
    for mark in marks:
        before, found, text = text.partition(mark.encode())
        assert found
        pieces.append(before)
    return (*pieces, text)
