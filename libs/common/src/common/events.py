"""Every event on Kafka: a frozen value with a CloudEvents type, a key and a deterministic id where it can recur.

The value of a record is the event's fields as plain JSON; the CloudEvents attributes travel as `ce_` headers
(binary mode, see `common.kafka`). Within v1 a field is never removed or given another type.
"""

import datetime as dt
from abc import abstractmethod
from enum import StrEnum
from typing import Annotated, ClassVar, Literal
from uuid import UUID, uuid5

from pydantic import BeforeValidator, Field, WithJsonSchema

from common.listing import (
    AdvertiserKind,
    Cents,
    EnergyClass,
    Floor,
    Furnishing,
    Listing,
    ListingFlag,
    ListingId,
    Offering,
    PropertyType,
    Rent,
    Signal,
)
from common.model import Moment, Value
from common.search import Criterion, Subscription

NAMESPACE = UUID("6f1f2a0e-6c3c-5d0f-9a55-1b7a4f0c2e11")
"""Namespace of all ids that are derived (uuid5)."""


class Event(Value):
    """A fact that was published. `type` is its CloudEvents type."""

    type: ClassVar[str]

    @property
    @abstractmethod
    def key(self) -> str:
        """The record's key: events of one key stay in order."""

    @property
    @abstractmethod
    def event_id(self) -> UUID:
        """The CloudEvents id; the same for the same fact, however often it is published."""


class ListingPublished(Event):
    """A listing in full, as it now is at its source."""

    type: ClassVar[str] = "itarent.listing.published.v1"
    listing: Listing

    @property
    def key(self) -> str:
        return self.listing.listing_id

    @property
    def event_id(self) -> UUID:
        return uuid5(NAMESPACE, f"listing/{self.listing.listing_id}/{self.listing.version}")


class SubscriptionSaved(Event):
    """A saved search in full, as it now is. Its deletion is a tombstone."""

    type: ClassVar[str] = "itarent.subscription.saved.v1"
    subscription: Subscription

    @property
    def key(self) -> str:
        return str(self.subscription.subscription_id)

    @property
    def event_id(self) -> UUID:
        return uuid5(NAMESPACE, f"subscription/{self.key}/{self.subscription.revision}")


class Language(StrEnum):
    ITALIAN = "it"
    ENGLISH = "en"
    RUSSIAN = "ru"


WallClock = Annotated[
    dt.time,
    WithJsonSchema({"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$", "examples": ["22:00"]}),
]
"""A time without a zone, which JSON Schema's own format `time` does not allow."""


class QuietHours(Value):
    """From `start` until `end`, wall-clock time of the user's zone; they may span midnight."""

    start: WallClock
    end: WallClock


class Grouping(StrEnum):
    """What shares a message: all that a user is to be told, or what one search found."""

    USER = "user"
    SEARCH = "search"


Phone = Annotated[str, Field(pattern=r"^\+[1-9]\d{6,14}$", description="E.164")]


class PhoneClaim(Value):
    """A phone that a user says is theirs, and the code that proves it. Only the code may be sent to it.

    `claim_id` is the notification that asks for the code, so that an older request never sends a newer code.
    """

    claim_id: UUID
    phone: Phone
    code: str
    expires_at: Moment


class Recipient(Value):
    """How, when and whether a user may be reached. `revision` grows with each change."""

    user_id: UUID
    revision: int = Field(ge=1, lt=2**63)
    phone: Phone | None = None
    language: Language = Language.ITALIAN
    time_zone: str = "Europe/Rome"
    quiet_hours: QuietHours | None = None
    interval_seconds: int | None = Field(default=None, ge=0, le=604_800, description="None: the system's interval")
    grouping: Grouping = Field(default=Grouping.USER, description="what shares a message")
    paused_until: Moment | None = Field(default=None, description="the user wants no digests until then")
    verified: bool = Field(default=False, description="the user has proven that the phone is theirs")
    stopped: bool = Field(default=False, description="the user has said STOP")
    stopped_at: Moment | None = Field(default=None, description="when STOP reached us, if it holds")
    window_opened_at: Moment | None = Field(default=None, description="the last inbound message of the phone")
    claim: PhoneClaim | None = Field(default=None, description="a phone to which a code is to be sent")


class RecipientSaved(Event):
    """A recipient in full, as it now is. Restricted: it holds a phone number. Erasure is a tombstone."""

    type: ClassVar[str] = "itarent.recipient.saved.v1"
    recipient: Recipient

    @property
    def key(self) -> str:
        return str(self.recipient.user_id)

    @property
    def event_id(self) -> UUID:
        return uuid5(NAMESPACE, f"recipient/{self.key}/{self.recipient.revision}")


