"""What the watch page shows: the flow through the system, what is newest, and a message's whole story."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
import structlog
from aiokafka.errors import KafkaError
from sse_starlette import ServerSentEvent

from api.flow import KafkaFlow, Positions
from api.forecasts import Forecasts
from api.meanings import meaning_of
from common.topics import Topics

log = structlog.get_logger()

EVERY_S: Final = 1.0
AT_MOST_EVERY_S: Final = 0.25
RATE_OVER_S: Final = 5.0
NEWEST: Final = 14


@dataclass(frozen=True)
class Stage:
    """A step of a listing's way. `lag` is None where nobody reads."""

    id: str
    total: int
    per_second: float
    lag: int | None = None


@dataclass
class _Rates:
    """How fast totals have grown over the last seconds."""

    samples: deque[tuple[float, Mapping[str, int]]] = field(default_factory=deque)

    def add(self, now: float, totals: Mapping[str, int]) -> dict[str, float]:
        while self.samples and self.samples[0][0] < now - RATE_OVER_S:
            self.samples.popleft()
        self.samples.append((now, totals))
        began, before = self.samples[0]
        return {
            name: max(0.0, (total - before.get(name, total)) / (now - began)) if now > began else 0.0
            for name, total in totals.items()
        }


class Watch:
    """One view that all watchers share: it is put together only while somebody watches."""

    def __init__(self, pool: asyncpg.Pool, flow: KafkaFlow, topics: Topics, forecasts: Forecasts) -> None:
        self._pool = pool
        self._forecasts = forecasts
        self._flow = flow
        self._topics = topics
        self._touched = asyncio.Event()
        self._rates = _Rates()
        self._one_at_a_time = asyncio.Lock()
        self._view: Mapping[str, str] = {}
        self._viewed_at = float("-inf")

    def touch(self) -> None:
        """Something new is there: watchers are told at once."""
        self._touched.set()
        self._touched = asyncio.Event()

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """What a watcher is sent: everything at first, then what has changed, about once a second or when touched."""
        sent: dict[str, str] = {}
        while True:
            touched = self._touched
            for name, data in (await self._fresh_view()).items():
                if sent.get(name) != data:
                    sent[name] = data
                    yield ServerSentEvent(data, event=name)
            await asyncio.sleep(AT_MOST_EVERY_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(touched.wait(), EVERY_S - AT_MOST_EVERY_S)

    async def _fresh_view(self) -> Mapping[str, str]:
        async with self._one_at_a_time:
            if time.monotonic() - self._viewed_at >= AT_MOST_EVERY_S:
                self._view = await self._look()
                self._viewed_at = time.monotonic()
            return self._view

    async def _look(self) -> Mapping[str, str]:
        """The data of each event by its name, as JSON."""
        newest = _json(await self._newest())
        ahead = await self._ahead()
        try:
            positions = await self._flow.positions()
        except (KafkaError, TimeoutError) as error:
            log.warning("the broker does not say where everybody is", error=type(error).__name__)
            return {"newest": newest, **ahead, "outage": _json({"kafka": type(error).__name__})}
        return {"newest": newest, "flow": _json(await self._flow_of(positions)), **ahead}

    async def _ahead(self) -> Mapping[str, str]:
        """The last forecast, if there is one; without whom it names, since the page counts them."""
        made = await self._forecasts.last()
        return {"ahead": made.model_dump_json(exclude={"left_waiting": {"__all__": {"user_ids"}}})} if made else {}

    async def _flow_of(self, at: Positions) -> dict[str, Any]:
        topics = self._topics
        messages: Mapping[str, int] = {
            row["status"]: row["count"] for row in await self._pool.fetch(_MESSAGES_BY_STATUS)
        }
        totals = {
            "listings": at.published[topics.listings.name],
            "matcher": at.matched(topics.listings.name),
            "notifications": at.published[topics.notifications.name],
            "sender": at.handled("sender", topics.notifications.name),
            "twilio": await self._pool.fetchval(_TAKEN_BY_TWILIO),
            "statuses": at.published[topics.message_statuses.name],
            "delivered": messages.get("delivered", 0) + messages.get("read", 0),
        }
        lags = {
            "matcher": at.left_to_match(topics.listings.name),
            "sender": at.lag("sender", topics.notifications.name),
            "statuses": at.lag("api", topics.message_statuses.name),
        }
        rates = self._rates.add(time.monotonic(), totals)
        return {
            "stages": [Stage(name, total, round(rates[name], 1), lags.get(name)) for name, total in totals.items()],
            "messages": messages,
            "progress": [asdict(each) for each in at.progress],
        }

    async def _newest(self) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [dict(row) for row in await self._pool.fetch(query, NEWEST)] for name, query in _NEWEST_OF.items()
        }

    async def story_of(self, message_id: UUID) -> dict[str, Any] | None:
        """Everything about a message, from the listings that it tells to its last status; no phone and no text."""
        message = await self._pool.fetchrow(_MESSAGE, message_id)
        if message is None:
            return None
        statuses = [dict(row) for row in await self._pool.fetch(_STATUSES, message_id)]
        return {
            **dict(message),
            "statuses": [{**row, "error": meaning_of(row["error_code"])} for row in statuses],
            "flats": [dict(row) for row in await self._pool.fetch(_FLATS, message_id)],
        }


