"""A sound history breaches no law, and a forged one the law that it was forged against, and no other."""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from common.events import (
    Disposition,
    Event,
    ListingPublished,
    MessageStatus,
    MessageStatusReported,
    NotificationSettled,
    QuietHours,
    RecipientSaved,
)
from itarent.audit.balance import Balance, Fault, Problem
from itarent.audit.facts import ListingVersion
from itarent.faults.history import (
    Accepted,
    Acknowledged,
    Attempt,
    Drained,
    History,
    Journalled,
    Ledger,
    Message,
    Notification,
    Published,
    Quiet,
    Rate,
    Spacing,
    Struck,
    Wish,
)
from itarent.faults.laws import FLIGHT, RECOVERY, breaches
from testkit.factories import FLAT_ID, NOW, USER_ID, make_listing, make_notification, make_recipient

PHONE = "+393335550299"
DIGEST, SECOND, SUPPRESSED = uuid4(), uuid4(), uuid4()
LISTING = make_listing()
REQUESTED = make_notification()
ANOTHER = make_notification(flat_id=uuid4())
UNWANTED = make_notification(flat_id=uuid4())
RATE = Rate(per_second=10, burst=5)

Forged = Callable[[History], History]


def after(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def published(event: Event, offset: int = 0) -> Published:
    return Published(event.key, 0, offset, event, event.model_dump_json().encode())


def reported(message_id: UUID, attempt: int, status: MessageStatus, by: Any = "sender") -> MessageStatusReported:
    return MessageStatusReported(
        message_id=message_id, attempt=attempt, status=status, reported_by=by, reported_at=NOW, message_sid=None
    )


def told(requested: Any, disposition: str, message_id: UUID | None) -> Notification:
    of = ListingVersion(requested.card.listing_id, requested.card.version)
    return Notification(
        requested.notification_id, USER_ID, requested.flat_id, requested.reason, of, disposition, message_id
    )


def by_id(*rows: Any) -> Mapping[UUID, Any]:
    return {getattr(row, "message_id" if isinstance(row, Message) else "notification_id"): row for row in rows}


def settled(requested: Any, disposition: Disposition = Disposition.SUPPRESSED) -> NotificationSettled:
    return NotificationSettled(
        notification_id=requested.notification_id,
        user_id=USER_ID,
        disposition=disposition,
        detail="stopped",
        settled_at=NOW,
    )


STATUSES = [
    reported(DIGEST, 1, MessageStatus.IN_DOUBT),
    reported(DIGEST, 1, MessageStatus.WAITING),
    reported(DIGEST, 2, MessageStatus.ACCEPTED),
    reported(DIGEST, 2, MessageStatus.DELIVERED, by="callback"),
    reported(DIGEST, 2, MessageStatus.SENT, by="callback"),  # late
    reported(SECOND, 1, MessageStatus.ACCEPTED),
    reported(SECOND, 1, MessageStatus.ACCEPTED),  # published again after a crash
]

SOUND = History(
    taken=frozenset({ListingVersion(LISTING.listing_id, LISTING.version)}),
    topics={
        "listings": (published(ListingPublished(listing=LISTING)),),
        "recipients": (published(RecipientSaved(recipient=make_recipient(revision=1))),),
        "notifications": tuple(map(published, (REQUESTED, ANOTHER, UNWANTED))),
        "message_statuses": tuple(map(published, (*STATUSES, settled(UNWANTED)))),
    },
    ledger=Ledger(
        messages=by_id(
            Message(DIGEST, USER_ID, "digest", None, "ended", "delivered", 2, "SM2"),
            Message(SECOND, USER_ID, "digest", None, "taken", "accepted", 1, "SM3"),
        ),
        attempts=(
            Attempt(DIGEST, 1, "lost"),
            Attempt(DIGEST, 2, "accepted", "SM2"),
            Attempt(SECOND, 1, "accepted", "SM3"),
        ),
        notifications=by_id(
            told(REQUESTED, "in_message", DIGEST), told(ANOTHER, "grouped", SECOND), told(UNWANTED, "suppressed", None)
        ),
        recipients={USER_ID: 1},
    ),
    balance=Balance(listing_versions=1, matches=3),
    accepted=(
        Accepted("SM2", after(0), PHONE, DIGEST, 2, "Tre case nuove per te"),
        Accepted("SM3", after(60), PHONE, SECOND, 1, "Un'altra casa", status="sent"),
    ),
    rate=RATE,
    secrets={"the phone of renter 1": PHONE.removeprefix("+39"), "the secret jwt_secret": "bb8-r2d2-c3po"},
    texts={"the log of sender": '{"event": "sent", "message_sid": "SM2"}', "the metrics of api": "requests_total 7\n"},
)


def test_a_sound_history_breaches_no_law() -> None:
    assert breaches(SOUND) == []


def test_an_empty_history_breaches_no_law() -> None:
    assert breaches(History()) == []


# --- what is forged ---------------------------------------------------------------------------------------------------


def ledger(**changes: Any) -> Forged:
    return lambda sound: replace(sound, ledger=replace(sound.ledger, **changes))


def topic(name: str, *events: Event | Published) -> Forged:
    """More records at the end of a topic."""

    def forge(sound: History) -> History:
        more = tuple(each if isinstance(each, Published) else published(each) for each in events)
        return replace(sound, topics={**sound.topics, name: (*sound.topics[name], *more)})

    return forge


def without(name: str, event: Event) -> Forged:
    """A topic without an event."""

    def forge(sound: History) -> History:
        left = tuple(each for each in sound.topics[name] if each.event != event)
        assert len(left) < len(sound.topics[name])
        return replace(sound, topics={**sound.topics, name: left})

    return forge


def row(changed: Message | Notification) -> Forged:
    """A row of the ledger that is another, or one more."""

    def forge(sound: History) -> History:
        if isinstance(changed, Message):
            messages = {**sound.ledger.messages, changed.message_id: changed}
            return replace(sound, ledger=replace(sound.ledger, messages=messages))
        rows = {**sound.ledger.notifications, changed.notification_id: changed}
        return replace(sound, ledger=replace(sound.ledger, notifications=rows))

    return forge


def also_accepted(*more: Accepted) -> Forged:
    """Twilio has more messages, of which the attempts bear the SIDs."""

    def forge(sound: History) -> History:
        attempts = [
            Attempt(each.message_id, each.attempt or 1, "accepted", each.sid) for each in more if each.message_id
        ]
        known = replace(sound.ledger, attempts=(*sound.ledger.attempts, *attempts))
        return replace(sound, accepted=(*sound.accepted, *more), ledger=known)

    return forge


def at(**changes: Any) -> Forged:
    return lambda sound: replace(sound, **changes)


def both(*forgeries: Forged) -> Forged:
    def forge(sound: History) -> History:
        for each in forgeries:
            sound = each(sound)
        return sound

    return forge


def direct(purpose: str) -> Forged:
    """SM3 is an answer to its user, and tells of no flat."""
    return both(
        row(Message(SECOND, USER_ID, "direct", purpose, "taken", "accepted", 1, "SM3")),
        row(told(ANOTHER, "grouped", DIGEST)),
    )


def wish(kind: Wish, seconds: float, **changes: Any) -> Forged:
    return at(acknowledged=(Acknowledged(kind, USER_ID, PHONE, after(seconds), **changes),))


def resting(zone: str, start: str, end: str, since: float = -600) -> Forged:
    hours = QuietHours(start=dt.time.fromisoformat(start), end=dt.time.fromisoformat(end))
    return at(quiet=(Quiet(USER_ID, hours, zone, after(since)),))


def burst(count: int, apart_s: float) -> Forged:
    """So many answers of the same moment, to somebody who asked for all of them."""
    ids = [uuid4() for _ in range(count)]
    return both(
        *(row(Message(each, uuid4(), "direct", "help", "taken", "accepted", 1, f"SB{each}")) for each in ids),
        *(topic("message_statuses", reported(each, 1, MessageStatus.ACCEPTED)) for each in ids),
        also_accepted(*(Accepted(f"SB{each}", after(100 + n * apart_s), PHONE, each, 1) for n, each in enumerate(ids))),
    )


NOT_IN_LEDGER = Problem(Fault.NOT_IN_LEDGER, ListingVersion("casa.it:1", 1), FLAT_ID, USER_ID, "new")
JUST_AFTER = 60 - FLIGHT.total_seconds() - 0.1
"""SM3 is accepted at 60 s: too late for a wish of this moment."""

IN_TIME = 60 - FLIGHT.total_seconds() + 0.1
A_FAULT = Struck("kill kafka", after(40), after(45))
CHEAPER = make_listing(version=2)
CHEAPEST = make_listing(version=3)

BREACHES: Mapping[str, tuple[str, Forged]] = {
    # L1
    "an acknowledged listing that is in no topic": ("L1", at(taken=frozenset({ListingVersion("casa.it:9", 1)}))),
    "a version that only an older one stands for": ("L1", at(taken=frozenset({ListingVersion(LISTING.listing_id, 2)}))),
    "a match that is not in the ledger": ("L1", at(balance=Balance(unaccounted=1, problems=[NOT_IN_LEDGER]))),
    "a match that is still pending": ("L1", at(balance=Balance(pending=2))),
    "a dead letter of something sound": ("L1", at(dead_letters={"listings": 1})),
    "something malformed that vanished": ("L1", at(malformed=1)),
    # L2
    "a message that Twilio has twice": ("L2", also_accepted(Accepted("SM9", after(30), PHONE, DIGEST, 1))),
    "a flat that two messages tell": ("L2", row(replace(told(ANOTHER, "in_message", SECOND), flat_id=FLAT_ID))),
    "an answer that Twilio has twice": (
        "L2",
        both(direct("help"), also_accepted(Accepted("SM9", after(61), PHONE, SECOND, 1))),
    ),
    # L3
    "a digest after STOP": ("L3", wish(Wish.STOPPED, JUST_AFTER)),
    "an answer after STOP": ("L3", both(direct("help"), wish(Wish.STOPPED, JUST_AFTER))),
    "a digest after PAUSA": ("L3", wish(Wish.PAUSED, JUST_AFTER)),
    "a digest after the phone was unlinked": ("L3", wish(Wish.UNLINKED, JUST_AFTER)),
    "anything after the erasure": ("L3", both(direct("stopped"), wish(Wish.ERASED, JUST_AFTER))),
    "a digest after STOP and long after a fault": (
        "L3",
        both(
            wish(Wish.STOPPED, 10),
            at(strikes=(Struck("kill sender", after(11), after(11)),)),
        ),
    ),
    "a digest after STOP when changes were seen to arrive again": (
        "L3",
        both(wish(Wish.STOPPED, 50), at(strikes=(A_FAULT,), recovered_at=after(48))),
    ),
    # L4
    "a digest in the night": ("L4", resting("Europe/Rome", "00:00", "23:59")),
    "a digest in somebody else's night": ("L4", resting("Asia/Tokyo", "00:00", "23:59")),
    "two digests within the interval": ("L4", at(spacings=(Spacing(USER_ID, 90, after(-600)),))),
    # L5
    "more at once than the burst": ("L5", burst(6, 0.0)),
    "more in a second than the rate and the burst": ("L5", burst(17, 0.05)),
    "a little too fast for long": ("L5", burst(200, 0.095)),
    # L6
    "a listing's older version after its newer one": (
        "L6",
        topic("listings", *(ListingPublished(listing=each) for each in (CHEAPEST, CHEAPER, CHEAPEST))),
    ),
    "a listing that ends with an older version": (
        "L6",
        topic("listings", *(ListingPublished(listing=each) for each in (CHEAPER, LISTING))),
    ),
    "a recipient who ends with an older revision": (
        "L6",
        both(
            topic("recipients", *(RecipientSaved(recipient=make_recipient(revision=each)) for each in (3, 1))),
        ),
    ),
    "a sender that takes back what it said": (
        "L6",
        topic(
            "message_statuses", reported(DIGEST, 2, MessageStatus.DELIVERED), reported(DIGEST, 2, MessageStatus.SENT)
        ),
    ),
    "an attempt after a later one": ("L6", topic("message_statuses", reported(DIGEST, 1, MessageStatus.ACCEPTED))),
    # L7
    "a notification that the ledger does not hold": ("L7", topic("notifications", make_notification(flat_id=uuid4()))),
    "a notification from nowhere": ("L7", row(told(make_notification(flat_id=uuid4()), "in_message", DIGEST))),
    "a notification that was settled in silence": ("L7", without("message_statuses", settled(UNWANTED))),
    "a notification that was told to be settled otherwise": (
        "L7",
        topic("message_statuses", settled(UNWANTED, Disposition.EXPIRED)),
    ),
    "a status that the topic does not know": (
        "L7",
        row(Message(SECOND, USER_ID, "digest", None, "ended", "sent", 1, "SM3")),
    ),
    "a status that the ledger does not know": (
        "L7",
        topic("message_statuses", reported(SECOND, 1, MessageStatus.SENT, by="callback")),
    ),
    "a forged callback that was believed": (
        "L7",
        both(
            topic("message_statuses", reported(SECOND, 1, MessageStatus.FAILED, by="callback")),
            row(Message(SECOND, USER_ID, "digest", None, "ended", "failed", 1, "SM3")),
        ),
    ),
    "a recipient whose change the sender missed": (
        "L7",
        topic("recipients", RecipientSaved(recipient=make_recipient(revision=2))),
    ),
    "a recipient whom the sender did not forget": (
        "L7",
        topic("recipients", Published(str(USER_ID), 0, 9, None, None)),
    ),
    "a message of Twilio's that the ledger does not know": (
        "L7",
        at(accepted=(*SOUND.accepted, Accepted("SM9", after(90), PHONE, None, None))),
    ),
    "a message of Twilio's that no attempt bears": (
        "L7",
        ledger(attempts=tuple(each for each in SOUND.ledger.attempts if each.sid != "SM3")),
    ),
    "a SID that Twilio never gave": (
        "L7",
        ledger(attempts=(*SOUND.ledger.attempts, Attempt(SUPPRESSED, 1, "accepted", "SM7"))),
    ),
    # L8
    "a system that does not drain": ("L8", at(drained=Drained(90, 90, left="7 messages"))),
    "a message that is left as being sent": (
        "L8",
        row(Message(SUPPRESSED, USER_ID, "digest", None, "sending", "waiting", 0, leased=True)),
    ),
    "a message that is left in doubt": (
        "L8",
        row(Message(SUPPRESSED, USER_ID, "digest", None, "in_doubt", "in_doubt", 0)),
    ),
    "events that are left in an outbox": ("L8", ledger(unpublished=3)),
    # L9
    "a phone in a log": ("L9", at(texts={"the log of sender": f"to whatsapp:{PHONE}"})),
    "a phone without its country in a topic": ("L9", at(texts={"the topic listings": f'{{"call": "{PHONE[3:]}"}}'})),
    "a token in the metrics": ("L9", at(texts={"the metrics of api": 'x{t="bb8-r2d2-c3po"} 1'})),
    "a text in a log": (
        "L9",
        both(
            at(secrets={"the text of SM2": "Tre case nuove per te"}),
            at(texts={"the log of api": "sent: Tre case nuove per te"}),
        ),
    ),
}


@pytest.mark.parametrize("what", BREACHES)
def test_a_forged_history_is_caught(what: str) -> None:
    law, forge = BREACHES[what]

    found = breaches(forge(SOUND))

    assert {breach.law for breach in found} == {law}, [str(each) for each in found]


def test_every_law_has_forgeries_of_its_own() -> None:
    caught = [law for law, _ in BREACHES.values()]

    assert all(caught.count(f"L{number}") >= 3 for number in range(1, 10))


ALLOWED: Mapping[str, Forged] = {
    "twice, as the ledger knows since Twilio did not show it in time": both(
        also_accepted(Accepted("SM9", after(30), PHONE, DIGEST, 1)), ledger(journal=(Journalled(DIGEST, "twice"),))
    ),
    "the answer that confirms STOP": both(direct("stopped"), wish(Wish.STOPPED, 59)),
    "an answer to who has paused": both(direct("help"), wish(Wish.PAUSED, 0)),
    "what was on its way when STOP was acknowledged": wish(Wish.STOPPED, IN_TIME),
    "a digest after START": wish(Wish.STOPPED, 10, until=after(20)),
    "a digest while what would tell the sender is broken": both(
        wish(Wish.STOPPED, 10), at(strikes=(Struck("freeze kafka", after(5), after(61)),))
    ),
    "a digest while changes may still be late after a fault": both(wish(Wish.STOPPED, 50), at(strikes=(A_FAULT,))),
    "a digest before the night": resting("Europe/Rome", "00:00", "23:59", since=61),
    "dead letters of what was malformed": at(malformed=2, dead_letters={"listings": 1, "partings": 1}),
    "a listing that its producer published again": topic(
        "listings", *(ListingPublished(listing=each) for each in (CHEAPER, LISTING, CHEAPER))
    ),
    "a burst that is allowed": burst(5, 0.0),
    "the rate in full": burst(200, 0.1),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_what_is_allowed_is_no_breach(what: str) -> None:
    assert breaches(ALLOWED[what](SOUND)) == []


def test_a_breach_shows_no_phone_and_no_text() -> None:
    for _, forge in BREACHES.values():
        forged = forge(SOUND)
        for breach in breaches(forged):
            assert PHONE.removeprefix("+39") not in str(breach)
            assert "case nuove" not in str(breach)


def test_a_wish_that_was_confirmed_has_no_more_time_while_things_are_broken() -> None:
    confirmation = uuid4()
    confirmed = both(
        wish(Wish.STOPPED, 10),
        at(strikes=(Struck("freeze kafka", after(5), after(61)),)),
        row(Message(confirmation, USER_ID, "direct", "stopped", "taken", "accepted", 1, "SM8")),
        topic("message_statuses", reported(confirmation, 1, MessageStatus.ACCEPTED)),
        also_accepted(Accepted("SM8", after(20), PHONE, confirmation, 1)),
    )

    (breach,) = breaches(confirmed(SOUND))

    assert breach.law == "L3"
    assert RECOVERY > FLIGHT
