"""What is doubtful about a value, and from which bound on: it is flagged, neither repaired nor dropped."""

import datetime as dt
from decimal import Decimal
from typing import Final

from common.listing import ListingFlag, Rent, RentUnit
from itarent.listings.reading import Reading

LOWEST_PLAUSIBLE_RENT_CENTS: Final = 50_00  # a bed in the cheapest village costs more; below are typing errors and 1 €
HIGHEST_PLAUSIBLE_RENT_CENTS: Final = 20_000_00  # above are yearly sums, season's sums and sale prices
SMALLEST_PLAUSIBLE_AREA_M2: Final = 9  # the law's minimum for a single bedroom (D.M. 5 luglio 1975)
LARGEST_PLAUSIBLE_AREA_M2: Final = 2_000


def doubts_of_rent(rent: Rent | None) -> tuple[ListingFlag, ...]:
    if rent is None:
        return (ListingFlag.RENT_ON_REQUEST,)
    if rent.per is not RentUnit.MONTH:
        return (ListingFlag.RENT_NOT_MONTHLY,)
    if rent.amount_cents < LOWEST_PLAUSIBLE_RENT_CENTS:
        return (ListingFlag.RENT_IMPLAUSIBLY_LOW,)
    if rent.amount_cents > HIGHEST_PLAUSIBLE_RENT_CENTS:
        return (ListingFlag.RENT_IMPLAUSIBLY_HIGH,)
    return ()


def rent_reading(rent: Rent | None) -> Reading:
    """A rent, None where the source says none: on request."""
    return Reading({"rent": rent}, flags=doubts_of_rent(rent))


def area_reading(area_m2: Decimal) -> Reading:
    """An area. Nothing, with a flag, is made of 0 and of `2.707`, where a thousands separator became a point."""
    whole = round(area_m2)
    if SMALLEST_PLAUSIBLE_AREA_M2 <= whole <= LARGEST_PLAUSIBLE_AREA_M2:
        return Reading({"area_m2": whole})
    usable = whole > 0 and whole == area_m2
    return Reading({"area_m2": whole if usable else None}, flags=(ListingFlag.AREA_IMPLAUSIBLE,))


def date_with_doubt(written: dt.date, *, not_after: dt.date) -> tuple[dt.date | None, tuple[ListingFlag, ...]]:
    """A date of a source that may have exchanged day and month, and that was read on `not_after` at the latest.

    A date in the source's future is exchanged if that makes it possible, and is unknown otherwise. A possible date
    whose exchange is possible too stays as it is written, and is flagged.
    """
    exchanged = _exchanged(written)
    exchange_is_possible = exchanged is not None and exchanged <= not_after
    if written > not_after:
        return (exchanged, (ListingFlag.DATE_SWAPPED,)) if exchange_is_possible else (None, (_AMBIGUOUS,))
    return written, (_AMBIGUOUS,) if exchange_is_possible and exchanged != written else ()


_AMBIGUOUS: Final = ListingFlag.DATE_AMBIGUOUS


def _exchanged(date: dt.date) -> dt.date | None:
    return date.replace(month=date.day, day=date.month) if date.day <= 12 else None  # noqa: PLR2004 - months of a year
