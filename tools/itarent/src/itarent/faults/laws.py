"""The laws L1 to L9, each a pure function: what happened -> what breaches it.

A breach names ids and no phone, token or text. The allowances are constants, each with its reason; a family that needs
another one says so in its history (the rate's burst), never here.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final
from uuid import UUID

from common.events import (
    ListingPublished,
    MessageStatus,
    MessageStatusReported,
    NotificationRequested,
    NotificationSettled,
    Reason,
    RecipientSaved,
    SubscriptionSaved,
)
from common.quiet_hours import quiet_until
from itarent.audit.facts import ListingVersion
from itarent.faults.history import Accepted, Acknowledged, History, Message, Notification, Published, Struck, Wish
from sender.statuses import FAILURES, RANK, advance

IN_FLIGHT: Final = dt.timedelta(seconds=3.5)
"""How long a committed message may still be on its way: it is called within half a lease (2 s), and a call takes 1.5 s
at most.
"""

FLIGHT: Final = dt.timedelta(seconds=1) + IN_FLIGHT
"""The same for a wish that the api has acknowledged: a second until the sender knows of it."""

RECOVERY: Final = dt.timedelta(seconds=20)
"""How long after a fault a wish may take to reach the sender: who is away comes back, groups are balanced."""

SETTLED: Final = frozenset({"suppressed", "expired", "failed"})
CLAIMED: Final = frozenset({"sending", "in_doubt", "parked"})
MOST_SHOWN: Final = 20
"""Breaches of one law that are listed; the rest are counted."""


@dataclass(frozen=True)
class Breach:
    """A law that did not hold, what happened, and the ids that lead to it."""

    law: str
    what: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.law}: {self.what}" + (f" ({', '.join(self.ids)})" if self.ids else "")


Law = Callable[[History], Iterable[Breach]]


def breaches(history: History) -> list[Breach]:
    """Everything that breaches a law, law by law."""
    return [breach for law in LAWS for breach in law(history)]


# --- L1: every acknowledged listing version x active matching search ends in exactly one disposition ------------------


def conservation(history: History) -> Iterator[Breach]:
    """What was acknowledged is in the topic, and every match of it balances with the ledger (`itarent.audit`)."""
    published = {
        ListingVersion(each.event.listing.listing_id, each.event.listing.version)
        for each in history.topics.get("listings", ())
        if isinstance(each.event, ListingPublished)
    }
    for of in sorted(history.taken - published):
        yield Breach("L1", "acknowledged to its producer, and not in the topic", (of.listing_id, str(of.version)))
    if history.balance:
        for problem in history.balance.problems:
            ids = (problem.of.listing_id, problem.of.version, problem.flat_id, problem.user_id, problem.reason)
            yield Breach("L1", str(problem.fault), tuple(str(each) for each in (*ids, problem.disposition) if each))
        if history.balance.pending:
            yield Breach("L1", f"{history.balance.pending} matches are still pending after the drain")
    letters = sum(history.dead_letters.values())
    if letters != history.malformed:
        where = ", ".join(f"{count} of {topic}" for topic, count in sorted(history.dead_letters.items()) if count)
        yield Breach("L1", f"{letters} dead letters ({where or 'none'}) for {history.malformed} malformed records")


# --- L2: at most one message accepted by Twilio per (user, flat, reason) ----------------------------------------------


def told_once(history: History) -> Iterator[Breach]:
    """Of messages that Twilio has twice, only those are allowed that the ledger knows of as such: doubted, and resolved
    too late by Twilio itself.
    """
    messages_of: defaultdict[tuple[object, ...], list[Accepted]] = defaultdict(list)
    tells = _tells(history)
    for each in history.accepted:
        for notification in tells.get(each.message_id, ()) if each.message_id else ():
            messages_of[_told(notification)].append(each)
        if each.message_id and each.message_id not in tells:
            messages_of["message", each.message_id].append(each)
    known = {each.message_id for each in history.ledger.journal if each.what == "twice"}
    for (kind, *of), accepted in messages_of.items():
        if len(accepted) > 1 and not all(each.message_id in known for each in accepted[1:]):
            sids = tuple(each.sid for each in accepted)
            yield Breach("L2", f"told {len(accepted)} times", (str(kind), *map(str, of), *sids))


def _tells(history: History) -> Mapping[UUID, Sequence[Notification]]:
    """What each message tells of flats."""
    tells: defaultdict[UUID, list[Notification]] = defaultdict(list)
    for each in history.ledger.notifications.values():
        if each.message_id and each.flat_id and each.disposition in {"in_message", "grouped"}:
            tells[each.message_id].append(each)
    return tells


def _told(each: Notification) -> tuple[object, ...]:
    """Under what something is told once: what may recur is told of a version."""
    return each.reason, each.user_id, each.flat_id, *(() if each.reason == Reason.NEW else each.of)


# --- L3: nothing is sent after an opt-out, a pause, an unlink or an erasure has been acknowledged ---------------------


def consent(history: History) -> Iterator[Breach]:
    """Nothing is accepted after a wish was acknowledged and the time in flight is over.

    The sender learns of a wish by Kafka: while something is broken between the two it may be late by as long as that
    lasts, and not longer. Once the user has the answer that confirms the wish, only the time in flight counts.
    """
    accepted_by = _accepted_by(history, _user)
    for wish in history.acknowledged:
        accepted = accepted_by.get(wish.user_id, ())
        confirmed = _confirmed_at(wish, accepted, history)
        deadline = _undisturbed(wish.at, history)
        if confirmed:
            deadline = min(deadline, confirmed + IN_FLIGHT)
        for each in accepted:
            if deadline < each.at < wish.until and not _is_allowed(wish, history.ledger.messages.get(_id(each))):
                late = (each.at - wish.at).total_seconds()
                ids = (str(wish.user_id), each.sid)
                yield Breach("L3", f"accepted {late:.1f} s after `{wish.wish}` was acknowledged", ids)


def _confirmed_at(wish: Acknowledged, accepted: Iterable[Accepted], history: History) -> dt.datetime | None:
    """When Twilio took the answer that tells the user that the wish is granted."""
    messages = history.ledger.messages
    answers = (
        each.at
        for each in accepted
        if each.at >= wish.at - FLIGHT and (message := messages.get(_id(each))) and message.purpose == wish.wish.value
    )
    return next(answers, None)


def _is_allowed(wish: Acknowledged, message: Message | None) -> bool:
    """Who paused is told of no flats, but has answers; who stopped has the one that confirms it."""
    if message is None:
        return False
    match wish.wish:
        case Wish.PAUSED:
            return message.kind == "direct"
        case Wish.STOPPED:
            return message.purpose == "stopped"
        case Wish.UNLINKED:
            return message.purpose == "code"
        case Wish.ERASED:
            return False


def _undisturbed(moment: dt.datetime, history: History) -> dt.datetime:
    """When the time in flight is over, put off while a fault, or the recovery from one, falls into it."""
    until = moment + FLIGHT
    for strike in sorted(history.strikes, key=lambda each: each.began):
        over = _over(strike, history.recovered_at)
        if strike.began < until and over > moment:
            until = max(until, over + FLIGHT)
    return until


def _over(strike: Struck, recovered_at: dt.datetime | None) -> dt.datetime:
    """When the recovery from a fault is over: when that was seen, or after the time that it may take."""
    latest = strike.ended + RECOVERY
    return min(latest, recovered_at) if recovered_at and recovered_at >= strike.ended else latest


# --- L4: nothing inside quiet hours; no two digests closer than the interval ------------------------------------------


def rest(history: History) -> Iterator[Breach]:
    """Digests only: who asks for a message is awake."""
    digests = _accepted_by(history, _reader_of_digest)
    for quiet in history.quiet:
        since = _undisturbed(quiet.since, history)
        for each in digests.get(quiet.user_id, ()):
            # It may have been committed before they began.
            moments = map(history.clock.shown, (each.at - IN_FLIGHT, each.at))
            if since < each.at < quiet.until and all(
                quiet_until(quiet.hours, quiet.time_zone, moment) for moment in moments
            ):
                yield Breach("L4", "a digest within the user's quiet hours", (str(quiet.user_id), each.sid))
    for spacing in history.spacings:
        since = _undisturbed(spacing.since, history)
        of_user = [each for each in digests.get(spacing.user_id, ()) if since < each.at < spacing.until]
        for one, other in pairwise(of_user):
            apart = (other.at - one.at).total_seconds()
            if apart < spacing.seconds - IN_FLIGHT.total_seconds():
                what = f"two digests {apart:.1f} s apart, and the interval is {spacing.seconds:g} s"
                yield Breach("L4", what, (str(spacing.user_id), one.sid, other.sid))


# --- L5: at most R*t + B messages in every window ---------------------------------------------------------------------


def rate(history: History) -> Iterator[Breach]:
    """Over every window that begins and ends with a message; between those it cannot be fuller."""
    if history.rate is None or not history.rate.per_second:
        return
    times = sorted(each.at.timestamp() for each in history.accepted)
    worst, window = 0.0, (0, 0)
    # count - R*t, for all pairs i <= j, is (j + 1 - R*t_j) - (i - R*t_i): the least of the latter so far is enough.
    least, first = float("inf"), 0
    for index, at in enumerate(times):
        before = index - history.rate.per_second * at
        if before < least:
            least, first = before, index
        over = before + 1 - least
        if over > worst:
            worst, window = over, (first, index)
    if worst > history.rate.burst:
        count, seconds = window[1] - window[0] + 1, times[window[1]] - times[window[0]]
        allowed = history.rate.per_second * seconds + history.rate.burst
        yield Breach("L5", f"{count} messages within {seconds:.2f} s, and {allowed:.1f} are allowed")


# --- L6: per key, events appear in order; a status never goes back ----------------------------------------------------


def order(history: History) -> Iterator[Breach]:
    """What is published again after a crash may repeat an earlier event; the first of each come in order, and the last
    record of a key is its newest event.
    """
    for topic, number in _VERSIONS.items():
        for key, records in _by_key(history.topics.get(topic, ())).items():
            yield from _in_order(topic, key, records, number)
    for key, records in _by_key(history.topics.get("message_statuses", ())).items():
        yield from _never_back(key, records)


def _in_order(topic: str, key: str, records: Sequence[Published], number: "_Number") -> Iterator[Breach]:
    newest, seen, last = -1, set[int](), -1
    for each in records:
        if each.is_tombstone or (version := number(each)) is None:
            last = newest
            continue
        last = version
        if version < newest and version not in seen:
            yield Breach("L6", f"{topic}: {version} comes after {newest}", (key,))
        newest = max(newest, version)
        seen.add(version)
    if last < newest:
        yield Breach("L6", f"{topic}: ends with {last}, and {newest} is the newest", (key,))


_Number = Callable[[Published], int | None]


def _version(each: Published) -> int | None:
    return each.event.listing.version if isinstance(each.event, ListingPublished) else None


def _revision(each: Published) -> int | None:
    match each.event:
        case RecipientSaved():
            return each.event.recipient.revision
        case SubscriptionSaved():
            return each.event.subscription.revision
        case _:
            return None


_VERSIONS: Final[Mapping[str, _Number]] = {
    "listings": _version,
    "subscriptions": _revision,
    "recipients": _revision,
}


def _never_back(key: str, records: Sequence[Published]) -> Iterator[Breach]:
    """What the sender itself reports of a message, in order: an attempt's status only advances, unless it is to be made
    again; a later attempt begins anew. Callbacks are as Twilio sends them.
    """
    seen: set[UUID] = set()
    known: MessageStatusReported | None = None
    for record in records:
        event = record.event
        if not isinstance(event, MessageStatusReported) or event.reported_by != "sender" or event.event_id in seen:
            continue
        seen.add(event.event_id)
        if known and _goes_back(known, event):
            what = f"attempt {event.attempt} is {event.status} after attempt {known.attempt} was {known.status}"
            yield Breach("L6", what, (key,))
        known = event


def _goes_back(known: MessageStatusReported, event: MessageStatusReported) -> bool:
    before, after = known.attempt or 0, event.attempt or 0
    if after != before:
        return after < before
    if event.status is MessageStatus.WAITING or known.status is MessageStatus.WAITING:
        return False
    return advance(known.status, event.status) is not event.status and event.status is not known.status


# --- L7: what the topics say and what the ledger says is the same -----------------------------------------------------


def agreement(history: History) -> Iterator[Breach]:
    """Topics, ledger and Twilio's journal, each against the next."""
    yield from _notifications_agree(history)
    yield from _statuses_agree(history)
    yield from _recipients_agree(history)
    yield from _twilio_agrees(history)


