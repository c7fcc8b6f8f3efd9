"""The words of the pages, from `texts/<language>.toml`, and how pages say amounts, times, reasons and places."""

import datetime as dt
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from importlib.resources import files
from types import SimpleNamespace
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_datetime, format_timedelta
from babel.numbers import format_currency, format_decimal

from api.activity import ActivityItem
from common.comuni import Comuni
from common.events import Card, Language, Reason
from common.listing import Rent, RentUnit, Signal, SpeseTerm
from common.search import Commute, InCircle, InComune, InPolygon, InProvince, Place, Range, Search

Said: TypeAlias = SimpleNamespace
"""The texts of a language by section and name: `said.searches.title`."""


def texts_of(language: Language) -> dict[str, Any]:
    return tomllib.loads(files("api").joinpath("texts", f"{language}.toml").read_text(encoding="utf-8"))


def _said(section: Mapping[str, Any]) -> Said:
    return SimpleNamespace(**{name: _said(each) if isinstance(each, dict) else each for name, each in section.items()})


SAID: Final[Mapping[Language, Said]] = {language: _said(texts_of(language)) for language in Language}

ROUGHLY_WHOLE: Final = 10
"""From here on an estimate has no decimals."""

LANGUAGES: Final[Mapping[Language, str]] = {
    Language.ITALIAN: "Italiano",
    Language.ENGLISH: "English",
    Language.RUSSIAN: "Русский",
}


def language_of(accept_language: str) -> Language:
    """The one of our languages that a browser wants most, else Italian."""
    wishes = sorted(_wishes(accept_language), key=lambda wish: -wish[1])
    return next((Language(tag) for tag, weight in wishes if weight > 0), Language.ITALIAN)


def _wishes(accept_language: str) -> Iterator[tuple[str, float]]:
    for wish in accept_language.lower().split(","):
        tag, _, weight = wish.partition(";")
        if (primary := tag.strip().partition("-")[0]) in set(Language):
            yield primary, _weight(weight)


def _weight(written: str) -> float:
    try:
        return float(written.strip().removeprefix("q=") or 1)
    except ValueError:
        return 0.0


def counted(forms: Said, count: int, language: Language) -> str:
    """`1 annuncio`, `2 annunci`: the form that the language's plural rules ask for."""
    form: str = getattr(forms, Locale(language).plural_form(count), forms.other)
    return form.format(count=number_of(count, language))


def number_of(value: float, language: Language) -> str:
    return format_decimal(value, locale=language)


def listed(parts: Sequence[str]) -> str:
    return ", ".join(parts)


# --- time ---


def moment_of(at: dt.datetime, time_zone: str, language: Language) -> str:
    """`21 nov, 09:30`, in the reader's zone."""
    return format_datetime(at, "d MMM, HH:mm", tzinfo=ZoneInfo(time_zone), locale=language)


def time_of(at: dt.datetime, time_zone: str, language: Language) -> str:
    return format_datetime(at, "HH:mm", tzinfo=ZoneInfo(time_zone), locale=language)


def day_of(date: dt.date, language: Language) -> str:
    return format_date(date, "d MMM", locale=language)


def date_of(date: dt.date, language: Language) -> str:
    """`1 feb 2027`."""
    return format_date(date, "d MMM y", locale=language)


def duration_of(delay: dt.timedelta, language: Language) -> str:
    """`42 secondi`, `3 minuti`."""
    return format_timedelta(delay, threshold=1.5, locale=language)


def wait_of(seconds: int, language: Language) -> str:
    """`tra 5 minuti`."""
    return format_timedelta(dt.timedelta(seconds=seconds), threshold=1.5, add_direction=True, locale=language)


# --- money and listings ---


def amount_of(cents: int, language: Language) -> str:
    """`1.100 €`; cents are shown only where there are any."""
    pattern = "#,##0 ¤" if cents % 100 == 0 else "#,##0.00 ¤"
    return format_currency(cents / 100, "EUR", pattern, locale=language, currency_digits=False)


def money_of(amount: Decimal, currency: str, language: Language) -> str:
    """`7,57 USD`, as the language writes it."""
    return format_currency(amount, currency, locale=language)


def roughly(value: float, language: Language) -> str:
    """`12`, `2,5`, `0,3`: no more digits than an estimate deserves."""
    return number_of(round(value) if value >= ROUGHLY_WHOLE else round(value, 1), language)


def rent_of(rent: Rent | None, language: Language) -> str:
    """`1.100 € / mese, spese incluse`."""
    said = SAID[language].listing
    if rent is None:
        return str(said.on_request)
    unit = {
        RentUnit.MONTH: said.month,
        RentUnit.SQUARE_METRE_MONTH: said.square_metre_month,
        RentUnit.YEAR: said.year,
    }[rent.per]
    included = f", {said.included}" if rent.spese is SpeseTerm.INCLUDED else ""
    return f"{amount_of(rent.amount_cents, language)} {unit}{included}"


def extra_of(item: ActivityItem, language: Language) -> str:
    """What else is to be said of the price: the spese beside it, the rent before a drop."""
    said, card = SAID[language].listing, item.listing
    extra: list[str] = []
    if card.spese_cents and not (card.rent and card.rent.spese is SpeseTerm.INCLUDED):
        extra.append(said.spese.format(amount=amount_of(card.spese_cents, language)))
    if item.reason is Reason.PRICE_DROP and item.previous_rent_cents:
        extra.append(said.was.format(amount=amount_of(item.previous_rent_cents, language)))
    return " · ".join(extra)


