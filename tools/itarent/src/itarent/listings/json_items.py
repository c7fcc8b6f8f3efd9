"""Items of JSON files: JSON Lines, or one document that is an item, a list of items, or an object of such lists."""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final, NoReturn

from itarent.listings.outcomes import LONGEST_VALUE_SHOWN, Refusal, Refused

Item = dict[str, Any]

LONGEST_LINE: Final = 1024 * 1024
LARGEST_DOCUMENT: Final = 64 * 1024 * 1024
_LINES_LOOKED_AT: Final = 5
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class UnusableDocumentError(Exception):
    """A document that is too large or is not JSON, so that nothing after its fault can be read."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def is_json_lines(stream: BinaryIO, is_item: Callable[[Item], bool]) -> bool:
    """Whether one of the first lines is an item by itself, which no line of a document is."""
    beginning = (item for _, item in itertools.islice(json_lines(stream), _LINES_LOOKED_AT))
    return any(isinstance(item, dict) and is_item(item) for item in beginning)


def json_lines(stream: BinaryIO) -> Iterator[tuple[int, Item | Refused]]:
    """Each line that is not blank, with its number, counted from 1."""
    for number, line in _lines(stream):
        if len(line) > LONGEST_LINE:
            yield number, Refused(Refusal.NOT_JSON, value=f"longer than {LONGEST_LINE} bytes")
        elif line.strip():
            yield number, _item(line)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers; of one that is too long, its beginning."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        rest = line
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(LONGEST_LINE + 1)
        yield number, line


def _item(line: bytes) -> Item | Refused:
    try:
        value = json.loads(line.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        return Refused(Refusal.NOT_UTF8)
    except (ValueError, RecursionError) as error:
        return Refused(Refusal.NOT_JSON, value=str(error)[:LONGEST_VALUE_SHOWN])
    return value if isinstance(value, dict) else Refused(Refusal.UNKNOWN_SHAPE, value=f"a {type(value).__name__}")


def document_items(stream: BinaryIO, is_item: Callable[[Item], bool]) -> Iterator[tuple[int, Item | Refused]]:
    """The items of one document, each with the line at which it begins. Raises UnusableDocumentError.

    `is_item` tells an item from an object that holds lists of items.
    """
    data = stream.read(LARGEST_DOCUMENT + 1)
    if len(data) > LARGEST_DOCUMENT:
        raise UnusableDocumentError(
            f"a JSON document of more than {LARGEST_DOCUMENT >> 20} MiB: write it as JSON Lines, one object a line"
        )
    try:
        yield from _Document(data.decode("utf-8-sig")).items(is_item)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise UnusableDocumentError(f"not JSON: {error}") from error


class _Document:
    """Walks over a document's outer structure, so that the line of each item is known."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted_until = 0
        self._line = 1

    def items(self, is_item: Callable[[Item], bool]) -> Iterator[tuple[int, Item | Refused]]:
        if self._peek() == "[":
            yield from self._list()
        else:
            begin, (line, value) = self._at, self._value()
            if not isinstance(value, dict) or is_item(value):
                yield line, _object(value)
            else:
                self._at, self._counted_until, self._line = begin, 0, 1
                yield from self._lists_of_object()
        if self._peek():
            raise ValueError(f"something follows the document, at character {self._at}")

    def _lists_of_object(self) -> Iterator[tuple[int, Item | Refused]]:
        self._take("{")
        while self._peek() != "}":
            self._value()
            self._take(":")
            if self._peek() == "[":
                yield from self._list()
            else:
                self._value()
            self._take_comma_unless("}")
        self._take("}")

    def _list(self) -> Iterator[tuple[int, Item | Refused]]:
        self._take("[")
        while self._peek() != "]":
            line, value = self._value()
            yield line, _object(value)
            self._take_comma_unless("]")
        self._take("]")

    def _value(self) -> tuple[int, Any]:
        self._peek()
        self._line += self._text.count("\n", self._counted_until, self._at)
        self._counted_until = self._at
        value, self._at = _DECODER.raw_decode(self._text, self._at)
        return self._line, value

    def _peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        if space := _SPACE.match(self._text, self._at):
            self._at = space.end()
        return self._text[self._at : self._at + 1]

    def _take_comma_unless(self, end: str) -> None:
        if self._peek() != end:
            self._take(",")

    def _take(self, expected: str) -> None:
        if self._peek() != expected:
            raise ValueError(f"expected {expected!r} at character {self._at}")
        self._at += 1


def _object(value: object) -> Item | Refused:
    return value if isinstance(value, dict) else Refused(Refusal.UNKNOWN_SHAPE, value=f"a {type(value).__name__}")
