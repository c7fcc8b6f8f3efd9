"""One listing all the way to `delivered`: to a renter who is there for this question alone.

The renter, the search and the listing are events that this module publishes and takes back by tombstones. The search
is for a comune that does not exist, which the api accepts from nobody: no real renter is told of the listing.
"""

import asyncio
import contextlib
import datetime as dt
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from common.events import (
    DirectMessageRequested,
    DirectPurpose,
    Event,
    ListingPublished,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
    Recipient,
    RecipientSaved,
    SubscriptionSaved,
)
from common.kafka import Publisher, Received, decode, tombstone
from common.listing import Listing, Position, Rent, RentUnit, SpeseTerm
from common.search import Alert, InComune, Search, Subscription
from common.topics import Topic, Topics
from common.twilio_errors import MEANING_OF, Meaning, advice_of
from itarent.check.kafka import administrator, committed
from itarent.check.report import Finding, failed, ok, skipped
from itarent.check.where import Where
from itarent.ledger.words import ends
from twilio_simulator.client import connected

NOWHERE: Final = "000000"
SOURCE: Final = "itarent-check"
HEARD_WITHIN_S: Final = 15.0
MATCHED_WITHIN_S: Final = 4.0
MOST_VERSIONS: Final = 4
DELIVERED_WITHIN_S: Final = 30.0
EXPLAINED_WITHIN_S: Final = 2.0  # that it has ended and why are told in two topics
TAKEN_BACK_WITHIN_S: Final = 10.0

GONE_WRONG: Final = frozenset(
    {
        MessageStatus.REJECTED,
        MessageStatus.SUPPRESSED,
        MessageStatus.FAILED,
        MessageStatus.UNDELIVERED,
        MessageStatus.CANCELED,
    }
)
Told: TypeAlias = MessageStatusReported | NotificationSettled
EventT = TypeVar("EventT", bound=Event)

OUTSIDE_WINDOW: Final = 63016
SENT_AGAIN: Final = frozenset(
    {
        Meaning.RATE_LIMITED,
        Meaning.TEMPORARY,
        Meaning.ACCOUNT_BUSY,
        Meaning.CHANNEL_BUSY,
        Meaning.OUTSIDE_WINDOW,  # once, as a template
    }
)
"""What the sender sends again by itself, perhaps within the time of a check."""

IN_LOG: Final = "Look into the log of the sender."
CURES: Final = {
    "disabled": "Set WHATSAPP_ENABLED=true to send.",
    "budget": "Give more by WHATSAPP_MONTHLY_BUDGET or WHATSAPP_BUDGET_RESERVE, or wait for the next month.",
}
"""What to do about a message that the sender does not send, by its reason."""

ARRIVED: Final = frozenset({MessageStatus.DELIVERED, MessageStatus.READ})


class Stalled(Exception):  # noqa: N818 - named by what is the case
    """The listing got no further in time; the message says where it is and who should have moved it."""

    def __init__(self, says: str, cure: str) -> None:
        super().__init__(says)
        self.cure = cure


class Unheard(Stalled):
    """Nothing is known of the message but that it was asked for."""


async def travel(where: Where, to: str | None, told: Callable[[str], None]) -> list[Finding]:
    """Send a listing on its way and follow it; `to` is a phone of the operator's own, needed with the real Twilio."""
    if to is None and not where.simulator:
        return [
            skipped(
                "no listing was sent: with a real Twilio account that needs a phone of your own",
                "--to +39… : a number that has joined the sandbox, or written to your sender within 24 hours",
            )
        ]
    async with (
        phone_of(where.simulator, where.auth_token, to) as phone,
        Probe.among(where.kafka, where.topics, phone, told) as probe,
    ):
        try:
            return [await probe.travel()]
        except Stalled as stalled:
            return [failed(str(stalled), stalled.cure)]


@contextlib.asynccontextmanager
async def phone_of(simulator_url: str, auth_token: str, to: str | None) -> AsyncIterator[str]:
    """The given phone; else one in the simulator, which is forgotten afterwards."""
    if to is not None:
        yield to
        return
    phone = f"+39333555{secrets.randbelow(100) + 900:04}"
    async with connected(simulator_url, auth_token) as simulator:
        await simulator.join(phone, "itarent check")
        try:
            yield phone
        finally:
            await simulator.forget(phone)


