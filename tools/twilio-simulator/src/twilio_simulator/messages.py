"""The pure rules of creating a message: what Twilio would answer to a form."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Final, Literal
from urllib.parse import SplitResult, parse_qsl, urlsplit

from twilio_simulator import codes
from twilio_simulator.codes import Refusal
from twilio_simulator.phones import CHANNEL, NUMBER, Phone, has_joined, number_of, window_is_open

BODY_LIMIT: Final = 1600
TEMPLATE_LIMIT: Final = 1024
URL_LIMIT: Final = 4000
MEDIA_LIMIT: Final = 10
VALIDITY_SECONDS: Final = range(1, 36_001)

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_BLANKS = re.compile(r" {5,}|[\n\r\t]")
_ADDRESS = re.compile(rf"({CHANNEL})?{NUMBER.pattern}")
_HOST = re.compile(r"[A-Za-z0-9.:-]+")

_BOOLEAN = re.compile("true|false", re.IGNORECASE)
_INTEGER = re.compile(r"-?\d{1,18}")
_SHAPES: dict[str, re.Pattern[str]] = {
    "AddressRetention": re.compile("retain|obfuscate"),
    "ApplicationSid": re.compile("AP[0-9a-fA-F]{32}"),
    "Attempt": _INTEGER,
    "ContentRetention": re.compile("retain|discard"),
    "ContentSid": re.compile("HX[0-9a-fA-F]{32}"),
    "ForceDelivery": _BOOLEAN,
    "MaxPrice": re.compile(r"-?\d+(\.\d+)?"),
    "MessagingServiceSid": re.compile("MG[0-9a-fA-F]{32}"),
    "ProvideFeedback": _BOOLEAN,
    "RiskCheck": re.compile("enable|disable"),
    "ScheduleType": re.compile("fixed"),
    "SendAsMms": _BOOLEAN,
    "SendAt": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"),
    "ShortenUrls": _BOOLEAN,
    "SmartEncoded": _BOOLEAN,
    "TrafficType": re.compile("free"),
    "ValidityPeriod": _INTEGER,
}
"""What the API's specification asks of a parameter's text. Parameters that it does not know are ignored."""


class Standing(Enum):
    """What Meta's review of a template means for the messages that use it."""

    APPROVED = auto()
    UNAPPROVED = auto()  # not submitted, or under review: such a message is like free text
    REJECTED = auto()
    PAUSED = auto()
    DISABLED = auto()


@dataclass(frozen=True, slots=True)
class Template:
    """A template: its text has placeholders such as `{{1}}`."""

    body: str
    standing: Standing = Standing.APPROVED


@dataclass(frozen=True, slots=True)
class Account:
    """Whose messages are taken: of the one WhatsApp number. `sandbox`: recipients must have joined.

    `trial`: only verified phones, and few messages a day. `templates`: by ContentSid.
    """

    sid: str
    number: str
    sandbox: bool = True
    trial: bool = False
    status: Literal["active", "suspended", "closed"] = "active"
    templates: Mapping[str, Template] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Order:
    """A request to create a message, as it was written. Empty: not given."""

    to: str = ""
    sender: str = ""
    service_sid: str = ""
    body: str = ""
    media_urls: tuple[str, ...] = ()
    content_sid: str = ""
    content_variables: str = ""
    status_callback: str = ""
    validity_seconds: int = 36_000
    send_at: datetime | None = None


def order_of(form: bytes) -> Order | Refusal:
    """Read a form. A parameter that the specification forbids is refused."""
    try:
        pairs = parse_qsl(form.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=200)
        fields = dict(pairs)
        for name, text in fields.items():
            if (shape := _SHAPES.get(name)) and not shape.fullmatch(text):
                return Refusal(codes.INVALID_PARAMETER, name)
        return Order(
            to=fields.get("To", ""),
            sender=fields.get("From", ""),
            service_sid=fields.get("MessagingServiceSid", ""),
            body=fields.get("Body", ""),
            media_urls=tuple(url for name, url in pairs if name == "MediaUrl"),
            content_sid=fields.get("ContentSid", ""),
            content_variables=fields.get("ContentVariables", ""),
            status_callback=fields.get("StatusCallback", ""),
            validity_seconds=int(fields.get("ValidityPeriod", 36_000)),
            send_at=datetime.fromisoformat(fields["SendAt"]) if "ScheduleType" in fields else None,
        )
    except (KeyError, ValueError):  # not UTF-8, too many fields, no such date, a schedule without its date
        return Refusal(codes.INVALID_PARAMETER, "the form cannot be read")


def recipient_is_valid(order: Order, _account: Account) -> Refusal | None:
    if not order.to:
        return Refusal(codes.TO_REQUIRED)
    return None if _ADDRESS.fullmatch(order.to) else Refusal(codes.TO_INVALID, order.to)


def sender_is_ours(order: Order, account: Account) -> Refusal | None:
    if not order.sender:
        return None if order.service_sid else Refusal(codes.FROM_REQUIRED)
    if not _ADDRESS.fullmatch(order.sender):
        return Refusal(codes.FROM_INVALID, order.sender)
    on_whatsapp = order.sender.startswith(CHANNEL)
    if on_whatsapp != order.to.startswith(CHANNEL):
        return Refusal(codes.CHANNELS_DIFFER)
    if not on_whatsapp:
        return Refusal(codes.FROM_NOT_OURS, order.sender)
    if number_of(order.sender) != account.number:
        return Refusal(codes.CHANNEL_NOT_FOUND)
    return Refusal(codes.TO_IS_FROM) if order.to == order.sender else None


