"""Words of Italian and English texts: folded once, then compared by whole words."""

import re
import unicodedata
from functools import lru_cache
from typing import Final, NewType

Folded = NewType("Folded", str)
"""Words in lower case without accents, one blank between them: `È all'ultimo piano!` is `e all ultimo piano`."""

_WORD = re.compile(r"[^\W_]+")
_HYPHENATED = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)+")

_MEANT: Final = {
    **dict.fromkeys(map(ord, "\u02b9\u02bb\u02bc\u02bd\u02c8\u02ca\u02cb"), "'"),  # letters to Unicode
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"), "-"),
}
"""What is meant by characters that look like apostrophes and hyphens."""


class _Left(dict[int, int | None]):
    """Of each character by its number, whether it is left; decided when it first occurs."""

    def __missing__(self, number: int) -> int | None:
        character = chr(number)
        unseen = unicodedata.combining(character) or unicodedata.category(character) == "Cf"
        self[number] = left = None if unseen else number
        return left


_LEFT: Final = _Left()


def fold(text: str) -> Folded:
    """The words of a text. An apostrophe ends a word, so that an elided article stands alone: `dell orto`."""
    return Folded(" ".join(_WORD.findall(_plain(text))))


def joined(text: str) -> Folded:
    """The hyphenated words of a text, written as one: `wifi` for `wi-fi`. Ranges of numbers are none: `2-3 locali`."""
    return Folded(" ".join(word.replace("-", "") for word in _HYPHENATED.findall(_plain(text))))


def _plain(text: str) -> str:
    """Small letters without accents; what cannot be seen (soft hyphens, joiners, marks of direction) is not there."""
    lowered = text.casefold()
    if lowered.isascii():
        return lowered
    # Once more in small letters: those of mathematical alphabets, in which titles shout, are decomposed first.
    decomposed = unicodedata.normalize("NFKD", lowered.translate(_MEANT)).casefold()
    return decomposed.translate(_LEFT)


@lru_cache(maxsize=65_536)
def fold_phrase(phrase: str) -> Folded:
    """As `fold`, remembered: for zones, which are short and come again with every listing."""
    return fold(phrase)


@lru_cache(maxsize=65_536)
def fold_keyword(keyword: str) -> Folded:
    """As `fold`, without an elided article at the beginning: who looks for `l'ascensore` looks for any `ascensore`."""
    folded = fold(keyword)
    article, _, rest = folded.partition(" ")
    elided = article in {"l", "un"} and rest and not keyword.strip()[len(article) :][:1].isspace()
    return Folded(rest) if elided else folded


def contains_phrase(text: Folded, phrase: Folded) -> bool:
    """Whether the words of the phrase stand in the text, whole and one after the other. No words stand nowhere."""
    return bool(phrase) and f" {phrase} " in f" {text} "
