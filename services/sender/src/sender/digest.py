"""The text of a digest: how a phone shows what was found, in the user's language, within Twilio's limit."""

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from babel import Locale, numbers

from common.events import Card, Language, Reason
from common.listing import Rent, RentUnit, SpeseTerm
from common.search import Criterion
from sender.fold import Entry
from sender.wording import WORDINGS, Plural, Wording

LONGEST: Final = 1600
"""Twilio's limit of a Body. It does not say of what: UTF-16 code units are the most that a character can count."""

MOST_SHOWN: Final = 5
"""WhatsApp folds a long message away, and with it the link to all that it does not show."""

LONGEST_TITLE: Final = 70
LONGEST_NAME: Final = 40
LONGEST_PLACE: Final = 60
LONGEST_URL: Final = 300  # a longer address is left to the link
MOST_SEARCHES_NAMED: Final = 2


@dataclass(frozen=True)
class Text:
    """A message ready to be sent. `marker` is a part of the body that no other message has: it is found by it.

    `shown` and `grouped` are the notifications that it tells, with their flat's number in it, best first from 1; what
    an answer tells has none.
    """

    body: str
    marker: str
    shown: Mapping[UUID, int | None]
    grouped: Mapping[UUID, int | None]


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """Best first: people know a flat by its number in this order."""
    return sorted(entries, key=_worth)


def digest_text(entries: Sequence[Entry], language: Language, link: str, of: UUID | None = None) -> Text:
    """The digest of one or more flats, given best first: as many as fit in full, and all of them behind the link.

    `of` is the search whose digest it is; None: it is of all that the user is told.
    """
    header = _header(entries, language, of)
    blocks = [_block(number, entry, language) for number, entry in enumerate(entries[:MOST_SHOWN], 1)]
    body = _joined(header, blocks, _footer(len(entries), len(blocks), language, link))
    while blocks and utf16_length(body) > LONGEST:
        blocks.pop()
        body = _joined(header, blocks, _footer(len(entries), len(blocks), language, link))
    numbered = _numbered(entries)
    return Text(
        body=body,
        marker=link,
        shown={each: number for each, number in numbered.items() if number <= len(blocks)},
        grouped={each: number for each, number in numbered.items() if number > len(blocks)},
    )


def template_text(entries: Sequence[Entry], link: str) -> Text:
    """A template shows no flat itself: all of them are behind its link, by the same numbers."""
    return Text("", link, {}, _numbered(entries))


def template_variables(
    entries: Sequence[Entry], language: Language, link: str, of: UUID | None = None
) -> dict[str, str]:
    """What the digest's template is filled with: {{1}} how many, {{2}} which searches, {{3}} the link."""
    names = _search_names(entries, WORDINGS[language], of) or WORDINGS[language].flat
    return {"1": _count(len(entries), language), "2": names, "3": link}


