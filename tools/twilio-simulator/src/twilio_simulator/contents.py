"""Content templates as Twilio keeps them, and Meta's review of them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Literal

from twilio_simulator.messages import Standing, Template

TEXT: Final = "twilio/text"
QUICK_REPLY: Final = "twilio/quick-reply"
AUTHENTICATION: Final = "whatsapp/authentication"

NAME: Final = re.compile(r"[a-z0-9_]{1,512}")
CATEGORIES: Final = frozenset({"UTILITY", "MARKETING", "AUTHENTICATION"})
LONGEST_BODY: Final = 1600
LONGEST_TITLE: Final = 20
MOST_BUTTONS: Final = 10

_STARTS_OR_ENDS_WITH_VARIABLE: Final = re.compile(r"\W*\{\{\w+\}\}.*|.*\{\{\w+\}\}\W*", re.DOTALL)


class Approval(StrEnum):
    """Twilio's words for where the review is."""

    UNSUBMITTED = "unsubmitted"
    RECEIVED = "received"
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    PAUSED = "paused"
    DISABLED = "disabled"


NEXT: Final = {Approval.RECEIVED: Approval.PENDING}
"""What comes before the verdict, by itself."""

UNDER_REVIEW: Final = frozenset({Approval.RECEIVED, Approval.PENDING})

_STANDING: Final = {
    Approval.APPROVED: Standing.APPROVED,
    Approval.REJECTED: Standing.REJECTED,
    Approval.PAUSED: Standing.PAUSED,
    Approval.DISABLED: Standing.DISABLED,
}

_PRESET: Final = {
    "it": ("{{1}} è il tuo codice di verifica.", " Per la tua sicurezza, non condividerlo.", "Scade tra {n} minuti."),
    "ru": ("{{1}} — ваш код подтверждения.", " Никому его не сообщайте.", "Код действителен {n} мин."),  # noqa: RUF001 - Russian
}
_PRESET_ENGLISH: Final = (
    "{{1}} is your verification code.",
    " For your security, do not share this code.",
    "This code expires in {n} minutes.",
)


@dataclass(frozen=True, slots=True)
class Content:
    """A template as it now is. `verdict`: how a review that was asked for will end."""

    sid: str
    friendly_name: str
    language: str
    types: dict[str, Any]
    variables: dict[str, str]
    created_at: datetime
    updated_at: datetime
    approval: Approval = Approval.UNSUBMITTED
    name: str = ""
    category: str = ""
    rejection_reason: str = ""
    verdict: Approval = Approval.APPROVED
    verdict_reason: str = ""
    kind: Literal["content"] = "content"


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why Twilio does not take a template or a request for its approval."""

    detail: str


def content_fault(given: Any) -> Invalid | None:  # noqa: ANN401 - whatever JSON a client sent
    """What is wrong with the JSON of a template that is to be created."""
    match given:
        case {"language": str(language), "types": dict(types)} if language and types:
            pass
        case _:
            return Invalid("language and types are required")
    variables = given.get("variables") or {}
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        return Invalid("variables must map names to texts")
    return next(filter(None, (_type_fault(name, types[name]) for name in types)), None)


def _type_fault(name: str, given: Any) -> Invalid | None:  # noqa: ANN401 - whatever JSON a client sent
    match name, given:
        case "twilio/text", {"body": str(body)} if 0 < len(body) <= LONGEST_BODY:
            return None
        case "twilio/quick-reply", {"body": str(body), "actions": list(actions)} if 0 < len(body) <= LONGEST_BODY:
            good = 0 < len(actions) <= MOST_BUTTONS and all(map(_is_button, actions))
            return None if good else Invalid("twilio/quick-reply: actions")
        case "whatsapp/authentication", {"actions": [{"type": "COPY_CODE", "copy_code_text": str(text)}]} if text:
            minutes = given.get("code_expiration_minutes", 1)
            return None if isinstance(minutes, int) and 1 <= minutes <= 90 else Invalid("code_expiration_minutes")  # noqa: PLR2004 - Twilio's range
        case _:
            return Invalid(f"types: {name}")


def _is_button(action: Any) -> bool:  # noqa: ANN401 - whatever JSON a client sent
    match action:
        case {"title": str(title), "id": str(id_)}:
            return 0 < len(title) <= LONGEST_TITLE and bool(id_)
        case _:
            return False


def approval_fault(content: Content, given: Any) -> Invalid | None:  # noqa: ANN401 - whatever JSON a client sent
    """What is wrong with a request for approval."""
    match given:
        case {"name": str(name), "category": str(category)}:
            pass
        case _:
            return Invalid("name and category are required")
    if not NAME.fullmatch(name):
        return Invalid("name may have lower-case letters, digits and underscores")
    if category not in CATEGORIES:
        return Invalid("category")
    if content.approval is not Approval.UNSUBMITTED:
        return Invalid(f"the template was submitted before and is {content.approval}")
    return None


def objection_to(content: Content, category: str) -> str:
    """Meta's reason to reject a template, or nothing."""
    if (AUTHENTICATION in content.types) != (category == "AUTHENTICATION"):
        return "INCORRECT_CATEGORY"
    if _STARTS_OR_ENDS_WITH_VARIABLE.fullmatch(body_of(content)) and AUTHENTICATION not in content.types:
        return "INVALID_FORMAT"
    return ""


def body_of(content: Content) -> str:
    """The text that a phone shows, with its placeholders."""
    if preset := content.types.get(AUTHENTICATION):
        code, advice, expiry = _PRESET.get(content.language, _PRESET_ENGLISH)
        minutes = preset.get("code_expiration_minutes")
        advised = code + (advice if preset.get("add_security_recommendation", True) else "")
        return advised + (f"\n{expiry.format(n=minutes)}" if minutes else "")
    return str((content.types.get(TEXT) or content.types[QUICK_REPLY])["body"])


def buttons_of(content: Content) -> list[dict[str, str]]:
    """The replies that a phone offers below the text."""
    actions = content.types.get(QUICK_REPLY, {}).get("actions", [])
    return [{"title": each["title"], "id": each["id"]} for each in actions]


def template_of(content: Content) -> Template:
    """What messages need to know of it."""
    return Template(body_of(content), _STANDING.get(content.approval, Standing.UNAPPROVED))


# --- JSON -----------------------------------------------------------------------------------------------------------


def content_json(content: Content, account_sid: str, base_url: str) -> dict[str, object]:
    url = f"{base_url}/v1/Content/{content.sid}"
    return {
        "account_sid": account_sid,
        "date_created": _iso_8601(content.created_at),
        "date_updated": _iso_8601(content.updated_at),
        "friendly_name": content.friendly_name,
        "language": content.language,
        "links": {
            "approval_create": f"{url}/ApprovalRequests/whatsapp",
            "approval_fetch": f"{url}/ApprovalRequests",
        },
        "sid": content.sid,
        "types": content.types,
        "url": url,
        "variables": content.variables,
    }


def approval_json(content: Content) -> dict[str, object]:
    return {
        "allow_category_change": True,
        "category": content.category,
        "content_type": next(iter(content.types)),
        "name": content.name,
        "rejection_reason": content.rejection_reason,
        "status": content.approval,
    }


def _iso_8601(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
