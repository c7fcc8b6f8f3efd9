"""An operator looks at a flat and parts it, with a matcher that runs on a real Kafka and PostgreSQL."""

import asyncio
import json
import sys

import asyncpg
import pytest

from common.events import ListingPublished
from common.kafka import Publisher
from common.topics import Topics
from matcher.main import matching
from matcher.settings import Settings
from testkit.factories import make_listing
from testkit.servers import Database
from testkit.waiting import eventually

FIRST, CASA, IDEALISTA = "immobiliare.it:1", "casa.it:1", "idealista.it:1"


class Operator:
    def __init__(self, kafka: str, topics: Topics, database: Database) -> None:
        self._database_url = database.admin_url
        self._kafka = ["--bootstrap-servers", kafka, "--namespace", topics.namespace]

    async def part(self, listing: str, *others: str) -> int:
        status, _ = await self._call("part", listing, *(f"--from={each}" for each in others), *self._kafka)
        return status

    async def flat(self, listing: str) -> list[tuple[str, str | None]]:
        """The advertisements of a flat, and why each joined."""
        status, shown = await self._call("show", listing, "--json")
        return [(each["listing_id"], each["joined_by"]) for each in json.loads(shown)] if status == 0 else []

    async def _call(self, *command: str) -> tuple[int, bytes]:
        where = ["--database-url", self._database_url]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "itarent", "flats", *command, *where, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()
        return process.returncode or 0, told

    async def until_known(self, count: int) -> None:
        connection = await asyncpg.connect(self._database_url)

        async def as_many() -> bool:
            return bool(await connection.fetchval("SELECT count(*) = $1 FROM matcher.known", count))

        await eventually(as_many)
        await connection.close()


@pytest.fixture
def operator(kafka: str, topics: Topics, database: Database) -> Operator:
    return Operator(kafka, topics, database)


async def test_an_operator_sees_why_advertisements_are_one_flat_and_parts_them(
    operator: Operator, kafka: str, topics: Topics, database: Database
) -> None:
    settings = Settings(
        kafka_bootstrap_servers=kafka,
        kafka_namespace=topics.namespace,
        database_url=database.url("matcher"),
        http_port=0,
    )
    async with matching(settings), Publisher.connected(kafka, "test") as publisher:
        for number, listing_id in enumerate([FIRST, CASA, IDEALISTA], start=1):
            listing = make_listing(listing_id=listing_id, source=listing_id[:-2])
            await publisher.publish(topics.listings, [ListingPublished(listing=listing)])
            await operator.until_known(number)
        assert await operator.flat(IDEALISTA) == [(FIRST, None), (CASA, "reference"), (IDEALISTA, "reference")]
        assert await operator.part(IDEALISTA) == 0
        assert await operator.flat(IDEALISTA) == [(IDEALISTA, None)]
        assert await operator.flat(CASA) == [(FIRST, None), (CASA, "reference")]
        assert await operator.part(IDEALISTA) == 1, "it is alone"


async def test_advertisements_can_be_parted_before_they_are_seen(operator: Operator) -> None:
    assert await operator.flat(CASA) == []
    assert await operator.part(CASA) == 1, "of which flat it is no part nobody can know"
    assert await operator.part(CASA, IDEALISTA) == 0
