"""Any service is killed at any moment, as a lost machine would end it."""

import asyncio
from typing import Final

from itarent.environment import SERVICES
from itarent.faults.scene import Family, Scene

KILLS_EACH: Final = 3


async def strike(scene: Scene) -> None:
    victims = [name for name in SERVICES for _ in range(KILLS_EACH)]
    scene.chance.shuffle(victims)
    for victim in victims:
        await asyncio.sleep(scene.chance.uniform(0.2, 1.5))
        scene.system.services[victim].kill()
        scene.struck(f"kill {victim}")


FAMILY: Final = Family("killed", "any service is killed at any moment", strike, quick=True)