def _notifications_agree(history: History) -> Iterator[Breach]:
    requested = {
        each.event.notification_id
        for each in history.topics.get("notifications", ())
        if isinstance(each.event, NotificationRequested)
    }
    held = {each.notification_id for each in history.ledger.notifications.values() if each.flat_id}
    for missing in sorted(requested - held):
        yield Breach("L7", "a notification in the topic that the ledger does not hold", (str(missing),))
    for unheard in sorted(held - requested):
        yield Breach("L7", "a notification in the ledger that was never in the topic", (str(unheard),))
    settled = {
        (each.event.notification_id, each.event.disposition.value)
        for each in history.topics.get("message_statuses", ())
        if isinstance(each.event, NotificationSettled)
    }
    for each in history.ledger.notifications.values():
        if each.disposition in SETTLED and (each.notification_id, each.disposition) not in settled:
            yield Breach("L7", f"`{each.disposition}` in the ledger and not told", (str(each.notification_id),))
    for notification_id, disposition in sorted(settled):
        row = history.ledger.notifications.get(notification_id)
        if row is None or (row.disposition in SETTLED and row.disposition != disposition):
            yield Breach("L7", f"told as `{disposition}`, and not so in the ledger", (str(notification_id),))


def _statuses_agree(history: History) -> Iterator[Breach]:
    """A message that was sent is in the ledger as far along as its last attempt's reports say."""
    by_key = _by_key(history.topics.get("message_statuses", ()))
    for message in history.ledger.messages.values():
        if message.stage not in {"taken", "ended"} or not message.attempt:
            continue
        told = _told_status(by_key.get(str(message.message_id), ()), message.attempt)
        if told.value != message.status:
            what = f"`{message.status}` in the ledger, and the topic says `{told}`"
            yield Breach("L7", what, (str(message.message_id),))


