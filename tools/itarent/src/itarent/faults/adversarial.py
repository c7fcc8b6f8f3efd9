"""Records that a broken or hostile producer might write: for every topic that a service reads, and every kind of wrong.

They are made from records of the topic's own kind, of users and listings that nobody else has.
"""

import datetime as dt
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, Final
from uuid import UUID

import orjson

from common.events import (
    AdvertisementParted,
    DirectMessageRequested,
    DirectPurpose,
    Event,
    ForecastMade,
    InboundMessageReceived,
    ListingPublished,
    MessageStatus,
    MessageStatusReported,
    MoneyAhead,
    RecipientSaved,
    TierAhead,
    WindowsAhead,
)
from common.events import Recipient as RecipientValue
from common.events import SubscriptionSaved as Saved
from common.listing import Listing, Position, Rent
from common.records import Exact
from common.search import Search, Subscription
from common.topics import LARGEST_RECORD, Topic, Topics

TOO_LARGE: Final = 10 * 1024 * 1024
ROOM_FOR_HEADERS: Final = 4 * 1024
DEPTH: Final = 100_000
FIRST_MOMENT, LAST_MOMENT = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"
"""Both can be written, and lie beyond what can be said in UTC."""


class Fate(StrEnum):
    """What has to become of a record. Whatever it is, what comes after it is handled."""

    REFUSED = "refused"  # Kafka itself does not take it
    DEAD = "dead"  # it lies among the dead letters, with the reason
    PASSED = "passed"  # it is understood, or rightly passed over; it is no dead letter
    EITHER = "either"


@dataclass(frozen=True)
class Case:
    """A record, and what is wrong with it."""

    name: str
    topic: Topic
    record: Exact
    fate: Fate


@dataclass(frozen=True)
class _Good:
    """A record of a topic as it should be."""

    topic: Topic
    key: str
    event_type: str
    fields: dict[str, Any]
    types_in_topic: int

    @classmethod
    def of(cls, topic: Topic, event: Event) -> "_Good":
        return cls(topic, event.key, event.type, event.model_dump(mode="json"), len(topic.events))

    def case(self, name: str, fate: Fate, **changed: Any) -> Case:  # noqa: ANN401 - parts of a record
        """The record with other parts: `key`, `value`, `headers`."""
        parts = {"key": self.key.encode(), "value": self.value, "headers": self.headers} | changed
        return Case(name, self.topic, Exact(self.topic.name, **parts), fate)

    @property
    def value(self) -> bytes:
        return orjson.dumps(self.fields)

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        return (("ce_specversion", b"1.0"), ("ce_type", self.event_type.encode()), ("ce_id", b"adversary"))


def cases(topics: Topics, chance: random.Random, now: dt.datetime) -> list[Case]:
    """Every kind of wrong for every topic, in an order that is drawn."""
    made = list(chain.from_iterable(_wrongs(good, chance) for good in _goods(topics, chance, now)))
    chance.shuffle(made)
    return made


def _wrongs(good: _Good, chance: random.Random) -> Iterator[Case]:
    yield from _not_json(good)
    yield from _wrong_keys(good, chance)
    yield from _wrong_headers(good)
    yield from _of_other_versions(good)
    yield from _sizes(good)
    yield from _wrong_fields(good, chance)


