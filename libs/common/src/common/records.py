"""Records to the byte: what a dead letter is made of, and what it was before."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aiokafka import ConsumerRecord

from common.telemetry import mask
from common.topics import Topic

Headers = tuple[tuple[str, bytes | None], ...]

OURS: Final = "dlq_"
"""How the headers begin that a dead letter has and its original had not."""


@dataclass(frozen=True)
class Exact:
    """A record that is to arrive exactly so; `partition` None leaves that to the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


@dataclass(frozen=True, order=True)
class Origin:
    """Where a record was first: it names its dead letter."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Origin | None":
        """The origin that `topic/partition/offset` names."""
        named = re.fullmatch(r"([\w.-]+)/(\d{1,9})/(\d{1,18})", text, re.ASCII)
        return cls(named[1], int(named[2]), int(named[3])) if named else None


def dead_letter(topic: Topic, record: "ConsumerRecord[bytes, bytes]", reason: str) -> Exact:
    """A record that can never be handled, as its dead letter.

    Its key is the origin, so that a tombstone removes it and the same record is never two letters; all else is kept in
    headers. A record without value gets an empty one, since without it the letter would be a tombstone itself.
    """
    origin = Origin(record.topic, record.partition, record.offset)
    ours = {
        "reason": reason.encode(),
        "topic": record.topic.encode(),
        "partition": str(record.partition).encode(),
        "offset": str(record.offset).encode(),
        "timestamp_ms": str(record.timestamp).encode(),
        **({} if record.key is None else {"key": record.key}),
        **({"no_value": b"true"} if record.value is None else {}),
    }
    return Exact(
        topic.dead_letters.name,
        key=str(origin).encode(),
        value=record.value or b"",
        headers=(*_theirs(record), *((f"{OURS}{name}", value) for name, value in ours.items())),
    )


def original(letter: "ConsumerRecord[bytes, bytes]") -> Exact:
    """What a dead letter was before, for the partition that it came from."""
    headers = dict(letter.headers)
    return Exact(
        (headers[f"{OURS}topic"] or b"").decode(),
        key=headers.get(f"{OURS}key"),
        value=None if f"{OURS}no_value" in headers else letter.value,
        headers=tuple(_theirs(letter)),
        partition=int(headers[f"{OURS}partition"] or b"0"),
    )


def reason_of(letter: "ConsumerRecord[bytes, bytes]") -> str:
    """Why it is a dead letter; whoever wrote it, a phone is not shown."""
    return mask((dict(letter.headers).get(f"{OURS}reason") or b"").decode(errors="replace"))


def _theirs(record: "ConsumerRecord[bytes, bytes]") -> Iterator[tuple[str, bytes | None]]:
    return ((name, value) for name, value in record.headers if not name.startswith(OURS))
