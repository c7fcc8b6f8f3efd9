"""How far along a message is: its furthest status counts, in whatever order statuses arrive."""

from collections.abc import Mapping
from typing import Final

from common.events import MessageStatus

RANKS: Final[Mapping[MessageStatus, int]] = {
    MessageStatus.UNKNOWN: 0,
    MessageStatus.WAITING: 1,
    MessageStatus.IN_DOUBT: 2,
    MessageStatus.SCHEDULED: 3,
    MessageStatus.ACCEPTED: 4,
    MessageStatus.QUEUED: 5,
    MessageStatus.SENDING: 6,
    MessageStatus.SENT: 7,
    MessageStatus.REJECTED: 8,
    MessageStatus.SUPPRESSED: 8,
    MessageStatus.CANCELED: 8,
    MessageStatus.FAILED: 8,
    MessageStatus.UNDELIVERED: 8,
    # What reached the phone has reached it, whatever was thought before.
    MessageStatus.DELIVERED: 9,
    MessageStatus.READ: 10,
}

ON_ITS_WAY: Final = frozenset(
    {
        MessageStatus.ACCEPTED,
        MessageStatus.SCHEDULED,
        MessageStatus.QUEUED,
        MessageStatus.SENDING,
        MessageStatus.SENT,
        MessageStatus.DELIVERED,
        MessageStatus.READ,
    }
)
"""Statuses of a message that Twilio has taken, and that has not failed."""
