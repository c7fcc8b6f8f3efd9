"""Twilio's resources: a message, a page of messages, the account, as values and as the JSON of the API."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum
from typing import Literal

from twilio_simulator.codes import meaning_of

API_VERSION = "2010-04-01"


class Status(StrEnum):
    """Twilio's MessageStatus."""

    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    CANCELED = "canceled"
    RECEIVED = "received"


class Direction(StrEnum):
    API = "outbound-api"  # created through the API
    REPLY = "outbound-reply"  # the sandbox's own answer to a person
    INBOUND = "inbound"


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it now is. `ends` is the status it is bound for, with `end_code` if that is a failure."""

    sid: str
    direction: Direction
    sender: str
    to: str
    body: str
    status: Status
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None = None
    error_code: int | None = None
    media_urls: tuple[str, ...] = ()
    service_sid: str | None = None
    content_sid: str | None = None
    button_payload: str | None = None
    replied_to: str | None = None
    status_callback: str | None = None
    callback_attempts: int = 0
    ends: Status = Status.DELIVERED
    end_code: int | None = None
    num_segments: int = 1
    price: str | None = None  # as Twilio tells it: below zero
    price_unit: str | None = None
    kind: Literal["message"] = "message"


def new_sid(prefix: str) -> str:
    return prefix + secrets.token_hex(16)


def rfc_2822(moment: datetime | None) -> str | None:
    return format_datetime(moment.astimezone(UTC)) if moment else None


def account_uri(account_sid: str) -> str:
    return f"/{API_VERSION}/Accounts/{account_sid}"


def message_json(message: Message, account_sid: str) -> dict[str, object]:
    uri = f"{account_uri(account_sid)}/Messages/{message.sid}"
    error_code = message.error_code
    return {
        "account_sid": account_sid,
        "api_version": API_VERSION,
        "body": message.body,
        "date_created": rfc_2822(message.created_at),
        "date_sent": rfc_2822(message.sent_at),
        "date_updated": rfc_2822(message.updated_at),
        "direction": message.direction,
        "error_code": error_code,
        "error_message": meaning_of(error_code).message if error_code else None,
        "from": message.sender,
        "messaging_service_sid": message.service_sid,
        "num_media": str(len(message.media_urls)),
        "num_segments": str(message.num_segments),
        "price": message.price,
        "price_unit": message.price_unit,
        "sid": message.sid,
        "status": message.status,
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": message.to,
        "uri": f"{uri}.json",
    }


def account_json(account_sid: str, auth_token: str, since: datetime, *, status: str, trial: bool) -> dict[str, object]:
    uri = account_uri(account_sid)
    return {
        "auth_token": auth_token,
        "date_created": rfc_2822(since),
        "date_updated": rfc_2822(since),
        "friendly_name": "Twilio simulator",
        "owner_account_sid": account_sid,
        "sid": account_sid,
        "status": status,
        "subresource_uris": {"messages": f"{uri}/Messages.json"},
        "type": "Trial" if trial else "Full",
        "uri": f"{uri}.json",
    }
