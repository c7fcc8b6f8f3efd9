"""A database that came back from a backup is told what Kafka knows, before anybody is told anything."""

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from common.events import (
    Disposition,
    MessageStatus,
    MessageStatusReported,
    NotificationSettled,
    Recipient,
    card_of,
)
from common.kafka import Publisher
from common.topics import Topics
from itarent.restoring.heard import Heard
from itarent.restoring.offsets import StillRead, rewind
from itarent.restoring.telling import Told, tell
from testkit.factories import make_listing, make_notification, make_recipient, make_subscription
from testkit.servers import Database

TOPICS = Topics.within("restored")
NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)


class Restored:
    """The tables as they were last night, with one account."""

    def __init__(self, url: str, connection: "asyncpg.Connection[Any]") -> None:
        self.url = url
        self.connection = connection
        self.user_id = uuid4()

    async def hear(self, heard: Heard) -> Told:
        return await tell(self.url, TOPICS, heard)

    def recipient(self, revision: int, **changes: Any) -> Recipient:
        return make_recipient(user_id=self.user_id, revision=revision, **changes)

    async def value(self, query: str, *arguments: object) -> Any:
        return await self.connection.fetchval(query, *arguments)


@pytest.fixture
async def restored(database: Database) -> AsyncIterator[Restored]:
    connection = await asyncpg.connect(database.admin_url)
    restored = Restored(database.admin_url, connection)
    await connection.execute(
        "INSERT INTO api.users (user_id, email, password_hash) VALUES ($1, 'a@renters.example', 'x')", restored.user_id
    )
    await connection.execute(
        "INSERT INTO api.recipients (user_id, revision, language, time_zone, phone) VALUES ($1, 3, 'it', 'UTC', $2)",
        restored.user_id,
        "+393335550101",
    )
    yield restored
    await connection.close()


async def test_who_has_stopped_since_the_backup_has_stopped(restored: Restored) -> None:
    stopped = restored.recipient(5, stopped=True, stopped_at=NOW)
    assert (await restored.hear(Heard(recipients={restored.user_id: stopped}))).recipients == 1
    assert await restored.value("SELECT stopped AND revision = 5 FROM api.recipients")
    assert await restored.value("SELECT revision FROM sender.recipients") == 5


async def test_what_the_backup_knows_better_stays(restored: Restored) -> None:
    assert (await restored.hear(Heard(recipients={restored.user_id: restored.recipient(2)}))).recipients == 0
    assert await restored.value("SELECT revision FROM api.recipients") == 3


async def test_an_account_that_was_erased_since_is_erased_again(restored: Restored) -> None:
    assert (await restored.hear(Heard(recipients={restored.user_id: None}))).erased == 1
    assert not await restored.value("SELECT count(*) FROM api.users")
    assert await restored.value("SELECT user_id FROM api.erased_users") == restored.user_id


async def test_an_account_that_is_younger_than_the_backup_is_let_go(restored: Restored) -> None:
    young, search = make_recipient(user_id=uuid4()), uuid4()
    saved = make_subscription(subscription_id=search, user_id=young.user_id)
    told = await restored.hear(Heard(recipients={young.user_id: young}, subscriptions={search: saved}))
    assert told.unknown == 1
    gone = await restored.connection.fetch("SELECT key FROM api.outbox WHERE value IS NULL ORDER BY id")
    assert [row["key"] for row in gone] == [str(search), str(young.user_id)]
    assert not await restored.value("SELECT count(*) FROM sender.recipients")


async def test_searches_are_as_they_were_last(restored: Restored) -> None:
    kept, deleted = uuid4(), uuid4()
    saved = make_subscription(subscription_id=kept, user_id=restored.user_id, revision=2)
    earlier = make_subscription(subscription_id=deleted, user_id=restored.user_id)
    await restored.hear(Heard(subscriptions={kept: saved, deleted: earlier}))
    await restored.hear(Heard(subscriptions={kept: saved, deleted: None}))
    assert await restored.value("SELECT array_agg(subscription_id) FROM api.subscriptions") == [kept]


async def test_what_twilio_has_taken_since_is_known_as_told(restored: Restored) -> None:
    notification, message_id = make_notification(user_id=restored.user_id), uuid4()
    heard = Heard(
        requested={notification.notification_id: notification},
        sent={message_id: _taken(message_id, restored.user_id, notification.notification_id)},
    )
    assert (await restored.hear(heard)).messages == 1
    assert (await restored.hear(heard)).messages == 0, "it can be repeated"
    row = await restored.connection.fetchrow(
        "SELECT disposition, sid, stage, last_digest_at FROM sender.notifications JOIN sender.messages"
        " USING (message_id) JOIN sender.contacts ON contacts.user_id = messages.user_id"
    )
    assert row
    assert tuple(row) == ("in_message", "SM1", "taken", NOW)


async def test_a_flat_that_people_were_told_of_keeps_its_id(restored: Restored) -> None:
    listing = make_listing()
    notification = make_notification(user_id=restored.user_id, card=card_of(listing))
    await restored.hear(
        Heard(listings={listing.listing_id: listing}, requested={notification.notification_id: notification})
    )
    known = await restored.connection.fetchrow("SELECT listing_id, flat_id FROM matcher.advertisements")
    assert known
    assert tuple(known) == (listing.listing_id, notification.flat_id)


async def test_what_had_ended_otherwise_has_ended(restored: Restored) -> None:
    notification = make_notification(user_id=restored.user_id)
    settled = NotificationSettled(
        notification_id=notification.notification_id,
        user_id=restored.user_id,
        disposition=Disposition.SUPPRESSED,
        detail="stopped",
        settled_at=NOW,
    )
    heard = Heard(
        requested={notification.notification_id: notification}, settled={notification.notification_id: settled}
    )
    assert (await restored.hear(heard)).settled == 1
    assert await restored.value("SELECT disposition FROM sender.notifications") == "suppressed"


async def test_what_was_published_since_is_not_published_again(restored: Restored) -> None:
    insert = "INSERT INTO sender.outbox (topic, key, value, headers) VALUES ('t', $1, '', $2)"
    for each in ("published", "left"):
        await restored.connection.execute(insert, each, f'{{"ce_id": "{each}"}}')
    assert (await restored.hear(Heard(published={"published"}))).unpublished == 1
    assert await restored.value("SELECT array_agg(key) FROM sender.outbox") == ["left"]


def _taken(message_id: UUID, user_id: UUID, notification_id: UUID) -> MessageStatusReported:
    return MessageStatusReported(
        message_id=message_id,
        attempt=1,
        status=MessageStatus.ACCEPTED,
        reported_by="sender",
        reported_at=NOW,
        message_sid="SM1",
        user_id=user_id,
        notification_ids=(notification_id,),
        shown_notification_ids=(notification_id,),
    )


async def test_a_group_is_set_back_when_its_members_have_left_and_not_before(kafka: str, topics: Topics) -> None:
    group, topic = topics.group("api"), topics.message_statuses
    async with Publisher.connected(kafka, "tests") as publisher:
        await publisher.publish(topic, [_taken(uuid4(), uuid4(), uuid4()) for _ in range(3)])
    async with AIOKafkaConsumer(topic.name, bootstrap_servers=kafka, group_id=group) as member:
        await member.seek_to_end()
        await member.commit()
        with pytest.raises(StillRead, match=group):
            await rewind(kafka, topics, 1, NOW, left_within_s=0)
    await rewind(kafka, topics, 1, NOW)
    async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group) as reader:
        at = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        assert sum([await reader.committed(each) or 0 for each in at]) == 0
