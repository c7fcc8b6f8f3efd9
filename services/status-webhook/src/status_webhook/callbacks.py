"""What Twilio's forms say, as events. Twilio's field names occur here and nowhere else in this service."""

import datetime as dt
import hashlib
import re
from typing import Final
from uuid import UUID

from common.events import InboundMessageReceived, MessageStatus, MessageStatusReported
from common.telemetry import PHONE
from status_webhook.form import Form

Callback = MessageStatusReported | InboundMessageReceived

PRIVATE: Final = frozenset(
    {
        "To",
        "From",
        "Body",
        "Address",
        "ButtonPayload",
        "ButtonText",
        "ChannelFromAddress",
        "ChannelToAddress",
        "ExternalUserId",
        "Label",
        "Latitude",
        "Longitude",
        "ProfileName",
        "WaId",
    }
)
"""Who somebody is, where they are, what they wrote: statuses go to a topic that everybody may read."""

STATUSES: Final = {str(status): status for status in MessageStatus}
TELLING_DIGITS: Final = 8  # the last digits of a number give it away, however it is written
NO_DIGITS: Final = bytes(set(range(256)) - set(b"0123456789"))
MOST_ATTEMPTS: Final = 32_767


class IncompleteCallbackError(Exception):
    """The form lacks a parameter without which it says nothing: is another service of Twilio set to this address?"""


def account_of(form: Form) -> str | None:
    return form.get("AccountSid")


def read_status(form: Form, query: Form, now: dt.datetime) -> MessageStatusReported:
    """A status callback; `query` holds what the sender put into its address: n, the message, and a, the attempt."""
    word = _required(form, "MessageStatus")
    message_sid = form.get("MessageSid") or _required(form, "SmsSid")
    status = STATUSES.get(word, MessageStatus.UNKNOWN)
    error_code = _whole_number(form.get("ErrorCode"))
    told = {"MessageSid"}
    if status is not MessageStatus.UNKNOWN:
        told.add("MessageStatus")
    if error_code is not None:
        told.add("ErrorCode")
    return MessageStatusReported(
        message_id=_uuid(query.get("n")),
        attempt=_attempt(query.get("a")),
        status=status,
        reported_by="callback",
        reported_at=now,
        message_sid=message_sid,
        error_code=error_code,
        parameters=_public(form, told),
    )


def read_inbound(form: Form, _query: Form, now: dt.datetime) -> InboundMessageReceived:
    """A message that somebody sent to our number."""
    sender = _address(_required(form, "From"))
    return InboundMessageReceived(
        message_sid=_required(form, "MessageSid"),
        sender_hash=hashlib.sha256(sender.encode()).hexdigest(),
        sender=sender,
        recipient=_address(_required(form, "To")),
        body=form.get("Body") or "",
        button_payload=form.get("ButtonPayload"),
        received_at=now,
        parameters=form.without({"MessageSid", "From", "To", "Body", "ButtonPayload"}),
    )


def read_either(form: Form, query: Form, now: dt.datetime) -> Callback:
    """A callback to an address that serves both: only statuses have a MessageStatus."""
    return read_status(form, query, now) if form.get("MessageStatus") else read_inbound(form, query, now)


def _required(form: Form, name: str) -> str:
    value = form.get(name)
    if value is None:
        raise IncompleteCallbackError(f"{name} is missing.")
    return value


def _public(form: Form, told: set[str]) -> dict[str, str]:
    """The parameters that the event does not tell otherwise, without those that give away who was written to."""
    telling = [number for name in ("To", "From") if (number := _digits(form.get(name) or "")[-TELLING_DIGITS:])]
    return {
        name: value
        for name, value in form.without(PRIVATE | told).items()
        if not any(number in _digits(value) for number in telling) and not PHONE.search(value)
    }


def _digits(text: str) -> bytes:
    return text.encode().translate(None, delete=NO_DIGITS)


def _address(address: str) -> str:
    return address.removeprefix("whatsapp:")


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _attempt(text: str | None) -> int | None:
    attempt = _whole_number(text)
    return attempt if attempt and 1 <= attempt <= MOST_ATTEMPTS else None


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else None
