"""What became of a flat or a message, as a sentence for its reader."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from api.activity import ActivityItem
from api.meanings import meaning_of
from api.words import SAID, Said, time_of
from common.events import Disposition, Language, MessageStatus, Recipient
from common.quiet_hours import quiet_until

_MOODS: Final[Mapping[MessageStatus, str]] = {
    MessageStatus.DELIVERED: "good",
    MessageStatus.READ: "good",
    MessageStatus.SENT: "calm",
    MessageStatus.UNDELIVERED: "bad",
    MessageStatus.FAILED: "bad",
    MessageStatus.REJECTED: "bad",
    MessageStatus.CANCELED: "bad",
}


def mood_of(status: MessageStatus) -> str:
    """Whether a status is good news, bad news, or none yet."""
    return _MOODS.get(status, "busy")


def outcome_of(item: ActivityItem, renter: Recipient, language: Language) -> str:
    """What became of a flat: until when it waits, why nothing came; empty where it came as it should."""
    said = SAID[language]
    message = item.message
    if item.disposition is Disposition.WAITING:
        return _waiting(renter, language)
    if message and mood_of(message.status) == "bad":
        return f"{said.outcome.failed} {meaning_of(message.error_code, language) or _detail(item, said)}".strip()
    if item.disposition is Disposition.IN_MESSAGE:
        return ""
    return f"{getattr(said.outcome, item.disposition)} {_detail(item, said)}".strip()


def _detail(item: ActivityItem, said: Said) -> str:
    return str(getattr(said.detail, item.detail or "", ""))


def _waiting(renter: Recipient, language: Language) -> str:
    said = SAID[language].outcome
    until = quiet_until(renter.quiet_hours, renter.time_zone, dt.datetime.now(dt.UTC))
    return str(said.waiting_quiet.format(time=time_of(until, renter.time_zone, language)) if until else said.waiting)