def _told_status(records: Iterable[Published], attempt: int) -> MessageStatus:
    """What those hear of a message who read its reports; that it is given up is reported as of the next attempt."""
    reports = [each.event for each in records if isinstance(each.event, MessageStatusReported)]
    last = max((report.attempt or 0 for report in reports), default=attempt)
    told = MessageStatus.WAITING
    for report in reports:
        if report.attempt == last:
            told = advance(told, report.status)
    return told


def _recipients_agree(history: History) -> Iterator[Breach]:
    in_topic = {
        key: revision
        for key, records in _by_key(_sound(history.topics.get("recipients", ()))).items()
        if (revision := _revision(records[-1])) is not None
    }
    held = {str(user_id): revision for user_id, revision in history.ledger.recipients.items()}
    for user_id in sorted(in_topic.keys() | held.keys()):
        if in_topic.get(user_id) != held.get(user_id):
            what = f"revision {held.get(user_id)} in the ledger, and the topic has {in_topic.get(user_id)}"
            yield Breach("L7", what, (user_id,))


def _twilio_agrees(history: History) -> Iterator[Breach]:
    """The ledger knows Twilio's messages, and nothing of them that Twilio does not: a callback may be lost, and none be
    forged.
    """
    taken = Counter(each.sid for each in history.ledger.attempts if each.sid)
    accepted = {each.sid for each in history.accepted}
    for each in history.accepted:
        message = history.ledger.messages.get(_id(each))
        if message is None:
            yield Breach("L7", "Twilio has a message that the ledger does not know", (each.sid,))
        elif _knows_more(message, each):
            yield Breach("L7", f"`{message.status}` in the ledger, and Twilio says `{each.status}`", (each.sid,))
        elif each.sid not in taken:
            yield Breach("L7", "Twilio has a message whose SID no attempt bears", (each.sid, str(each.message_id)))
    for sid in sorted(taken.keys() - accepted):
        yield Breach("L7", "the ledger has a SID that Twilio never gave", (sid,))
    for sid, count in taken.items():
        if count > 1:
            yield Breach("L7", f"{count} attempts bear one SID", (sid,))


