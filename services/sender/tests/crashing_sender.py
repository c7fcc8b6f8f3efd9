"""Senders that kill themselves between two steps of an attempt.

Everything is the sender's own; around one of its steps stands the kill -9, and it strikes at one renter's message. For
each line of the input (point, user, phone; tabs between them) a process is forked that has imported all it needs, and
its exit status is printed.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from common.kafka import Publisher
from itarent.faults.crash_points import after, before, die
from sender.intake import Intake
from sender.ledger import Begun, Ledger
from sender.main import main
from sender.outcomes import Outcome
from sender.reports import Reports, Source
from sender.twilio import Request, Twilio

Concerns = Callable[..., bool]

USER = PHONE = ""
"""Whose message it strikes at."""


def of_notification(_: Intake, received: Any) -> bool:
    return any(str(each.event.user_id) == USER for each in received if each.event)


def of_plan(_: Ledger, __: Any, ___: Any, decided: Any, *____: Any) -> bool:
    return any(str(due.user_id) == USER for due, _ in decided.sends)


def of_call(_: Twilio, request: Any) -> bool:
    return bool(request.to == PHONE)


def of_search(_: Twilio, sought: Any) -> bool:
    return bool(sought.to == PHONE)


def of_report(_: Reports, __: Any, batch: Any) -> bool:
    return any(str(batch.messages[message_id].user_id) == USER for message_id in batch.changed)


def of_event(_: Publisher, records: Any) -> bool:
    return any(USER.encode() in (record.value or b"") for record in records)


def of_callback(_: Reports, reported: Any) -> bool:
    return any(each.source is Source.CALLBACK and each.message_id in begun for each in reported)


begun: set[UUID] = set()
"""The renter's messages, once they were begun."""


def at_a_callback(strike: Callable[[type, str, Concerns], None]) -> None:
    """A callback names its message and not its reader, so what is begun for the reader is noted."""
    begin = Ledger.begin

    async def noting(ledger: Ledger, most: int) -> Begun:
        found = await begin(ledger, most)
        begun.update(call.message_id for call in found.calls if call.to == PHONE)
        return found

    setattr(Ledger, "begin", noting)  # noqa: B010 - a type checker would object
    strike(Reports, "record", of_callback)


def while_twilio_has_it_and_says_nothing() -> None:
    """Twilio is scripted to take the message and to hang: the answer never comes."""
    create = Twilio.create

    async def dying(twilio: Twilio, request: Request) -> Outcome:
        if not of_call(twilio, request):
            return await create(twilio, request)
        call = asyncio.ensure_future(create(twilio, request))
        while True:
            async for _ in await twilio._client.messages.stream_async(to=f"whatsapp:{PHONE}", limit=1):
                die()
            await asyncio.wait([call], timeout=0.01)

    setattr(Twilio, "create", dying)  # noqa: B010 - a type checker would object


POINTS: Final[dict[str, Callable[[], None]]] = {
    "read, not recorded": lambda: before(Intake, "take", of_notification),
    "recorded, its offset not committed": lambda: after(Intake, "take", of_notification),
    "planned, not committed": lambda: after(Ledger, "_commit", of_plan),
    "committed as sending, not called": lambda: before(Twilio, "create", of_call),
    "called, not answered": while_twilio_has_it_and_says_nothing,
    "answered, not recorded": lambda: after(Twilio, "create", of_call),
    "recorded, the record not committed": lambda: after(Reports, "_write", of_report),
    "committed, not published": lambda: before(Publisher, "publish_encoded", of_event),
    "published, and still in the outbox": lambda: after(Publisher, "publish_encoded", of_event),
    "in doubt, not looked up": lambda: before(Twilio, "find", of_search),
    "looked up, not recorded": lambda: after(Twilio, "find", of_search),
    "its callback read, not recorded": lambda: at_a_callback(before),
    "its callback recorded, its offset not committed": lambda: at_a_callback(after),
}


def lived(point: str, user: str, phone: str) -> int:
    """How a sender has ended that dies at this point."""
    child = os.fork()
    if child == 0:
        globals().update(USER=user, PHONE=phone)
        POINTS[point]()
        main()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        print(lived(*line.rstrip("\n").split("\t")), flush=True)  # noqa: T201 - its answer
