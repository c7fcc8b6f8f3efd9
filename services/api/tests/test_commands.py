"""Commands and codes in what people write."""
# ruff: noqa: RUF001 - people write in several alphabets

import pytest

from api.commands import Command, codes_in, command_of, new_code


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("STOP", Command.STOP),
        (" stop! ", Command.STOP),
        ("Basta così", Command.STOP),
        ("annulla", Command.STOP),
        ("unsubscribe please", Command.STOP),
        ("Стоп", Command.STOP),
        ("ＳＴＯＰ", Command.STOP),
        ("Start", Command.START),
        ("riprendi", Command.START),
        ("СТАРТ", Command.START),
        ("", None),
        ("👍", None),
        ("non stop", None),
        ("basta un attimo per decidere", None),
        ("stopper", None),
    ],
)
def test_a_short_message_that_begins_with_a_command_is_one(text: str, command: Command | None) -> None:
    assert command_of(text) is command


def test_a_code_is_found_however_it_is_written_around_it() -> None:
    code = new_code()
    assert codes_in(f"ITARENT {code.lower()}!") == [code]
    assert codes_in(f"{code}{code}") == []
    assert codes_in("annulla tutto, grazie") == []
