"""The text of a message: how a phone shows what was found, in the user's language, within Twilio's limit."""

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from babel import Locale, numbers

from common.events import Card, DirectPurpose, Language, PhoneClaim, Reason
from common.listing import Rent, RentUnit, SpeseTerm
from common.quiet_hours import zone_of
from common.search import Criterion
from sender.fold import Entry
from sender.wording import WORDINGS, Plural, Wording

LONGEST: Final = 1600
"""Twilio's limit of a Body. It does not say of what: UTF-16 code units are the most that a character can count."""

LONGEST_TITLE: Final = 70
LONGEST_NAME: Final = 40
LONGEST_PLACE: Final = 60
LONGEST_URL: Final = 300  # a longer address is left to the link
MOST_SEARCHES_NAMED: Final = 2


@dataclass(frozen=True)
class Text:
    """A message ready to be sent. `marker` is a part of the body that no other message has: it is found by it."""

    body: str
    marker: str
    shown: tuple[UUID, ...]
    grouped: tuple[UUID, ...]


def digest_text(entries: Sequence[Entry], language: Language, link: str) -> Text:
    """The digest of one or more flats: the best ones in full, as many as fit, and all of them behind the link."""
    best_first = sorted(entries, key=_worth)
    header = _header(best_first, language)
    blocks: list[str] = []
    for entry in best_first:
        block = _block(len(blocks) + 1, entry, language)
        footer = _footer(len(best_first), len(blocks) + 1, language, link)
        if utf16_length(_joined(header, [*blocks, block], footer)) > LONGEST:
            break
        blocks.append(block)
    return Text(
        body=_joined(header, blocks, _footer(len(best_first), len(blocks), language, link)),
        marker=link,
        shown=_ids(best_first[: len(blocks)]),
        grouped=_ids(best_first[len(blocks) :]),
    )


def direct_text(purpose: DirectPurpose, language: Language, message_id: UUID, notification_id: UUID) -> Text:
    """A message that the user asked for, with a reference that only it has."""
    return _with_reference(WORDINGS[language].direct[purpose], language, message_id, notification_id)


def code_text(claim: PhoneClaim, language: Language, time_zone: str, message_id: UUID) -> Text:
    """The code that proves a phone, on a line of its own, and until when it does."""
    until = claim.expires_at.astimezone(zone_of(time_zone)).strftime("%H:%M")
    text = WORDINGS[language].direct[DirectPurpose.CODE].format(code=claim.code, until=until)
    return _with_reference(text, language, message_id, claim.claim_id)


def _with_reference(text: str, language: Language, message_id: UUID, notification_id: UUID) -> Text:
    reference = WORDINGS[language].reference.format(reference=message_id.hex[:10].upper())
    return Text(f"{text}\n{reference}", reference, (notification_id,), ())


def template_variables(entries: Sequence[Entry], language: Language, link: str) -> dict[str, str]:
    """What the digest's template is filled with: {{1}} how many, {{2}} which searches, {{3}} the link."""
    names = _search_names(entries, WORDINGS[language]) or WORDINGS[language].flat
    return {"1": _count(len(entries), language), "2": names, "3": link}


