"""The ledger's words in whole sentences, for somebody who has never seen the code."""

from collections.abc import Mapping
from typing import Final

from common.twilio_errors import CODES, Meaning, advice_of

WAITS: Final[Mapping[str, str]] = {
    "quiet_hours": "The user's quiet hours hold it back.",
    "paused": "The user has paused messages (PAUSA, or in the settings); START from the phone ends that.",
    "interval": "The user's last digest was too recent: it waits for the interval between two.",
    "not_so_yet": "What it confirms was not known to hold yet; that comes by another topic.",
    "no_consent": "The user's phone and consent were not known yet; they come by another topic.",
    "budget": "The month's budget for all is used up (`itarent budget`): it waits for more, or for the next month.",
    "tier": "WhatsApp lets us write first to so many phones a day (WHATSAPP_RECIPIENTS_PER_DAY), and they are used up: "
    "it waits for a place, or for the user to write.",
    "window_may_open": "Templates are scarce, and the user wrote lately: if they write again within two hours it goes "
    "out as free text, else as a template.",
    "pace": "The user's phone has had too many messages in a row: WhatsApp takes one in six seconds.",
    "held": "An operator has paused sending to this user.",
    "template_unknown": "Outside the 24 hours only a template goes through; which are approved was not known yet.",
    "template_pending": "Outside the 24 hours only a template goes through, and WhatsApp still reviews it.",
    "template_received": "Outside the 24 hours only a template goes through, and WhatsApp still reviews it.",
    "template_paused": "Outside the 24 hours only a template goes through, and WhatsApp has paused it.",
    "cannot_be_worded": "Its text could not be made: an error of ours, which stands in the sender's log.",
    "rate_limited": "Twilio did not process the call: too many at once.",
    "unavailable": "Twilio could not be reached: the call never left us.",
    "misconfigured": "Twilio refused our account or settings: everything waits until somebody mends them.",
    "as_template": "Free text was refused outside the 24 hours: it is sent as a template.",
    "template_unusable": "WhatsApp does not let the template be used.",
    "temporary": "Twilio reported a temporary failure.",
    "account_busy": "Our account's rate or queue at Twilio was full.",
    "channel_busy": "WhatsApp takes no more from our number for now: too fast, or the day's recipients are used up.",
    "daily_cap": "The account's messages of the day are used up.",
    "not_joined_sandbox": "The phone has not joined the sandbox; a code is tried again while its owner is told to.",
    "not_found": "Twilio was asked twice and does not have it, so it is sent again.",
    "disproven": "An operator said that Twilio does not have it, so it is sent again.",
    "by_order": "An operator had it sent again.",
    "": "It waits for its time.",
}
"""Why a message waits."""

WAITS_UNTIL: Final = frozenset({"quiet_hours", "paused", "interval", "window_may_open", "pace"})
"""Reasons that end at the time that is told with them; for the others that is when it is looked at again."""

ENDS_BY_ITSELF: Final = WAITS_UNTIL | {
    "",
    "account_busy",
    "as_template",
    "by_order",
    "channel_busy",
    "daily_cap",
    "disproven",
    "no_consent",
    "not_found",
    "not_so_yet",
    "rate_limited",
    "template_pending",
    "template_received",
    "temporary",
    "tier",
}
"""Reasons about which nobody has to do anything."""

