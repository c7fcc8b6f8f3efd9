"""Twilio misbehaves: the simulator's scripts, one after the other, in an order of the seed's."""

import asyncio
import dataclasses
import os
import sys
from typing import Final

from itarent.environment import SENDER
from itarent.faults.scene import Family, Scene
from twilio_simulator.faults import Fault, FaultKind
from twilio_simulator.resources import Status

BEYOND_ITS_TIME_S: Final = 2.5
"""The sender's calls end after 1.5 s."""

UNAUTHORISED_S: Final = 3.0
RESUMED_BY_HAND: Final = 0.6
"""In so many runs an operator ends the pause, in the others a minute does."""


WAYS: Final = {
    "429": Fault(FaultKind.REFUSE, code=20429),
    "429 for the channel": Fault(FaultKind.REFUSE, code=63018),
    "500": Fault(FaultKind.SERVER_ERROR, http_status=500),
    "503, but taken": Fault(FaultKind.SERVER_ERROR_TAKEN, http_status=503),
    "hang": Fault(FaultKind.HANG, seconds=BEYOND_ITS_TIME_S),
    "hang, but taken": Fault(FaultKind.HANG_TAKEN, seconds=BEYOND_ITS_TIME_S),
    "reset": Fault(FaultKind.RESET),
    "taken, then reset": Fault(FaultKind.RESET_TAKEN),
    "wrong JSON": Fault(FaultKind.WRONG_JSON),
    "slow": Fault(FaultKind.SLOW, seconds=1.0),
    "too slow": Fault(FaultKind.SLOW, seconds=BEYOND_ITS_TIME_S),
    "a recipient who cannot be reached": Fault(FaultKind.FAIL, code=63024, status=Status.FAILED),
}


async def strike(scene: Scene) -> None:
    """Each way for the next one to three calls: five doubts in a row would make the sender pause."""
    for way, fault in scene.chance.sample(sorted(WAYS.items()), len(WAYS)):
        await scene.simulator.script(_times(fault, scene.chance.randint(1, 3)))
        scene.struck(f"twilio: {way}")
        await asyncio.sleep(scene.chance.uniform(0.7, 1.7))


async def strike_account(scene: Scene) -> None:
    """Whatever is asked for is refused with 401, until it is not.

    The sender tries again a minute later, or when an operator says that the account works.
    """
    await asyncio.sleep(scene.chance.uniform(1, 3))
    with scene.striking("twilio: 401"):
        await scene.simulator.script(_times(Fault(FaultKind.REFUSE, code=20003), None))
        await asyncio.sleep(UNAUTHORISED_S)
        await scene.simulator.clear_faults()
    if scene.chance.random() < RESUMED_BY_HAND:
        await _resume(scene)


async def _resume(scene: Scene) -> None:
    """As an operator does who has mended the account; there may be no pause, since nothing was sent meanwhile."""
    command = ("ledger", "resume", "--by", "faults", "--why", "the account works again", "--yes")
    where = {"DATABASE_URL": scene.system.database_url(SENDER), "KAFKA_NAMESPACE": scene.system.topics.namespace}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "itarent", *command), env={**os.environ, **where}, stdout=asyncio.subprocess.DEVNULL
    )
    await process.wait()


def _times(fault: Fault, times: int | None) -> Fault:
    return dataclasses.replace(fault, times=times)


FAMILY: Final = Family(
    "twilio",
    "Twilio answers 429, 5xx, nothing, nonsense, or late; it took the message or not",
    strike,
    drains_within_s=150,  # each 429 halves the rate, to a sixteenth
)
ACCOUNT: Final = Family("account", "Twilio refuses the account (401) for a while", strike_account, drains_within_s=150)