def facts_of(card: Card, language: Language) -> str:
    """`2 locali · 55 m² · Loreto, Milano`."""
    rooms = counted(SAID[language].listing.room_count, card.rooms, language) if card.rooms else ""
    rooms = rooms.replace(" ", "+ ", 1) if card.rooms_or_more else rooms
    area = f"{card.area_m2} m²" if card.area_m2 else ""
    place = ", ".join(filter(None, (card.zone, card.comune_name)))
    return " · ".join(filter(None, (rooms, area, place)))


def unknown_of(item: ActivityItem, language: Language) -> str:
    """The criteria that the listing says nothing about: `piano, deposito`."""
    unknown = sorted({criterion for search in item.searches for criterion in search.unknown})
    return ", ".join(getattr(SAID[language].criteria, each, each) for each in unknown)


def signals_of(card: Card, language: Language) -> str:
    """What we have noticed about the listing, and whose rents it was measured by: the source wants to be named."""
    said = SAID[language]
    signals = [getattr(said.signal, each, each) for each in card.signals]
    if not signals:
        return ""
    source = f" ({said.listing.zone_rents})" if set(card.signals) & _BY_ZONE else ""
    return f"{said.listing.signals}: {'; '.join(signals)}{source}"


_BY_ZONE: Final = frozenset({Signal.RENT_FAR_BELOW_ZONE, Signal.RENT_FAR_ABOVE_ZONE})


# --- searches ---


def place_of(place: Place, language: Language) -> str:
    """`Milano: Isola, Loreto`, `provincia di Milano`, `5 km da …`."""
    said = SAID[language].places
    match place:
        case InComune(code=code, zones=zones):
            comune = Comuni.load().by_code(code)
            name = comune.name if comune else code
            return f"{name}: {', '.join(zones)}" if zones else name
        case InProvince(code=code):
            province = Comuni.load().province(code)
            return str(said.in_province.format(name=province.name if province else code))
        case InCircle(centre=centre, radius_m=radius_m):
            name = centre_name(centre.latitude, centre.longitude) or f"{centre.latitude:.4f}, {centre.longitude:.4f}"
            return str(said.in_circle.format(name=name, km=number_of(radius_m / 1000, language)))
        case InPolygon():
            return str(said.in_polygon)


def centre_name(latitude: float, longitude: float) -> str | None:
    """The comune whose centre this is, as it can be typed: `Milano (MI)`."""
    return _centres().get((latitude, longitude))


@cache
def _centres() -> Mapping[tuple[float, float], str]:
    return {
        (comune.centre.latitude, comune.centre.longitude): f"{comune.name} ({comune.province})"
        for comune in Comuni.load()
        if comune.centre
    }


def summary_of(search: Search, language: Language) -> str:
    """What a search asks for, in one line: `Milano · fino a 1.200 € · da 45 m²`."""
    said = SAID[language]
    places = ", ".join(place_of(place, language) for place in search.places[:3])
    if len(search.places) > 3:  # noqa: PLR2004 - more would fill the line
        places += " …"
    parts = [places, rent_in(search, language), range_in(search.rooms, said.listing.rooms, said)]
    parts.append(range_in(search.area_m2, "m²", said))
    parts += [getattr(said.offering, search.offering)] if search.offering else []
    parts += [", ".join(getattr(said.property_type, each) for each in sorted(search.property_types))]
    parts += [", ".join(getattr(said.feature, each) for each in sorted(search.features))]
    parts += [commute_in(each, said, language) for each in search.commutes]
    return " · ".join(filter(None, parts))


def commute_in(commute: Commute, said: Said, language: Language) -> str:
    """`fino a 30 min, 8 km da Ufficio`."""
    limits = [
        said.commute.minutes.format(minutes=commute.minutes) if commute.minutes else "",
        said.commute.km.format(km=number_of(commute.max_distance_m / 1000, language)) if commute.max_distance_m else "",
    ]
    to = commute.to
    place = commute.label or centre_name(to.latitude, to.longitude) or f"{to.latitude:.4f}, {to.longitude:.4f}"
    limit = said.range.to.format(high=listed([each for each in limits if each]))
    return str(said.commute.summary.format(limit=limit, place=place))


def rent_in(search: Search, language: Language) -> str:
    if search.rent is None:
        return ""
    said = SAID[language].range
    low, high = (
        amount_of(cents, language) if cents is not None else None
        for cents in (search.rent.minimum_cents, search.rent.maximum_cents)
    )
    with_spese = f" {said.with_spese}" if search.rent.spese == "included" else ""
    return between(low, high, said) + with_spese if low or high else ""


def range_in(bounds: Range | None, unit: str, said: Said) -> str:
    if bounds is None or (bounds.minimum is None and bounds.maximum is None):
        return ""
    low, high = (str(bound) if bound is not None else None for bound in (bounds.minimum, bounds.maximum))
    return f"{between(low, high, said.range)} {unit}".strip()


def between(low: str | None, high: str | None, said: Said) -> str:
    if low and high:
        return low if low == high else str(said.both.format(low=low, high=high))
    return str(said.from_.format(low=low) if low else said.to.format(high=high))
