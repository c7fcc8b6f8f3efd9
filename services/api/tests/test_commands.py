"""Commands and codes in what people write."""
# ruff: noqa: RUF001 - people write in several alphabets

import datetime as dt

import pytest

from api.commands import Command, Order, codes_in, new_code, order_of

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("STOP", Command.STOP),
        (" stop! ", Command.STOP),
        ("Basta così", Command.STOP),
        ("annulla", Command.STOP),
        ("unsubscribe please", Command.STOP),
        ("Стоп", Command.STOP),
        ("Per favore, basta!", Command.STOP),
        ("please stop", Command.STOP),
        ("Пожалуйста, отписаться", Command.STOP),
        ("ＳＴＯＰ", Command.STOP),
        ("Start", Command.START),
        ("riprendi", Command.START),
        ("СТАРТ", Command.START),
        ("Perché?", Command.WHY),
        ("perche'", Command.WHY),
        ("PERCHÈ", Command.WHY),
        ("Почему?", Command.WHY),
        ("AIUTO", Command.HELP),
        ("помощь", Command.HELP),
        ("più", Command.MORE),
        ("meno messaggi", Command.FEWER),
        ("Меньше", Command.FEWER),
        ("no grazie", Command.NEVER),
        ("Нет", Command.NEVER),
        ("salvalo", Command.SAVE),
        ("dettagli", Command.DETAILS),
        # what the buttons of the digest's template carry
        ("PAUSE 3", Command.PAUSE),
        ("FEWER", Command.FEWER),
        ("", None),
        ("👍", None),
        ("ok grazie", None),
        ("please do not stop", None),
        ("?", None),
        ("a", None),
        ("non stop", None),
        ("no ma quando si libera?", None),
        ("basta un attimo per decidere", None),
        ("stopper", None),
        ("1.200", None),
        ("è ancora libero?", None),
        ("2 euro", None),
    ],
)
def test_a_short_message_that_begins_with_a_command_is_one(text: str, command: Command | None) -> None:
    order = order_of(text)
    assert (order and order.command) is command


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("2", Order(Command.DETAILS, (2,))),
        ("2️⃣", Order(Command.DETAILS, (2,))),
        ("il 2.", Order(Command.DETAILS, (2,))),
        ("n. 3", Order(Command.DETAILS, (3,))),
        ("due", Order(Command.DETAILS, (2,))),
        ("Три", Order(Command.DETAILS, (3,))),
        ("1, 2 e 3", Order(Command.DETAILS, (1, 2, 3))),
        ("1 2 3 4", Order(Command.DETAILS, (1, 2, 3))),
        ("dettagli 2", Order(Command.DETAILS, (2,))),
        ("SALVA 2", Order(Command.SAVE, (2,))),
        ("salva2", Order(Command.SAVE, (2,))),
        ("salva il 2 e il 3", Order(Command.SAVE, (2, 3))),
        ("NO 1", Order(Command.NEVER, (1,))),
        ("нет 2", Order(Command.NEVER, (2,))),
        ("why 2", Order(Command.WHY, (2,))),
    ],
)
def test_flats_are_named_by_their_numbers(text: str, order: Order) -> None:
    assert order_of(text) == order


@pytest.mark.parametrize(
    ("text", "lasting"),
    [
        ("pausa", DAY),
        ("PAUSA 3", 3 * DAY),
        ("pausa per 2 settimane, grazie", 14 * DAY),
        ("pausa una settimana", 7 * DAY),
        ("pause 2h", 2 * HOUR),
        ("пауза 5 часов", 5 * HOUR),
        ("пауза на 3 дня", 3 * DAY),
        ("pausa 0", DAY),
        ("pause 99 months", 90 * DAY),
    ],
)
def test_a_pause_is_in_days_unless_it_says_otherwise(text: str, lasting: dt.timedelta) -> None:
    assert order_of(text) == Order(Command.PAUSE, lasting=lasting)


def test_a_code_is_found_however_it_is_written_around_it() -> None:
    code = new_code()
    assert codes_in(f"ITARENT {code.lower()}!") == [code]
    assert codes_in(f"{code}{code}") == []
    assert codes_in("annulla tutto, grazie") == []
