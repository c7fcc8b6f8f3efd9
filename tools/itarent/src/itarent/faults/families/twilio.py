"""Twilio misbehaves: the simulator's scripts, one after the other, in an order of the seed's."""

import asyncio
import dataclasses
from typing import Final

from itarent.faults.scene import Family, Scene
from twilio_simulator.faults import Fault, FaultKind
from twilio_simulator.resources import Status

BEYOND_ITS_TIME_S: Final = 2.5
"""The sender's calls end after 1.5 s."""

UNAUTHORISED_S: Final = 3.0

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
    """Each way for the next two to five calls; more in a row than five make the sender pause."""
    for way, fault in scene.chance.sample(sorted(WAYS.items()), len(WAYS)):
        await scene.simulator.script(_times(fault, scene.chance.randint(2, 5)))
        scene.struck(f"twilio: {way}")
        await asyncio.sleep(scene.chance.uniform(0.5, 1.5))


async def strike_account(scene: Scene) -> None:
    """Whatever is asked for is refused with 401, until it is not: the sender tries again a minute later."""
    await asyncio.sleep(scene.chance.uniform(1, 3))
    with scene.striking("twilio: 401"):
        await scene.simulator.script(_times(Fault(FaultKind.REFUSE, code=20003), None))
        await asyncio.sleep(UNAUTHORISED_S)
        await scene.simulator.clear_faults()


def _times(fault: Fault, times: int | None) -> Fault:
    return dataclasses.replace(fault, times=times)


FAMILY: Final = Family(
    "twilio", "Twilio answers 429, 5xx, nothing, nonsense, or late; it took the message or not", strike
)
ACCOUNT: Final = Family("account", "Twilio refuses the account (401) for a while", strike_account, drains_within_s=120)
