"""Reading values out of a portal's payload: a field may be absent or null, and must be of its kind where it is not."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal

from common.listing import Feature, Position
from itarent.listings.outcomes import Refusal, RefusedError

_MISSING_WORDS = frozenset({"", "non indicato", "non indicata", "nd", "n.d.", "-"})


class Payload:
    """A part of a payload that knows its path, so that a refusal can name the field."""

    def __init__(self, value: object, path: str = "") -> None:
        self._value = value
        self._path = path

    def at(self, *keys: str) -> "Payload":
        """The part below; where something on the way is absent, a part that holds nothing."""
        value = self._value
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return Payload(value, ".".join(filter(None, (self._path, *keys))))

    def first(self) -> "Payload":
        """The first of a list's elements."""
        holds_any = isinstance(self._value, list) and self._value
        return Payload(self._value[0] if holds_any else None, f"{self._path}[0]")  # type: ignore[index] # it is a list

    def each(self) -> list["Payload"]:
        elements = self._value if isinstance(self._value, list) else []
        return [Payload(element, f"{self._path}[{index}]") for index, element in enumerate(elements)]

    def text(self) -> str | None:
        """A text without white space around it, or a number's digits; portals' words for nothing are None."""
        match self._value:
            case None | bool():
                return None
            case str() | int():
                stripped = str(self._value).strip()
                return None if stripped.lower() in _MISSING_WORDS else stripped
            case _:
                raise self.refused(Refusal.UNKNOWN_SHAPE)

    def words(self) -> str:
        """A text in lower case, to be compared; empty where there is none."""
        return (self.text() or "").lower()

    def flag(self) -> bool | None:
        """Yes or no, where it is stated."""
        return self._value if isinstance(self._value, bool) else None

    def number(self) -> Decimal | None:
        match self._value:
            case None | bool():
                return None
            case int() | float() if math.isfinite(self._value):
                return Decimal(str(self._value))
            case _:
                raise self.refused(Refusal.UNREADABLE_NUMBER)

    def count(self) -> int | None:
        """A whole number; portals write -1 for unknown."""
        number = self.number()
        return int(number) if number is not None and number >= 0 else None

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Names this field in a refusal that arises within."""
        try:
            yield
        except RefusedError as error:
            raise error.at(self._path) from None

    def refused(self, reason: Refusal) -> RefusedError:
        return RefusedError(reason, self._path, self._value)

    def canonical(self) -> str:
        """The payload as text that is the same for the same content."""
        return json.dumps(self._value, sort_keys=True, separators=(",", ":"))


def present(**fields: object) -> dict[str, object]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value is not None}


def position_of(latitude: Payload, longitude: Payload) -> Position | None:
    at = latitude.number(), longitude.number()
    return None if at[0] is None or at[1] is None else Position(latitude=float(at[0]), longitude=float(at[1]))


def feature_flags(**features: bool | None) -> dict[Feature, bool]:
    return {Feature(name): has for name, has in features.items() if has is not None}
