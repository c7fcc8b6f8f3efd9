"""What people write to our number: commands in three languages, and codes that prove a phone. Pure."""

import datetime as dt
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import dropwhile
from typing import Final

from common.text import fold


class Command(StrEnum):
    STOP = "stop"
    START = "start"
    PAUSE = "pause"
    DETAILS = "details"
    SAVE = "save"
    NEVER = "never"
    FEWER = "fewer"
    MORE = "more"
    WHY = "why"
    HELP = "help"


@dataclass(frozen=True)
class Order:
    """What a message asks for; `numbers` are the flats that it names, `lasting` is how long a pause is to be."""

    command: Command
    numbers: tuple[int, ...] = ()
    lasting: dt.timedelta | None = None


_WORDS: Final[Mapping[Command, str]] = {
    Command.STOP: """
        stop basta cancella cancellami annulla disiscrivimi arresta arresto fermati
        stopall unsubscribe cancel quit end optout
        стоп отписаться отпишись отписка хватит отмена остановить прекратить
    """,
    Command.START: """
        start inizia iniziare riprendi riprendere iscrivimi ricomincia
        unstop resume subscribe optin
        старт начать возобновить продолжить подписаться
    """,
    Command.PAUSE: "pausa sospendi sospendere pause snooze mute пауза приостановить приостанови",
    Command.DETAILS: "dettagli dettaglio info details detail show mostra подробности подробнее покажи",
    Command.SAVE: "salva salvare salvalo salvala save keep bookmark сохранить сохрани",
    Command.NEVER: "no mai scarta nascondi never hide skip нет никогда скрыть скрой",
    Command.FEWER: "meno fewer less меньше реже",
    Command.MORE: "più more больше чаще",
    Command.WHY: "perché why почему зачем",
    Command.HELP: "aiuto aiutami help menu comandi commands помощь помоги справка команды меню",
}
_COMMANDS: Final = {word: command for command, words in _WORDS.items() for word in fold(words).split()}

MOST_WORDS: Final = 3
"""`stop per favore` is a command, a story that begins with `basta` is not."""
MOST_WORDS_WITH_NUMBERS: Final = 6
"""`pausa per 2 settimane, grazie`, `1, 2 e 3`."""
MOST_NUMBERS: Final = 3
"""So many flats are answered about at once."""
HIGHEST_NUMBER: Final = 99

_WRITTEN_OUT: Final = {
    word: number
    for number, words in enumerate(("uno one один", "due two два", "tre three три"), 1)
    for word in fold(words).split()
}
_BESIDE_NUMBERS: Final = frozenset(fold("il lo la e n nr num numero annuncio the and number listing и номер").split())
"""What may stand beside a number that is all of a message: `il 2`, `n. 3`, `1 e 2`."""

_POLITE: Final = frozenset(
    fold("""
        ciao salve ok va bene per favore cortesia piacere grazie scusa scusi vorrei voglio
        hi hello okay please thanks thank you sorry
        привет здравствуйте хорошо пожалуйста спасибо хочу
    """).split()
)
"""What people write before a command: `per favore, basta`."""

_DAY: Final = dt.timedelta(days=1)
LONGEST_PAUSE: Final = 90 * _DAY
_UNITS: Final = {
    word: unit
    for unit, words in (
        (dt.timedelta(hours=1), "h ora ore hour hours час часа часов"),
        (_DAY, "g gg giorno giorni d day days день дня дней"),
        (7 * _DAY, "settimana settimane w week weeks неделя неделю недели недель"),
        (30 * _DAY, "mese mesi month months месяц месяца месяцев"),
    )
    for word in fold(words).split()
}


def order_of(text: str) -> Order | None:
    """What a short message asks for, by the command that it begins with or by nothing but numbers; else None."""
    words = list(dropwhile(_POLITE.__contains__, _words(text)))
    if not words or len(words) > MOST_WORDS_WITH_NUMBERS:
        return None
    others = [word for word in words if word not in _BESIDE_NUMBERS and not _number(word)]
    numbers = _numbers(words)
    if numbers and not others:
        return Order(Command.DETAILS, numbers)
    command = _COMMANDS.get(words[0])
    if command is Command.PAUSE:
        return Order(command, lasting=_lasting(words[1:]))
    return Order(command, numbers) if command and len(others) <= MOST_WORDS else None


def _words(text: str) -> list[str]:
    """Words and numbers, apart also where they are written together: `2h`."""
    return re.findall(r"\d+|[^\W\d_]+", fold(text))


def _numbers(words: Sequence[str]) -> tuple[int, ...]:
    """The flats that are named, in the order in which they are."""
    return tuple(dict.fromkeys(number for word in words if (number := _number(word))))[:MOST_NUMBERS]


def _number(word: str) -> int | None:
    number = int(word) if word.isdecimal() else _WRITTEN_OUT.get(word, 0)
    return number if 1 <= number <= HIGHEST_NUMBER else None


def _lasting(words: Sequence[str]) -> dt.timedelta:
    """How long a pause is to be: in days, unless it says otherwise; one, unless it says how many."""
    count = next(iter(_numbers(words)), 1)
    unit = next((_UNITS[word] for word in words if word in _UNITS), _DAY)
    return min(count * unit, LONGEST_PAUSE)


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
