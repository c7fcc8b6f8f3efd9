"""Stories in sentences: what happened, why, and what can be done now. Pure."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from common.twilio_errors import advice_of
from itarent.ledger import words
from itarent.ledger.story import Attempt, Entry, MessageStory, Ordered, Status, Told
from sender.reports import UNHEARD
from sender.schedule import STALE_AFTER

ARRIVED: Final = frozenset({"delivered", "read"})
BAD: Final = frozenset({"failed", "undelivered", "rejected", "canceled"})
NOTHING_TO_DO: Final = "Nobody has to do anything."
LATE: Final = dt.timedelta(minutes=2)
"""From when on it is said how long a message took, and why."""

SAID_OTHERWISE: Final = frozenset({"waiting", "in_doubt", "rejected", "suppressed"})
"""Statuses of the sender's that its own attempts and its journal tell in more words."""

ORDERS: Final = {
    "retry": "ordered that it be sent again",
    "sent": "settled the doubt: Twilio has it",
    "not_sent": "settled the doubt: Twilio does not have it",
    "cancel": "cancelled it",
    "pause": "paused sending",
    "resume": "resumed sending",
}


class Place(IntEnum):
    """The order of what happened at one moment: causes before what follows from them."""

    OPENED = 0
    HELD = 1
    CALLED = 2
    ANSWERED = 3
    FOLLOWED = 4
    CHANNEL = 5
    ENDED = 6


@dataclass(frozen=True)
class Line:
    """Something that happened; `place`: among what happened at the same moment."""

    at: dt.datetime
    said: str
    by: str
    attempt: int | None = None
    place: Place = Place.OPENED


# --- what happened, in order ------------------------------------------------------------------------------------------


def lines_of(story: MessageStory) -> list[Line]:
    """Everything that happened to a message, in order."""
    lines = [_opened(story), *_joined(story)]
    if story.held:
        lines.append(Line(story.opened_at, _waiting(story.held.reason, story.held.until), "sender", place=Place.HELD))
    lines += (_of_journal(entry) for entry in story.journal)
    lines += _of_channel(story.channel)
    lines += (line for attempt in story.attempts for line in _of_attempt(attempt, story))
    lines += (_of_status(status) for status in story.statuses if not _is_said_otherwise(status))
    lines += (Line(each.at, _order(each), "operator") for each in story.orders)
    if story.stage == "ended" and story.status not in ARRIVED:
        lines.append(Line(story.changed_at, _end(story), "sender", place=Place.ENDED))
    return sorted(lines, key=lambda line: (line.at, line.place))


def _end(story: MessageStory) -> str:
    said = f"It ended ({story.status.replace('_', ' ')})"
    return f"{said}: {words.ends(story.detail)}" if story.detail and story.error_code is None else f"{said}."


def _order(order: Ordered) -> str:
    whom = f" {order.whom}" if order.whom else ""
    return f"{order.by} {ORDERS[order.action]}{whom}: “{order.why}”"


def _opened(story: MessageStory) -> Line:
    first = story.told[0] if story.told else None
    if story.kind != "digest":
        return Line(story.opened_at, f"The user asked for it ({story.kind}).", "sender")
    said = "A digest was opened"
    return Line(story.opened_at, f"{said} for {_name(first)}." if first else f"{said}.", "sender")


def _joined(story: MessageStory) -> Iterator[Line]:
    """Those who came later, as one line."""
    later = [each for each in story.told if each.received_at > story.opened_at + dt.timedelta(seconds=1)]
    if later:
        count = f"{len(later)} more joined it" if len(later) > 1 else f"{_name(later[0])} joined it"
        since = "" if len(later) == 1 else f", the last one at {moment(max(each.received_at for each in later))}"
        yield Line(min(each.received_at for each in later), f"{count}{since}.", "sender")


def _name(told: Told | None) -> str:
    if told is None:
        return "something"
    return f"{told.listing_id} ({told.reason.replace('_', ' ')})" if told.listing_id else told.reason


def _of_journal(entry: Entry) -> Line:
    return Line(entry.at, _happened(entry), "sender", entry.attempt, place=Place.FOLLOWED)


def _happened(entry: Entry) -> str:  # noqa: C901, PLR0911 - one case per word
    match entry.what:
        case "waits":
            return _waiting(entry.detail, entry.until)
        case "doubted":
            return f"It is in doubt whether Twilio has it: {words.doubt(entry.detail)}. It is looked up{_at(entry)}."
        case "not_found":
            return f"Twilio was asked and does not have it; it is asked once more{_at(entry)}."
        case "resolved":
            return f"The doubt has ended: Twilio has it, {_by_whom(entry.detail)}."
        case "parked":
            return f"A person must decide: {words.parked(entry.detail)}."
        case "retries":
            return f"It is to be sent again{_at(entry)}: {words.waits(entry.detail)}"
        case "twice":
            return f"Twilio has it twice: call {entry.attempt}, given up as lost, had been taken after all."
        case "paused":
            until = f" until {moment(entry.until)}" if entry.until else ""
            return f"Sending was paused{until}: {words.waits(entry.detail)}"
        case "slowed":
            return (
                f"Twilio was called too fast: messages go out at {entry.detail} of the rate that is set, "
                "and each minute at a tenth of it more."
            )
        case "resumed":
            return "Sending went on: a call has gone through."
        case _:
            return f"{entry.what.replace('_', ' ')}: {entry.detail}"