def _not_json(good: _Good) -> Iterator[Case]:
    value = good.value
    yield good.case("not JSON", Fate.DEAD, value=b"{not json")
    yield good.case("half a JSON", Fate.DEAD, value=value[: len(value) // 2])
    yield good.case("empty", Fate.DEAD, value=b"")
    yield good.case("not UTF-8", Fate.DEAD, value=b'{"\xff\xfe": 1}')
    yield good.case("UTF-16", Fate.DEAD, value=value.decode().encode("utf-16"))
    yield good.case("another JSON", Fate.DEAD, value=b"[]")
    yield good.case("a JSON text", Fate.DEAD, value=orjson.dumps(value.decode()))
    yield good.case("null", Fate.DEAD, value=b"null")
    yield good.case("a number", Fate.DEAD, value=b"1e999")
    yield good.case("an empty object", Fate.DEAD, value=b"{}")
    yield good.case("deep", Fate.DEAD, value=b"[" * DEPTH + b"]" * DEPTH)
    yield good.case("deep in a field that nobody knows", Fate.DEAD, value=_with_raw(value, _DEEP))
    yield good.case(
        "Python's pickle", Fate.DEAD, value=b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x04evil\x94."
    )


_DEEP: Final = b"[" * DEPTH + b"]" * DEPTH


def _with_raw(value: bytes, raw: bytes) -> bytes:
    return b'{"added": ' + raw + b"," + value[1:]


def _wrong_keys(good: _Good, chance: random.Random) -> Iterator[Case]:
    compacted = "compact" in good.topic.cleanup
    yield good.case("no key", Fate.REFUSED if compacted else Fate.DEAD, key=None)
    yield good.case("an empty key", Fate.DEAD, key=b"")
    yield good.case("a key that is not UTF-8", Fate.DEAD, key=b"\xff\xfe\x00")
    yield good.case("another's key", Fate.DEAD, key=b"somebody-else")
    yield good.case("a tombstone of nothing", Fate.PASSED, key=b"no such thing", value=None)
    yield good.case("a tombstone whose key has NUL", Fate.DEAD, key=b"no\x00such", value=None)
    yield good.case("a tombstone with a long key", Fate.EITHER, key=chance.randbytes(10_000).hex().encode(), value=None)


def _wrong_headers(good: _Good) -> Iterator[Case]:
    yield good.case("a type that is not UTF-8", Fate.PASSED, headers=(("ce_type", b"\xff\xfe"),))
    yield good.case("another's type", Fate.PASSED, headers=(("ce_type", b"com.example.else"),))
    yield good.case("a header without value", Fate.EITHER, headers=(("ce_type", None),))
    yield good.case("broken, without any header", Fate.DEAD if good.types_in_topic == 1 else Fate.EITHER,
                    headers=(), value=b"{not json")  # fmt: skip
    junk = tuple((f"x-{number}", b"\x00\xff" * 8) for number in range(200))
    yield good.case("broken, with many headers", Fate.DEAD, headers=(*good.headers, *junk), value=b"{not json")


def _of_other_versions(good: _Good) -> Iterator[Case]:
    later = f"{good.event_type.removesuffix('.v1')}.v2"
    yield good.case("version 2", Fate.PASSED, headers=(("ce_type", later.encode()),), value=b'{"new": "shape"}')
    added = {"added_in_v1_1": {"by": ["a", "later", "version"]}}
    yield good.case("version 1.1", Fate.PASSED, value=orjson.dumps(good.fields | added))


def _sizes(good: _Good) -> Iterator[Case]:
    as_large_as_can_be = LARGEST_RECORD - ROOM_FOR_HEADERS
    yield good.case("10 MB", Fate.REFUSED, value=b"x" * TOO_LARGE)
    yield good.case("1 MiB that is not JSON", Fate.DEAD, value=b"x" * as_large_as_can_be)
    yield good.case("1 MiB, mostly blanks", Fate.PASSED, value=good.value.ljust(as_large_as_can_be))


def _wrong_fields(good: _Good, chance: random.Random) -> Iterator[Case]:
    """Each leaf with what it should not hold, and with all extremes of what it may."""
    for path in _leaves(good.fields):
        name, required = ".".join(map(str, path)), path in _REQUIRED
        for what, raw in _WRONG.items():
            raw_value = _replaced(good, path, raw)
            fate = Fate.DEAD if what in _NEVER or (required and what == "an object") else Fate.EITHER
            if fate is Fate.DEAD or chance.random() < _SHARE:
                yield good.case(f"{name}: {what}", fate, value=raw_value)


_SHARE: Final = 0.25
_NEVER: Final = frozenset({"NUL", "half a character"})
_REQUIRED: Final = frozenset({("user_id",), ("listing", "listing_id"), ("subscription", "search", "places")})
_HOLE: Final = "3f0f7a4e-the-hole"
_WRONG: Final[dict[str, bytes]] = {
    "null": b"null",
    "an object": b'{"a": [1]}',
    "true": b"true",
    "NaN": b"NaN",
    "infinite": b"1e999",
    "negative": b"-1",
    "beyond a bigint": b"9223372036854775808",
    "a thousand digits": b"9" * 1000,
    "an empty text": b'""',
    "an unknown word": b'"teleported"',
    "half a character": b'"\\ud800"',
    "NUL": b'"a\\u0000b"',
    "SQL": b'"\'; DROP TABLE sender.messages; --"',
    "a template": b'"{{1}} {{7*7}} ${7*7} {% raw %} %s %n {0.__class__}"',
    "the first moment": orjson.dumps(FIRST_MOMENT),
    "the last moment": orjson.dumps(LAST_MOMENT),
    "the first day": b'"0001-01-01"',
    "the last day": b'"9999-12-31"',
    "a moment without a zone": b'"2026-11-29T12:00:00"',
    "a long text": b'"' + b"a" * 100_000 + b'"',
    "right to left": '"\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH JOINER}A\N{COMBINING BREVE}\N{SPEECH BALLOON}"'.encode(),
}


def _leaves(fields: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:  # noqa: ANN401 - JSON
    match fields:
        case dict() if fields:
            for name, value in fields.items():
                yield from _leaves(value, (*path, name))
        case list() if fields:
            yield from _leaves(fields[0], (*path, 0))
        case _:
            yield path


def _replaced(good: _Good, path: Sequence[str | int], raw: bytes) -> bytes:
    """The value with other JSON at one place, which need not be valid."""
    fields = orjson.loads(good.value)
    holder = fields
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = _HOLE
    return orjson.dumps(fields).replace(orjson.dumps(_HOLE), raw)


# --- records as they should be --------------------------------------------------------------------------------------


def _goods(topics: Topics, chance: random.Random, now: dt.datetime) -> Iterator[_Good]:
    """One for each event that somebody can publish without being told of anything, all of strangers."""

    def drawn() -> UUID:
        return UUID(int=chance.getrandbits(128), version=4)

    makers: Sequence[tuple[Topic, Callable[[], Event]]] = (
        (topics.listings, lambda: ListingPublished(listing=_listing(drawn(), now))),
        (topics.subscriptions, lambda: Saved(subscription=_subscription(drawn(), drawn()))),
        (topics.recipients, lambda: RecipientSaved(recipient=_recipient(drawn(), now))),
        (topics.partings, lambda: _parted(drawn(), now)),
        (topics.notifications, lambda: _direct(drawn(), drawn(), now)),
        (topics.message_statuses, lambda: _status(drawn(), now)),
        (topics.inbound_messages, lambda: _inbound(drawn(), now)),
        (topics.forecasts, lambda: _forecast(now)),
    )
    for topic, make in makers:
        yield _Good.of(topic, make())


def _listing(drawn: UUID, now: dt.datetime) -> Listing:
    """In the Valle d'Aosta, where nobody of the suite looks."""
    return Listing(
        listing_id=f"adversary:{drawn.int % 10**12}",
        version=1,
        source="adversary",
        title="Bilocale",
        description="Luminoso",
        published_at=now,
        comune="007003",
        comune_name="Aosta",
        province="AO",
        position=Position(latitude=45.737, longitude=7.315),
        rent=Rent(amount_cents=80_000),
        rooms=2,
        area_m2=50,
    )


def _subscription(drawn: UUID, user: UUID) -> Subscription:
    search = Search.model_validate({"places": [{"kind": "province", "code": "AO"}], "rooms": {"minimum": 9}})
    return Subscription(subscription_id=drawn, user_id=user, revision=1, name="Castello", search=search)


def _recipient(user: UUID, now: dt.datetime) -> RecipientValue:
    return RecipientValue(user_id=user, revision=1, phone="+393335559999", paused_until=now, window_opened_at=now)


def _parted(drawn: UUID, now: dt.datetime) -> AdvertisementParted:
    mine, other = f"adversary:{drawn.int % 10**12}", f"adversary:{drawn.int % 10**11}"
    return AdvertisementParted(listing_id=mine, apart_from=(other,), parted_at=now)


def _direct(notification: UUID, user: UUID, now: dt.datetime) -> DirectMessageRequested:
    return DirectMessageRequested(
        notification_id=notification, user_id=user, purpose=DirectPurpose.PAUSED, requested_at=now, until=now
    )


def _status(message: UUID, now: dt.datetime) -> MessageStatusReported:
    return MessageStatusReported(
        message_id=message,
        attempt=1,
        status=MessageStatus.SENT,
        reported_by="callback",
        reported_at=now,
        message_sid=f"SM{message.hex}",
        error_code=None,
        parameters={"To": "hidden"},
    )


def _inbound(drawn: UUID, now: dt.datetime) -> InboundMessageReceived:
    return InboundMessageReceived(
        message_sid=f"SM{drawn.hex}",
        sender_hash=f"{drawn.hex}{drawn.hex}",
        sender="+393335559998",
        recipient="+14155238886",
        body="ciao",
        received_at=now,
        parameters={"ProfileName": "Nessuno"},
    )


def _forecast(now: dt.datetime) -> ForecastMade:
    return ForecastMade(
        channel="adversary",
        made_at=now,
        windows=WindowsAhead(open=1, close_within_1_hour=0, close_within_6_hours=0, last_closes_at=now),
        tier=TierAhead(used=1),
        money=MoneyAhead(currency="USD", spent=1, per_day=1),
        waiting={},
        looked_at=1,
    )
