"""What renters write to us, answered: numbers of flats, what to keep or drop, fewer messages, a pause, help."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, assert_never
from uuid import UUID

import asyncpg

from api.commands import Command, Order, joins
from api.flat_choices import Choice, FlatChoices
from api.phone_links import Reply, answer_to
from api.subscriptions import subscription_of
from api.verdict_words import details_of, reasons_of
from common.events import (
    Card,
    DirectMessageRequested,
    DirectPurpose,
    FlatDeclined,
    FlatFact,
    FlatTold,
    InboundMessageReceived,
    Language,
    Recipient,
)
from common.listing import Listing
from common.search import Subscription

if TYPE_CHECKING:
    from common.outbox import Connection

PACES_S: Final = (900, 1800, 3600, 7200, 14_400, 28_800, 86_400)
"""The intervals between which FEWER and MORE go."""

HELPED_EVERY: Final = dt.timedelta(hours=24)
"""How often what we do not understand is answered."""

QUOTED: Final = "OriginalRepliedMessageSid"
"""Twilio's parameter of a message that answers another one."""

LONGEST_DESCRIPTION: Final = 500

_ABOUT_A_FLAT: Final[Mapping[Command, DirectPurpose]] = {
    Command.DETAILS: DirectPurpose.DETAILS,
    Command.WHY: DirectPurpose.WHY,
    Command.SAVE: DirectPurpose.SAVED,
    Command.NEVER: DirectPurpose.DECLINED,
}


@dataclass(frozen=True)
class _Flat:
    """A flat that a message has told of."""

    notification_id: UUID
    number: int | None
    flat_id: UUID | None
    card: Card
    subscription_ids: Sequence[UUID]
    search_names: Sequence[str]


@dataclass(frozen=True)
class _Context:
    """What an answer may be about: the flats of a message by their number, and the one that is meant without one."""

    by_number: Mapping[int, _Flat]
    meant: _Flat | None


