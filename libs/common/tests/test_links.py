"""Signed links: only ours are followed, and only while they are valid."""

import datetime as dt
from uuid import UUID, uuid4

import pytest
import time_machine

from common.links import VALID_FOR, Links

LINKS = Links("https://rent.example.org", "a-signing-key")
MESSAGE_ID = UUID("8c5f0a52-3f0e-4f0a-9c39-0d8a2d1b7e11")
NOW = dt.datetime(2026, 11, 20, 9, 30, tzinfo=dt.UTC)


def token_of(link: str) -> str:
    return link.rpartition("/")[2]


def test_a_link_leads_to_its_message() -> None:
    link = LINKS.to_message(MESSAGE_ID)
    assert link.startswith("https://rent.example.org/m/")
    assert len(link.removeprefix("https://rent.example.org")) <= 90
    assert LINKS.message_of(token_of(link)) == MESSAGE_ID


def test_a_link_ends_with_its_time() -> None:
    with time_machine.travel(NOW, tick=False) as traveller:
        token = token_of(LINKS.to_message(MESSAGE_ID))
        traveller.shift(VALID_FOR)
        assert LINKS.message_of(token) == MESSAGE_ID
        traveller.shift(dt.timedelta(seconds=1))
        assert LINKS.message_of(token) is None


@pytest.mark.parametrize("made_up", ["", "x", "..", MESSAGE_ID.hex, "è.è.è", "a" * 10_000, "\x00", '"x".1.2'])
def test_a_made_up_link_leads_nowhere(made_up: str) -> None:
    assert LINKS.message_of(made_up) is None


def test_a_link_cannot_be_changed_or_signed_by_another_key() -> None:
    token = token_of(LINKS.to_message(MESSAGE_ID))
    other = token_of(LINKS.to_message(uuid4()))
    assert LINKS.message_of(other.split(".")[0] + token[token.index(".") :]) is None
    assert LINKS.message_of(token_of(Links(LINKS.public_url, "another key").to_message(MESSAGE_ID))) is None
    assert LINKS.message_of(token[:-1]) is None
