"""What we notice about a listing beyond what its source says: a rent out of line with its zone, signs of a scam. Pure.

A signal is shown and excludes nothing by itself: each of them has an honest explanation too.
"""

import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Final

from common.listing import Appraisal, ContractType, Listing, ListingFlag, Offering, PropertyType, Signal
from common.rules import Cost, Text, comparable_rent
from common.text import Folded, contains_phrase, fold
from common.zone_rents import ZoneRents

FAR_BELOW: Final = 0.5
"""Of what such a flat is usually asked for in its zone. Of the advertisements of 2023, from which the levels are
measured, the cheapest 1 % lie below 0.38 (Bologna) to 0.57 (Roma); of 4,323 in Milano of 2025, from which they are not,
1.1 % lie below 0.5."""

FAR_ABOVE: Final = 3.0
"""The dearest 1 % lie above 2.2 (Torino) to 3.5 (Milano) in 2023; in Milano of 2025, 0.8 % lie above 3: luxury has no
upper bound, and a yearly rent that passes for a monthly one is 12 times the usual."""

SIGNS_OF_A_SCAM: Final = 2
"""Of three: far below its zone, nobody can visit it, money is to be sent. One alone is a bargain, an owner who lives
abroad, or a deposit by bank transfer."""

LEAST_AREA_M2: Final = 20
"""A smaller one is most likely the room's and not the flat's, or a slip."""

NOT_MONTHS_OF_A_FLAT: Final = frozenset({ContractType.SHORT_TERM, ContractType.RENT_TO_BUY})

HOUSES: Final = frozenset(
    {
        PropertyType.VILLA,
        PropertyType.TERRACED_HOUSE,
        PropertyType.DETACHED_HOUSE,
        PropertyType.RUSTIC,
        PropertyType.PALACE,
        PropertyType.OTHER,
    }
)
"""Levels are measured on flats."""

DOUBTED: Final = frozenset(
    {ListingFlag.RENT_IMPLAUSIBLY_LOW, ListingFlag.RENT_IMPLAUSIBLY_HIGH, ListingFlag.AREA_IMPLAUSIBLE}
)
"""A slip of the keyboard is told as what it is."""


def noticed(listing: Listing, zone_rents: ZoneRents | None) -> Listing:
    """The listing with its signals; what else was found out about it, or said to be, is left out."""
    appraisal = Appraisal(signals=signals_of(listing, zone_rents))
    return listing if listing.appraisal == appraisal else listing.model_copy(update={"appraisal": appraisal})


def signals_of(listing: Listing, zone_rents: ZoneRents | None) -> tuple[Signal, ...]:
    """What is noticeable, in the order of `Signal`; without zone rents what the text alone gives away."""
    noticed = _rent_signal(listing, zone_rents) if zone_rents else None
    signs = (noticed is Signal.RENT_FAR_BELOW_ZONE, *_signs_in_text(listing))
    scam = Signal.SCAM_SIGNS if sum(signs) >= SIGNS_OF_A_SCAM else None
    return tuple(filter(None, (noticed, scam)))


def _rent_signal(listing: Listing, zone_rents: ZoneRents) -> Signal | None:
    rent = comparable_rent("excluded", Cost.of(listing))
    if rent is None or listing.position is None or listing.area_m2 is None or not _is_a_flat_by_the_month(listing):
        return None
    usual = zone_rents.usual_rent(listing.position, listing.area_m2)
    if usual is None:
        return None
    if rent.high < usual * FAR_BELOW * 100:
        return Signal.RENT_FAR_BELOW_ZONE
    return Signal.RENT_FAR_ABOVE_ZONE if rent.low > usual * FAR_ABOVE * 100 else None


def _is_a_flat_by_the_month(listing: Listing) -> bool:
    return not (
        listing.offering is Offering.ROOM
        or (listing.offering is None and _says_it_is_a_room(listing.title))
        or listing.property_type in HOUSES
        or listing.contract in NOT_MONTHS_OF_A_FLAT
        or (listing.area_m2 or 0) < LEAST_AREA_M2
        or DOUBTED.intersection(listing.flags)
    )


def _says_it_is_a_room(title: str) -> bool:
    text = fold(title)
    return _says_any(text, set(text.split(" ")), "room")


def _signs_in_text(listing: Listing) -> tuple[bool, bool]:
    text = Text.of(listing).words
    words = set(text.split(" "))
    return _says_any(text, words, "no_visit"), _says_any(text, words, "money_to_be_sent")


def _says_any(text: Folded, words: AbstractSet[str], sign: str) -> bool:
    """Most texts hold no word that tells, and are not looked through."""
    phrases = _phrases(sign)
    return any(contains_phrase(text, phrase) for word in words & phrases.keys() for phrase in phrases[word])


@cache
def _phrases(sign: str) -> Mapping[str, Sequence[Folded]]:
    """Those of all languages, as texts are folded, by their longest word."""
    by_language = tomllib.loads(files("common").joinpath("data", "signs.toml").read_text(encoding="utf-8"))[sign]
    by_word: defaultdict[str, list[Folded]] = defaultdict(list)
    for phrase in map(fold, chain.from_iterable(by_language.values())):
        by_word[max(phrase.split(" "), key=len)].append(phrase)
    return by_word
