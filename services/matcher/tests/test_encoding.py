"""Notifications that are encoded by the thousand are, to the byte, what encoding each by itself makes of them."""

import datetime as dt
import random
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import NamedTuple
from uuid import UUID

import numpy as np
import pytest
import time_machine
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic_core import to_json

from common.batches import Ready, read
from common.events import MatchedSearch, NotificationRequested, Parted, Reason, card_of, notification_id_of
from common.kafka import LARGEST_EVENT, EventTooLargeError, encode
from common.listing import Listing, ListingStatus
from common.search import Alert, Criterion, PriceDrop
from common.topics import Topics
from matcher import encoding
from matcher.crowd import Told
from matcher.difference import ALERT_OF, Change, Flat, Origin, Published
from matcher.encoding import AT_ONCE, Encoder, Slice
from matcher.writing import Texts
from testkit.factories import FLAT_ID, NOW, make_listing, monthly
from testkit.strategies import listings

TOPIC = Topics.within("test").notifications
PARTITIONS = 6
SOURCE = "matcher"


class Saved(NamedTuple):
    """A search as the register knows it."""

    subscription_id: UUID
    user_id: UUID
    revision: int
    name: str
    alerts: frozenset[Alert]
    price_drop: PriceDrop = PriceDrop()


class Register:
    def __init__(self, saved: Sequence[Saved]) -> None:
        self.subscription_ids = _ids([each.subscription_id for each in saved])
        self.user_ids = _ids([each.user_id for each in saved])
        self.revisions = np.array([each.revision for each in saved], np.int64)
        self.alerts = np.array([_bits(Alert, each.alerts) for each in saved], np.uint8)
        self.drop_percents = np.array([each.price_drop.percent for each in saved], np.uint8)
        self.drop_cents = np.array([each.price_drop.cents for each in saved], np.int32)
        self._names = [to_json(each.name) for each in saved]

    def names(self, numbers: NDArray[np.int32]) -> Texts:
        return Texts.of(self._names[number] for number in numbers.tolist())


@dataclass(frozen=True)
class Matches:
    numbers: NDArray[np.int32]
    flagged: NDArray[np.uint32]

    @classmethod
    def of(cls, unknown: Mapping[int, frozenset[Criterion]]) -> "Matches":
        numbers = sorted(unknown)
        flagged = [_bits(Criterion, unknown[number]) for number in numbers]
        return cls(np.array(numbers, np.int32), np.array(flagged, np.uint32))


def _ids(values: Sequence[UUID]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(each.bytes for each in values), np.uint8).reshape(-1, 16)


def _bits(members: type[Alert] | type[Criterion], chosen: frozenset[Alert] | frozenset[Criterion]) -> int:
    return sum(1 << bit for bit, each in enumerate(members) if each in chosen)


def change_to(*versions: Listing) -> Change:
    """What the last version changes."""
    flat = Flat(FLAT_ID)
    *_, change = [flat.take(Published(each.listing_id, each, Origin(0, each.version))) for each in versions]
    assert change
    return change


NEW = change_to(make_listing())
DROP = change_to(*(make_listing(version=at, rent=monthly(rent)) for at, rent in enumerate([1000, 985, 900], 1)))
GONE = change_to(make_listing(), make_listing(version=2, status=ListingStatus.WITHDRAWN))
CHANGES = {Reason.NEW: NEW, Reason.RETURNED: NEW, Reason.PRICE_DROP: DROP, Reason.WITHDRAWN: GONE}
PARTED = Parted(flat_id=UUID(int=9), listing_ids=("casa.it:1", "casa.it:2"))


def encoder(saved: Sequence[Saved]) -> Encoder:
    return Encoder(Register(saved), TOPIC, PARTITIONS, SOURCE)


