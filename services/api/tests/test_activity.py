"""What matched and what was sent, told from events that come twice and in any order."""

import datetime as dt
import itertools
import random
from uuid import UUID, uuid4

from faststream.middlewares import AckPolicy

from api.activity import Activity
from api.handlers import subscribe
from api.statuses import RANKS
from common.events import (
    Card,
    ListingPublished,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
)
from common.kafka import Publisher, make_broker, tombstone
from testkit.factories import NOW, make_listing, make_notification
from testkit.waiting import eventually

from .conftest import PHONE, Api, inbound, publish_raw

MESSAGE_ID = UUID("3e55a6e0-0000-4000-8000-000000000001")


def report(status: MessageStatus, seconds: int, **changes: object) -> MessageStatusReported:
    values = {
        "message_id": MESSAGE_ID,
        "attempt": 1,
        "status": status,
        "reported_by": "callback",
        "reported_at": NOW + dt.timedelta(seconds=seconds),
    }
    return MessageStatusReported.model_validate({**values, **changes})


def accepted(user_id: UUID, *told: NotificationRequested, shown: int = 1) -> MessageStatusReported:
    ids = tuple(each.notification_id for each in told)
    return report(
        MessageStatus.ACCEPTED,
        1,
        reported_by="sender",
        user_id=user_id,
        message_sid="SM1",
        notification_ids=ids,
        shown_notification_ids=ids[:shown],
        numbers=tuple(range(1, len(ids) + 1)),
    )


async def test_the_consumers_bring_a_listings_whole_way_to_its_renter(running_api: Api, producer: Publisher) -> None:
    api, topics = running_api, running_api.topics
    renter = await api.renter()
    notification = make_notification(user_id=await renter.id())
    await publish_raw(producer, topics.message_statuses, "x", b"not json")
    for _ in range(2):
        await producer.publish(topics.listings, [ListingPublished(listing=make_listing())])
        await producer.publish(
            topics.message_statuses,
            [report(MessageStatus.DELIVERED, 3), accepted(notification.user_id, notification)],
        )
        await producer.publish(topics.notifications, [notification])
    link = (await renter.call("POST", "/whatsapp/link", json={"phone_number": PHONE})).json()
    await producer.publish(topics.inbound_messages, [inbound(PHONE, link["claim"]["code"])])

    async def told() -> dict[str, object]:
        items = (await renter.call("GET", "/activity")).json()["items"]
        assert len(items) == 1
        assert (items[0]["message"] or {}).get("status") == "delivered"
        assert (await renter.call("GET", "/whatsapp/status")).json()["link"]["state"] == "connected"
        item: dict[str, object] = items[0]
        return item

    item = await eventually(told)
    assert item["disposition"] == "in_message"
    assert item["listing"] == notification.card.model_dump(mode="json")
    assert (await renter.call("GET", "/whatsapp/status")).json()["counts"] == {"delivered": 1}

    async def kept() -> bool:
        return bool(await api.sql("SELECT card ->> 'title' FROM recent_listings") == make_listing().title)

    await eventually(kept)


async def test_a_message_shows_its_furthest_status_in_whatever_order_they_come(api: Api) -> None:
    notification = make_notification(user_id=uuid4())
    events = [
        accepted(notification.user_id, notification),
        report(MessageStatus.QUEUED, 2),
        report(MessageStatus.SENT, 3),
        report(MessageStatus.DELIVERED, 4),
        report(MessageStatus.UNDELIVERED, 5, error_code=63016),
    ]
    activity = Activity(api.services.pool)
    steps = [event.status for event in (*events[:3], events[4], events[3])]
    orders = random.Random(1).sample(list(itertools.permutations(events)), 12)
    for order in orders:
        await api.services.pool.execute("TRUNCATE messages, message_statuses, told_in_messages")
        for event in order:
            await activity.record_statuses([event])
        (message,) = await activity.messages_of(notification.user_id)
        assert message.status is MessageStatus.DELIVERED
        assert [step.status for step in message.statuses] == steps
        assert "approved templates only" in (message.statuses[3].error or "")


async def test_a_listing_never_goes_back_to_an_older_version_and_a_tombstone_withdraws_it(
    running_api: Api, producer: Publisher
) -> None:
    api, topic = running_api, running_api.topics.listings
    for version in (2, 1, 3, 2):
        listing = make_listing(version=version, title=f"Version {version}")
        await producer.publish(topic, [ListingPublished(listing=listing)])
    state = "SELECT version || ' ' || active FROM recent_listings"
    await eventually(lambda: _is(api, state, "3 true"))
    await producer.publish_encoded([tombstone(topic, make_listing().listing_id)])
    await eventually(lambda: _is(api, state, "3 false"))


