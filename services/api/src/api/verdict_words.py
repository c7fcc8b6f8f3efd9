"""What a criterion wants and what a listing says, in the reader's words. A criterion without words here has the rule's.

The rules stay free of words for pages: they find, and this words the finding from the same values.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from api.judging import Effect
from api.words import (
    SAID,
    Said,
    amount_of,
    between,
    commute_in,
    date_of,
    listed,
    place_of,
    range_in,
    rent_in,
    rent_of,
)
from common.events import FlatFact, Language
from common.explain import Decision, Verdict, explain
from common.listing import Feature, Floor, FloorKind, Listing
from common.rules import RULES
from common.search import Criterion, FloorWish, InProvince, Search


@dataclass(frozen=True)
class Line:
    """A verdict to be shown."""

    criterion: Criterion
    decision: Decision
    label: str
    wanted: str
    found: str


@dataclass(frozen=True)
class Gain:
    """What a criterion keeps away, and what less of it would bring."""

    label: str
    wanted: str
    looser: str | None
    more_if_looser: int
    more_if_dropped: int


def lines_of(search: Search, listing: Listing, language: Language) -> list[Line]:
    """Each criterion's verdict on a listing. That it is still offered goes without saying."""
    verdicts = explain(search, listing).verdicts
    return [
        _line(verdict, search, listing, language)
        for verdict in verdicts
        if verdict.criterion is not Criterion.STATUS or verdict.decision is Decision.FAIL
    ]


def reasons_of(search: Search, listing: Listing, language: Language) -> Iterator[FlatFact]:
    """Each criterion's verdict for a message. Minutes of a journey are the matcher's knowledge and are left out."""
    for line in lines_of(search, listing, language):
        if not (line.criterion is Criterion.COMMUTE and search.asks_the_way):
            yield FlatFact(label=line.label, found=line.found, wanted=line.wanted, fits=_FITS[line.decision])


def details_of(listing: Listing, language: Language) -> Iterator[FlatFact]:
    """Everything that a listing says of itself, for a message."""
    said = SAID[language]
    yield FlatFact(label=str(said.search.where), found=_address(listing) or str(said.why.unsaid))
    for criterion in _DETAILS:
        if found := _FOUND[criterion](_ANY, listing, said, language):
            yield FlatFact(label=_label(criterion, language), found=found)
    if listing.appraisal.signals:
        found = _choices(said.signal, listing.appraisal.signals)
        yield FlatFact(label=said.listing.signals, found=found)


_FITS: Final = {Decision.PASS: True, Decision.FLAGGED: None, Decision.FAIL: False}


def gains_of(search: Search, effects: Iterable[Effect], language: Language) -> list[Gain]:
    """What loosening would bring, most first; criteria that keep nothing away by themselves are left out."""
    gains = [
        Gain(
            label=_label(effect.rule.criterion, language),
            wanted=wanted_of(effect.rule.criterion, search, language),
            looser=wanted_of(effect.rule.criterion, effect.looser, language) if effect.looser else None,
            more_if_looser=effect.more_if_looser or 0,
            more_if_dropped=effect.more_if_dropped or 0,
        )
        for effect in effects
    ]
    useful = [gain for gain in gains if gain.more_if_looser or gain.more_if_dropped]
    return sorted(useful, key=lambda gain: max(gain.more_if_looser, gain.more_if_dropped), reverse=True)


def wanted_of(criterion: Criterion, search: Search, language: Language) -> str:
    """`fino a 1.200 €`."""
    words = _WANTED.get(criterion)
    return words(search, SAID[language], language) if words else _RULES[criterion].wanted(search)


def found_of(criterion: Criterion, search: Search, listing: Listing, language: Language) -> str:
    """`1.350 € / mese`; what the listing does not say is said as such."""
    words, said = _FOUND.get(criterion), SAID[language]
    if words is None:
        return _RULES[criterion].found(search, listing) or str(said.why.unsaid)
    return words(search, listing, said, language) or str(said.why.unsaid)