def _knows_more(message: Message, accepted: Accepted) -> bool:
    """Whether the ledger has a message further than Twilio; of one that was tried again, it knows the last attempt."""
    if message.sid != accepted.sid or message.status == accepted.status:
        return False
    known, said = MessageStatus(message.status), MessageStatus(accepted.status)
    return known in FAILURES or (said in RANK and RANK.get(known, 0) > RANK[said])


# --- L8: when faults end, everything drains within a stated time, and no row is left claimed --------------------------


def liveness(history: History) -> Iterator[Breach]:
    if history.drained.left:
        yield Breach("L8", f"not drained within {history.drained.within_seconds:g} s: {history.drained.left}")
    for message in history.ledger.messages.values():
        if message.leased or message.stage in CLAIMED:
            yield Breach("L8", f"left in stage `{message.stage}`", (str(message.message_id),))
    if history.ledger.unpublished:
        yield Breach("L8", f"{history.ledger.unpublished} events are still in an outbox")


# --- L9: no phone number, token or message text where it can be read --------------------------------------------------


def discretion(history: History) -> Iterator[Breach]:
    for where, text in history.texts.items():
        for name, secret in history.secrets.items():
            if secret and secret in text:
                yield Breach("L9", f"{name} stands in {where}")


# --- what the strike has seen -----------------------------------------------------------------------------------------


