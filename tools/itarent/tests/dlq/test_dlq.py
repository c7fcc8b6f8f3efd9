"""Dead letters as an operator has them: listed, shown, replayed, dropped, on a real Kafka."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner, Result

from common.events import InboundMessageReceived, ListingPublished
from common.kafka import Publisher, Reader
from common.records import Exact
from common.topics import Topic, Topics
from itarent.cli import app
from testkit.factories import NOW, make_listing
from testkit.records import records_of

GOOD = ListingPublished(listing=make_listing())
WRITTEN = InboundMessageReceived(
    message_sid="SM1",
    sender_hash="0" * 64,
    sender="+393335550101",
    recipient="+14155238886",
    body="ITARENT",
    received_at=NOW,
)


class Desk:
    """What an operator does at the terminal, and what the world does meanwhile."""

    def __init__(self, kafka: str, topics: Topics, publisher: Publisher) -> None:
        self._kafka = kafka
        self._topics = topics
        self._publisher = publisher

    async def dlq(self, *arguments: str, answer: str = "") -> Result:
        namespace = self._topics.listings.name.removesuffix(".listings.v1")
        where = ["--bootstrap-servers", self._kafka, "--namespace", namespace]
        command = ["dlq", *arguments, *where]
        return await asyncio.to_thread(CliRunner(env={"COLUMNS": "200"}).invoke, app, command, answer)

    async def listed(self, *arguments: str) -> list[dict[str, Any]]:
        result = await self.dlq("list", "--json", *arguments)
        assert result.exit_code == 0, result.output
        letters: list[dict[str, Any]] = json.loads(result.stdout)
        return letters

    async def ids(self) -> list[str]:
        return [letter["id"] for letter in await self.listed()]

    async def receive(self, *records: Exact) -> None:
        """Somebody publishes records, and a service reads all that its topic holds."""
        await self._publisher.publish_exact(records)
        for topic, event in (
            (self._topics.listings, ListingPublished),
            (self._topics.inbound_messages, InboundMessageReceived),
        ):
            await Reader(self._publisher, topic, event).read(await records_of(self._kafka, topic))


@pytest.fixture
async def desk(kafka: str, topics: Topics) -> AsyncIterator[Desk]:
    async with Publisher.connected(kafka, "tests") as publisher:
        yield Desk(kafka, topics, publisher)


def bad(topic: Topic, value: bytes | None = b"{", key: bytes | None = GOOD.key.encode(), partition: int = 2) -> Exact:
    return Exact(topic.name, key, value, (("ce_id", b"an-id"), ("trace", b"\xff"), ("trace", b"2")), partition)


async def test_without_dead_letters_none_are_listed(desk: Desk) -> None:
    result = await desk.dlq("list")
    assert (result.exit_code, result.stdout) == (0, "There are no dead letters.\n")


async def test_dead_letters_are_listed_by_their_origin_with_reason_and_size(desk: Desk, topics: Topics) -> None:
    await desk.receive(bad(topics.listings), bad(topics.inbound_messages, b"[[]", partition=0))
    listing = f"{topics.listings.name}/2/0"
    assert await desk.ids() == [f"{topics.inbound_messages.name}/0/0", listing]

    [letter] = await desk.listed("--topic", topics.listings.name)
    assert (letter["id"], letter["topic"], letter["bytes"]) == (listing, topics.listings.name, 1)
    assert not letter["restricted"]
    assert "EOF" in letter["reason"]
    assert listing in (await desk.dlq("list")).stdout


async def test_a_dead_letter_is_shown_with_its_origin_headers_and_value(desk: Desk, topics: Topics) -> None:
    await desk.receive(bad(topics.listings, b'{"listing": {"citt\xc3\xa0": 1}}'))
    [name] = await desk.ids()
    shown = (await desk.dlq("show", name)).stdout
    assert f"topic {topics.listings.name}, partition 2, offset 0" in shown
    assert "ce_id: an-id" in shown
    assert '"città": 1' in shown


async def test_what_a_stranger_wrote_does_not_steer_the_terminal(desk: Desk, topics: Topics) -> None:
    await desk.receive(bad(topics.listings, b"\x1b[2J[red]"))
    [name] = await desk.ids()
    shown = (await desk.dlq("show", name)).stdout
    assert "\x1b" not in shown
    assert "\\x1b[2J[red]" in shown


async def test_what_a_restricted_topic_held_is_shown_only_when_asked_for(desk: Desk, topics: Topics) -> None:
    held = WRITTEN.model_dump_json().replace('"body":"ITARENT"', '"body":7').encode()
    await desk.receive(bad(topics.inbound_messages, held, b"+393335550101"))
    [name] = await desk.ids()
    shown = (await desk.dlq("show", name)).stdout
    assert "--reveal" in shown
    assert "5550101" not in shown
    assert '"sender": "+393335550101"' in (await desk.dlq("show", name, "--reveal")).stdout


async def test_a_replay_publishes_the_record_as_it_was_where_it_was_and_removes_the_letter(
    desk: Desk, kafka: str, topics: Topics
) -> None:
    await desk.receive(bad(topics.listings))
    [name] = await desk.ids()
    result = await desk.dlq("replay", name)
    assert (result.exit_code, result.stdout) == (0, "Replayed: 1.\n")

    first, second = await records_of(kafka, topics.listings)
    assert (second.key, second.value, second.headers, second.partition) == (
        first.key,
        first.value,
        first.headers,
        first.partition,
    )
    assert await desk.ids() == []


async def test_all_letters_of_a_topic_are_replayed_at_once_in_their_order(
    desk: Desk, kafka: str, topics: Topics
) -> None:
    await desk.receive(*(bad(topics.listings, str(number).encode()) for number in range(5)))
    await desk.receive(bad(topics.inbound_messages))
    result = await desk.dlq("replay", "--topic", topics.listings.name)
    assert result.stdout == "Replayed: 5.\n"
    values = [record.value for record in await records_of(kafka, topics.listings)]
    assert values == [b"0", b"1", b"2", b"3", b"4"] * 2
    assert [letter["topic"] for letter in await desk.listed()] == [topics.inbound_messages.name]


async def test_a_tombstone_that_was_none_becomes_one_again(desk: Desk, kafka: str, topics: Topics) -> None:
    await desk.receive(bad(topics.listings, None, b"\xff"))
    [name] = await desk.ids()
    assert (await desk.dlq("replay", name)).exit_code == 0
    assert [(record.key, record.value) for record in await records_of(kafka, topics.listings)] == [(b"\xff", None)] * 2


async def test_a_letter_that_was_replayed_is_not_there_to_be_replayed_again(desk: Desk, topics: Topics) -> None:
    await desk.receive(bad(topics.listings))
    [name] = await desk.ids()
    await desk.dlq("replay", name)
    again = await desk.dlq("replay", name)
    assert again.exit_code == 1
    assert "no such dead letter" in again.output


async def test_a_dropped_letter_is_gone(desk: Desk, topics: Topics) -> None:
    await desk.receive(bad(topics.listings), bad(topics.listings))
    first, second = await desk.ids()
    assert (await desk.dlq("drop", first, "--yes")).exit_code == 0
    assert await desk.ids() == [second]


async def test_a_drop_is_asked_about_first(desk: Desk, topics: Topics) -> None:
    await desk.receive(bad(topics.listings), bad(topics.listings))
    refused = await desk.dlq("drop", "--topic", topics.listings.name, answer="n\n")
    assert refused.exit_code == 1
    assert "2 dead letters" in refused.stdout
    assert len(await desk.ids()) == 2
    await desk.dlq("drop", "--topic", topics.listings.name, answer="y\n")
    assert await desk.ids() == []


@pytest.mark.parametrize("arguments", [("replay",), ("drop", "a/0/1", "--topic", "a"), ("show", "a-0-1")])
async def test_what_is_meant_must_be_said(desk: Desk, arguments: tuple[str, ...]) -> None:
    assert (await desk.dlq(*arguments)).exit_code == 2


async def test_a_tombstone_removes_a_letter_from_the_disk_and_the_rest_goes_with_time(
    kafka: str, topics: Topics
) -> None:
    letters = topics.listings.dead_letters
    assert letters.config["cleanup.policy"] == "compact,delete"
    assert letters.config["retention.ms"] == str(30 * 86_400_000)
    assert topics.recipients.dead_letters.config["retention.ms"] == str(7 * 86_400_000)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:  # a compacted topic takes nothing without a key
        await producer.send_and_wait(letters.name, b"x", b"k")
