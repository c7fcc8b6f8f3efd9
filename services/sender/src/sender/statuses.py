"""A message's status only advances: callbacks come late, doubled and in any order."""

from collections.abc import Mapping
from typing import Final

from common.events import MessageStatus

RANK: Final[Mapping[MessageStatus, int]] = {
    MessageStatus.WAITING: 0,
    MessageStatus.IN_DOUBT: 1,
    MessageStatus.ACCEPTED: 2,
    MessageStatus.SCHEDULED: 2,
    MessageStatus.QUEUED: 3,
    MessageStatus.SENDING: 4,
    MessageStatus.SENT: 5,
    MessageStatus.DELIVERED: 6,
    MessageStatus.READ: 7,
}
"""The order of statuses on the way to the reader; the others end a message."""

FAILURES: Final = frozenset({MessageStatus.FAILED, MessageStatus.UNDELIVERED, MessageStatus.CANCELED})
ENDED: Final = FAILURES | {
    MessageStatus.DELIVERED,
    MessageStatus.READ,
    MessageStatus.REJECTED,
    MessageStatus.SUPPRESSED,
}
"""Statuses after which there is nothing to wait for (although `read` may follow `delivered`)."""


def advance(known: MessageStatus, reported: MessageStatus) -> MessageStatus:
    """The status after a report: a failure ends what was not delivered, and nothing goes back."""
    if known not in RANK or reported is MessageStatus.UNKNOWN:
        return known
    if reported not in RANK:
        return known if known in ENDED else reported
    return reported if RANK[reported] > RANK[known] else known
