"""Phone numbers as people in Italy write them, and links that open a chat."""

from typing import Annotated
from urllib.parse import quote

import phonenumbers
from pydantic import AfterValidator, Field


def e164(written: str) -> str:
    """`333 5550101` as `+393335550101`; ValueError says what a number must look like."""
    try:
        number = phonenumbers.parse(written, "IT")
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_valid_number(number):
        raise ValueError(
            "This is not a phone number. Write an Italian mobile number such as 333 555 0101, or a number with its "
            "country code such as +39 333 555 0101"
        )
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


PhoneNumber = Annotated[str, Field(max_length=40), AfterValidator(e164)]
"""A phone number in any usual notation; its value is E.164."""


def chat_link(phone: str, text: str) -> str:
    """A link that opens WhatsApp with a message to `phone` (E.164) ready to be sent."""
    return f"https://wa.me/{phone.removeprefix('+')}?text={quote(text)}"
