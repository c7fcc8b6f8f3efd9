"""What becomes of one row: a listing, or a refusal that says where and why."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from common.listing import Listing

LONGEST_VALUE_SHOWN: Final = 200


class Refusal(StrEnum):
    """Why something cannot be a listing."""

    WRONG_COLUMN_COUNT = "wrong_column_count"
    BROKEN_QUOTES = "broken_quotes"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    UNKNOWN_SHAPE = "unknown_shape"  # JSON, but of none of the portals and not of our contract
    UNREADABLE_NUMBER = "unreadable_number"
    UNREADABLE_DATE = "unreadable_date"
    UNKNOWN_WORD = "unknown_word"  # not one of the words that the mapping or the portal's adapter knows
    BREAKS_THE_CONTRACT = "breaks_the_contract"  # a value that no listing may have
    NO_PLACE_RENT_OR_SIZE = "no_place_rent_or_size"  # it says neither where, nor how much, nor how large
    NOT_TO_LET = "not_to_let"  # for sale, or no dwelling
    VERSION_CONFLICT = "version_conflict"  # the same id and version came before with other content


@dataclass(frozen=True)
class Refused:
    """Something that cannot be a listing: the field as the source names it, what it holds, and why it was refused."""

    reason: Refusal
    field: str = ""
    value: str = ""


class RefusedError(Exception):
    """Raised where a value is read, caught where the row is: the row becomes `refused`."""

    def __init__(self, reason: Refusal, field: str = "", value: object = "") -> None:
        super().__init__(reason, field, value)
        self.refused = Refused(reason, field, str(value)[:LONGEST_VALUE_SHOWN])

    def at(self, field: str) -> "RefusedError":
        """The same refusal, of a field."""
        return RefusedError(self.refused.reason, field, self.refused.value)


@dataclass(frozen=True)
class Outcome:
    """What became of the row that begins at `line` (1 is a file's first, as an editor counts them)."""

    file: str
    line: int
    result: Listing | Refused
