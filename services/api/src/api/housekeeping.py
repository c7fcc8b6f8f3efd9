"""Removes what has expired, now and then: a net below conditions that look at the time themselves."""

import asyncio
import datetime as dt
from typing import Final

import asyncpg
import structlog

from api.erasure import Erasure
from api.phone_links import PhoneLinks
from common.postgres import CONNECTION_LOST

log = structlog.get_logger()

EVERY_S: Final = 600.0


async def keep_house(pool: asyncpg.Pool, phones: PhoneLinks, erasure: Erasure) -> None:
    """Clean up until cancelled; several processes may do so at once."""
    while True:
        try:
            now = dt.datetime.now(dt.UTC)
            await phones.forget_expired(now)
            await erasure.keep_erased(now)
            for statement in _EXPIRED:
                await pool.execute(statement)
        except CONNECTION_LOST as error:
            log.warning("housekeeping interrupted, trying again later", error=type(error).__name__)
        await asyncio.sleep(EVERY_S)


_EXPIRED: Final = (
    "DELETE FROM refresh_tokens WHERE expires_at < now()",
    "DELETE FROM sign_ins WHERE NOT EXISTS (SELECT FROM refresh_tokens WHERE sign_in_id = sign_ins.sign_in_id)",
    "DELETE FROM rate_counters WHERE expires_at < now()",
    "DELETE FROM codes_requested WHERE requested_at < now() - interval '2 days'",
    # What is older says nothing of a join any more; a STOP holds for ever.
    "DELETE FROM phones_heard WHERE wrote_at < now() - interval '7 days' AND stopped_at IS NULL",
    # Kafka keeps inbound messages for 7 days: none comes again after that.
    "DELETE FROM inbox WHERE handled_at < now() - interval '30 days'",
    # The page shows the newest few; the others are kept for the stories of their messages.
    "DELETE FROM recent_listings WHERE published_at < now() - interval '30 days'",
)
