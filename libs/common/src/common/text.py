"""Words of Italian and English texts: folded once, then compared by whole words."""

import re
import unicodedata
from functools import lru_cache
from typing import NewType

Folded = NewType("Folded", str)
"""Words in lower case without accents, one blank between them: `È all'ultimo piano!` is `e all ultimo piano`."""

_WORD = re.compile(r"[^\W_]+")


def fold(text: str) -> Folded:
    """The words of a text. An apostrophe ends a word, so that an elided article stands alone: `dell orto`."""
    lowered = text.casefold()
    if not lowered.isascii():
        decomposed = unicodedata.normalize("NFKD", lowered)
        lowered = "".join(character for character in decomposed if not unicodedata.combining(character))
    return Folded(" ".join(_WORD.findall(lowered)))


@lru_cache(maxsize=65_536)
def fold_phrase(phrase: str) -> Folded:
    """As `fold`, remembered: for keywords and zones, which are short and come again with every listing."""
    return fold(phrase)


def contains_phrase(text: Folded, phrase: Folded) -> bool:
    """Whether the words of the phrase stand in the text, whole and one after the other. No words stand nowhere."""
    return bool(phrase) and f" {phrase} " in f" {text} "
