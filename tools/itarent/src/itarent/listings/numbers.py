"""Numbers as sources write them: strict, since `nan`, `1_000` and digits of other scripts are no numbers here."""

import re
from decimal import ROUND_HALF_UP, Decimal

from itarent.listings.outcomes import Refusal, RefusedError

_PLAIN = re.compile(r"\d{1,12}(?:\.\d{1,20})?", re.ASCII)
_ITALIAN = re.compile(r"\d{1,3}(?:\.\d{3}){1,3}(?:,\d{1,2})?|\d{1,12}(?:,\d{1,2})?", re.ASCII)
_AT_LEAST = re.compile(r"(\d{1,3})(?:\.0)?(\+?)", re.ASCII)


def plain(text: str) -> Decimal:
    """`1200`, `1200.0`: no sign, no thousands separator."""
    if not _PLAIN.fullmatch(text):
        raise RefusedError(Refusal.UNREADABLE_NUMBER, value=text)
    return Decimal(text)


def italian(text: str) -> Decimal:
    """`1.200`, `1.200,50`, `1200`: a dot separates thousands, a comma the decimals."""
    if not _ITALIAN.fullmatch(text):
        raise RefusedError(Refusal.UNREADABLE_NUMBER, value=text)
    return Decimal(text.replace(".", "").replace(",", "."))


def at_least(text: str) -> tuple[int, bool]:
    """A small count and whether it is a lower bound: `3` is (3, False), `5+` is (5, True)."""
    matched = _AT_LEAST.fullmatch(text)
    if not matched:
        raise RefusedError(Refusal.UNREADABLE_NUMBER, value=text)
    return int(matched[1]), bool(matched[2])


def cents(euros: Decimal) -> int:
    return int((euros * 100).to_integral_value(ROUND_HALF_UP))
