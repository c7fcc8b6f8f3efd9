"""Builds that are broken on purpose, one for each law: the suite must notice each of them.

A build is a service with one of its steps replaced: `BROKEN_BUILD=<name> python -m itarent.faults.broken`. They are run
by `itarent faults --broken`.
"""

import asyncio
import importlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog

from common.kafka import Encoded, Publisher
from itarent.environment import API, SENDER
from itarent.faults.scene import Family, Scene
from sender import dispatch, plan, progress, rate, schedule
from sender.intake import Intake
from sender.ledger import Call
from sender.reports import Reported, Reports
from twilio_simulator.faults import Fault, FaultKind

BUILD: Final = "BROKEN_BUILD"
STRIKING_S: Final = 6.0
DRAINS_WITHIN_S: Final = 30.0
ONE_IN: Final = 10


async def _nothing(_: Scene) -> None:
    await asyncio.sleep(STRIKING_S)


async def _doubts(scene: Scene) -> None:
    await scene.simulator.script(Fault(FaultKind.RESET_TAKEN, times=None, probability=0.2))
    await asyncio.sleep(STRIKING_S)


def _loses_notifications() -> None:
    take, count = Intake.take, 0

    async def losing(intake: Intake, received: Sequence[Any]) -> int:
        nonlocal count
        count += 1
        return await take(intake, received if count % ONE_IN else received[1:])

    _replace(Intake, "take", losing)


def _sends_again_in_doubt() -> None:
    def again(known: progress.Progress, report: object, situation: progress.Situation) -> progress.Change:
        del report
        return progress.Change(progress._again(known, situation.now, "unavailable"))  # noqa: SLF001 - to break it

    _replace(progress, "_in_doubt", again)


def _does_not_hear_stop() -> None:
    refusal = plan._refusal  # noqa: SLF001 - to break it

    def deaf(case: plan.Case) -> str | None:
        hears = case.recipient.model_copy(update={"stopped": False}) if case.recipient else None
        return refusal(replace(case, recipient=hears))

    _replace(plan, "_refusal", deaf)


def _knows_no_night() -> None:
    for module in (plan, schedule):
        _replace(module, "quiet_until", lambda *_: None)


def _knows_no_limit() -> None:
    _replace(rate, "reserve", lambda next_slot, now, _, wanted: rate.Slots((now,) * wanted, next_slot))


def _repeats_old_events() -> None:
    publish, first = Publisher.publish_encoded, list[Encoded]()

    async def repeating(publisher: Publisher, records: Sequence[Encoded]) -> None:
        await publish(publisher, records)
        await publish(publisher, first)
        first.extend(records[: ONE_IN * (not first)])

    _replace(Publisher, "publish_encoded", repeating)


def _tells_nobody_of_the_end() -> None:
    publish = Publisher.publish_encoded

    async def silent(publisher: Publisher, records: Sequence[Encoded]) -> None:
        await publish(publisher, [each for each in records if b'"disposition":"suppressed"' not in (each.value or b"")])

    _replace(Publisher, "publish_encoded", silent)


def _forgets_answers() -> None:
    """And whatever else is reported of a message in ten; a lease that nobody extends is let be."""
    record = Reports.record

    async def forgetting(reports: Reports, reported: Sequence[Reported]) -> None:
        await record(reports, [each for each in reported if each.message_id.int % ONE_IN])

    _replace(Reports, "record", forgetting)
    _replace(Reports, "doubt_lapsed_leases", _never)


async def _never(*_: object) -> None:
    return


def _says_too_much() -> None:
    call_of = dispatch.Dispatcher._call  # noqa: SLF001 - to break it

    async def telling(dispatcher: dispatch.Dispatcher, call: Call) -> Any:  # noqa: ANN401 - as it is
        structlog.get_logger().warning("calling", text=call.worded.body)  # phones are masked in logs
        return await call_of(dispatcher, call)

    _replace(dispatch.Dispatcher, "_call", telling)


def _replace(owner: object, name: str, by: Callable[..., Any]) -> None:
    assert hasattr(owner, name), name
    setattr(owner, name, by)


@dataclass(frozen=True)
class Build:
    """A service that breaks a law, and how it comes to it."""

    law: str
    about: str
    breaks: Callable[[], None]
    service: str = SENDER
    strike: Callable[[Scene], Awaitable[None]] = _nothing

    def family(self, name: str) -> Family:
        return Family(
            f"broken: {name}",
            self.about,
            self.strike,
            modules={self.service: __name__ if __name__ != "__main__" else "itarent.faults.broken"},
            overrides={self.service: {BUILD: name}},
            drains_within_s=DRAINS_WITHIN_S,
        )


BUILDS: Final[Mapping[str, Build]] = {
    "lossy": Build("L1", "a sender that loses a notification now and then", _loses_notifications),
    "eager": Build("L2", "a sender that sends again what is in doubt", _sends_again_in_doubt, strike=_doubts),
    "deaf": Build("L3", "a sender that does not hear STOP", _does_not_hear_stop),
    "sleepless": Build("L4", "a sender that knows no night", _knows_no_night),
    "fast": Build("L5", "a sender that knows no limit", _knows_no_limit),
    "repetitive": Build("L6", "an api that publishes old events again", _repeats_old_events, service=API),
    "silent": Build("L7", "a sender that does not tell what it has suppressed", _tells_nobody_of_the_end),
    "forgetful": Build("L8", "a sender that forgets what it was answered", _forgets_answers),
    "talkative": Build("L9", "a sender that logs what it sends", _says_too_much),
}

if __name__ == "__main__":
    build = BUILDS[os.environ[BUILD]]
    build.breaks()
    importlib.import_module(f"{build.service}.main").main()
