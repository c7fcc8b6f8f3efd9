"""Who is first when more digests are due at once than can go out within the freshness target. Pure."""

import hashlib
import struct
from datetime import timedelta
from typing import Final
from uuid import UUID

from sender.schedule import FRESH_FOR

PARTS: Final = 8
"""In so many turns a user is once in each part of the queue."""

_DRAWN: Final = struct.Struct(f">{2 * PARTS}I")


def behind(user_id: UUID, turns: int) -> timedelta:
    """How far behind its due time a digest stands in the queue, of a user who has had so many digests before.

    Nobody waits because of it: it only says who goes first among those that are due within the freshness target. In
    which order a user goes through the queue's parts is drawn anew each time, so that nobody is always before another.
    """
    rounds, turn = divmod(turns, PARTS)
    seed = user_id.bytes + rounds.to_bytes(8)
    drawn = _DRAWN.unpack(hashlib.blake2b(seed, digest_size=_DRAWN.size).digest())
    parts = sorted(range(PARTS), key=drawn.__getitem__)
    place: float = (parts[turn] + drawn[PARTS + turn] / (1 << 32)) / PARTS
    return FRESH_FOR * place