class RenterReplies:
    """Answers those who may be written to; `interval` is the system's usual one between two digests."""

    def __init__(self, choices: FlatChoices, interval: dt.timedelta) -> None:
        self._choices = choices
        self._interval = interval

    async def to(
        self, connection: "Connection", message: InboundMessageReceived, order: Order | None, renter: Recipient
    ) -> Reply:
        """What follows from a message, in the caller's transaction."""
        user_id = renter.user_id
        match order.command if order else None:
            case Command.PAUSE:
                assert order is not None
                until = message.received_at + (order.lasting or dt.timedelta(days=1))
                paused = answer_to(message, user_id, DirectPurpose.PAUSED, until=until)
                return Reply({"paused_until": until}, (paused,))
            case (Command.FEWER | Command.MORE) as command:
                seconds = self._pace(renter, fewer=command is Command.FEWER)
                pace = answer_to(message, user_id, DirectPurpose.PACE, interval_seconds=seconds)
                return Reply({"interval_seconds": seconds}, (pace,))
            case Command.HELP:
                return Reply(answers=(answer_to(message, user_id, DirectPurpose.HELP),))
            case (Command.DETAILS | Command.WHY | Command.SAVE | Command.NEVER) as command:
                assert order is not None
                return await self._about_flats(connection, message, order, command, renter)
            case Command.STOP | Command.START | None:
                return await self._helped(connection, message, user_id)
            case other:
                assert_never(other)

    def _pace(self, renter: Recipient, *, fewer: bool) -> int:
        """The next longer interval, or the next shorter one; at the end it stays."""
        now = renter.interval_seconds if renter.interval_seconds is not None else int(self._interval.total_seconds())
        if fewer:
            return next((pace for pace in PACES_S if pace > now), max(now, PACES_S[-1]))
        return next((pace for pace in reversed(PACES_S) if pace < now), min(now, PACES_S[0]))

    async def _helped(self, connection: "Connection", message: InboundMessageReceived, user_id: UUID) -> Reply:
        """Once a day anything else is answered by what can be written; oftener, two machines might talk for ever."""
        if joins(message.body):  # meant for Twilio's sandbox, which answers it
            return Reply()
        due = await connection.fetchval(_HELP_IS_DUE, user_id, message.received_at, HELPED_EVERY)
        return Reply(answers=(answer_to(message, user_id, DirectPurpose.HELP),) if due else ())

    # --- flats ------------------------------------------------------------------------------------------------------

    async def _about_flats(
        self,
        connection: "Connection",
        message: InboundMessageReceived,
        order: Order,
        command: Command,
        renter: Recipient,
    ) -> Reply:
        context = await _context_of(connection, renter.user_id, message.parameters.get(QUOTED))
        named = [context.by_number[number] for number in order.numbers if number in context.by_number]
        if not order.numbers and context.meant:
            named = [context.meant]
        if not named:
            return Reply(answers=(_which(message, renter.user_id, command, len(context.by_number)),))
        answers = [
            answer_to(
                message,
                renter.user_id,
                _ABOUT_A_FLAT[command],
                position,
                flat=await self._told(connection, flat, command, renter),
            )
            for position, flat in enumerate(named)
        ]
        if choice := _CHOICES.get(command):
            for flat in named:
                await self._choices.make(connection, renter.user_id, flat.card, choice, message.received_at)
        declined = _declined(named, renter.user_id, message.received_at) if command is Command.NEVER else ()
        return Reply(answers=tuple(answers), declined=declined)

    async def _told(self, connection: "Connection", flat: _Flat, command: Command, renter: Recipient) -> FlatTold:
        """The flat as it is now, with what the command asks about it."""
        row = await connection.fetchrow(_LISTING, flat.card.listing_id)
        listing = _listing(flat.card, row)
        searches = await _searches(connection, renter.user_id, flat) if command is Command.WHY else []
        language = renter.language
        return FlatTold(
            notification_id=flat.notification_id,
            number=flat.number,
            listing_id=flat.card.listing_id,
            title=_title(listing),
            url=listing.url,
            offered=row["active"] if row else True,
            searches=tuple(flat.search_names),
            facts=_facts(command, listing, searches, language),
            description=listing.description[:LONGEST_DESCRIPTION] if command is Command.DETAILS else "",
        )


_CHOICES: Final = {Command.SAVE: Choice.SAVED, Command.NEVER: Choice.DECLINED}


def _facts(
    command: Command, listing: Listing, searches: Sequence[Subscription], language: Language
) -> tuple[FlatFact, ...]:
    if command is Command.DETAILS:
        return tuple(details_of(listing, language))
    return tuple(reasons_of(searches[0].search, listing, language)) if searches else ()


def _which(message: InboundMessageReceived, user_id: UUID, command: Command, choices: int) -> DirectMessageRequested:
    """Ask which flat is meant; nobody can say while none was told."""
    if not choices:
        return answer_to(message, user_id, DirectPurpose.NOTHING_TOLD)
    written = message.body.split()
    word = written[0][:20] if written and command is not Command.DETAILS else None
    return answer_to(message, user_id, DirectPurpose.WHICH, choices=choices, command=word)


def _declined(flats: Sequence[_Flat], user_id: UUID, now: dt.datetime) -> tuple[FlatDeclined, ...]:
    return tuple(
        FlatDeclined(user_id=user_id, flat_id=flat.flat_id, listing_id=flat.card.listing_id, declined_at=now)
        for flat in flats
        if flat.flat_id
    )


def _title(listing: Listing) -> str:
    return listing.title or ", ".join(filter(None, (listing.zone, listing.comune_name)))


def _listing(card: Card, row: asyncpg.Record | None) -> Listing:
    """The listing as it was last offered; of one that is not known any more, what the message said of it."""
    if row and row["listing"]:
        return Listing.model_validate(row["listing"])
    return Listing.model_validate(card.model_dump(exclude={"signals"}, exclude_none=True))


