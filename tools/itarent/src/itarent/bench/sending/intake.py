"""Intake: from Kafka to durable rows, which is what a sender does first with whatever the matchers tell."""

import datetime as dt
import random
from collections.abc import Sequence
from typing import Final

from rich.console import Console

from common.events import NotificationRequested
from itarent.bench.sending.load import listings, notifications
from itarent.bench.sending.stage import Row, Stage, sender_alone
from itarent.bench.sending.usage import used

WANTED_BY: Final = 1_000
"""How many want a flat."""
WARM_UP: Final = 0.1
"""The share after which the clock starts: the process has started, and its statements are prepared."""


async def intake(count: int, users: int, seed: int, console: Console) -> list[Row]:
    """Notifications that lie in Kafka already, for users who are told of several flats each."""
    chance, now = random.Random(seed), dt.datetime.now(dt.UTC)  # noqa: S311 - seeded
    wanted_by = min(WANTED_BY, users)
    flats = listings(-(-count // wanted_by), chance)
    events = [each for flat in flats for each in notifications([flat], chance.sample(range(users), wanted_by), now)]
    async with sender_alone() as stage:
        console.print(f"{users:,} recipients are saved")
        await stage.know(users)
        await stage.hold()
        console.print(f"{len(events):,} notifications are taken in")
        return [await _taken_in(stage, events[:count])]


async def _taken_in(stage: Stage, events: Sequence[NotificationRequested]) -> Row:
    count, warm = len(events), int(len(events) * WARM_UP)
    await stage.sender.stop()
    await stage.publish(stage.system.topics.notifications, events)
    stage.sender.launch()
    began = await stage.until(_ROWS, warm)
    with used(stage.sender) as sender_s:
        ended = await stage.until(_ROWS, count)
    stage.sender.watch()
    await stage.until(_PLACED, count)
    rate = (count - warm) / (ended - began)
    return {
        "notifications": count,
        "users": await stage.pool.fetchval("SELECT count(*) FROM messages"),
        "notifications/s": rate,
        "sender's CPU, µs each": 1e6 * sender_s() / (count - warm),
    }


_ROWS: Final = "SELECT coalesce(last_value, 0) FROM pg_sequences WHERE sequencename = 'notifications_position_seq'"
_PLACED: Final = "SELECT count(*) FROM notifications WHERE message_id IS NOT NULL"