class Card(Value):
    """What a message and a page show of a flat, without its description."""

    listing_id: ListingId
    version: int = Field(ge=0, lt=2**63)
    source: str
    url: str | None = None
    title: str = ""
    comune_name: str = ""
    zone: str | None = None
    rent: Rent | None = None
    spese_cents: Cents | None = None
    offering: Offering | None = None
    property_type: PropertyType | None = None
    rooms: int | None = None
    rooms_or_more: bool = False
    area_m2: int | None = None
    floor: Floor | None = None
    furnishing: Furnishing | None = None
    energy_class: EnergyClass | None = None
    advertiser: AdvertiserKind | None = None
    flags: tuple[ListingFlag, ...] = ()
    signals: tuple[Signal, ...] = ()


def card_of(listing: Listing) -> Card:
    said = listing.model_dump(include=set(Card.model_fields))
    return Card.model_validate({**said, "signals": listing.appraisal.signals})


class Parted(Value):
    """Advertisements that were taken for the flat of others. Who was told of one of them by that flat's id is not told
    again when they are told under an id of their own.
    """

    flat_id: UUID
    listing_ids: tuple[ListingId, ...] = Field(min_length=1)


class Reason(StrEnum):
    """Why a user is told about a flat."""

    NEW = "new"  # the flat came to match
    PRICE_DROP = "price_drop"  # it matched before and costs less than ever known
    WITHDRAWN = "withdrawn"  # it matched and is gone from every portal
    RETURNED = "returned"  # it matched, was gone, and is back


class MatchedSearch(Value):
    """A search that the flat matches, and the criteria that passed although the listing does not say."""

    subscription_id: UUID
    revision: int
    name: str
    unknown: tuple[Criterion, ...] = ()
    alert: bool = Field(default=True, description="the search asks to be told of this reason")


class NotificationRequested(Event):
    """A user is to be told about a flat. One event per user and flat, whichever of the user's searches match."""

    type: ClassVar[str] = "itarent.notification.requested.v1"
    notification_id: UUID
    user_id: UUID
    flat_id: UUID
    reason: Reason
    searches: tuple[MatchedSearch, ...] = Field(min_length=1)
    card: Card
    previous_rent_cents: Cents | None = Field(
        default=None, description="of a price drop: the rent of which the user last heard"
    )
    parted: Parted | None = Field(default=None, description="the flat was taken for another one until now")
    requested_at: Moment

    @property
    def key(self) -> str:
        return str(self.user_id)

    @property
    def event_id(self) -> UUID:
        return self.notification_id


def notification_id_of(flat_id: UUID, user_id: UUID, reason: Reason, listing: Listing) -> UUID:
    """The id under which a user is told once."""
    return uuid5(NAMESPACE, notification_name(flat_id, user_id, reason, listing))


def notification_name(flat_id: UUID, user_id: UUID, reason: Reason, listing: Listing) -> str:
    """What a notification's id is derived from: a drop, a withdrawal or a return may recur with another version."""
    name = f"notification/{flat_id}/{user_id}/{reason}"
    return name if reason is Reason.NEW else f"{name}/{listing.listing_id}/{listing.version}"


class AdvertisementParted(Event):
    """An operator says that an advertisement is of another flat than others: all that it is not to be joined with."""

    type: ClassVar[str] = "itarent.advertisement.parted.v1"
    listing_id: ListingId
    apart_from: tuple[ListingId, ...] = Field(min_length=1, max_length=1000)
    parted_at: Moment

    @property
    def key(self) -> str:
        return self.listing_id

    @property
    def event_id(self) -> UUID:
        return uuid5(NAMESPACE, f"parted/{self.listing_id}/{' '.join(sorted(self.apart_from))}")


class DirectPurpose(StrEnum):
    """A message that a user asked for and that does not wait for a digest."""

    TEST = "test"
    LINKED = "linked"  # the phone is now proven
    STOPPED = "stopped"  # confirms an opt-out
    STARTED = "started"  # confirms an opt-in, or that a pause has ended
    CODE = "code"  # to a phone that is not proven yet: `Recipient.claim` says which, and the code
    PAUSED = "paused"  # confirms a pause, `until` when
    PACE = "pace"  # confirms fewer messages or more: at most one every `interval_seconds`
    DETAILS = "details"  # everything about a `flat`
    WHY = "why"  # what each criterion decided about a `flat`
    SAVED = "saved"  # confirms that a `flat` is kept
    DECLINED = "declined"  # confirms that a `flat` is never told again
    WHICH = "which"  # asks which of the `choices` of the last message is meant by `command`
    NOTHING_TOLD = "nothing_told"  # a number, or a command about a flat, and no flat was told yet
    HELP = "help"  # what can be written


