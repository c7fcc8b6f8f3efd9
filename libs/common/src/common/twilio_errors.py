"""Twilio's error codes: what each means to us, and what people are told about it. All of it stands in
`data/twilio_errors.toml`: sender, api, command line, logs and guides say the same sentence about a code.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

from common.events import Language


class Meaning(StrEnum):
    """What an error code means; the words of final ones are the reasons that people read."""

    RATE_LIMITED = "rate_limited"
    MISCONFIGURED = "misconfigured"
    OUTSIDE_WINDOW = "outside_window"
    OPTED_OUT = "opted_out"
    STALE = "stale"
    TEMPORARY = "temporary"
    ACCOUNT_BUSY = "account_busy"
    CHANNEL_BUSY = "channel_busy"
    DAILY_CAP = "daily_cap"
    NOT_JOINED_SANDBOX = "not_joined_sandbox"
    UNVERIFIED_NUMBER = "unverified_number"  # a trial account may only write to verified ones
    INVALID_NUMBER = "invalid_number"
    UNREACHABLE = "unreachable"
    COUNTRY_NOT_ENABLED = "country_not_enabled"
    MARKETING_DECLINED = "marketing_declined"
    CARRIER_REFUSED = "carrier_refused"
    CONTENT_REFUSED = "content_refused"
    TEMPLATE_REFUSED = "template_refused"
    TEMPLATE_UNUSABLE = "template_unusable"  # rejected, paused or disabled as a whole
    REFUSED = "refused"  # the request itself was wrong


@dataclass(frozen=True)
class Advice:
    """What happened, and what whoever reads it can do: a sentence or two each."""

    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.what} {self.cure}"


Words = Mapping[Language, Advice]


def advice_of(code: int | None, language: Language = Language.ENGLISH, *, http_status: int | None = None) -> Advice:
    """What to tell people about an error code of Twilio's, or about an answer without one by its HTTP status."""
    if code is None:
        code = _CODE_OF_STATUS.get(http_status)
    if code in _ADVICE:
        return _ADVICE[code][language]
    words = _otherwise(code, http_status)[language]
    blanks = {"code": code, "status": http_status}
    return Advice(words.what.format(**blanks), words.cure.format(**blanks))


def advice_without_answer(*, asked: bool, language: Language = Language.ENGLISH) -> Advice:
    """What to tell people where Twilio said nothing; `asked`: the request may have reached it."""
    return _OTHERWISE["silent" if asked else "unreachable"][language]


def _otherwise(code: int | None, http_status: int | None) -> Words:
    if code is not None:
        return _OTHERWISE["unknown_code"]
    return _OTHERWISE["no_code" if http_status is None else "http_status"]


_CODE_OF_STATUS: Final[Mapping[int | None, int]] = {
    HTTPStatus.UNAUTHORIZED: 20003,
    HTTPStatus.FORBIDDEN: 20003,
    HTTPStatus.TOO_MANY_REQUESTS: 20429,
}
"""Codes that Twilio sometimes leaves out, by the HTTP status that says the same."""


def _words(entry: Mapping[str, Any]) -> Words:
    return {language: Advice(**entry[language]) for language in Language}


_DATA: Final[Mapping[str, Any]] = tomllib.loads(
    files("common").joinpath("data", "twilio_errors.toml").read_text(encoding="utf-8")
)

MEANING_OF: Final[Mapping[int, Meaning]] = {
    code: Meaning(entry["meaning"]) for entry in _DATA["errors"] for code in entry["codes"]
}

CODES: Final[Mapping[Meaning, tuple[int, ...]]] = {
    meaning: tuple(code for code, means in MEANING_OF.items() if means is meaning) for meaning in Meaning
}
"""Twilio's error codes by what they mean to us."""

_ADVICE: Final[Mapping[int | None, Words]] = {
    code: words for entry in _DATA["errors"] for words in [_words(entry)] for code in entry["codes"]
}

_OTHERWISE: Final[Mapping[str, Words]] = {case: _words(entry) for case, entry in _DATA["otherwise"].items()}