@dataclass
class Probe:
    """A renter who is there for one question; with a search and a listing where the question is about them."""

    bootstrap_servers: str
    topics: Topics
    phone: str
    told: Callable[[str], None]
    publisher: Publisher
    follower: "Follower"
    user_id: uuid.UUID = field(default_factory=uuid.uuid4)
    subscription_id: uuid.UUID = field(default_factory=uuid.uuid4)
    published: list[tuple[Topic, Event]] = field(default_factory=list)

    @classmethod
    @contextlib.asynccontextmanager
    async def among(
        cls, bootstrap_servers: str, topics: Topics, phone: str, told: Callable[[str], None]
    ) -> AsyncIterator["Probe"]:
        """A probe that takes back what it published."""
        async with (
            Publisher.connected(bootstrap_servers, SOURCE) as publisher,
            Follower.of(bootstrap_servers, topics) as follower,
        ):
            probe = cls(bootstrap_servers, topics, phone, told, publisher, follower)
            try:
                yield probe
            finally:
                await probe._take_back()

    async def travel(self) -> Finding:
        """Publish a search and a listing, and follow the listing to its end.

        Raises:
            Stalled: it got no further in time.
        """
        await self._publish(self.topics.subscriptions, SubscriptionSaved(subscription=self._subscription()))
        await self.introduce()
        began = time.monotonic()
        requested = await self._until_matched()
        matched = time.monotonic() - began
        self.told(f"matched after {matched:.1f} s, on its way to the phone")
        report = await self.until_arrived(requested.notification_id)
        return ok(f"matched after {matched:.1f} s, {report.status} after {time.monotonic() - began:.1f} s")

    async def introduce(self) -> None:
        """Publish the renter, and wait until the sender knows of it.

        Raises:
            Stalled: the sender does not read.
        """
        self.told("the sender is told of the recipient")
        recipient = Recipient(
            user_id=self.user_id,
            revision=1,
            phone=self.phone,
            verified=True,
            interval_seconds=0,
            window_opened_at=dt.datetime.now(dt.UTC),
        )
        await self._publish(self.topics.recipients, RecipientSaved(recipient=recipient))
        if not await self._has_read(self.topics.group("sender"), self.topics.recipients):
            raise Stalled(
                f"the sender did not read {self.topics.recipients.name} within {HEARD_WITHIN_S:.0f} s",
                "Look into the log of the sender.",
            )

    async def ask_for_test(self) -> uuid.UUID:
        """Ask for a test message, as POST /api/v1/whatsapp/test does; the notification's id."""
        request = DirectMessageRequested(
            notification_id=uuid.uuid4(),
            user_id=self.user_id,
            purpose=DirectPurpose.TEST,
            requested_at=dt.datetime.now(dt.UTC),
        )
        await self.publisher.publish(self.topics.notifications, [request])
        return request.notification_id

    async def until_arrived(
        self, notification_id: uuid.UUID, wanted: Collection[MessageStatus] = ARRIVED
    ) -> MessageStatusReported:
        """The report that the message has one of the wanted statuses.

        Raises:
            Stalled: it has not in time, or never will.
        """
        last: MessageStatus | None = None
        lost: Stalled | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DELIVERED_WITHIN_S) as patience:
                async for report in self.follower.reports_about(notification_id):
                    if isinstance(report, NotificationSettled):
                        lost = lost or Stalled(
                            f"nothing was sent: {ends(report.detail)}", CURES.get(report.detail, IN_LOG)
                        )
                        patience.reschedule(asyncio.get_running_loop().time() + EXPLAINED_WITHIN_S)
                    elif report.status in wanted:
                        return report
                    elif report.status in GONE_WRONG:
                        lost = _lost(report, lost)
                        if not _is_sent_again(report.error_code):
                            raise lost
                    else:
                        last = report.status
                        self.told(f"the message is {last}")
        if lost:
            raise lost
        says = f"the message has not arrived within {DELIVERED_WITHIN_S:.0f} s; "
        if last is None:
            raise Unheard(f"{says}nothing was heard of it", IN_LOG)
        cure = "Is the phone on and online? If it has the message, look into the log of the status-webhook."
        raise Stalled(f"{says}the last that was heard of it: {last}", cure)

    async def _publish(self, topic: Topic, event: Event) -> None:
        self.published.append((topic, event))
        await self.publisher.publish(topic, [event])

    async def _take_back(self) -> None:
        """A tombstone for each key, the search's first: nobody is to be told of the listing's end."""
        async with asyncio.timeout(TAKEN_BACK_WITHIN_S):  # a publisher waits for Kafka for ever
            for topic, key in dict.fromkeys((topic, event.key) for topic, event in self.published):
                await self.publisher.publish_encoded([tombstone(topic, key)])

    async def _has_read(self, group: str, topic: Topic) -> bool:
        ends = await self.follower.ends(topic)
        deadline = time.monotonic() + HEARD_WITHIN_S
        async with administrator(self.bootstrap_servers) as admin:
            while time.monotonic() < deadline:
                read = await committed(admin, group)
                if all(read.get(at, 0) >= end for at, end in ends.items()):
                    return True
                await asyncio.sleep(0.05)
        return False

    async def _until_matched(self) -> NotificationRequested:
        """Publish the listing until it is matched: the matcher may not have heard of the search yet."""
        for version in range(1, MOST_VERSIONS + 1):
            await self._publish(self.topics.listings, ListingPublished(listing=self._listing(version)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MATCHED_WITHIN_S):
                    return await self.follower.notification_for(self.user_id)
        raise Stalled(
            f"the matcher did not match a listing within {MOST_VERSIONS * MATCHED_WITHIN_S:.0f} s",
            "Look into the log of the matcher.",
        )

    def _subscription(self) -> Subscription:
        return Subscription(
            subscription_id=self.subscription_id,
            user_id=self.user_id,
            revision=1,
            name="itarent check",
            alerts=frozenset({Alert.NEW}),
            search=Search(places=(InComune(code=NOWHERE),)),
        )

    def _listing(self, version: int) -> Listing:
        return Listing(
            listing_id=f"{SOURCE}:{self.user_id}",
            version=version,
            source=SOURCE,
            title="Test: itarent check system",
            comune=NOWHERE,
            comune_name="Test",
            province="XX",  # there is none, and nobody's circle or polygon reaches into the Gulf of Guinea
            position=Position(latitude=0, longitude=0),
            rent=Rent(amount_cents=1_00, per=RentUnit.MONTH, spese=SpeseTerm.EXCLUDED),
        )


def _lost(report: MessageStatusReported, before: Stalled | None) -> Stalled:
    """What is said of a message that failed; a message that ends without a code ends for what was said `before`."""
    if before and report.error_code is None:
        return before
    advice = advice_of(report.error_code)
    return Stalled(f"the message is {report.status}: {advice.what}", advice.cure)


def _is_sent_again(code: int | None) -> bool:
    return code is not None and MEANING_OF.get(code) in SENT_AGAIN


class Follower:
    """Reads what is published from now on about one notification."""

    def __init__(self, consumer: AIOKafkaConsumer, topics: Topics) -> None:
        self._consumer = consumer
        self._topics = topics

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, bootstrap_servers: str, topics: Topics) -> AsyncIterator["Follower"]:
        async with AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers, enable_auto_commit=False, fetch_max_wait_ms=100
        ) as consumer:
            follower = cls(consumer, topics)
            followed = [*_partitions(topics.notifications), *_partitions(topics.message_statuses)]
            consumer.assign(followed)
            for at, end in (await consumer.end_offsets(followed)).items():
                consumer.seek(at, end)
            yield follower

    async def ends(self, topic: Topic) -> dict[TopicPartition, int]:
        """The offsets that the topic's next records will have."""
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(list(_partitions(topic)))
        return ends

    async def notification_for(self, user_id: uuid.UUID) -> NotificationRequested:
        """The first notification of a user."""
        async for event in self._events(self._topics.notifications, NotificationRequested):
            if event.user_id == user_id:
                return event
        raise AssertionError("a topic has no end")

    async def reports_about(self, notification_id: uuid.UUID) -> AsyncIterator[Told]:
        """What becomes of a notification: of the message that tells it, or that there is none."""
        mine: set[uuid.UUID | None] = set()
        strangers: list[MessageStatusReported] = []  # a callback may be published before the sender says whose it is
        async for event in self._events(self._topics.message_statuses, MessageStatusReported, NotificationSettled):
            match event:
                case NotificationSettled() if event.notification_id == notification_id:
                    yield event
                case MessageStatusReported():
                    if notification_id in event.notification_ids:
                        mine.add(event.message_id)
                    strangers.append(event)
                case _:
                    pass
            for each in [each for each in strangers if each.message_id in mine]:
                strangers.remove(each)
                yield each

    async def _events(self, topic: Topic, *types: type[EventT]) -> AsyncIterator[EventT]:
        by_type = {each.type: each for each in types}
        while True:
            received = decode(await self._consumer.getone(*_partitions(topic)), by_type)
            if isinstance(received, Received) and received.event:
                yield received.event


def _partitions(topic: Topic) -> Iterable[TopicPartition]:
    return [TopicPartition(topic.name, number) for number in range(topic.partitions)]
