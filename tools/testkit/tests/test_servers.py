"""What the fixtures promise to every other test."""

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from common.topics import Topics
from testkit.servers import ROLES, Database, Role
from testkit.waiting import eventually


async def test_topics_exist_and_carry_records(kafka: str, topics: Topics) -> None:
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka) as producer,
        AIOKafkaConsumer(topics.listings.name, bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer,
    ):
        await producer.send_and_wait(topics.listings.name, b"value", key=b"key")
        assert (await consumer.getone()).value == b"value"


async def test_each_test_has_topics_of_its_own(topics: Topics, request: pytest.FixtureRequest) -> None:
    seen = request.config.stash.setdefault(SEEN, set())
    assert topics.listings.name not in seen
    seen.add(topics.listings.name)


SEEN: pytest.StashKey[set[str]] = pytest.StashKey()


@pytest.mark.parametrize("role", ROLES)
async def test_a_service_connects_as_its_own_role_to_its_own_schema(database: Database, role: Role) -> None:
    connection = await asyncpg.connect(database.url(role))
    try:
        row = await connection.fetchrow("SELECT current_user, current_schema()")
        assert row is not None
        assert tuple(row) == (role, role)
    finally:
        await connection.close()


@pytest.mark.parametrize("attempt", [1, 2])
async def test_each_test_has_a_database_of_its_own(database: Database, attempt: int) -> None:
    connection = await asyncpg.connect(database.admin_url)
    try:
        await connection.execute(f"CREATE TABLE public.mine AS SELECT {attempt} AS attempt")
    finally:
        await connection.close()


async def test_waiting_ends_when_the_condition_comes_true() -> None:
    answers = iter([0, 0, 7])
    assert await eventually(lambda: next(answers)) == 7


async def test_waiting_ends_at_the_deadline_with_the_last_doubt() -> None:
    def never() -> bool:
        raise AssertionError("still not")

    with pytest.raises(TimeoutError, match="never") as raised:
        await eventually(never, within_seconds=0.05)
    assert str(raised.value.__cause__) == "still not"
