"""Removes what has expired, now and then: a net below conditions that look at the time themselves."""

import asyncio
from typing import Final

import asyncpg
import structlog

from common.postgres import CONNECTION_LOST

log = structlog.get_logger()

EVERY_S: Final = 600.0


async def keep_house(pool: asyncpg.Pool) -> None:
    """Clean up until cancelled; several processes may do so at once."""
    while True:
        try:
            for statement in _EXPIRED:
                await pool.execute(statement)
        except CONNECTION_LOST as error:
            log.warning("housekeeping interrupted, trying again later", error=type(error).__name__)
        await asyncio.sleep(EVERY_S)


_EXPIRED: Final = (
    "DELETE FROM refresh_tokens WHERE expires_at < now()",
    "DELETE FROM sign_ins WHERE NOT EXISTS (SELECT FROM refresh_tokens WHERE sign_in_id = sign_ins.sign_in_id)",
    "DELETE FROM rate_counters WHERE expires_at < now()",
    "DELETE FROM phone_claims WHERE expires_at < now() - interval '1 day'",
    # Kafka keeps inbound messages for 7 days: none comes again after that.
    "DELETE FROM inbox WHERE handled_at < now() - interval '30 days'",
    # The page shows the newest few; the others are kept for the stories of their messages.
    "DELETE FROM recent_listings WHERE published_at < now() - interval '30 days'",
)
