"""Whether Twilio's sandbox may write to a phone: concluded from what was heard, since Twilio cannot be asked."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

JOIN_LASTS: Final = dt.timedelta(hours=72)
"""Three days after joining a phone has to join again, says Twilio; writing in between does not prolong it."""

SIGNS_COUNT_FOR: Final = dt.timedelta(days=4)
"""A message that is older decides nothing any more."""


class LinkState(StrEnum):
    """Where the caller's phone is."""

    NONE = "none"
    PENDING = "pending"  # claimed, not proven yet
    CONNECTED = "connected"
    NOT_JOINED = "not_joined"  # the sandbox refused a message to it
    JOIN_EXPIRED = "join_expired"  # it had joined, and must do so again


@dataclass(frozen=True)
class Heard:
    """The last time of each sign that a phone has joined the sandbox or has not."""

    joined_at: dt.datetime | None = None  # `join …` came from it; Twilio need not hand that on
    wrote_at: dt.datetime | None = None  # only who has joined is heard
    reached_at: dt.datetime | None = None  # a message got through to it
    refused_at: dt.datetime | None = None  # 63015

    @property
    def proven_at(self) -> dt.datetime | None:
        """When it was last known to have joined."""
        return max(filter(None, (self.joined_at, self.wrote_at, self.reached_at)), default=None)

    @property
    def ends_at(self) -> dt.datetime | None:
        """When the join has run out at the latest: one that was not seen is no younger than the last sign of it."""
        if self.proven_at is None:
            return None
        covered = self.joined_at is not None and self.proven_at < self.joined_at + JOIN_LASTS
        began_at = self.joined_at if covered and self.joined_at else self.proven_at
        return began_at + JOIN_LASTS


def state_of(heard: Heard, now: dt.datetime, *, proven: bool, claimed: bool, sandbox: bool) -> LinkState:
    """The state of a link. A claim that can still be proven is what the caller waits for."""
    if not (proven or claimed):
        return LinkState.NONE
    if sandbox and (refusal := _refusal(heard, now)):
        return refusal
    return LinkState.PENDING if claimed else LinkState.CONNECTED


def _refusal(heard: Heard, now: dt.datetime) -> LinkState | None:
    proven_at, ends_at = heard.proven_at, heard.ends_at
    if heard.refused_at and (proven_at is None or heard.refused_at > proven_at):
        return LinkState.JOIN_EXPIRED if proven_at else LinkState.NOT_JOINED
    return LinkState.JOIN_EXPIRED if ends_at and now >= ends_at else None