def plainly(
    saved: Sequence[Saved], change: Change, reason: Reason, unknown: Mapping[int, frozenset[Criterion]]
) -> list[list[Ready]]:
    """The oracle: an event for each user, encoded as every other event."""
    listing = change.listing
    assert listing
    records: list[list[Ready]] = [[] for _ in range(PARTITIONS)]
    matched = sorted((saved[number].user_id, saved[number].subscription_id, number) for number in unknown)
    asking = {number for number in unknown if ALERT_OF[reason] in saved[number].alerts}
    for user_id, together in groupby(matched, key=lambda each: each[0]):
        of_user = list(together)
        searches = tuple(
            MatchedSearch(
                subscription_id=subscription_id,
                revision=saved[number].revision,
                name=saved[number].name,
                unknown=tuple(each for each in Criterion if each in unknown[number] and reason is not Reason.WITHDRAWN),
                alert=number in asking,
            )
            for _, subscription_id, number in of_user
        )
        if reason is not Reason.WITHDRAWN and not any(each.alert for each in searches):
            continue
        drops = [change.dropped_from(saved[number].price_drop) for *_, number in of_user if number in asking]
        heard = [drop for drop in drops if drop is not None]
        event = NotificationRequested(
            notification_id=notification_id_of(change.flat_id, user_id, reason, listing),
            user_id=user_id,
            flat_id=change.flat_id,
            reason=reason,
            searches=searches,
            card=card_of(listing),
            previous_rent_cents=min(heard, default=None) if reason is Reason.PRICE_DROP else None,
            parted=change.parted,
            requested_at=NOW,
        )
        encoded = encode(TOPIC, event, SOURCE)
        assert encoded.value
        key = encoded.key.encode()
        partition = DefaultPartitioner()(key, list(range(PARTITIONS)), [])
        headers = {name: value.encode() for name, value in encoded.headers.items()}
        records[partition].append((key, encoded.value, headers))
    return records


def records_in(slices: Iterable[Slice]) -> list[list[Ready]]:
    """By partition."""
    batches = zip(*(each.batches for each in slices), strict=True)
    by_partition = [[record for batch in chain(*of_partition) for record in read(batch)] for of_partition in batches]
    return by_partition or [[]] * PARTITIONS


def in_order(records: Sequence[Sequence[Ready]]) -> list[list[Ready]]:
    return [sorted(each, key=lambda record: record[:2]) for each in records]


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(
    ['"Casa" \\ vicino', "Città 🏠 \U0001d54f", "Zone\n\t\x00\x7f\u2028", "100 % sicuro %s %b", "]}"]
)
few_ids = st.integers(0, 5).map(lambda number: UUID(int=number << 64 | number % 2)) | st.uuids()
"""Some users have several searches; some differ in one half of their ids only."""
searches = st.builds(
    Saved,
    subscription_id=st.uuids(),
    user_id=few_ids,
    revision=st.integers(1, 2**62),
    name=names,
    alerts=st.frozensets(st.sampled_from(Alert)),
    price_drop=st.builds(PriceDrop, percent=st.sampled_from([0, 1, 5, 30]), cents=st.sampled_from([0, 50_00])),
)


@settings(deadline=None)  # the first one may compile
@given(
    saved=st.lists(searches, max_size=25, unique_by=lambda each: each.subscription_id),
    reason=st.sampled_from(Reason),
    listing=listings(status=ListingStatus.ACTIVE),
    data=st.data(),
)
@time_machine.travel(NOW, tick=False)
def test_a_crowd_is_told_what_each_would_be_told(
    saved: list[Saved], reason: Reason, listing: Listing, data: st.DataObject
) -> None:
    change = change_to(listing) if reason in (Reason.NEW, Reason.RETURNED) else CHANGES[reason]
    change = replace(change, parted=data.draw(st.sampled_from([None, PARTED])))
    flags = st.frozensets(st.sampled_from(Criterion))
    unknown = data.draw(st.dictionaries(st.sampled_from(range(len(saved))), flags) if saved else st.just({}))
    slices = list(encoder(saved).slices([Told(change, reason, Matches.of(unknown))], NOW))
    expected = plainly(saved, change, reason, unknown)
    assert len(slices) == any(expected)
    assert in_order(records_in(slices)) == in_order(expected)
    assert sum(map(len, slices)) == sum(map(len, expected))


