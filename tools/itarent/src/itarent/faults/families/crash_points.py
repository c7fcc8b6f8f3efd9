"""The sender is killed between each two steps of sending (`itarent.faults.crash_points`)."""

import asyncio
from pathlib import Path
from typing import Final

from itarent.environment import SENDER
from itarent.faults.crash_points import LIVES, POINTS, SENDERS
from itarent.faults.scene import Family, Scene
from twilio_simulator.faults import Fault, FaultKind

WITHIN_S: Final = 90.0
LOOK_S: Final = 0.1
DOUBTS: Final = (
    Fault(FaultKind.RESET_TAKEN, times=None, probability=0.08),
    Fault(FaultKind.HANG_TAKEN, times=None, probability=0.08, seconds=2.5),
)
"""So that there is something to look up, and a call that is not answered."""


async def strike(scene: Scene) -> None:
    """Until each point has been died at once."""
    await scene.simulator.script(*DOUBTS)
    seen: set[str] = set()
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while len(seen) < len(POINTS) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(LOOK_S)
        for point in sorted(_died_at(scene.system.home) - seen):
            scene.struck(f"kill a sender: {point}")
            seen.add(point)


def _died_at(home: Path) -> set[str]:
    return {point for file in home.glob(f"*.{LIVES}") for point in file.read_text().splitlines()}


FAMILY: Final = Family(
    "crash-points",
    "senders are killed between each two steps of sending",
    strike,
    senders=SENDERS,
    modules={SENDER: "itarent.faults.crash_points"},
)
