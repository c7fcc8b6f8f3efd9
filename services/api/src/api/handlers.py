"""What the api reads from Kafka: what people write to us, and what the other services do."""

from faststream.kafka import KafkaBroker
from faststream.middlewares import AckPolicy

from api.activity import Activity
from api.forecasts import Forecasts
from api.phone_links import PhoneLinks
from api.watch import Watch
from common.events import (
    DirectMessageRequested,
    ForecastMade,
    InboundMessageReceived,
    ListingPublished,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
)
from common.kafka import Publisher, Reader, Records, at_once, gathered
from common.topics import Topics


def subscribe(
    broker: KafkaBroker,
    *,
    publisher: Publisher,
    topics: Topics,
    phones: PhoneLinks,
    activity: Activity,
    watch: Watch,
    forecasts: Forecasts,
    instance_id: str | None,
) -> None:
    """Declare the api's subscribers on a broker that has not started."""
    inbound = Reader(publisher, topics.inbound_messages, InboundMessageReceived)
    # Dead letters of the other topics are kept by the service that the topic is for.
    listings = Reader(publisher, topics.listings, ListingPublished, keeps_dead_letters=False)
    notifications = Reader[NotificationRequested | DirectMessageRequested](
        publisher, topics.notifications, NotificationRequested, DirectMessageRequested, keeps_dead_letters=False
    )
    statuses = Reader[MessageStatusReported | NotificationSettled](
        publisher, topics.message_statuses, MessageStatusReported, NotificationSettled, keeps_dead_letters=False
    )
    ahead = Reader(publisher, topics.forecasts, ForecastMade)

    @broker.subscriber(
        topics.inbound_messages.name,
        group_id=topics.group("api"),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **at_once(instance_id, "inbound-messages"),
    )
    async def on_inbound_message_received(records: Records) -> None:
        for received in await inbound.read(records):
            if received.event:
                await phones.receive(received.event)

    @broker.subscriber(
        topics.listings.name,
        group_id=topics.group("api"),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **gathered(instance_id, "listings"),
    )
    async def on_listing_published(records: Records) -> None:
        await activity.record_listings(await listings.read(records))
        watch.touch()

    @broker.subscriber(
        topics.notifications.name,
        group_id=topics.group("api"),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **gathered(instance_id, "notifications"),
    )
    async def on_notification_requested(records: Records) -> None:
        received = await notifications.read(records)
        await activity.record_notifications([each.event for each in received if each.event])
        watch.touch()

    @broker.subscriber(
        topics.message_statuses.name,
        group_id=topics.group("api"),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **gathered(instance_id, "message-statuses"),
    )
    async def on_message_status_reported(records: Records) -> None:
        received = await statuses.read(records)
        await activity.record_statuses([each.event for each in received if each.event])
        watch.touch()

    @broker.subscriber(
        topics.forecasts.name,
        group_id=topics.group("api"),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        **gathered(instance_id, "forecasts"),
    )
    async def on_forecast_made(records: Records) -> None:
        received = await ahead.read(records)
        await forecasts.record([each.event for each in received if each.event])