def content_is_given(order: Order, _account: Account) -> Refusal | None:
    given = order.body or order.media_urls or order.content_sid
    return None if given else Refusal(codes.CONTENT_REQUIRED)


def length_of(text: str) -> int:
    """Characters as UTF-16 counts them: an emoji is two. Stricter than code points, so safe on either reading."""
    return len(text) + sum(character > "\uffff" for character in text)


def body_fits(order: Order, _account: Account) -> Refusal | None:
    return Refusal(codes.BODY_TOO_LONG) if length_of(order.body) > BODY_LIMIT else None


def media_are_reachable(order: Order, _account: Account) -> Refusal | None:
    if len(order.media_urls) > MEDIA_LIMIT:
        return Refusal(codes.TOO_MANY_MEDIA)
    return None if all(map(is_url, order.media_urls)) else Refusal(codes.MEDIA_URL_INVALID)


def variables_of(text: str) -> dict[str, str] | None:
    """The ContentVariables, a JSON object of texts that are not empty; None if they are anything else."""
    try:
        variables = json.loads(text or "{}")
    except ValueError:
        return None
    if not isinstance(variables, dict):
        return None
    return variables if all(isinstance(value, str) and value.strip() for value in variables.values()) else None


_UNUSABLE = {
    Standing.REJECTED: codes.TEMPLATE_REJECTED,
    Standing.PAUSED: codes.TEMPLATE_PAUSED,
    Standing.DISABLED: codes.TEMPLATE_DISABLED,
}


def template_is_filled(order: Order, account: Account) -> Refusal | None:
    if not order.content_sid:
        return None
    if (template := account.templates.get(order.content_sid)) is None:
        return Refusal(codes.TEMPLATE_UNKNOWN)
    if code := _UNUSABLE.get(template.standing):
        return Refusal(code)
    return _variables_fit(order, template)


def _variables_fit(order: Order, template: Template) -> Refusal | None:
    if (variables := variables_of(order.content_variables)) is None:
        return Refusal(codes.VARIABLES_INVALID)
    if any(map(_BLANKS.search, variables.values())):
        return Refusal(codes.VARIABLES_AGAINST_POLICY)
    if set(_PLACEHOLDER.findall(template.body)) != set(variables):
        return Refusal(codes.VARIABLES_MISCOUNTED)
    too_long = length_of(fill(template, variables)) > TEMPLATE_LIMIT
    return Refusal(codes.TEMPLATE_TOO_LONG) if too_long else None


def fill(template: Template, variables: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: variables[found[1]], template.body)


def text_of(order: Order, account: Account) -> str:
    """What the recipient reads of an order that no rule refused."""
    if not order.content_sid:
        return order.body
    return fill(account.templates[order.content_sid], variables_of(order.content_variables) or {})


def is_url(text: str) -> bool:
    """Absolute http or https, with a host that has no underscore, at most 4,000 characters."""
    try:
        parts: SplitResult = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return False
    host = parts.hostname or ""
    printable = text.isprintable() and " " not in text
    return (
        parts.scheme in {"http", "https"}
        and _HOST.fullmatch(host) is not None
        and port_is_valid
        and printable
        and len(text) <= URL_LIMIT
    )


def status_callback_is_valid(order: Order, _account: Account) -> Refusal | None:
    if not order.status_callback or is_url(order.status_callback):
        return None
    return Refusal(codes.STATUS_CALLBACK_INVALID, order.status_callback[:200])


def validity_is_in_range(order: Order, _account: Account) -> Refusal | None:
    return None if order.validity_seconds in VALIDITY_SECONDS else Refusal(codes.VALIDITY_OUT_OF_RANGE)


Rule = Callable[[Order, Account], Refusal | None]

RULES: tuple[Rule, ...] = (
    recipient_is_valid,
    sender_is_ours,
    content_is_given,
    body_fits,
    media_are_reachable,
    template_is_filled,
    status_callback_is_valid,
    validity_is_in_range,
)


def refusal_of(order: Order, account: Account) -> Refusal | None:
    """Why the order is refused whoever its recipient is: the first rule that it breaks."""
    for rule in RULES:
        if refusal := rule(order, account):
            return refusal
    return None


def unreachable_code(order: Order, phone: Phone, account: Account, now: datetime) -> int | None:
    """Why this recipient cannot have this message now. Twilio says so in its answer or later by callback."""
    if account.trial and not phone.verified:
        return codes.UNVERIFIED
    if phone.blocked:
        return codes.UNSUBSCRIBED
    if account.sandbox and not has_joined(phone, now):
        return codes.NOT_JOINED
    if not _is_approved(order, account) and not window_is_open(phone, account.number, now):
        return codes.OUTSIDE_WINDOW
    return None


def _is_approved(order: Order, account: Account) -> bool:
    template = account.templates.get(order.content_sid)
    return template is not None and template.standing is Standing.APPROVED
