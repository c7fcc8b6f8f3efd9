"""Stories on the screen: what is most asked for first, then everything in order."""

import datetime as dt
from collections.abc import Sequence

from rich.console import Console, Group
from rich.table import Column, Table
from rich.text import Text

from itarent.ledger.story import ListingStory, MessageStory, Story, Told, UserStory
from itarent.ledger.telling import ARRIVED, BAD, clock, ended, headline_of, lines_of, moment, ordered, span
from itarent.printable import printable


def show(story: Story, console: Console, now: dt.datetime) -> None:
    console.print(Group(*_parts(story, now)))


def _parts(story: Story, now: dt.datetime) -> list[Text | Table]:
    match story:
        case MessageStory():
            return [_message(story, now), _clock(now), _lines(story), *_tells(story.told, "It tells:")]
        case UserStory():
            in_none = _tells(story.in_no_message, "In no message:")
            return [_user(story, now), _clock(now), *_messages(story, now), *in_none]
        case ListingStory():
            return [_listing(story), _clock(now), *_tells(story.told, "", users=True)]


def _clock(now: dt.datetime) -> Text:
    return Text(f"{clock(now)}\n", "dim")


def _message(story: MessageStory, now: dt.datetime) -> Text:
    title = Text.assemble(("Message ", "bold"), str(story.message_id), f" ({story.kind}) for user {story.user_id}\n")
    for sentence in headline_of(story, now):
        title.append(f"{printable(sentence)}\n", _style(story.status))
    if not story.statuses_known:
        title.append("The api's tables cannot be read here: what callbacks said is missing.\n", "yellow")
    return title


def _lines(story: MessageStory) -> Table:
    table = _table("when", "call no.", "says", "what happened")
    for line in lines_of(story):
        call = str(line.attempt) if line.attempt else ""
        table.add_row(moment(line.at), call, line.by, Text(printable(line.said)))
    return table


def _tells(told: Sequence[Told], title: str, *, users: bool = False) -> list[Text | Table]:
    if not told:
        return []
    table = _table(*(["user"] * users), "notification", "about", "came", "became of it", *(["message"] * users))
    for each in told:
        about = " ".join(filter(None, (each.reason.replace("_", " "), each.listing_id, each.title)))
        user, message = [], []
        if users:
            user = [str(each.user_id)]
            message = [f"{each.message_id} ({each.message_status})" if each.message_id else ""]
        told_of = Text(printable(about)), moment(each.received_at), Text(ended(each))
        table.add_row(*user, str(each.notification_id), *told_of, *message)
    return [Text(f"\n{title}", "bold"), table] if title else [table]


def _user(story: UserStory, now: dt.datetime) -> Text:
    text = Text.assemble(("User ", "bold"), str(story.user_id), "\n")
    for sentence in _standing(story, now):
        text.append(f"{sentence}\n")
    for order in ordered(story.orders):
        text.append(f"{printable(order)}\n", "yellow")
    return text


def _standing(story: UserStory, now: dt.datetime) -> list[str]:
    """What decides whether and when anything goes out to a user."""
    if story.erased_at:
        return [f"The account was erased at {moment(story.erased_at)}: nothing goes out any more."]
    said = []
    if not story.known:
        said.append("The sender has not heard how the user is reached: nothing goes out.")
    elif story.stopped:
        said.append("The user has said STOP: nothing goes out.")
    elif not story.verified:
        said.append("The user has no proven phone: nothing goes out.")
    else:
        said.append("The user wants messages, and the phone is proven.")
    if story.paused_until and story.paused_until > now:
        said.append(f"The user has paused messages until {moment(story.paused_until)}.")
    if story.held_at:
        said.append(f"An operator has paused sending to the user since {moment(story.held_at)}.")
    if story.opted_out_at:
        said.append(
            f"Twilio said at {moment(story.opted_out_at)} that the user blocks us; a message from them lifts it."
        )
    said.append(_window(story, now))
    said.append(f"Quiet hours: {story.quiet_hours or 'none'}; interval: {_interval(story.interval_seconds)}.")
    if story.last_digest_at:
        said.append(f"The last digest went out at {moment(story.last_digest_at)}.")
    return said


def _window(story: UserStory, now: dt.datetime) -> str:
    if story.window_opened_at is None:
        return "When the user last wrote to us is not known: Twilio says whether free text goes through."
    closes = story.window_opened_at + dt.timedelta(hours=24)
    until = "free text goes through until" if closes > now else "only templates go through since"
    return f"The user last wrote to us at {moment(story.window_opened_at)}: {until} {moment(closes)}."


def _interval(seconds: int | None) -> str:
    return "the usual" if seconds is None else span(dt.timedelta(seconds=seconds))


def _messages(story: UserStory, now: dt.datetime) -> list[Text | Table]:
    if not story.messages:
        return [Text("\nNo messages.")]
    table = _table("message", "opened", "kind", "tells", "status", "what happened")
    for each in story.messages:
        table.add_row(
            str(each.message_id),
            moment(each.opened_at),
            each.kind,
            str(len(each.told)),
            Text(each.status, _style(each.status)),
            Text(printable(headline_of(each, now)[0])),
        )
    return [Text("\nMessages, the newest first:", "bold"), table]


def _listing(story: ListingStory) -> Text:
    text = Text.assemble(("Listing ", "bold"), printable(story.listing_id) or "(none)", "\n")
    if story.published_at and story.version:
        state = "is offered" if story.offered else "is withdrawn"
        text.append(f"It {state}: version {story.version}, published at {moment(story.published_at)}.\n")
    if story.counts:
        ways = ", ".join(f"{count} {disposition.replace('_', ' ')}" for disposition, count in story.counts.items())
        total = sum(story.counts.values())
        text.append(f"{total} notifications to {story.users} users: {ways}.\n")
        if total > len(story.told):
            text.append(f"The {len(story.told)} newest are shown.\n")
    else:
        text.append(
            "Nobody was to be told of it: no search matched it when it came, or the matcher has not got there.\n"
        )
        text.append(
            "`itarent explain SEARCH LISTING` says why a search does not match; `itarent check system` what lags.\n"
        )
    return text


def _table(*names: str) -> Table:
    """Ids are broken where there is no room, and never cut: they are there to be copied."""
    columns = (Column(name, overflow="fold") for name in names)
    return Table(*columns, box=None, header_style="bold")


def _style(status: str) -> str:
    return "green" if status in ARRIVED else "red" if status in BAD else ""
