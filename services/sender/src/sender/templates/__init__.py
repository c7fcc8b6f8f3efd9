"""The templates for messages outside the 24-hour window, one file per purpose and language beside this module.

WhatsApp takes them only as Meta has approved them, so a template's name carries a hash of what is approved: a changed
file is another template, which has to be submitted anew.
"""

import functools
import hashlib
import importlib.resources
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pydantic import Field, ValidationError, model_validator

from common.events import DirectPurpose, Language
from common.model import Request

LONGEST: Final = 1024
"""WhatsApp's limit of a template's text with its variables filled in, else 63021."""

MOST_VARIABLES: Final = 100
MOST_BUTTONS: Final = 3
"""WhatsApp shows more of them as a list that has to be opened."""
LONGEST_TITLE: Final = 20

LONGEST_CODE: Final = 15
"""Meta's limit of an authentication template's variable."""


class Purpose(StrEnum):
    """What a template is for."""

    DIGEST = "digest"
    CODE = "code"
    LINKED = "linked"
    TEST = "test"


class Category(StrEnum):
    """Meta's categories, by which it reviews and charges."""

    UTILITY = "UTILITY"
    AUTHENTICATION = "AUTHENTICATION"
    MARKETING = "MARKETING"


class Approval(StrEnum):
    """Where Meta's review of a template is: Twilio's words, and ours for what Twilio does not know."""

    MISSING = "missing"  # ours: Twilio has no template of this name
    UNKNOWN = "unknown"  # ours: Twilio could not be asked yet, or says something new
    UNSUBMITTED = "unsubmitted"
    RECEIVED = "received"
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    PAUSED = "paused"
    DISABLED = "disabled"


MAY_STILL_COME: Final = frozenset({Approval.UNKNOWN, Approval.RECEIVED, Approval.PENDING, Approval.PAUSED})
"""States that end by themselves: it is worth waiting for the template."""


class InvalidTemplate(Exception):  # noqa: N818 - named by what is the case
    """A template's file breaks a rule of Twilio's or Meta's."""

    def __init__(self, file: str, faults: Iterable[str]) -> None:
        super().__init__("\n".join(f"{file}: {fault}" for fault in faults))


class Variable(Request):
    """A placeholder: what it stands for, what Meta's reviewers are shown, and how long it may be."""

    means: str = Field(min_length=1)
    sample: str = Field(min_length=1)
    longest: int = Field(ge=1, le=LONGEST)


class Button(Request):
    """A reply that a press sends: its title is shown, `id` is what reaches us, a command that the api understands."""

    title: str = Field(min_length=1, max_length=LONGEST_TITLE, pattern=r"^[^\n*_~`{}]+$")
    id: str = Field(min_length=1, max_length=128)


class _File(Request):
    """A template's file. A text of ours, with buttons or without, or for codes WhatsApp's own."""

    category: Category
    body: str | None = None
    buttons: tuple[Button, ...] = Field(default=(), max_length=MOST_BUTTONS)
    copy_code_text: str | None = Field(default=None, min_length=1, max_length=25)
    code_expiration_minutes: int | None = Field(default=None, ge=1, le=90)
    variables: dict[str, Variable] = Field(max_length=MOST_VARIABLES)

    @model_validator(mode="after")
    def _text_or_code(self) -> "_File":
        if (self.category is Category.AUTHENTICATION) != (self.body is None):
            raise ValueError(
                "an AUTHENTICATION template has no body, since its text is WhatsApp's; the others need one"
            )
        if self.body is None and self.buttons:
            raise ValueError("an AUTHENTICATION template has no buttons but its own")
        if any(len({getattr(each, name) for each in self.buttons}) < len(self.buttons) for name in ("title", "id")):
            raise ValueError("two buttons have the same title or the same id")
        return self


@dataclass(frozen=True)
class Template:
    """One template. `types` is what Twilio's Content API calls so."""

    purpose: Purpose
    language: Language
    category: Category
    types: Mapping[str, Any]
    variables: Mapping[str, Variable]

    @functools.cached_property
    def name(self) -> str:
        """The friendly name at Twilio and the template's name at Meta: the same exactly while both hold this text."""
        approved = json.dumps([self.category, self.types, sorted(self.variables)], sort_keys=True)
        return f"{self.family}_{hashlib.sha256(approved.encode()).hexdigest()[:10]}"

    @property
    def family(self) -> str:
        """What the names of all versions begin with."""
        return f"itarent_{self.purpose}_{self.language}"

    @property
    def samples(self) -> dict[str, str]:
        return {name: variable.sample for name, variable in self.variables.items()}

    @property
    def body(self) -> str:
        """The text; empty where it is WhatsApp's own."""
        return next((str(each["body"]) for name, each in self.types.items() if name in _WITH_BODY), "")

    @property
    def buttons(self) -> Mapping[str, str]:
        """Titles by what a press sends."""
        actions = self.types.get(_QUICK_REPLY, {}).get("actions", ())
        return {str(each["id"]): str(each["title"]) for each in actions}


_TEXT: Final = "twilio/text"
_QUICK_REPLY: Final = "twilio/quick-reply"
_WITH_BODY: Final = frozenset({_TEXT, _QUICK_REPLY})

Key = tuple[Purpose, Language]
Templates = Mapping[Key, Template]


@dataclass(frozen=True)
class Standing:
    """What Twilio and Meta said of a template last."""

    approval: Approval
    sid: str | None = None
    reason: str = ""

    @property
    def content_sid(self) -> str | None:
        """The ContentSid, if messages may use it now."""
        return self.sid if self.approval is Approval.APPROVED else None