def _waiting(reason: str, until: dt.datetime | None) -> str:
    if until is None:
        return f"It waits: {words.waits(reason)}"
    end = "until" if reason in words.WAITS_UNTIL else "and is looked at again at the latest at"
    return f"It waits {end} {moment(until)}: {words.waits(reason)}"


def _at(entry: Entry) -> str:
    return f" at {moment(entry.until)}" if entry.until else ""


def _by_whom(source: str) -> str:
    return {
        "callback": "as its callback says",
        "look_up": "as a look-up has found",
        "answer": "as its answer says, which came late",
        "person": "as a person says",
    }.get(source, source)


def _of_channel(entries: Sequence[Entry]) -> Iterator[Line]:
    """Pauses of sending to everybody; a row of them for one reason is one line."""
    since: Entry | None = None
    times = 0
    for entry in (*entries, None):
        if entry and since and entry.what == since.what and entry.detail == since.detail:
            times += 1
            continue
        if since:
            again = f" (and {times} more times for the same reason)" if times else ""
            yield Line(since.at, f"To everybody: {_happened(since)}{again}", "sender", place=Place.CHANNEL)
        since, times = entry, 0


def _of_attempt(attempt: Attempt, story: MessageStory) -> Iterator[Line]:
    number = attempt.attempt
    form = "as a template" if attempt.template else "as free text"
    yield Line(attempt.started_at, f"Twilio is called, {form}.", "sender", number, Place.CALLED)
    if attempt.state == "refused" and attempt.ended_at:
        reported = any(each.attempt == number and each.status in BAD and each.reported_by == "callback"
                       for each in story.statuses)  # fmt: skip
        if not reported:
            yield Line(attempt.ended_at, _refusal(attempt), "Twilio", number, Place.ANSWERED)
    reports = [each for each in story.statuses if each.attempt == number and each.reported_by == "sender"]
    known = any(not _is_said_otherwise(each) for each in reports)
    if attempt.state == "accepted" and attempt.ended_at and not known:
        settled = any(each.what == "resolved" and (each.attempt, each.detail) == (number, "person")
                      for each in story.journal)  # fmt: skip
        by = "operator" if settled else "Twilio"
        yield Line(attempt.ended_at, f"Twilio has it: {attempt.sid or 'as a person says'}.", by, number, Place.ANSWERED)


def _refusal(attempt: Attempt) -> str:
    if attempt.error_code is None:
        return f"Twilio did not take it: {words.waits(attempt.detail)}"
    return f"Twilio did not take it: {attempt.error_code}. {advice_of(attempt.error_code).what}"


def _is_said_otherwise(status: Status) -> bool:
    return status.reported_by == "sender" and status.status in SAID_OTHERWISE


def _of_status(status: Status) -> Line:
    code = f": {status.error_code}. {advice_of(status.error_code).what}" if status.error_code else "."
    sid = f", {status.sid}" if status.sid and status.reported_by == "sender" else ""
    by = "Twilio" if status.reported_by == "callback" else "sender"
    return Line(status.at, f"{words.status(status.status)}{sid}{code}", by, status.attempt, Place.ANSWERED)


# --- in a sentence or two ---------------------------------------------------------------------------------------------


def headline_of(story: MessageStory, now: dt.datetime) -> list[str]:
    """What happened, why, and what can be done: for who reads nothing else."""
    match story.stage:
        case "waiting" | "retrying":
            return _waits(story, now)
        case "sending":
            return ["It is being sent: Twilio is called, and its answer is not recorded yet."]
        case "in_doubt":
            return [
                f"Nobody knows yet whether Twilio has it: {words.doubt(story.detail)}.",
                f"Twilio is asked at {moment(story.due_at)}, and nothing is sent twice.",
            ]
        case "parked":
            return _parked(story)
        case "taken":
            return [
                f"{words.status(story.status)}; it has not reached the phone yet, as far as is known.",
                *_lateness(story),
                NOTHING_TO_DO,
            ]
        case _:
            return _ended(story)