def _json(data: object) -> str:
    return orjson.dumps(data, default=str).decode()  # asyncpg has its own type of UUID


_MESSAGES_BY_STATUS = "SELECT status, count(*) FROM messages GROUP BY status"

_TAKEN_BY_TWILIO = "SELECT count(*) FROM messages WHERE message_sid IS NOT NULL"

_NEWEST_LISTINGS = """
SELECT listing_id, version, active, card, published_at AS at FROM recent_listings ORDER BY arrival DESC LIMIT $1
"""

_NEWEST_MATCHES = """
SELECT notification_id, reason, card, previous_rent_cents, requested_at AS at,
    ARRAY(SELECT search ->> 'name' FROM jsonb_array_elements(searches) AS search) AS searches
FROM notifications ORDER BY arrival DESC LIMIT $1
"""

_NEWEST_MESSAGES = """
SELECT message_id, status, error_code, reported_at AS at, told.flats, told.shown, first.title, direct.purpose
FROM messages AS message
CROSS JOIN LATERAL (
    SELECT count(*) AS flats, count(*) FILTER (WHERE shown) AS shown FROM told_in_messages AS told
    WHERE told.message_id = message.message_id
) AS told
LEFT JOIN LATERAL (
    SELECT coalesce(nullif(card ->> 'title', ''), card ->> 'comune_name') AS title
    FROM told_in_messages AS told JOIN notifications USING (notification_id)
    WHERE told.message_id = message.message_id ORDER BY told.shown DESC, requested_at LIMIT 1
) AS first ON true
LEFT JOIN LATERAL (
    SELECT purpose FROM told_in_messages AS told JOIN direct_messages USING (notification_id)
    WHERE told.message_id = message.message_id LIMIT 1
) AS direct ON true
ORDER BY arrival DESC LIMIT $1
"""

_NEWEST_OF: Final = {"listings": _NEWEST_LISTINGS, "matches": _NEWEST_MATCHES, "messages": _NEWEST_MESSAGES}

_MESSAGE = """
SELECT message_id, status, attempt, error_code, message_sid,
    (SELECT purpose FROM told_in_messages AS told JOIN direct_messages USING (notification_id)
     WHERE told.message_id = message.message_id LIMIT 1) AS purpose
FROM messages AS message WHERE message_id = $1
"""

_STATUSES = """
SELECT status, reported_at AS at, reported_by, attempt, error_code FROM message_statuses WHERE message_id = $1
ORDER BY attempt, rank, reported_at
"""

_FLATS = """
SELECT notification_id, reason, notification.card, searches, previous_rent_cents, requested_at, shown,
    listing.published_at
FROM told_in_messages AS told JOIN notifications AS notification USING (notification_id)
LEFT JOIN recent_listings AS listing
    ON listing.listing_id = notification.card ->> 'listing_id'
    AND listing.version = (notification.card ->> 'version')::bigint
WHERE told.message_id = $1 ORDER BY shown DESC, requested_at, notification_id
"""
