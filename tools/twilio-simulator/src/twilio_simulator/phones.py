"""Phones of people: who has joined the sandbox, and whose 24 hours are open."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

JOIN_LASTS = timedelta(days=3)
WINDOW_LASTS = timedelta(hours=24)
NUMBER = re.compile(r"\+[1-9]\d{6,14}")
CHANNEL = "whatsapp:"


@dataclass(frozen=True, slots=True)
class Phone:
    """A person's phone. `wrote_at` is the last message from it to our number: `wrote_to`, or the only one there was."""

    number: str
    name: str = ""
    joined_at: datetime | None = None
    wrote_at: datetime | None = None
    wrote_to: str | None = None
    blocked: bool = False
    verified: bool = False  # in the console, which a trial account's recipients must be
    kind: Literal["phone"] = "phone"


def number_of(address: str) -> str:
    """The E.164 number of `whatsapp:+39…`."""
    return address.removeprefix(CHANNEL)


def address_of(number: str) -> str:
    """The number's address in Twilio's API."""
    return CHANNEL + number


def join_ends_at(phone: Phone) -> datetime | None:
    return phone.joined_at and phone.joined_at + JOIN_LASTS


def window_ends_at(phone: Phone, our_number: str) -> datetime | None:
    """The 24 hours belong to a pair of numbers: what was written to another one of ours opens nothing."""
    if phone.wrote_to not in {None, our_number}:
        return None
    return phone.wrote_at and phone.wrote_at + WINDOW_LASTS


def has_joined(phone: Phone, now: datetime) -> bool:
    ends_at = join_ends_at(phone)
    return ends_at is not None and now < ends_at


def window_is_open(phone: Phone, our_number: str, now: datetime) -> bool:
    ends_at = window_ends_at(phone, our_number)
    return ends_at is not None and now < ends_at


def joins(body: str, join_words: str) -> bool:
    """Whether the text is the sandbox's invitation, `join two-words`, however it is spaced and capitalised."""
    return body.casefold().split() == ["join", *join_words.casefold().split()]
