"""The form that Twilio posts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs

MOST_FIELDS = 200


@dataclass(frozen=True)
class Form:
    """Parameters in the order of their first appearance; a name may have several values, and a value may be empty."""

    values: Mapping[str, Sequence[str]]

    @classmethod
    def parse(cls, encoded: bytes) -> Self:
        """Read `application/x-www-form-urlencoded`.

        Raises:
            ValueError: it is not UTF-8, or has more than `MOST_FIELDS` fields.
        """
        return cls(parse_qs(encoded.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS))

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def getlist(self, name: str) -> list[str]:
        """Every value of a parameter; this is how the twilio package reads a form."""
        return list(self.values[name])

    def get(self, name: str) -> str | None:
        """The first value of a parameter, None when it is missing or empty."""
        values = self.values.get(name)
        return _storable(values[0]) or None if values else None

    def without(self, names: Collection[str]) -> dict[str, str]:
        """All other parameters; several values of one are joined by commas."""
        return {
            _storable(name): _storable(", ".join(values)) for name, values in self.values.items() if name not in names
        }


def _storable(text: str) -> str:
    """PostgreSQL has no text with NUL: one that got through would stop every reader that stores it."""
    return text.replace("\x00", "")