def _line(verdict: Verdict, search: Search, listing: Listing, language: Language) -> Line:
    return Line(
        criterion=verdict.criterion,
        decision=verdict.decision,
        label=_label(verdict.criterion, language),
        wanted=wanted_of(verdict.criterion, search, language),
        found=found_of(verdict.criterion, search, listing, language),
    )


def _label(criterion: Criterion, language: Language) -> str:
    label = str(getattr(SAID[language].criteria, criterion, criterion))
    return label[:1].upper() + label[1:]


_RULES: Final = {rule.criterion: rule for rule in RULES}
_Wanted: TypeAlias = Callable[[Search, Said, Language], str]
_Found: TypeAlias = Callable[[Search, Listing, Said, Language], str]


def _choices(section: Said, values: Iterable[str]) -> str:
    return listed([str(getattr(section, value)) for value in sorted(values)])


def _choice(section: Said, value: str | None) -> str:
    return str(getattr(section, value)) if value else ""


def _quoted(keywords: Iterable[str]) -> str:
    return listed([f"“{keyword}”" for keyword in keywords])


def _floor_wish(search: Search, said: Said, _language: Language) -> str:
    wish = search.floor or FloorWish()
    low, high = (None if bound is None else str(bound) for bound in (wish.minimum, wish.maximum))
    height = between(low, high, said.range) if low or high else ""
    return listed([part for part in (_choices(said.floor_kind, wish.kinds), height) if part])


def _floor(floor: Floor | None, said: Said) -> str:
    if floor is None:
        return ""
    kind = "" if floor.kind is FloorKind.NUMBERED else _choice(said.floor_kind, floor.kind)
    return " ".join(filter(None, (kind, "" if floor.number is None else str(floor.number))))


def _place(listing: Listing) -> str:
    return listed([part for part in (listing.zone, listing.comune_name) if part])


def _address(listing: Listing) -> str:
    """The place, and the street where the advertisement names it."""
    return listed([part for part in (listing.address, _place(listing)) if part])


def _rent(listing: Listing, said: Said, language: Language) -> str:
    rent = rent_of(listing.rent, language)
    spese = listing.spese_cents
    return f"{rent} {said.listing.spese.format(amount=amount_of(spese, language))}" if spese else rent


def _rooms(listing: Listing) -> str:
    return f"{listing.rooms}{'+' if listing.rooms_or_more else ''}" if listing.rooms else ""


def _features(search: Search, listing: Listing, said: Said) -> str:
    known = {feature: listing.features[feature] for feature in sorted(search.features) if feature in listing.features}
    return listed(
        [
            str(getattr(said.feature, each) if has else said.why.without.format(what=getattr(said.feature, each)))
            for each, has in known.items()
        ]
    )


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


_WANTED: Final[Mapping[Criterion, _Wanted]] = {
    Criterion.STATUS: lambda _search, said, _: str(said.why.still_offered),
    Criterion.PLACE: lambda search, _, language: listed([place_of(place, language) for place in search.places]),
    Criterion.SOURCE: lambda search, _, __: listed(sorted(search.sources)),
    Criterion.RENT: lambda search, _, language: rent_in(search, language),
    Criterion.DEPOSIT: lambda search, said, language: str(
        said.range.to.format(high=amount_of(search.deposit_max_cents or 0, language))
    ),
    Criterion.CONTRACT: lambda search, said, _: _choices(said.contract, search.contracts),
    Criterion.OFFERING: lambda search, said, _: _choice(said.offering, search.offering),
    Criterion.PROPERTY_TYPE: lambda search, said, _: _choices(said.property_type, search.property_types),
    Criterion.ROOMS: lambda search, said, _: range_in(search.rooms, "", said),
    Criterion.BEDROOMS: lambda search, said, _: range_in(search.bedrooms, "", said),
    Criterion.BATHROOMS: lambda search, said, _: range_in(search.bathrooms, "", said),
    Criterion.AREA: lambda search, said, _: range_in(search.area_m2, "m²", said),
    Criterion.FLOOR: _floor_wish,
    Criterion.FURNISHING: lambda search, said, _: _choices(said.furniture, search.furnishing),
    Criterion.FEATURES: lambda search, said, _: _choices(said.feature, search.features),
    Criterion.ENERGY_CLASS: lambda search, said, _: str(said.why.or_better.format(energy_class=search.energy_class)),
    Criterion.ADVERTISER: lambda search, said, _: _choice(said.advertiser, search.advertiser),
    Criterion.AVAILABILITY: lambda search, said, language: (
        str(said.why.free_by.format(date=date_of(search.available_by, language))) if search.available_by else ""
    ),
    Criterion.COMMUTE: lambda search, said, language: listed(
        [commute_in(each, said, language) for each in search.commutes]
    ),
    Criterion.SIGNALS: lambda search, said, _: str(
        said.why.none_of.format(what=_choices(said.signal, search.signals_unwanted))
    ),
    Criterion.KEYWORDS_WANTED: lambda search, _, __: _quoted(search.keywords_wanted),
    Criterion.KEYWORDS_UNWANTED: lambda search, said, _: str(
        said.why.none_of.format(what=_quoted(search.keywords_unwanted))
    ),
}

