"""Listings go in, at the pace of a film: through the api as a producer would, broken ones straight onto the topic."""

import asyncio
import datetime as dt
import random
from collections import Counter, deque
from dataclasses import dataclass, field

import httpx

from common.kafka import Encoded, Publisher
from common.topics import Topics
from itarent.demo.cast import checked
from itarent.demo.flats import Market, Played, Scene


@dataclass
class Film:
    """What was played so far, for whoever watches."""

    played: Counter[Scene] = field(default_factory=Counter)
    latest: deque[Played] = field(default_factory=lambda: deque(maxlen=8))

    async def play(
        self, market: Market, per_second: float, api: httpx.AsyncClient, publisher: Publisher, topics: Topics
    ) -> None:
        """Play until cancelled."""
        for played in market.play(dt.datetime.now(dt.UTC)):
            if played.listing:
                checked(await api.post("/listings", json=played.listing.model_dump(mode="json", exclude_none=True)))
            else:
                await publisher.publish_encoded([Encoded(topics.listings.name, "nobody:0", played.broken, {})])
            self.played[played.scene] += 1
            self.latest.appendleft(played)
            # Listings come as they come: in twos and threes, and then not for a while.
            await asyncio.sleep(random.expovariate(per_second))
