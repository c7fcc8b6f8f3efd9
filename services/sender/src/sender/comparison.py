"""What Twilio's list of messages and the ledger say of the same message, compared."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from common.events import MessageStatus
from common.prices import MILLIONTHS, Micros
from sender.progress import AttemptState
from sender.statuses import FAILURES, advance

CHECKING: Final = (
    "ITA_RENT_BOT: this is the test message of `itarent check twilio`. If you read it, the way to your phone works."
)
"""The text of the one message that we send without the ledger: an operator's, to see whether Twilio can be used."""

ARRIVED: Final = frozenset({MessageStatus.DELIVERED, MessageStatus.READ})


class Kind(StrEnum):
    """How the two differ."""

    UNKNOWN_HERE = "unknown_here"  # Twilio has sent it, and the ledger does not know it
    UNKNOWN_THERE = "unknown_there"  # the ledger says that Twilio took it, and Twilio does not know it
    CONTRADICTION = "contradiction"  # one says that it arrived, the other that it did not
    RECOVERED = "recovered"  # whether Twilio has it was in doubt or given up: it has
    STATUS = "status"  # Twilio knows more than we were told; it is recorded
    PRICE = "price"  # Twilio charges more than was booked
    SEGMENTS = "segments"  # Twilio counts several messages


TO_MEND: Final = frozenset({Kind.UNKNOWN_HERE, Kind.UNKNOWN_THERE, Kind.CONTRADICTION})
"""What a person must look at: the others are settled by being found."""

CORRECTED: Final = frozenset({Kind.STATUS, Kind.RECOVERED})
"""Where the ledger is told what Twilio says."""


@dataclass(frozen=True)
class Listed:
    """A message as Twilio has it. `ours`: it was created by the API, and is neither inbound nor an automatic reply."""

    sid: str
    ours: bool
    to: str  # E.164
    body: str  # empty also where the account has texts redacted
    status: MessageStatus
    error_code: int | None
    created_at: datetime | None
    segments: int = 1
    price: Micros | None = None
    currency: str = ""


@dataclass(frozen=True)
class Known:
    """An attempt as the ledger has it; `status`: its message's, if no later attempt was made (`last`)."""

    message_id: UUID
    attempt: int
    last: bool
    state: AttemptState
    status: MessageStatus
    charged: Micros
    currency: str
    sid: str | None = None
    marker: str | None = None  # None, like `to`: it was erased
    to: str | None = None


@dataclass(frozen=True)
class Finding:
    """A difference, by ids alone: it holds neither phone nor text."""

    kind: Kind
    sid: str
    message_id: UUID | None = None
    attempt: int | None = None
    detail: str = ""


def differences(listed: Listed, known: Known) -> Iterator[Finding]:
    """What Twilio says otherwise than the ledger."""
    if (by_status := _by_status(listed, known)) is not None:
        kind, detail = by_status
        yield _finding(kind, listed, known, detail)
    if listed.segments > 1:
        yield _finding(Kind.SEGMENTS, listed, known, str(listed.segments))
    if listed.price is not None and listed.currency == known.currency and listed.price > known.charged:
        booked, charged = known.charged / MILLIONTHS, listed.price / MILLIONTHS
        yield _finding(Kind.PRICE, listed, known, f"{booked:g} booked, {charged:g} {listed.currency} charged")


def _by_status(listed: Listed, known: Known) -> tuple[Kind, str] | None:
    said = f"{known.status} here, {listed.status} at Twilio"
    if known.state is AttemptState.REFUSED:
        return (Kind.CONTRADICTION, f"failed here, {listed.status} at Twilio") if listed.status in ARRIVED else None
    if not known.last:
        return None
    if advance(known.status, listed.status) is not known.status:
        return Kind.STATUS, said
    return (Kind.CONTRADICTION, said) if known.status in ARRIVED and listed.status in FAILURES else None


def recovered(listed: Listed, known: Known) -> Finding:
    """A message of which was not known whether Twilio has it."""
    return _finding(Kind.RECOVERED, listed, known, f"{known.state} here, {listed.status} at Twilio")


def is_of(listed: Listed, doubtful: Known) -> bool:
    """Whether this is the message of an attempt whose answer was lost: to its phone, with the mark of its text."""
    return bool(doubtful.marker) and listed.to == doubtful.to and str(doubtful.marker) in listed.body


def _finding(kind: Kind, listed: Listed, known: Known, detail: str) -> Finding:
    return Finding(kind, listed.sid, known.message_id, known.attempt, detail)