async def _context_of(connection: "Connection", user_id: UUID, quoted: str | None) -> _Context:
    digest = await connection.fetchrow(_LAST_DIGEST, user_id, quoted)
    if digest is None:
        return _Context({}, None)
    rows = await connection.fetch(_FLATS_OF, digest["message_id"])
    by_number = {row["number"]: _flat(row) for row in rows}
    answered = await connection.fetchrow(_LAST_ANSWERED, user_id, quoted)
    if answered and (answered["quoted"] or (not digest["quoted"] and answered["at"] > digest["at"])):
        return _Context(by_number, _flat(answered))
    return _Context(by_number, next(iter(by_number.values())) if len(by_number) == 1 else None)


def _flat(row: asyncpg.Record) -> _Flat:
    return _Flat(
        row["notification_id"],
        row["number"],
        row["flat_id"],
        Card.model_validate(row["card"]),
        [UUID(each["subscription_id"]) for each in row["searches"]],
        [each["name"] for each in row["searches"]],
    )


async def _searches(connection: "Connection", user_id: UUID, flat: _Flat) -> list[Subscription]:
    """The searches that found a flat, as they are now; those that were deleted since are not among them."""
    rows = await connection.fetch(_SEARCHES, user_id, flat.subscription_ids)
    return [subscription_of(row) for row in rows]


_HELP_IS_DUE = """
UPDATE recipients SET helped_at = $2
WHERE user_id = $1 AND (helped_at IS NULL OR helped_at <= $2::timestamptz - $3::interval)
RETURNING true
"""

_LAST_DIGEST = """
-- The message that is quoted, else the last one that told of flats.
SELECT message.message_id, message.first_reported_at AS at, coalesce(message.message_sid = $2, false) AS quoted
FROM messages AS message
WHERE message.user_id = $1 AND message.status NOT IN ('rejected', 'undelivered', 'failed', 'canceled', 'suppressed')
    AND EXISTS (
        SELECT FROM told_in_messages AS told WHERE told.message_id = message.message_id AND told.number IS NOT NULL
    )
ORDER BY quoted DESC, message.first_reported_at DESC LIMIT 1
"""

_FLAT = "notification.notification_id, notification.flat_id, notification.card, notification.searches"

_FLATS_OF = f"""
-- Of what was told of one flat, the last word.
SELECT DISTINCT ON (told.number) told.number, {_FLAT}
FROM told_in_messages AS told JOIN notifications AS notification USING (notification_id)
WHERE told.message_id = $1 AND told.number IS NOT NULL
ORDER BY told.number, notification.requested_at DESC
"""  # noqa: S608 - a constant

_LAST_ANSWERED = f"""
-- The flat that the last answer was about, or the answer that is quoted.
SELECT about.number, {_FLAT}, message.first_reported_at AS at, coalesce(message.message_sid = $2, false) AS quoted
FROM direct_messages AS direct
JOIN told_in_messages AS told USING (notification_id)
JOIN messages AS message ON message.message_id = told.message_id
JOIN notifications AS notification ON notification.notification_id = direct.about
LEFT JOIN LATERAL (
    SELECT number FROM told_in_messages WHERE notification_id = direct.about AND number IS NOT NULL LIMIT 1
) AS about ON true
WHERE direct.user_id = $1 AND direct.purpose IN ('details', 'why', 'saved')
ORDER BY quoted DESC, message.first_reported_at DESC LIMIT 1
"""  # noqa: S608 - a constant

_LISTING = "SELECT listing, active FROM recent_listings WHERE listing_id = $1"

_SEARCHES = """
SELECT * FROM subscriptions WHERE user_id = $1 AND subscription_id = ANY($2::uuid[])
ORDER BY array_position($2::uuid[], subscription_id)
"""
