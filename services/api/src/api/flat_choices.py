"""What renters have chosen to keep, or to hear of never again."""

import datetime as dt
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from uuid import UUID

import asyncpg
from pydantic import Field

from common.events import Card
from common.model import Value

if TYPE_CHECKING:
    from common.outbox import Connection


MOST_SHOWN: Final = 200


class Choice(StrEnum):
    SAVED = "saved"
    DECLINED = "declined"


class SavedFlat(Value):
    """A flat that a renter keeps, as the message told of it."""

    listing: Card
    saved_at: dt.datetime
    offered: bool | None = Field(description="whether it can still be had; null: nothing was heard of it for a month")


class FlatChoices:
    """One choice for each user and listing: the last one holds."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def make(self, connection: "Connection", user_id: UUID, card: Card, choice: Choice, now: dt.datetime) -> None:
        """Record a choice in the caller's transaction."""
        await connection.execute(_MAKE, user_id, card.listing_id, choice, card.model_dump(mode="json"), now)

    async def saved_by(self, user_id: UUID) -> list[SavedFlat]:
        """What a user keeps, newest first, at most `MOST_SHOWN`."""
        rows = await self._pool.fetch(_SAVED, user_id, MOST_SHOWN)
        return [SavedFlat(listing=row["card"], saved_at=row["chosen_at"], offered=row["active"]) for row in rows]

    async def forget(self, user_id: UUID, listing_id: str) -> bool:
        """Keep a flat no longer; whether it was kept."""
        return bool(await self._pool.fetchval(_FORGET, user_id, listing_id))


_MAKE = """
INSERT INTO flat_choices (user_id, listing_id, choice, card, chosen_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id, listing_id) DO UPDATE SET
    choice = excluded.choice, card = excluded.card, chosen_at = excluded.chosen_at
"""

_SAVED = """
SELECT choice.card, chosen_at, active FROM flat_choices AS choice LEFT JOIN recent_listings USING (listing_id)
WHERE user_id = $1 AND choice = 'saved' ORDER BY chosen_at DESC, listing_id LIMIT $2
"""

_FORGET = "DELETE FROM flat_choices WHERE user_id = $1 AND listing_id = $2 AND choice = 'saved' RETURNING true"