async def _is(api: Api, query: str, expected: str) -> bool:
    return bool(await api.sql(query) == expected)


async def test_dispositions_say_what_became_of_each_match(api: Api) -> None:
    renter = await api.renter()
    user_id = await renter.id()
    shown, grouped, settled, waiting = (
        make_notification(user_id=user_id, flat_id=uuid4(), requested_at=NOW + dt.timedelta(minutes=n))
        for n in range(4)
    )
    activity = api.services.activity
    suppressed = NotificationSettled(
        notification_id=settled.notification_id,
        user_id=user_id,
        disposition="suppressed",
        detail="stopped",
        settled_at=NOW,
    )
    await activity.record_statuses([accepted(user_id, shown, grouped), suppressed])
    await activity.record_notifications([shown, grouped, settled, waiting])
    first = (await renter.call("GET", "/activity?limit=3")).json()
    rest = (await renter.call("GET", f"/activity?after={first['next']}")).json()
    dispositions = {item["notification_id"]: item["disposition"] for item in first["items"] + rest["items"]}
    assert dispositions == {
        str(waiting.notification_id): "waiting",
        str(settled.notification_id): "suppressed",
        str(grouped.notification_id): "grouped",
        str(shown.notification_id): "in_message",
    }
    assert list(dispositions) == [str(each.notification_id) for each in (waiting, settled, grouped, shown)]
    other = await api.renter()
    assert (await other.call("GET", "/activity")).json()["items"] == []


async def test_what_had_failed_and_was_sent_again_is_in_a_message(api: Api) -> None:
    renter = await api.renter()
    user_id = await renter.id()
    told = make_notification(user_id=user_id)
    taken = accepted(user_id, told)
    failed = NotificationSettled(
        notification_id=told.notification_id,
        user_id=user_id,
        disposition="failed",
        detail="not_joined_sandbox",
        settled_at=NOW,
    )
    refused = taken.model_copy(update={"status": MessageStatus.REJECTED, "error_code": 63015})
    await api.services.activity.record_notifications([told])
    await api.services.activity.record_statuses([refused, failed])
    [item] = (await renter.call("GET", "/activity")).json()["items"]
    assert (item["disposition"], item["detail"]) == ("failed", "not_joined_sandbox")
    await api.services.activity.record_statuses([taken.model_copy(update={"attempt": 2})])
    [item] = (await renter.call("GET", "/activity")).json()["items"]
    assert (item["disposition"], item["detail"]) == ("in_message", None)


async def test_the_page_of_a_message_shows_all_of_its_flats_in_its_readers_language(api: Api) -> None:
    renter = await api.renter()
    await renter.call("PATCH", "/me", json={"language": "ru"})
    user_id = await renter.id()
    hostile = Card(listing_id="x:1", version=1, source="x", title="<script>alert(1)</script>", url="https://x.test/")
    told = [make_notification(user_id=user_id), make_notification(user_id=user_id, flat_id=uuid4(), card=hostile)]
    await api.services.activity.record_notifications(told)
    await api.services.activity.record_statuses([accepted(user_id, *told)])
    link = api.services.links.to_message(MESSAGE_ID).removeprefix(api.services.settings.public_url)
    page = await api.http.get(link)
    assert page.status_code == 200
    assert "2 объявления" in page.text
    assert "1 100 €" in page.text.replace("\xa0", " ")
    assert "viale Abruzzi 48" in page.text
    assert "<script>alert" not in page.text
    forged = await api.http.get(link[:-2] + "xx", headers={"Accept-Language": "en-GB,en;q=0.9"})
    assert forged.status_code == 404
    assert "This link is no longer valid" in forged.text


async def test_every_subscriber_acknowledges_after_its_work(api: Api) -> None:
    broker = make_broker(api.kafka, "api")
    services = api.services
    subscribe(
        broker,
        publisher=services.publisher,
        topics=api.topics,
        phones=services.phones,
        activity=services.activity,
        watch=services.watch,
        forecasts=services.forecasts,
        instance_id="api-1",
    )
    assert {subscriber.ack_policy for subscriber in broker.subscribers} == {AckPolicy.NACK_ON_ERROR}
    assert len(broker.subscribers) == 5


def test_every_status_has_a_rank_and_nothing_undoes_delivered() -> None:
    assert RANKS.keys() == set(MessageStatus)
    assert [status for status in RANKS if RANKS[status] >= RANKS[MessageStatus.DELIVERED]] == [
        MessageStatus.DELIVERED,
        MessageStatus.READ,
    ]
