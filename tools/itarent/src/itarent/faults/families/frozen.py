"""Who is frozen for longer than its session with Kafka goes on, when it is thawed, with what others have taken over."""

import asyncio
from typing import Final

from itarent.environment import API, MATCHER, SENDER, replicas
from itarent.faults.scene import Family, Scene

BEYOND_ITS_SESSION_S: Final = 12.0
"""The session ends after 10 s."""

COUNT: Final = 2


async def strike(scene: Scene) -> None:
    """At once, so that a run does not take as many sessions as there are services."""
    victims = [
        scene.chance.choice(replicas(MATCHER, COUNT)),
        scene.chance.choice(replicas(SENDER, COUNT)),
        API,
    ]
    async with asyncio.TaskGroup() as going_on:
        for victim in victims:
            going_on.create_task(_freeze(scene, victim, scene.chance.uniform(0, 2)))


async def _freeze(scene: Scene, victim: str, after_s: float) -> None:
    await asyncio.sleep(after_s)
    service = scene.system.services[victim]
    with scene.striking(f"freeze {victim}"):
        service.freeze()
        try:
            await asyncio.sleep(BEYOND_ITS_SESSION_S)
        finally:
            service.thaw()


FAMILY: Final = Family(
    "frozen",
    "a matcher, a sender and the api hang for longer than their session with Kafka, others take over, and they go on",
    strike,
    matchers=COUNT,
    senders=COUNT,
)