def seen(history: History) -> Iterator[Breach]:
    """Of any law: an answer that says too much, a record that is nowhere."""
    return (Breach(each.law, each.what, each.ids) for each in history.seen)


# --- what the laws share ----------------------------------------------------------------------------------------------


def _sound(records: Iterable[Published]) -> Iterator[Published]:
    """Without what nobody could read."""
    return (each for each in records if each.event or each.is_tombstone)


def _by_key(records: Iterable[Published]) -> Mapping[str, Sequence[Published]]:
    by_key: defaultdict[str, list[Published]] = defaultdict(list)
    for each in records:
        by_key[each.key].append(each)
    return by_key


def _id(each: Accepted) -> UUID:
    return each.message_id or UUID(int=0)


def _accepted_by(history: History, whose: Callable[[Message], UUID | None]) -> Mapping[UUID, Sequence[Accepted]]:
    by_user: defaultdict[UUID, list[Accepted]] = defaultdict(list)
    for each in history.accepted:
        message = history.ledger.messages.get(_id(each))
        if message and (user_id := whose(message)):
            by_user[user_id].append(each)
    return {user_id: sorted(of_user, key=lambda each: each.at) for user_id, of_user in by_user.items()}


def _user(message: Message) -> UUID | None:
    return message.user_id


def _reader_of_digest(message: Message) -> UUID | None:
    return message.user_id if message.kind == "digest" else None


LAWS: Final[tuple[Law, ...]] = (
    conservation,
    told_once,
    consent,
    rest,
    rate,
    order,
    agreement,
    liveness,
    discretion,
    seen,
)
"""In the order of their numbers."""
