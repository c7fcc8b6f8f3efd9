"""The topics as data: what is created, checked, documented and walked by tests comes from here."""

import datetime as dt
from dataclasses import dataclass, field, fields
from typing import Literal, Self

from common.events import (
    AdvertisementParted,
    DirectMessageRequested,
    Event,
    FlatDeclined,
    ForecastMade,
    InboundMessageReceived,
    ListingPublished,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
    RecipientSaved,
    SubscriptionSaved,
)

DAYS = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
LARGEST_RECORD = 1024 * 1024  # bytes
LARGEST_DEAD_LETTER = 2 * LARGEST_RECORD  # a dead letter is the record and the reason


@dataclass(frozen=True)
class Topic:
    """One topic. `history` is how long every record is kept: after it a topic is compacted or cut.

    Where it is compacted and cut, `lag` is how long every record is kept before only the latest of its key is.
    """

    name: str
    key: str
    events: tuple[type[Event], ...]
    cleanup: Literal["compact", "delete", "compact,delete"]
    history: dt.timedelta
    partitions: int = 6
    lag: dt.timedelta = field(default=dt.timedelta(), kw_only=True)
    restricted: bool = field(default=False, kw_only=True)  # holds phone numbers or message texts
    largest_record: int = field(default=LARGEST_RECORD, kw_only=True)  # bytes
    owner: str = field(kw_only=True)

    @property
    def config(self) -> dict[str, str]:
        """Kafka's topic configuration."""
        history_ms = _ms(self.history)
        common = {"cleanup.policy": self.cleanup, "max.message.bytes": str(self.largest_record)}
        match self.cleanup:
            case "compact":
                # The latest value of a key stays for ever; nothing is compacted away while it is recent, so that an
                # audit can replay what was in force when a listing was matched.
                return common | self._compaction(self.history) | {"retention.ms": "-1"}
            case "compact,delete":
                return common | self._compaction(self.lag) | {"retention.ms": history_ms}
            case "delete":
                return common | {"retention.ms": history_ms}

    def _compaction(self, after: dt.timedelta) -> dict[str, str]:
        # What is removed is gone from the disk in a known time, not when a segment of a quiet topic is full.
        return {"min.compaction.lag.ms": _ms(after), "max.compaction.lag.ms": _ms(self.forgets_after)}

    @property
    def forgets_after(self) -> dt.timedelta:
        """How long after a tombstone what it deletes may still lie on Kafka's disk, where something is appended."""
        match self.cleanup:
            case "compact":
                return max(self.history, HOUR)
            case "compact,delete":
                return max(self.lag, HOUR)
            case "delete":
                return self.history

    @property
    def dead_letters(self) -> Self:
        """Where records go that can never be handled, by their origin, until they are replayed or dropped."""
        return type(self)(
            f"{self.name}.dlq",
            key="origin",
            events=(),
            cleanup="compact,delete",
            history=(7 if self.restricted else 30) * DAYS,
            partitions=1,
            restricted=self.restricted,
            largest_record=LARGEST_DEAD_LETTER,
            owner=self.owner,
        )


def _ms(duration: dt.timedelta) -> str:
    return str(int(duration.total_seconds() * 1000))


@dataclass(frozen=True)
class Topics:
    """All topics under one namespace, which lets several systems share a Kafka cluster."""

    namespace: str
    listings: Topic
    subscriptions: Topic
    recipients: Topic
    partings: Topic
    notifications: Topic
    message_statuses: Topic
    inbound_messages: Topic
    forecasts: Topic

    @classmethod
    def within(cls, namespace: str) -> Self:
        return cls(
            namespace=namespace,
            listings=Topic(
                f"{namespace}.listings.v1", "listing_id", (ListingPublished,), "compact", 30 * DAYS, owner="producers"
            ),
            subscriptions=Topic(
                f"{namespace}.subscriptions.v1",
                "subscription_id",
                (SubscriptionSaved,),
                "compact",
                30 * DAYS,
                owner="api",
            ),
            recipients=Topic(
                f"{namespace}.recipients.v1",
                "user_id",
                (RecipientSaved,),
                "compact",
                dt.timedelta(),  # a phone that has changed hands or was erased is not kept longer than Kafka needs
                restricted=True,
                owner="api",
            ),
            partings=Topic(
                f"{namespace}.partings.v1",
                "listing_id",
                (AdvertisementParted,),
                "compact",
                30 * DAYS,
                partitions=1,  # a person's decisions: few, and one after the other
                owner="operators",
            ),
            notifications=Topic(
                f"{namespace}.notifications.v1",
                "user_id",
                (NotificationRequested, DirectMessageRequested, FlatDeclined),
                "delete",
                30 * DAYS,
                owner="matcher",
            ),
            message_statuses=Topic(
                f"{namespace}.message-statuses.v1",
                "message_id",
                (MessageStatusReported, NotificationSettled),
                "delete",
                30 * DAYS,
                owner="sender",
            ),
            inbound_messages=Topic(
                f"{namespace}.inbound-messages.v1",
                "sender_hash",
                (InboundMessageReceived,),
                "compact,delete",
                7 * DAYS,
                # A message must not vanish behind a later one while the api is away. It is also how long a text may
                # outlive the erasure of who wrote it.
                lag=20 * HOUR,
                restricted=True,
                owner="status-webhook",
            ),
            forecasts=Topic(
                f"{namespace}.forecasts.v1",
                "channel",
                (ForecastMade,),
                "compact,delete",
                7 * DAYS,
                partitions=1,  # one key
                owner="sender",
            ),
        )

    def all(self) -> tuple[Topic, ...]:
        """Every topic and its dead letters."""
        own = self.own()
        return (*own, *(topic.dead_letters for topic in own))

    def own(self) -> "tuple[Topic, ...]":
        """Every topic, without the dead letters."""
        values = (getattr(self, each.name) for each in fields(self))
        return tuple(value for value in values if isinstance(value, Topic))

    def group(self, service: str) -> str:
        """The consumer group of a service: those of several systems on one cluster are not one another's members."""
        return f"{self.namespace}.{service}"
