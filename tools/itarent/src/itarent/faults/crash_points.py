"""A sender that kills itself between two steps of sending: each of its lives ends at the next point of its list.

It is run in the place of senders: `python -m itarent.faults.crash_points`. The points are dealt out to two senders, in
an order that the system's namespace fixes; where one has died is a line in its file of lives.
"""

import asyncio
import functools
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from common.kafka import Publisher
from sender.intake import Intake
from sender.ledger import Ledger
from sender.main import main
from sender.reports import Reports, Source
from sender.twilio import Twilio

Concerns = Callable[..., bool]
Strike = Callable[[type, str, Concerns], None]

LIVES: Final = "lives"
"""The ending of the file in which a sender writes where it has died."""

SENDERS: Final = 2
MOST_OCCASIONS: Final = 3
UNANSWERED_S: Final = 0.5


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit  # not reached


def before(owner: type, name: str, concerns: Concerns, dies: Callable[[], object] = die) -> None:
    """Die before a step that concerns us."""
    step = getattr(owner, name)

    @functools.wraps(step)
    async def dying(*arguments: Any) -> Any:  # noqa: ANN401 - whatever the step takes and gives
        if concerns(*arguments):
            dies()
        return await step(*arguments)

    setattr(owner, name, dying)


def after(owner: type, name: str, concerns: Concerns, dies: Callable[[], object] = die) -> None:
    """Die after a step that concerned us."""
    step = getattr(owner, name)

    @functools.wraps(step)
    async def dying(*arguments: Any) -> Any:  # noqa: ANN401 - whatever the step takes and gives
        result = await step(*arguments)
        if concerns(*arguments):
            dies()
        return result

    setattr(owner, name, dying)


def _any(*_: object) -> bool:
    return True


def _sends(_ledger: Ledger, _connection: object, _claimed: object, decided: Any, *_: object) -> bool:  # noqa: ANN401
    return bool(decided.sends)


def _callbacks(_reports: Reports, reported: Any) -> bool:  # noqa: ANN401 - as the method takes it
    return any(each.source is Source.CALLBACK for each in reported)


def _unanswered(dies: Callable[[], object]) -> None:
    """Die while a call to Twilio runs that is not answered."""
    create = Twilio.create

    @functools.wraps(create)
    async def dying(twilio: Twilio, request: Any) -> Any:  # noqa: ANN401 - as the method has it
        call = asyncio.ensure_future(create(twilio, request))
        if not (await asyncio.wait([call], timeout=UNANSWERED_S))[0]:
            dies()
        return await call

    setattr(Twilio, "create", dying)  # noqa: B010 - a type checker would object


POINTS: Final[dict[str, Callable[[Callable[[], object]], None]]] = {
    "read, not recorded": lambda dies: before(Intake, "take", _any, dies),
    "recorded, its offset not committed": lambda dies: after(Intake, "take", _any, dies),
    "planned, not committed": lambda dies: after(Ledger, "_commit", _sends, dies),
    "committed as sending, not called": lambda dies: before(Twilio, "create", _any, dies),
    "called, not answered": _unanswered,
    "answered, not recorded": lambda dies: after(Twilio, "create", _any, dies),
    "recorded, the record not committed": lambda dies: after(Reports, "_write", _any, dies),
    "committed, not published": lambda dies: before(Publisher, "publish_encoded", _any, dies),
    "published, and still in the outbox": lambda dies: after(Publisher, "publish_encoded", _any, dies),
    "in doubt, not looked up": lambda dies: before(Twilio, "find", _any, dies),
    "looked up, not recorded": lambda dies: after(Twilio, "find", _any, dies),
    "its callback read, not recorded": lambda dies: before(Reports, "record", _callbacks, dies),
    "its callback recorded, its offset not committed": lambda dies: after(Reports, "record", _callbacks, dies),
}


def points_of(namespace: str, number: int) -> list[str]:
    """Where the first or second sender of a system dies, in order."""
    drawn = sorted(POINTS)
    random.Random(namespace).shuffle(drawn)  # noqa: S311 - chance that can be repeated, not a secret
    return drawn[number - 1 :: SENDERS]


def _arm(instance: str, chance: random.Random) -> None:
    """Be killed at the next point, at one of its first occasions; after the last one live on."""
    lives = Path(f"{instance}.{LIVES}")
    ended = lives.read_text().splitlines() if lives.exists() else []
    left = points_of(os.environ["KAFKA_NAMESPACE"], int(instance.rpartition("-")[2]))[len(ended) :]
    if not left:
        return
    occasions = chance.randint(1, MOST_OCCASIONS)

    def dies() -> None:
        nonlocal occasions
        occasions -= 1
        if not occasions:
            with lives.open("a") as file:
                file.write(f"{left[0]}\n")
            die()

    POINTS[left[0]](dies)


if __name__ == "__main__":
    _arm(os.environ["KAFKA_INSTANCE_ID"], random.Random(os.environ["KAFKA_NAMESPACE"]))  # noqa: S311 - as above
    main()