class FlatFact(Value):
    """One line about a flat in its reader's language. `fits`: what a search's criterion decided; None: unknown."""

    label: str = Field(max_length=100)
    found: str = Field(max_length=1000)
    wanted: str = Field(default="", max_length=1000)
    fits: bool | None = True


class FlatTold(Value):
    """A flat that an answer is about, as a message has told of it."""

    notification_id: UUID = Field(description="the notification that told of it")
    number: int | None = Field(default=None, ge=1, description="which it was in that message")
    listing_id: ListingId
    title: str = Field(max_length=500)
    url: str | None = None
    offered: bool = Field(default=True, description="it can still be had, as far as we know")
    searches: tuple[str, ...] = Field(default=(), description="names of the searches that it matches")
    facts: tuple[FlatFact, ...] = ()
    description: str = Field(default="", max_length=600, description="how its description begins")


class DirectMessageRequested(Event):
    """A user asked for a message now: a test or the answer to a command. The sender words it.

    Which of the last fields are given depends on the purpose.
    """

    type: ClassVar[str] = "itarent.direct-message.requested.v1"
    notification_id: UUID
    user_id: UUID
    purpose: DirectPurpose
    requested_at: Moment
    flat: FlatTold | None = None
    until: Moment | None = None
    interval_seconds: int | None = Field(default=None, ge=0)
    choices: int | None = Field(default=None, ge=0, description="how many flats the last message told of")
    command: str | None = Field(default=None, max_length=20, description="the word that the user wrote")

    @property
    def key(self) -> str:
        return str(self.user_id)

    @property
    def event_id(self) -> UUID:
        return self.notification_id


class FlatDeclined(Event):
    """A user wants to hear of a flat never again."""

    type: ClassVar[str] = "itarent.flat.declined.v1"
    user_id: UUID
    flat_id: UUID
    listing_id: ListingId = Field(description="the advertisement by which the user was told of it")
    declined_at: Moment

    @property
    def key(self) -> str:
        return str(self.user_id)

    @property
    def event_id(self) -> UUID:
        return uuid5(NAMESPACE, f"declined/{self.user_id}/{self.flat_id}")


class MessageStatus(StrEnum):
    """Where a message is: Twilio's own words, and ours for what happens before and beside Twilio."""

    WAITING = "waiting"  # ours: the digest is open or due later
    IN_DOUBT = "in_doubt"  # ours: Twilio may or may not have taken it
    REJECTED = "rejected"  # ours: Twilio refused to create it
    SUPPRESSED = "suppressed"  # ours: nothing was sent, on purpose
    ACCEPTED = "accepted"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    UNDELIVERED = "undelivered"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"  # a status that Twilio has added since: kept, never acted on


_STATUSES = frozenset(MessageStatus)


def _known_status(value: object) -> object:
    return value if isinstance(value, str) and value in _STATUSES else MessageStatus.UNKNOWN


TolerantStatus = Annotated[MessageStatus, BeforeValidator(_known_status)]


class MessageStatusReported(Event):
    """A message has reached a status, as the sender or one of Twilio's callbacks says. Holds no phone and no text."""

    type: ClassVar[str] = "itarent.message-status.reported.v1"
    message_id: UUID | None = Field(description="None: a callback of a message that did not carry our identifiers")
    attempt: int | None = Field(default=None, ge=1, lt=2**31)
    status: TolerantStatus
    reported_by: Literal["sender", "callback"]
    reported_at: Moment
    message_sid: str | None = Field(default=None, max_length=64, pattern=r"^[\x21-\x7e]+$")
    error_code: int | None = Field(default=None, ge=0, lt=2**31)
    user_id: UUID | None = Field(default=None, description="the sender knows it, a callback does not")
    notification_ids: tuple[UUID, ...] = Field(
        default=(), description="what the message tells, when the sender reports"
    )
    shown_notification_ids: tuple[UUID, ...] = Field(default=(), description="those of them that its text shows")
    numbers: tuple[int, ...] = Field(
        default=(), description="the place of each of `notification_ids`, best first from 1; those of one flat share it"
    )
    parameters: dict[str, str] = Field(default_factory=dict, description="what else the callback held, without phones")

    @property
    def key(self) -> str:
        return str(self.message_id or self.message_sid)

    @property
    def event_id(self) -> UUID:
        return uuid5(
            NAMESPACE,
            f"status/{self.key}/{self.attempt}/{self.status}/{self.reported_by}/{self.message_sid}/{self.error_code}",
        )