UNKNOWN: Final = Standing(Approval.UNKNOWN)
MISSING: Final = Standing(Approval.MISSING)


@dataclass(frozen=True)
class Standings:
    """How all templates stand. Nothing is usable until Twilio has said so."""

    by_key: Mapping[Key, Standing] = field(default_factory=dict)

    def of(self, purpose: Purpose, language: Language) -> Standing:
        return self.by_key.get((purpose, language), UNKNOWN)

    def content_sid(self, purpose: Purpose, language: Language) -> str | None:
        """The ContentSid for a purpose in a language; None while there is no approved template."""
        return self.of(purpose, language).content_sid

    def as_json(self) -> dict[str, str]:
        """The approval of each, for people."""
        return {f"{purpose}.{language}": each.approval.value for (purpose, language), each in self.by_key.items()}


def purpose_of(direct: DirectPurpose | None) -> Purpose | None:
    """The template that stands in for a message (None: a digest); None for answers, which are only given in time."""
    if direct is None:
        return Purpose.DIGEST
    return _PURPOSES.get(direct.value)


_PURPOSES: Final[Mapping[str, Purpose]] = {purpose.value: purpose for purpose in Purpose}


@functools.cache
def templates() -> Templates:
    """The templates of this version, by purpose and language.

    Raises:
        InvalidTemplate: a file breaks a rule; all its faults are named.
    """
    folder = importlib.resources.files(__name__)
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    read = [template_of(file.name, file.read_text(encoding="utf-8")) for file in files]
    return {(template.purpose, template.language): template for template in read}


def template_of(name: str, text: str) -> Template:
    """The template of a file called `<purpose>.<language>.toml`.

    Raises:
        InvalidTemplate: it breaks a rule; all its faults are named.
    """
    try:
        purpose, language, _ = name.split(".")
        file = _File.model_validate(tomllib.loads(text))
        template = Template(Purpose(purpose), Language(language), file.category, _types(file), file.variables)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise InvalidTemplate(name, faults) from error
    except ValueError as error:  # the name, or no TOML
        raise InvalidTemplate(name, [str(error)]) from error
    if faults := list(faults_of(template)):
        raise InvalidTemplate(name, faults)
    return template


def _types(file: _File) -> dict[str, Any]:
    if file.body is not None:
        text = {"body": file.body.strip()}
        actions = [{"type": "QUICK_REPLY", "title": each.title, "id": each.id} for each in file.buttons]
        return {_QUICK_REPLY: {**text, "actions": actions}} if actions else {_TEXT: text}
    copy_code = {"type": "COPY_CODE", "copy_code_text": file.copy_code_text or "Copy code"}
    authentication: dict[str, Any] = {"add_security_recommendation": True, "actions": [copy_code]}
    if file.code_expiration_minutes:
        authentication["code_expiration_minutes"] = file.code_expiration_minutes
    return {"whatsapp/authentication": authentication}


# --- Twilio's and Meta's rules --------------------------------------------------------------------------------------

_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}")
_NOT_A_VALUE: Final = re.compile(r"[\n\r\t]| {5,}")
_WORD: Final = re.compile(r"\w")


def faults_of(template: Template) -> Iterator[str]:
    """What Twilio or Meta would refuse, by their published rules."""
    for name, variable in template.variables.items():
        if fault := value_fault(variable, variable.sample):
            yield f"the sample of variable {name} {fault}"
    if template.category is Category.AUTHENTICATION:
        yield from _faults_of_code(template)
    else:
        yield from _faults_of_text(template)


def value_fault(variable: Variable, value: str) -> str | None:
    """Why a value may not be filled in, or None: else Twilio answers 21656, 63013 or 63021."""
    if not value.strip():
        return "is empty"
    if _NOT_A_VALUE.search(value):
        return "has a line break, a tab or more than four blanks in a row"
    return f"is longer than {variable.longest}" if _length(value) > variable.longest else None


def _faults_of_code(template: Template) -> Iterator[str]:
    if list(template.variables) != ["1"] or template.variables["1"].longest > LONGEST_CODE:
        yield f"a template for codes has one variable, 1, of at most {LONGEST_CODE} characters"


def _faults_of_text(template: Template) -> Iterator[str]:
    body = template.body
    used = _PLACEHOLDER.findall(body)
    if set(used) != set(template.variables) or sorted(used) != [str(n + 1) for n in range(len(used))]:
        yield "the body uses each declared variable once, and they are numbered 1, 2, 3, … without a gap"
    parts = _PLACEHOLDER.split(body)[::2]
    if used and not (_WORD.search(parts[0]) and _WORD.search(parts[-1])):
        yield "the body must begin and end with words, not with a variable"
    if not all(_WORD.search(between) for between in parts[1:-1]):
        yield "there must be a word between two variables"
    words = sum(len([word for word in part.split() if _WORD.search(word)]) for part in parts)
    if words < 2 * len(used) + 1:
        yield f"{len(used)} variables need at least {2 * len(used) + 1} words around them"
    longest = sum(map(_length, parts)) + sum(variable.longest for variable in template.variables.values())
    if longest > LONGEST:
        yield f"filled in it may have {longest} characters; WhatsApp takes {LONGEST}"


def _length(text: str) -> int:
    """UTF-16 code units: the most that a character can count."""
    return len(text.encode("utf-16-le")) // 2