def a_crowd(size: int) -> list[Saved]:
    chance = random.Random(1)
    return [
        Saved(UUID(int=chance.getrandbits(128)), UUID(int=chance.getrandbits(128)), 1, f"Ricerca {n}", frozenset(Alert))
        for n in range(size)
    ]


def all_of(saved: Sequence[Saved]) -> Matches:
    return Matches.of(dict.fromkeys(range(len(saved)), frozenset()))


@time_machine.travel(NOW, tick=False)
def test_a_crowd_comes_in_slices_in_which_each_user_is_once() -> None:
    saved = a_crowd(AT_ONCE + 10)
    twice = saved + [each._replace(subscription_id=UUID(int=n)) for n, each in enumerate(saved)]
    slices = list(encoder(twice).slices([Told(NEW, Reason.NEW, all_of(twice))], NOW))
    assert [len(each) for each in slices] == [AT_ONCE, 10]
    expected = plainly(twice, NEW, Reason.NEW, dict.fromkeys(range(len(twice)), frozenset()))
    assert in_order(records_in(slices)) == in_order(expected)


def test_a_slice_tells_of_several_listings_that_few_want_in_their_order() -> None:
    saved = a_crowd(3)
    changes = [change_to(make_listing(listing_id=f"casa.it:{number}")) for number in range(5)]
    (slice_,) = encoder(saved).slices([Told(each, Reason.NEW, all_of(saved)) for each in changes], NOW)
    assert [(each.listing_id, count) for each, count in slice_.told.items()] == [(f"casa.it:{n}", 3) for n in range(5)]
    told: Counter[bytes] = Counter(key for records in records_in([slice_]) for key, _, _ in records)
    assert set(told.values()) == {5}
    for records in records_in([slice_]):
        own = [NotificationRequested.model_validate_json(value).card.listing_id for _, value, _ in records]
        assert own == sorted(own)


@time_machine.travel(NOW, tick=False)
def test_what_is_too_much_for_a_batch_goes_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = a_crowd(100)
    monkeypatch.setattr(encoding, "LARGEST_BATCH", 4_000)
    (slice_,) = encoder(saved).slices([Told(NEW, Reason.NEW, all_of(saved))], NOW)
    batches = [batch for of_partition in slice_.batches for batch in of_partition]
    assert {each.count for each in batches} >= {2, 3}
    assert max(len(each.records) for each in batches) <= 4_000
    expected = plainly(saved, NEW, Reason.NEW, dict.fromkeys(range(len(saved)), frozenset()))
    assert in_order(records_in([slice_])) == in_order(expected)


def test_memory_does_not_grow_with_the_crowd() -> None:
    def peak_mib(size: int) -> float:
        saved = a_crowd(size)
        told, encode_ = Told(NEW, Reason.NEW, all_of(saved)), encoder(saved)
        tracemalloc.start()
        try:
            assert sum(len(each) for each in encode_.slices([told], NOW)) == size
            return tracemalloc.get_traced_memory()[1] / 2**20
        finally:
            tracemalloc.stop()

    assert peak_mib(10 * AT_ONCE) < 2 * peak_mib(2 * AT_ONCE)


def test_an_event_that_is_too_large_is_refused_as_everywhere() -> None:
    user_id = UUID(int=1)
    saved = [Saved(UUID(int=n), user_id, 1, "Ricerca " * 15, frozenset(Alert)) for n in range(LARGEST_EVENT // 200)]
    with pytest.raises(EventTooLargeError):
        list(encoder(saved).slices([Told(NEW, Reason.NEW, all_of(saved))], NOW))


def test_the_moment_of_the_event_is_when_it_was_encoded() -> None:
    saved = a_crowd(1)
    before = dt.datetime.now(dt.UTC)
    (slice_,) = encoder(saved).slices([Told(NEW, Reason.NEW, all_of(saved))], NOW)
    ((_, _, headers),) = [record for records in records_in([slice_]) for record in records]
    assert before <= dt.datetime.fromisoformat(headers["ce_time"].decode()) <= dt.datetime.now(dt.UTC)