_FOUND: Final[Mapping[Criterion, _Found]] = {
    Criterion.STATUS: lambda _, listing, said, __: str(
        said.why.still_offered if listing.active else said.reason.withdrawn
    ),
    Criterion.PLACE: lambda _, listing, __, ___: _place(listing),
    Criterion.SOURCE: lambda _, listing, __, ___: listing.source,
    Criterion.RENT: lambda _, listing, said, language: _rent(listing, said, language) if listing.rent else "",
    Criterion.DEPOSIT: lambda _, listing, __, language: (
        "" if listing.deposit_cents is None else amount_of(listing.deposit_cents, language)
    ),
    Criterion.CONTRACT: lambda _, listing, said, __: _choice(said.contract, listing.contract),
    Criterion.OFFERING: lambda _, listing, said, __: _choice(said.offering, listing.offering),
    Criterion.PROPERTY_TYPE: lambda _, listing, said, __: _choice(said.property_type, listing.property_type),
    Criterion.ROOMS: lambda _, listing, __, ___: _rooms(listing),
    Criterion.BEDROOMS: lambda _, listing, __, ___: _number(listing.bedrooms),
    Criterion.BATHROOMS: lambda _, listing, __, ___: _number(listing.bathrooms),
    Criterion.AREA: lambda _, listing, __, ___: f"{listing.area_m2} m²" if listing.area_m2 else "",
    Criterion.FLOOR: lambda _, listing, said, __: _floor(listing.floor, said),
    Criterion.FURNISHING: lambda _, listing, said, __: _choice(said.furniture, listing.furnishing),
    Criterion.FEATURES: lambda search, listing, said, _: _features(search, listing, said),
    Criterion.ENERGY_CLASS: lambda _, listing, __, ___: listing.energy_class or "",
    Criterion.ADVERTISER: lambda _, listing, said, __: _choice(said.advertiser, listing.advertiser),
    Criterion.AVAILABILITY: lambda _, listing, said, language: (
        str(said.why.free_from.format(date=date_of(listing.available_from, language))) if listing.available_from else ""
    ),
    Criterion.SIGNALS: lambda _, listing, said, __: (
        _choices(said.signal, listing.appraisal.signals) or str(said.why.nothing_noticed)
    ),
}

_DETAILS: Final = (
    Criterion.RENT,
    Criterion.DEPOSIT,
    Criterion.PROPERTY_TYPE,
    Criterion.OFFERING,
    Criterion.ROOMS,
    Criterion.BEDROOMS,
    Criterion.BATHROOMS,
    Criterion.AREA,
    Criterion.FLOOR,
    Criterion.FURNISHING,
    Criterion.FEATURES,
    Criterion.ENERGY_CLASS,
    Criterion.CONTRACT,
    Criterion.AVAILABILITY,
    Criterion.ADVERTISER,
)
_ANY: Final = Search(places=(InProvince(code="RM"),), features=frozenset(Feature))
"""Asks about every feature; where it looks does not matter."""