ENDS: Final[Mapping[str, str]] = {
    "too_late": "It could not go out within three days, when it was still news: it expired.",
    "stale": "Twilio could not deliver it while it was worth it, and dropped it.",
    "not_verified": "The user has no proven phone.",
    "stopped": "The user has said STOP; START from the phone lifts that.",
    "opted_out": "The user has blocked our number or opted out at WhatsApp; a message from them lifts that.",
    "disabled": "Sending is switched off (WHATSAPP_ENABLED=false).",
    "erased": "The user's account was erased.",
    "outside_window": "The user last wrote more than 24 hours ago: only a template goes through, and WhatsApp has "
    "approved none (`itarent templates status`).",
    "template_rejected": "The user last wrote more than 24 hours ago, and WhatsApp has rejected the template.",
    "template_disabled": "The user last wrote more than 24 hours ago, and WhatsApp has disabled the template.",
    "template_paused": "The user last wrote more than 24 hours ago, and WhatsApp has paused the template.",
    "template_pending": "The user last wrote more than 24 hours ago, and WhatsApp still reviewed the template.",
    "template_received": "The user last wrote more than 24 hours ago, and WhatsApp still reviewed the template.",
    "budget": "The month's budget and its reserve were used up, and what somebody asks for is not sent late.",
    "tier": "WhatsApp lets us write first to so many phones a day (WHATSAPP_RECIPIENTS_PER_DAY), they were used up, "
    "and what somebody asks for is not sent late.",
    "nothing_left": "Nothing was left to tell when its time came: see below what became of each.",
    "taken_back": "It was to confirm what its reader had taken back before it could be sent.",
    "outdated_code": "The code was replaced, withdrawn or used before it could be sent.",
    "cancelled": "An operator cancelled it.",
    "not_sent": "An operator settled the doubt: Twilio does not have it, and it is not sent.",
    "withdrawn": "The flat was withdrawn while this waited.",
    "returned": "The flat was withdrawn and came back while this waited, so there was nothing new.",
    "not_asked_for": "No search of the user wants to be told of this.",
    "declined": "The user has said NO to this flat: never again.",
    "paused": "The user has paused messages for longer than this was worth telling.",
    "told_before": "The user was told of this advertisement before, as part of another flat.",
    "temporary": "A temporary failure at Twilio did not end: all retries are used up.",
    "account_busy": "Our account's rate or queue at Twilio stayed full: all retries are used up.",
    "channel_busy": "WhatsApp took no more from our number: all retries are used up.",
    "daily_cap": "The account's messages of the day stayed used up: all retries are used up.",
    "refused": "Twilio refused the request.",
    "failed": "It failed at Twilio, with a code that we do not know or none.",
    "undelivered": "It was not delivered, with a code that we do not know or none.",
    "canceled": "It was canceled at Twilio.",
}
"""Why something ended without having been told."""

DOUBTS: Final[Mapping[str, str]] = {
    "lease_ran_out": "the process that was sending it died",
    "TimeoutError": "Twilio did not answer in time",
    "ServerDisconnectedError": "the connection was cut before the answer",
    "ClientOSError": "the connection was cut before the answer",
    "ConnectionResetError": "the connection was cut before the answer",
    "answer_without_sid": "Twilio's answer named no message",
}
"""Why an answer is in doubt."""

PARKED: Final[Mapping[str, str]] = {
    "text_not_shown": "Twilio has a message to this phone of that time, but does not show its text",
    "too_many_messages": "too many messages went to this phone since to be looked through",
    "cannot_be_asked": "Twilio could not be asked for an hour (it is asked on, every hour)",
    "lost_often": "several attempts vanished without a trace",
}
"""Why asking Twilio does not end a doubt."""


STATUSES: Final[Mapping[str, str]] = {
    "accepted": "Twilio has it and will send it",
    "scheduled": "Twilio has it and will send it later",
    "queued": "Twilio has it and will send it",
    "sending": "Twilio hands it to WhatsApp",
    "sent": "WhatsApp has it",
    "delivered": "It is on the phone",
    "read": "The person has opened it",
    "undelivered": "It has not arrived",
    "failed": "It has not arrived",
    "canceled": "It was canceled at Twilio",
    "rejected": "Twilio did not take it",
    "unknown": "Twilio told a status that we do not know",
}
"""What a status means."""


def status(word: str) -> str:
    return f"{STATUSES[word]} ({word})" if word in STATUSES else word.replace("_", " ")


def waits(reason: str) -> str:
    return WAITS.get(reason) or _as_said(reason)


def ends(reason: str) -> str:
    return ENDS.get(reason) or _of_meaning(reason) or _as_said(reason)


def doubt(reason: str) -> str:
    if reason.startswith("http_"):
        return f"Twilio answered HTTP {reason.removeprefix('http_')}"
    if reason.startswith("unreadable_answer"):
        return "Twilio's answer could not be read"
    return DOUBTS.get(reason) or reason.replace("_", " ")


def parked(reason: str) -> str:
    return PARKED.get(reason) or reason.replace("_", " ")


def _of_meaning(reason: str) -> str:
    """The sentence of a code that has this meaning."""
    return advice_of(CODES[Meaning(reason)][0]).what if reason in set(Meaning) else ""


def _as_said(reason: str) -> str:
    """A reason that has come since, in its own word."""
    return f"{reason.replace('_', ' ').capitalize()}."
