"""What the sender forecasts of windows, tier and money: the last of it is kept for operators."""

from collections.abc import Sequence

import asyncpg

from common.events import ForecastMade


class Forecasts:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def record(self, made: Sequence[ForecastMade]) -> None:
        """Keep the last forecast of each channel; an earlier one that comes late changes nothing."""
        for each in made:
            await self._pool.execute(_RECORD, each.channel, each.made_at, each.model_dump_json())

    async def last(self) -> ForecastMade | None:
        """The last forecast; None: the sender has made none yet."""
        known = await self._pool.fetchval(_LAST)
        return None if known is None else ForecastMade.model_validate_json(known)


_RECORD = """
INSERT INTO forecasts AS known (channel, made_at, forecast) VALUES ($1, $2, $3)
ON CONFLICT (channel) DO UPDATE SET made_at = excluded.made_at, forecast = excluded.forecast
WHERE known.made_at < excluded.made_at
"""

_LAST = "SELECT forecast FROM forecasts ORDER BY made_at DESC LIMIT 1"
