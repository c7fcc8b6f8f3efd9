"""What people write to our number: commands in three languages, and codes that prove a phone."""

import re
import secrets
import unicodedata
from enum import StrEnum
from typing import Final


class Command(StrEnum):
    STOP = "stop"
    START = "start"


_STOP_WORDS: Final = frozenset(
    (
        *("stop", "basta", "cancella", "cancellami", "annulla", "disiscrivimi", "arresta", "arresto", "fermati"),
        *("stopall", "unsubscribe", "cancel", "quit", "end", "optout"),
        *("стоп", "отписаться", "отпишись", "отписка", "хватит", "отмена", "остановить", "прекратить"),
    )
)
_START_WORDS: Final = frozenset(
    (
        *("start", "inizia", "iniziare", "riprendi", "riprendere", "iscrivimi", "ricomincia"),
        *("unstop", "resume", "subscribe", "optin"),
        *("старт", "начать", "возобновить", "продолжить", "подписаться"),
    )
)
MOST_WORDS: Final = 3  # "stop per favore" is a command, a story that begins with "basta" is not


def command_of(text: str) -> Command | None:
    """The command that a short message begins with, or None."""
    words = _words(text)
    if not words or len(words) > MOST_WORDS:
        return None
    if words[0] in _STOP_WORDS:
        return Command.STOP
    return Command.START if words[0] in _START_WORDS else None


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def joins(text: str) -> bool:
    """Whether a text is `join two-words`, with which a phone joins Twilio's sandbox."""
    return re.fullmatch(r"join\s+\w+[\s-]\w+", text.strip().casefold()) is not None


CODE_LENGTH: Final = 6
CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ23456789"  # no vowels, so no words; nothing that looks like something else


def new_code() -> str:
    """A code of about 29 bits; it counts only from one phone, for minutes, for a few tries."""
    return "".join(secrets.choice(CODE_LETTERS) for _ in range(CODE_LENGTH))


def codes_in(text: str) -> list[str]:
    """What may be a code in a message, however it is written around it."""
    return re.findall(rf"\b[{CODE_LETTERS}]{{{CODE_LENGTH}}}\b", unicodedata.normalize("NFKC", text).upper())


def code_as_typed(text: str) -> str:
    """A code that somebody has typed, without the blanks and dashes that people put into it."""
    return "".join(each for each in unicodedata.normalize("NFKC", text).upper() if each.isalnum())