def direct_variables(text: Text) -> dict[str, str]:
    """What the template of a direct message is filled with: {{1}} by which it is found again."""
    return {"1": text.marker}


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def plain(text: str, longest: int) -> str:
    """A foreign text on one line, without WhatsApp's formatting, invisible characters or more than `longest` units."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text.translate(_FORMATTING))
    return _shortened(" ".join(visible.split()), longest)


_FORMATTING: Final = str.maketrans({"*": "∗", "_": " ", "~": "∼", "`": "'", "<": "‹", ">": "›"})  # noqa: RUF001 - look-alikes


def _shortened(text: str, longest: int) -> str:
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


def _ids(entries: Sequence[Entry]) -> tuple[UUID, ...]:
    return tuple(notification_id for entry in entries for notification_id in entry.notification_ids)


def _joined(header: str, blocks: Sequence[str], footer: str) -> str:
    return "\n\n".join([header, *blocks, footer])


def _header(entries: Sequence[Entry], language: Language) -> str:
    count = f"*{_count(len(entries), language)}*"
    names = _search_names(entries, WORDINGS[language])
    return f"{count} · {names}" if names else count


def _count(n: int, language: Language) -> str:
    return _plural(WORDINGS[language].found, n, language)


def _search_names(entries: Sequence[Entry], words: Wording) -> str:
    by_id = {search.subscription_id: search.name for entry in entries for search in entry.searches}
    names = [name for name in dict.fromkeys(plain(name, LONGEST_NAME) for name in by_id.values()) if name]
    named, more = names[:MOST_SEARCHES_NAMED], len(names) - MOST_SEARCHES_NAMED
    return ", ".join([*named, words.more_searches.format(n=more)] if more > 0 else named)


def _footer(found: int, shown: int, language: Language, link: str) -> str:
    words = WORDINGS[language]
    if found == shown:
        return words.all_at_link.format(link=link)
    return words.rest_at_link.format(found=found, shown=shown, rest=found - shown, link=link)


def _block(number: int, entry: Entry, language: Language) -> str:
    words, card = WORDINGS[language], entry.card
    if entry.reason is Reason.WITHDRAWN:
        return f"{number}. {_title(card, words)}: {words.gone}"
    lines = [
        f"{number}. *{_title(card, words)}*" + (f" ({words.returned})" if entry.reason is Reason.RETURNED else ""),
        _facts(card, language),
        _price(entry, language),
        _doubts(entry, words),
        _url(card),
    ]
    return "\n".join(line for line in lines if line)


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
    rooms = _plural(words.rooms, card.rooms, language, "+" if card.rooms_or_more else "") if card.rooms else None
    area = f"{_number(card.area_m2, language)} m²" if card.area_m2 else None
    place = ", ".join(filter(None, (plain(card.comune_name, LONGEST_PLACE), plain(card.zone or "", LONGEST_PLACE))))
    return " · ".join(filter(None, (kind, rooms, area, place)))


def _price(entry: Entry, language: Language) -> str:
    words, card = WORDINGS[language], entry.card
    if card.rent is None:
        return words.rent_unknown
    price = _rent(card.rent, language) + _spese(card, language)
    if entry.previous_rent_cents and entry.previous_rent_cents > card.rent.amount_cents:
        price += f" · *{words.dropped.format(before=money(entry.previous_rent_cents, language))}*"
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


def _doubts(entry: Entry, words: Wording) -> str:
    unknown = ", ".join(words.criteria[criterion] for criterion in _unknown(entry))
    card = entry.card
    doubts = [words.flags[flag] for flag in card.flags if flag in words.flags]
    doubts += [words.signals[signal] for signal in card.signals]
    said = (
        words.unknown.format(criteria=unknown) if unknown else "",
        words.doubtful.format(flags=", ".join(doubts)) if doubts else "",
    )
    return " · ".join(filter(None, said))


def _unknown(entry: Entry) -> list[Criterion]:
    return list(dict.fromkeys(criterion for search in entry.searches for criterion in search.unknown))


# --- numbers --------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def money(cents: int, language: Language) -> str:
    """An amount in euro, with cents only where there are some."""
    locale = _locale(language)
    pattern = locale.currency_formats["standard"].pattern
    if cents % 100 == 0:
        pattern = pattern.replace("0.00", "0")
    amount = numbers.format_currency(Decimal(cents) / 100, "EUR", pattern, locale=locale, currency_digits=False)
    return amount.replace("\N{NO-BREAK SPACE}", " ")


@functools.lru_cache(maxsize=4096)
def _number(n: int, language: Language) -> str:
    return numbers.format_decimal(n, locale=_locale(language))


def _plural(forms: Plural, n: int, language: Language, suffix: str = "") -> str:
    category = _locale(language).plural_form(n)
    return forms.get(category, forms["other"]).format(n=_number(n, language) + suffix)


@functools.cache
def _locale(language: Language) -> Locale:
    return Locale.parse(language.value)
