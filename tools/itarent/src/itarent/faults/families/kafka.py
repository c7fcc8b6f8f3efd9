"""Kafka is killed, restarted and frozen; members join and leave its groups in the middle of batches."""

import asyncio
import random
from typing import Final

from itarent.environment import MATCHER, SENDER, replicas
from itarent.faults.scene import Family, Scene

COUNT: Final = 2
REBALANCES: Final = 3


async def strike_broker(scene: Scene) -> None:
    """Each of the three once, in any order."""
    for way in scene.chance.sample((_kill, _restart, _freeze), 3):
        await asyncio.sleep(scene.chance.uniform(1, 2))
        await way(scene)


async def _kill(scene: Scene) -> None:
    with scene.striking("kill kafka"):
        scene.servers.kafka.kill()
        await asyncio.sleep(scene.chance.uniform(0, 2))
        await scene.servers.kafka.start()


async def _restart(scene: Scene) -> None:
    with scene.striking("restart kafka"):
        await scene.servers.kafka.stop()
        await scene.servers.kafka.start()


async def _freeze(scene: Scene) -> None:
    with scene.striking("freeze kafka"):
        scene.servers.kafka.freeze()
        try:
            await asyncio.sleep(scene.chance.uniform(2, 6))
        finally:
            scene.servers.kafka.thaw()


async def strike_groups(scene: Scene) -> None:
    """A matcher and a sender leave and come back, so that everybody's partitions change hands while they work."""
    async with asyncio.TaskGroup() as going_on:
        for service in (MATCHER, SENDER):
            chance = random.Random(scene.chance.random())  # noqa: S311 - one for each, since they go on side by side
            going_on.create_task(_leave_and_join(scene, service, chance))


async def _leave_and_join(scene: Scene, service: str, chance: random.Random) -> None:
    for _ in range(REBALANCES):
        name = chance.choice(replicas(service, COUNT))
        await asyncio.sleep(chance.uniform(0.2, 1))
        with scene.striking(f"{name} leaves and joins"):
            await scene.system.services[name].stop()
            await asyncio.sleep(chance.uniform(0, 2))
            await scene.system.services[name].start()


BROKER: Final = Family("kafka", "Kafka is killed, restarted, and hangs", strike_broker)
GROUPS: Final = Family(
    "rebalance",
    "matchers and senders leave and join their consumer groups in the middle of batches",
    strike_groups,
    matchers=COUNT,
    senders=COUNT,
)