def _numbered(entries: Sequence[Entry]) -> dict[UUID, int]:
    return {each: number for number, entry in enumerate(entries, 1) for each in entry.notification_ids}


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@functools.lru_cache(maxsize=4096)  # a flat is told to many
def plain(text: str, longest: int) -> str:
    """A foreign text on one line, without WhatsApp's formatting, invisible characters or more than `longest` units."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text.translate(_FORMATTING))
    return shortened(" ".join(visible.split()), longest)


_FORMATTING: Final = str.maketrans({"*": "∗", "_": " ", "~": "∼", "`": "'", "<": "‹", ">": "›"})  # noqa: RUF001 - look-alikes


def shortened(text: str, longest: int) -> str:
    if utf16_length(text) <= longest:
        return text
    cut = text.encode("utf-16-le")[: 2 * (longest - 1)].decode("utf-16-le", errors="ignore")
    return cut.rstrip() + "…"


def _worth(entry: Entry) -> tuple[bool, int, int, float]:
    """Best first: still to be had, nothing doubtful, least unknown, least rent per square metre."""
    card = entry.card
    monthly = card.rent.amount_cents if card.rent and card.rent.per is RentUnit.MONTH else None
    per_m2 = monthly / card.area_m2 if monthly is not None and card.area_m2 else float("inf")
    return entry.reason is Reason.WITHDRAWN, len(card.flags) + len(card.signals), len(_unknown(entry)), per_m2


def _joined(header: str, blocks: Sequence[str], footer: str) -> str:
    return "\n\n".join([header, *blocks, footer])


def _header(entries: Sequence[Entry], language: Language, of: UUID | None) -> str:
    """`*12 annunci* · 2 ribassati · Bilocale a Milano`."""
    words = WORDINGS[language]
    drops = sum(entry.reason is Reason.PRICE_DROP for entry in entries)
    parts = (
        f"*{_count(len(entries), language)}*",
        plural(words.drops, drops, language) if drops else "",
        _search_names(entries, words, of),
    )
    return " · ".join(filter(None, parts))


def _count(n: int, language: Language) -> str:
    return plural(WORDINGS[language].found, n, language)


def _search_names(entries: Sequence[Entry], words: Wording, of: UUID | None) -> str:
    by_id = {search.subscription_id: search.name for entry in entries for search in entry.searches}
    if of in by_id:  # what else a flat matches is told by the answer to WHY
        by_id = {of: by_id[of]}
    names = [name for name in dict.fromkeys(plain(name, LONGEST_NAME) for name in by_id.values()) if name]
    named, more = names[:MOST_SEARCHES_NAMED], len(names) - MOST_SEARCHES_NAMED
    return ", ".join([*named, words.more_searches.format(n=more)] if more > 0 else named)


def _footer(found: int, shown: int, language: Language, link: str) -> str:
    words = WORDINGS[language]
    counts = {"found": found, "shown": shown, "rest": found - shown}
    numbers = {name: number_of(count, language) for name, count in counts.items()}
    where = words.all_at_link if found == shown else words.rest_at_link
    return f"{words.answer_hint}\n{where.format(link=link, **numbers)}"


def _block(number: int, entry: Entry, language: Language) -> str:
    said = _said(entry.card, entry.reason, entry.previous_rent_cents, _unknown(entry), language)
    return f"{number}. {said}"


@functools.lru_cache(maxsize=4096)  # a flat is told to many, in the same words
def _said(
    card: Card, reason: Reason, previous_rent_cents: int | None, unknown: tuple[Criterion, ...], language: Language
) -> str:
    words = WORDINGS[language]
    if reason is Reason.WITHDRAWN:
        return f"{_title(card, words)}: {words.gone}"
    lines = (
        f"*{_title(card, words)}*" + (f" ({words.returned})" if reason is Reason.RETURNED else ""),
        _facts(card, language),
        _price(card, previous_rent_cents, language),
        _doubts(card, unknown, words),
        _url(card),
    )
    return "\n".join(filter(None, lines))


def _url(card: Card) -> str:
    url = card.url or ""
    return url if _URL.fullmatch(url) and len(url) <= LONGEST_URL else ""


_URL: Final = re.compile(r"https?://[\x21-\x7e]+")  # others would not be a link on the phone


def _title(card: Card, words: Wording) -> str:
    kind = words.offerings.get(card.offering, "") if card.offering else ""
    kind = kind or (words.property_types.get(card.property_type, "") if card.property_type else "")
    return plain(card.title, LONGEST_TITLE) or kind or words.flat


def _facts(card: Card, language: Language) -> str:
    words = WORDINGS[language]
    kind = words.offerings.get(card.offering) if card.offering else None
    kind = kind or (words.property_types.get(card.property_type) if card.property_type else None)
    rooms = plural(words.rooms, card.rooms, language, "+" if card.rooms_or_more else "") if card.rooms else None
    area = f"{number_of(card.area_m2, language)} m²" if card.area_m2 else None
    place = ", ".join(filter(None, (plain(card.comune_name, LONGEST_PLACE), plain(card.zone or "", LONGEST_PLACE))))
    return " · ".join(filter(None, (kind, rooms, area, place)))


def _price(card: Card, previous_rent_cents: int | None, language: Language) -> str:
    words = WORDINGS[language]
    if card.rent is None:
        return words.rent_unknown
    price = _rent(card.rent, language) + _spese(card, language)
    if previous_rent_cents and previous_rent_cents > card.rent.amount_cents:
        price += f" · *{words.dropped.format(before=money(previous_rent_cents, language))}*"
    return price


def _rent(rent: Rent, language: Language) -> str:
    words = WORDINGS[language]
    amount = money(rent.amount_cents, language)
    match rent.per:
        case RentUnit.MONTH:
            return words.per_month.format(amount=amount)
        case RentUnit.SQUARE_METRE_MONTH:
            return words.per_square_metre.format(amount=amount)
        case RentUnit.YEAR:
            return words.per_year.format(amount=amount)


def _spese(card: Card, language: Language) -> str:
    words = WORDINGS[language]
    if card.rent and card.rent.spese is SpeseTerm.INCLUDED:
        return words.spese_included
    if card.spese_cents:
        return words.spese_amount.format(amount=money(card.spese_cents, language))
    excluded = card.rent and card.rent.spese is SpeseTerm.EXCLUDED
    return words.spese_extra if excluded else words.spese_unknown


def _doubts(card: Card, unknown: Sequence[Criterion], words: Wording) -> str:
    doubts = [words.flags[flag] for flag in card.flags if flag in words.flags]
    doubts += [words.signals[signal] for signal in card.signals]
    said = (
        words.unknown.format(criteria=", ".join(words.criteria[each] for each in unknown)) if unknown else "",
        words.doubtful.format(flags=", ".join(doubts)) if doubts else "",
    )
    return " · ".join(filter(None, said))


def _unknown(entry: Entry) -> tuple[Criterion, ...]:
    return tuple(dict.fromkeys(criterion for search in entry.searches for criterion in search.unknown))


# --- numbers --------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def money(cents: int, language: Language) -> str:
    """An amount in euro, with cents only where there are some."""
    locale = locale_of(language)
    pattern = locale.currency_formats["standard"].pattern
    if cents % 100 == 0:
        pattern = pattern.replace("0.00", "0")
    amount = numbers.format_currency(Decimal(cents) / 100, "EUR", pattern, locale=locale, currency_digits=False)
    return amount.replace("\N{NO-BREAK SPACE}", " ")


@functools.lru_cache(maxsize=4096)
def number_of(n: int, language: Language) -> str:
    return numbers.format_decimal(n, locale=locale_of(language))


def plural(forms: Plural, n: int, language: Language, suffix: str = "") -> str:
    return forms.get(_plural_form(n, language), forms["other"]).format(n=number_of(n, language) + suffix)


@functools.lru_cache(maxsize=4096)
def _plural_form(n: int, language: Language) -> str:
    return locale_of(language).plural_form(n)


@functools.cache
def locale_of(language: Language) -> Locale:
    return Locale.parse(language.value)