def _waits(story: MessageStory, now: dt.datetime) -> list[str]:
    said = [
        f"It waits: {pause.by} paused sending at {moment(pause.at)} (“{pause.why}”); `itarent ledger resume` ends that."
        for pause in story.paused
    ]
    reason = story.detail or (story.held.reason if story.held and story.held.until > now else "")
    if not said:
        again = "It is sent again" if story.attempts else "It waits to be sent"
        said.append(f"{again}. {words.waits(reason)}")
    if story.due_at > now:
        ends = "That ends" if reason in words.WAITS_UNTIL else "It is looked at again at the latest"
        said.append(f"{ends} at {moment(story.due_at)}.")
    elif not story.paused and (last := _last_pause(story)):
        said.append(f"It is due. {_happened(last)}")
    if story.kind == "digest":
        said.append(f"A flat that came more than {span(STALE_AFTER)} before then is not told any more.")
    else:
        said.append(f"What is not sent by {moment(story.latest_at)} expires.")
    return [*said, NOTHING_TO_DO] if reason in words.ENDS_BY_ITSELF and not story.paused else said


def _last_pause(story: MessageStory) -> Entry | None:
    last = story.channel[-1] if story.channel else None
    return last if last and last.what == "paused" else None


def _parked(story: MessageStory) -> list[str]:
    begun = story.attempts[-1].started_at if story.attempts else story.changed_at
    log = "Twilio's console under Monitor → Logs → Messaging"
    settle, retry = f"itarent ledger settle {story.message_id}", f"itarent ledger retry {story.message_id}"
    return [
        f"A person must decide whether Twilio has it: {words.parked(story.detail)}.",
        f"Look for a message to this user from about {moment(begun)} in {log}.",
        f"If it is there: `{settle} --sent --sid SM…`.",
        f"If it is not: `{retry}` sends it, `{settle} --not-sent` ends it.",
    ]


def _ended(story: MessageStory) -> list[str]:
    if story.status in ARRIVED:
        at = _arrived_at(story)
        return [f"It is {story.status}: it reached the phone{f' at {moment(at)}' if at else ''}.", *_lateness(story)]
    if story.error_code is not None and story.status in BAD:
        advice = advice_of(story.error_code)
        return [
            f"It was not delivered ({story.status}, {story.error_code}). {advice.what}",
            advice.cure,
            *_again(story),
        ]
    if story.detail == UNHEARD:
        return [f"{words.status(story.status)}; that it reached the phone Twilio has not told within a month."]
    if story.status in BAD:
        return [f"It was not sent ({story.status}). {words.ends(story.detail)}", *_again(story)]
    return [f"It was not sent, and will not be. {words.ends(story.detail)}", NOTHING_TO_DO]


def _again(story: MessageStory) -> list[str]:
    return [f"Once that is mended, `itarent ledger retry {story.message_id}` sends it."]


def _arrived_at(story: MessageStory) -> dt.datetime | None:
    return next((each.at for each in story.statuses if each.status in ARRIVED), None)


def _lateness(story: MessageStory) -> list[str]:
    """How long it took, and what it waited for."""
    called = story.attempts[-1].started_at if story.attempts else story.opened_at
    arrived = _arrived_at(story)
    before, after = called - story.opened_at, (arrived - called) if arrived else dt.timedelta()
    said = []
    if before > LATE:
        why = list(dict.fromkeys(_causes(story)))
        said.append(f"It went out {span(before)} after it was opened. {' '.join(why)}".rstrip())
    if after > LATE:
        said.append(f"Twilio and WhatsApp took {span(after)} to deliver it: the phone was off or had no connection, "
                    "most likely.")  # fmt: skip
    return said


def _causes(story: MessageStory) -> Iterator[str]:
    if story.held:
        yield words.waits(story.held.reason)
    for entry in story.journal:
        if entry.what in ("waits", "retries"):
            yield words.waits(entry.detail)
        elif entry.what == "doubted":
            yield "It was in doubt whether Twilio had it."
        elif entry.what == "parked":
            yield "It waited for a person to settle that doubt."
    if any(entry.what == "paused" for entry in story.channel):
        yield "Sending was paused meanwhile, see below."
    for order in story.orders:
        if order.action == "pause":
            yield f"{order.by} had paused sending (“{order.why}”)."


# --- words that all stories share -------------------------------------------------------------------------------------


def ended(told: Told) -> str:
    """How a notification ended, in a sentence."""
    match told.disposition:
        case "waiting":
            return "waits to be told"
        case "in_message":
            return "in the message"
        case "grouped":
            return "counted in the message, behind its link"
        case _:
            return f"not told: {words.ends(told.detail)}"


def ordered(orders: Iterable[Ordered]) -> list[str]:
    return [f"{moment(each.at)}  {_order(each)}" for each in orders]


def clock(now: dt.datetime) -> str:
    """What the times mean that a story names."""
    return f"Times are {now.astimezone():%Z}; it is {moment(now)} now."


def moment(at: dt.datetime) -> str:
    """A time on this machine's clock."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span(took: dt.timedelta) -> str:
    """A duration in its two largest units."""
    seconds = round(took.total_seconds())
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    largest = next((index for index, (value, _) in enumerate(parts) if value), len(parts) - 1)
    return " ".join(f"{value} {unit}" for value, unit in parts[largest : largest + 2] if value) or "0 s"
