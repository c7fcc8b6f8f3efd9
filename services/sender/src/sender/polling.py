"""How fast Twilio is asked about messages: by slots that all replicas share, apart from those of sending."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import asyncpg

from sender import rate
from sender.schedule import POLLS_PER_SECOND, POLLS_REST

if TYPE_CHECKING:
    from common.outbox import Connection

LOOK_AGAIN_S: Final = 0.3


@dataclass(frozen=True)
class Room:
    """What is free of the next second, as long as the transaction holds the row."""

    next_slot: datetime
    now: datetime

    def slots(self, wanted: int) -> rate.Slots:
        if self.now + rate.AHEAD < self.next_slot <= self.now + POLLS_REST:  # farther ahead: of a clock set back since
            return rate.Slots((), self.next_slot)
        return rate.reserve(self.next_slot, self.now, POLLS_PER_SECOND, wanted)


async def lock(connection: "Connection") -> Room:
    """See what is free; nobody else takes of it until the caller's transaction ends."""
    row = await connection.fetchrow(_LOCK)
    assert row is not None
    return Room(row["next_slot"], row["now"])


async def use(connection: "Connection", slots: rate.Slots) -> None:
    """Take slots, under the lock."""
    await connection.execute(_USE, slots.next_slot)


async def one(pool: asyncpg.Pool) -> None:
    """Wait until Twilio may be asked once."""
    while True:
        async with pool.acquire() as connection, connection.transaction():
            room = await lock(connection)
            slots = room.slots(1)
            await use(connection, slots)
        if slots.at:
            await asyncio.sleep((slots.at[0] - room.now).total_seconds())
            return
        await asyncio.sleep(LOOK_AGAIN_S)


async def rest(pool: asyncpg.Pool) -> None:
    """Twilio is asked too much: nobody asks for a while."""
    await pool.execute(_REST, POLLS_REST)


_LOCK = "SELECT next_slot, clock_timestamp() AS now FROM polling FOR UPDATE"

_USE = "UPDATE polling SET next_slot = $1"

_REST = "UPDATE polling SET next_slot = greatest(next_slot, clock_timestamp() + $1::interval)"
