"""The list of messages: Twilio's filters and pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import dropwhile, islice
from urllib.parse import urlencode

from twilio_simulator import codes
from twilio_simulator.codes import Refusal
from twilio_simulator.phones import number_of
from twilio_simulator.resources import Message, account_uri, message_json
from twilio_simulator.store import Store

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
_FILTERS = ("To", "From", "DateSent", "DateSent<", "DateSent>")


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for. Times are bounds of `date_sent`, both included; `after` is the SID before the page."""

    given: dict[str, str]
    to: str | None = None
    sender: str | None = None
    sent_from: datetime | None = None
    sent_until: datetime | None = None
    page_size: int = DEFAULT_PAGE_SIZE
    page: int = 0
    after: str | None = None


def query_of(parameters: dict[str, str]) -> Query | Refusal:
    """Read the parameters of the list. Unknown ones are ignored."""
    try:
        page_size = int(parameters.get("PageSize", DEFAULT_PAGE_SIZE))
        page = int(parameters.get("Page", 0))
        sent_from, sent_until = _bounds(parameters)
    except ValueError as error:
        return Refusal(codes.INVALID_PARAMETER, str(error))
    if page_size > MAX_PAGE_SIZE:
        return Refusal(codes.PAGE_SIZE_TOO_LARGE)
    if page_size < 1 or page < 0:
        return Refusal(codes.INVALID_PARAMETER, "PageSize or Page")
    return Query(
        given={name: parameters[name] for name in _FILTERS if name in parameters},
        to=parameters.get("To"),
        sender=parameters.get("From"),
        sent_from=sent_from,
        sent_until=sent_until,
        page_size=page_size,
        page=page,
        after=parameters["PageToken"].removeprefix("PA") if "PageToken" in parameters else None,
    )


def _bounds(parameters: dict[str, str]) -> tuple[datetime | None, datetime | None]:
    """DateSent is a whole day of UTC, even when a time is given. `DateSent<` includes a day that is given alone."""
    if "DateSent" in parameters:
        day = _start_of(_moment(parameters["DateSent"]).date())
        return day, day + timedelta(days=1, microseconds=-1)
    sent_from = _moment(parameters["DateSent>"]) if "DateSent>" in parameters else None
    sent_until = _last_moment(parameters["DateSent<"]) if "DateSent<" in parameters else None
    return sent_from, sent_until


def _last_moment(text: str) -> datetime:
    is_a_day = len(text) == len("2026-01-31")
    return _moment(text) + (timedelta(days=1, microseconds=-1) if is_a_day else timedelta())


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def fits(message: Message, query: Query) -> bool:
    if query.to not in {None, message.to} or query.sender not in {None, message.sender}:
        return False
    if query.sent_from is None and query.sent_until is None:
        return True
    sent_at = message.sent_at
    return (
        sent_at is not None
        and (query.sent_from is None or query.sent_from <= sent_at)
        and (query.sent_until is None or sent_at <= query.sent_until)
    )


def page_json(store: Store, query: Query, account_sid: str, our_address: str) -> dict[str, object]:
    """One page, the newest messages first."""
    taken = list(islice(_found(store, query, our_address), query.page_size + 1))
    shown = taken[: query.page_size]
    start = query.page * query.page_size
    uri = f"{account_uri(account_sid)}/Messages.json"
    has_next = len(taken) > len(shown)
    return {
        "end": start + max(len(shown) - 1, 0),
        "first_page_uri": _uri(uri, query, 0),
        "messages": [message_json(message, account_sid) for message in shown],
        "next_page_uri": _uri(uri, query, query.page + 1, shown[-1].sid) if has_next else None,
        "page": query.page,
        "page_size": query.page_size,
        "previous_page_uri": None,
        "start": start,
        "uri": _uri(uri, query, query.page, query.after),
    }


def _found(store: Store, query: Query, our_address: str) -> Iterator[Message]:
    found = (message for message in _candidates(store, query, our_address) if fits(message, query))
    if query.after is None:
        return found
    return islice(dropwhile(lambda message: message.sid != query.after, found), 1, None)


def _candidates(store: Store, query: Query, our_address: str) -> Iterator[Message]:
    """A person's chat where the query names one: a look-up must not walk over all messages."""
    for address in (query.to, query.sender):
        if address and address != our_address:
            return store.newest_of(number_of(address))
    return store.newest()


def _uri(uri: str, query: Query, page: int, after: str | None = None) -> str:
    paging = {"PageSize": str(query.page_size), "Page": str(page)}
    token = {"PageToken": f"PA{after}"} if after else {}
    return f"{uri}?{urlencode(query.given | paging | token)}"
