# ruff: noqa: RUF001 - letters of three languages
"""The words of the message page in the reader's language, and how it says amounts and reasons."""

from collections.abc import Mapping
from typing import Final

from babel.numbers import format_currency

from api.activity import ActivityItem
from common.events import Language, Reason
from common.listing import Rent, RentUnit, SpeseTerm

Words = Mapping[str, str]

WORDS: Final[Mapping[Language, Words]] = {
    Language.ITALIAN: {
        "title": "Le tue case",
        "count_one": "1 annuncio",
        "count_many": "{count} annunci",
        "open": "Apri l’annuncio",
        "matches": "Corrisponde a",
        "unknown": "Non indicato nell’annuncio",
        "not_active": "L’annuncio può nel frattempo essere cambiato.",
        "gone_title": "Questo link non è più valido",
        "gone": "È scaduto oppure non è completo. I link nei messaggi valgono 30 giorni.",
        "on_request": "prezzo su richiesta",
        "month": "/ mese",
        "square_metre_month": "/ m² al mese",
        "year": "/ anno",
        "included": "spese incluse",
        "spese": "+ {amount} spese",
        "rooms": "locali",
        "new": "Nuovo",
        "price_drop": "Ribassato",
        "withdrawn": "Non più disponibile",
        "returned": "Di nuovo disponibile",
        "was": "prima {amount}",
    },
    Language.ENGLISH: {
        "title": "Your flats",
        "count_one": "1 listing",
        "count_many": "{count} listings",
        "open": "Open the listing",
        "matches": "Matches",
        "unknown": "The listing does not say",
        "not_active": "The listing may have changed since.",
        "gone_title": "This link is no longer valid",
        "gone": "It has expired, or is not complete. Links in messages are valid for 30 days.",
        "on_request": "price on request",
        "month": "/ month",
        "square_metre_month": "/ m² a month",
        "year": "/ year",
        "included": "service charges included",
        "spese": "+ {amount} service charges",
        "rooms": "rooms",
        "new": "New",
        "price_drop": "Price drop",
        "withdrawn": "No longer available",
        "returned": "Available again",
        "was": "was {amount}",
    },
    Language.RUSSIAN: {
        "title": "Ваши квартиры",
        "count_one": "1 объявление",
        "count_many": "Объявлений: {count}",
        "open": "Открыть объявление",
        "matches": "Подходит под",
        "unknown": "В объявлении не указано",
        "not_active": "С тех пор объявление могло измениться.",
        "gone_title": "Эта ссылка больше не действует",
        "gone": "Срок её действия истёк, или она неполная. Ссылки из сообщений действуют 30 дней.",
        "on_request": "цена по запросу",
        "month": "в месяц",
        "square_metre_month": "за м² в месяц",
        "year": "в год",
        "included": "с расходами",
        "spese": "+ {amount} расходы",
        "rooms": "комн.",
        "new": "Новое",
        "price_drop": "Подешевело",
        "withdrawn": "Больше не сдаётся",
        "returned": "Снова сдаётся",
        "was": "было {amount}",
    },
}

CRITERIA: Final[Mapping[Language, Words]] = {
    Language.ITALIAN: {
        "place": "zona",
        "rent": "canone",
        "deposit": "deposito",
        "contract": "contratto",
        "offering": "stanza o intero",
        "property_type": "tipologia",
        "rooms": "locali",
        "bedrooms": "camere",
        "bathrooms": "bagni",
        "area": "superficie",
        "floor": "piano",
        "furnishing": "arredamento",
        "features": "dotazioni",
        "energy_class": "classe energetica",
        "advertiser": "inserzionista",
        "availability": "disponibilità",
    },
    Language.ENGLISH: {
        "property_type": "type of property",
        "energy_class": "energy class",
        "offering": "room or whole flat",
    },
    Language.RUSSIAN: {
        "place": "место",
        "rent": "цена",
        "deposit": "залог",
        "contract": "договор",
        "offering": "комната или квартира",
        "property_type": "тип жилья",
        "rooms": "комнаты",
        "bedrooms": "спальни",
        "bathrooms": "ванные",
        "area": "площадь",
        "floor": "этаж",
        "furnishing": "мебель",
        "features": "удобства",
        "energy_class": "энергокласс",
        "advertiser": "кто сдаёт",
        "availability": "когда свободно",
    },
}


def language_of(accept_language: str) -> Language:
    """The first of our languages that a browser asks for, else Italian."""
    for wish in accept_language.lower().split(","):
        tag = wish.strip()[:2]
        if tag in set(Language):
            return Language(tag)
    return Language.ITALIAN


def amount_of(cents: int, language: Language) -> str:
    """`1.100 €`; cents are shown only where there are any."""
    pattern = "#,##0 ¤" if cents % 100 == 0 else "#,##0.00 ¤"
    return format_currency(cents / 100, "EUR", pattern, locale=language, currency_digits=False)


def rent_of(rent: Rent | None, language: Language) -> str:
    """`1.100 € / mese, spese incluse`."""
    words = WORDS[language]
    if rent is None:
        return words["on_request"]
    unit = {
        RentUnit.MONTH: words["month"],
        RentUnit.SQUARE_METRE_MONTH: words["square_metre_month"],
        RentUnit.YEAR: words["year"],
    }[rent.per]
    included = f", {words['included']}" if rent.spese is SpeseTerm.INCLUDED else ""
    return f"{amount_of(rent.amount_cents, language)} {unit}{included}"


def extra_of(item: ActivityItem, language: Language) -> str:
    """What else is to be said of the price: the spese beside it, the rent before a drop."""
    words, card = WORDS[language], item.listing
    said: list[str] = []
    if card.spese_cents and not (card.rent and card.rent.spese is SpeseTerm.INCLUDED):
        said.append(words["spese"].format(amount=amount_of(card.spese_cents, language)))
    if item.reason is Reason.PRICE_DROP and item.previous_rent_cents:
        said.append(words["was"].format(amount=amount_of(item.previous_rent_cents, language)))
    return " · ".join(said)


def facts_of(item: ActivityItem, language: Language) -> str:
    """`2 locali · 55 m² · Loreto, Milano`."""
    card = item.listing
    rooms = f"{card.rooms}{'+' if card.rooms_or_more else ''} {WORDS[language]['rooms']}" if card.rooms else ""
    area = f"{card.area_m2} m²" if card.area_m2 else ""
    place = ", ".join(filter(None, (card.zone, card.comune_name)))
    return " · ".join(filter(None, (rooms, area, place)))


def unknown_of(item: ActivityItem, language: Language) -> str:
    """The criteria that the listing says nothing about: `piano, deposito`."""
    unknown = sorted({criterion for search in item.searches for criterion in search.unknown})
    return ", ".join(CRITERIA[language].get(each, each.replace("_", " ")) for each in unknown)


def count_of(items: int, language: Language) -> str:
    words = WORDS[language]
    return words["count_one"] if items == 1 else words["count_many"].format(count=items)
