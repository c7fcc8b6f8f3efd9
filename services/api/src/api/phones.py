"""Phone numbers as people in Italy write them, and links that open a chat."""

import re
import unicodedata
from typing import Annotated, Final
from urllib.parse import quote

import phonenumbers
from phonenumbers import PhoneNumber as Parsed
from phonenumbers import PhoneNumberFormat, PhoneNumberType, ValidationResult
from pydantic import AfterValidator, Field

HOME: Final = "IT"
EXAMPLES: Final = "an Italian number such as 333 555 0101, or one with its country code such as +33 6 12 34 56 78"

_NUMBER: Final = re.compile(r"\+?[\d\s().\-/]*")
_TRUNK_ZERO: Final = re.compile(r"\(0\)")

REACHABLE: Final = frozenset(
    (
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE,  # WhatsApp runs on landlines, and calls them with its own code
        PhoneNumberType.FIXED_LINE_OR_MOBILE,  # some countries do not tell them apart
        PhoneNumberType.VOIP,
        PhoneNumberType.PERSONAL_NUMBER,
    )
)
"""Kinds of numbers that may have WhatsApp. A mailbox, a hotline or a toll-free number has none, or bills its caller."""


def e164(written: str) -> str:
    """`333 5550101` as `+393335550101`; ValueError says what is wrong and what a number must look like."""
    plain = _plain(written)
    if not plain:
        raise ValueError(f"The phone number is empty: write {EXAMPLES}")
    if not _NUMBER.fullmatch(plain):
        raise ValueError(f"A phone number has digits, blanks and + ( ) - . / only: write {EXAMPLES}")
    number = _parsed(plain)
    if phonenumbers.number_type(number) not in REACHABLE:
        raise ValueError("WhatsApp does not work with hotlines, mailboxes and toll-free numbers: write that of a phone")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


PhoneNumber = Annotated[str, Field(max_length=40), AfterValidator(e164)]
"""A phone number in any usual notation; its value is E.164."""


def _plain(written: str) -> str:
    """Without what cannot be seen, such as the marks that address books put around a number that is copied."""
    visible = "".join(each for each in unicodedata.normalize("NFKC", written) if unicodedata.category(each) != "Cf")
    return visible.strip()


def _parsed(plain: str) -> Parsed:
    """The number that is meant; the `(0)` of `+39 (0)333 …` belongs to it in some countries and not in others."""
    numbers = [_read(plain), _read(_TRUNK_ZERO.sub("", plain))]
    for number in numbers:
        if number and phonenumbers.is_valid_number(number):
            return number
    raise ValueError(f"{_fault(numbers[0])}: write {EXAMPLES}")


def _read(plain: str) -> Parsed | None:
    try:
        return phonenumbers.parse(plain, HOME)
    except phonenumbers.NumberParseException:
        return None


def _fault(number: Parsed | None) -> str:
    if number is None:
        return "This is not a phone number"
    match phonenumbers.is_possible_number_with_reason(number):
        case ValidationResult.TOO_SHORT:
            return "This phone number is too short"
        case ValidationResult.TOO_LONG:
            return "This phone number is too long"
        case _:
            return "No phone has this number"


def readable(phone: str) -> str:
    """A number (E.164) as one reads it out: `+1 415 523 8886`; empty if there is none."""
    if not phone:
        return ""
    number = phonenumbers.parse(phone)
    return phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL).replace("-", " ")


def chat_link(phone: str, text: str = "") -> str:
    """A link that opens WhatsApp with a message to `phone` (E.164) ready to be sent."""
    return f"https://wa.me/{phone.removeprefix('+')}" + (f"?text={quote(text)}" if text else "")