class Disposition(StrEnum):
    """How a notification ended, or that it has not yet."""

    WAITING = "waiting"  # in an open digest
    IN_MESSAGE = "in_message"  # shown in a message
    GROUPED = "grouped"  # counted in a message and behind its link
    SUPPRESSED = "suppressed"  # on purpose, with a reason
    EXPIRED = "expired"  # too old to be useful
    FAILED = "failed"  # the message could not be sent


class NotificationSettled(Event):
    """A notification has ended without a message."""

    type: ClassVar[str] = "itarent.notification.settled.v1"
    notification_id: UUID
    user_id: UUID
    disposition: Disposition
    detail: str = Field(description="the reason in a word: not_verified, stopped, withdrawn, not_asked_for, …")
    settled_at: Moment

    @property
    def key(self) -> str:
        return str(self.notification_id)

    @property
    def event_id(self) -> UUID:
        return uuid5(NAMESPACE, f"settled/{self.notification_id}/{self.disposition}")


class InboundMessageReceived(Event):
    """Somebody wrote to our number. Restricted: it holds a phone number and a text."""

    type: ClassVar[str] = "itarent.inbound-message.received.v1"
    message_sid: str
    sender_hash: str = Field(description="SHA-256 of the sender's address in hexadecimal: the record's key")
    sender: str = Field(description="E.164")
    recipient: str = Field(description="E.164: the number of ours that was written to")
    body: str = ""
    button_payload: str | None = None
    received_at: Moment
    parameters: dict[str, str] = Field(default_factory=dict, description="everything else that Twilio sent")

    @property
    def key(self) -> str:
        return self.sender_hash

    @property
    def event_id(self) -> UUID:
        return uuid5(NAMESPACE, f"inbound/{self.message_sid}")


class RunsOut(Value):
    """When something is used up; both None: not within the time that the forecast looks ahead."""

    earliest: Moment | None = Field(default=None, description="if it goes on as in the busiest hour or day")
    latest: Moment | None = Field(default=None, description="if it goes on as on the average; none: not then")


class WindowsAhead(Value):
    """The 24-hour windows that are open, and how many close if nobody writes."""

    open: int
    close_within_1_hour: int
    close_within_6_hours: int
    last_closes_at: Moment | None = None


class TierAhead(Value):
    """To how many phones we write first within 24 hours. `limit` None: as many as it takes."""

    limit: int | None = None
    for_digests: int | None = Field(default=None, description="the rest is left to codes and what people ask for")
    used: int
    used_up: RunsOut = RunsOut()


class MoneyAhead(Value):
    """What the month costs, in millionths of the currency. `limit` None: as much as it takes."""

    currency: str
    limit: int | None = None
    reserve: int = 0
    spent: int
    per_day: int = Field(description="on the average of the days that the forecast goes by")
    used_up: RunsOut = RunsOut()


class LeftWaiting(Value):
    """Users whose next digest, due within a day, is not sent for want of something."""

    reason: str = Field(description="tier, budget, or window_may_open: they may write first")
    users: int
    user_ids: tuple[UUID, ...] = Field(default=(), description="of the first hundred")
    until: Moment | None = Field(default=None, description="when the last of them is looked at again")


class ForecastMade(Event):
    """When open windows, Meta's tier and the month's money run out, and who is left waiting then."""

    type: ClassVar[str] = "itarent.forecast.made.v1"
    channel: str = "whatsapp"
    made_at: Moment
    windows: WindowsAhead
    tier: TierAhead
    money: MoneyAhead
    waiting: dict[str, int] = Field(description="messages that wait now, by reason; without one: for their time")
    left_waiting: tuple[LeftWaiting, ...] = ()
    looked_at: int = Field(description="digests due within a day that were looked at, the earliest first")

    @property
    def key(self) -> str:
        return self.channel

    @property
    def event_id(self) -> UUID:
        return uuid5(NAMESPACE, f"forecast/{self.channel}/{self.made_at.isoformat()}")


EVENTS: tuple[type[Event], ...] = (
    ListingPublished,
    SubscriptionSaved,
    RecipientSaved,
    AdvertisementParted,
    NotificationRequested,
    DirectMessageRequested,
    FlatDeclined,
    MessageStatusReported,
    NotificationSettled,
    InboundMessageReceived,
    ForecastMade,
)
