"""Words of Italian and English texts: folded once, then compared by whole words."""

import re
import unicodedata
from functools import lru_cache
from typing import Final, NewType

Folded = NewType("Folded", str)
"""Words in lower case without accents, one blank between them: `È all'ultimo piano!` is `e all ultimo piano`."""

_WORD = re.compile(r"[^\W_]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
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
    return _words(_plain(text))


def fold_all(*texts: str) -> Folded:
    """The words of all texts, with bars between, so that no phrase runs from one into the other.

    Hyphenated words are there in both ways of writing them: `wi fi`, and `wifi` behind the last bar.
    """
    plain = [_plain(text) for text in texts]
    return Folded(" | ".join([*map(_words, plain), _joined(" ".join(plain))]))


def _words(plain: str) -> Folded:
    return Folded(" ".join(_WORD.findall(plain)))


def _joined(plain: str) -> str:
    """The hyphenated words, each written as one. Ranges of numbers are none: `2-3 locali`."""
    hyphenated = " ".join(chunk for chunk in plain.split() if "-" in chunk)
    return " ".join(word.replace("-", "") for word in _HYPHENATED.findall(hyphenated))


def _plain(text: str) -> str:
    """Small letters without accents; what cannot be seen (soft hyphens, joiners, marks of direction) is not there."""
    lowered = text.casefold()
    return lowered if lowered.isascii() else _NOT_ASCII.sub(_plainer, lowered)


def _plainer(found: re.Match[str]) -> str:
    return _without_accents(found[0])


@lru_cache(maxsize=65_536)
def _without_accents(characters: str) -> str:
    # Once more in small letters: those of mathematical alphabets, in which titles shout, are decomposed first.
    decomposed = unicodedata.normalize("NFKD", characters.translate(_MEANT)).casefold()
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
