"""What a cell of a CSV file means: one class for each `as` of a mapping, its options as fields, its meaning as `read`.

To add a converter: write a class here with a new `as_`, and add it to `Column`. Its docstring is its documentation.
"""

import datetime as dt
import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from common.listing import (
    AdvertiserKind,
    ContractType,
    EnergyClass,
    Feature,
    Furnishing,
    ListingFlag,
    Offering,
    PropertyType,
    Rent,
    RentUnit,
    SpeseTerm,
)
from common.model import Request
from itarent.listings import numbers
from itarent.listings.doubts import area_reading, date_with_doubt, rent_reading
from itarent.listings.outcomes import Refusal, RefusedError
from itarent.listings.reading import NOTHING, Reading, first_of_each
from itarent.listings.titles import read_title
from itarent.listings.vocabulary import floor_of

ROME: Final = ZoneInfo("Europe/Rome")


class _Column(Request):
    """The base of all: a cell that the source leaves empty says nothing."""

    @abstractmethod
    def read(self, cell: str) -> Reading:
        """What the cell says. Raises RefusedError if it cannot be read."""

    def absent(self) -> Reading:
        """What it says that the cell is empty."""
        return NOTHING


class TextColumn(_Column):
    """A field of text, its white space (line breaks too) made single blanks."""

    as_: Literal["text"] = Field(alias="as")
    field: Literal["title", "description", "zone", "address", "url"]

    def read(self, cell: str) -> Reading:
        return Reading({self.field: " ".join(cell.split())})


class IdColumn(_Column):
    """The source's own id of the advertisement."""

    as_: Literal["id"] = Field(alias="as")

    def read(self, cell: str) -> Reading:
        return Reading({"id": cell})


class VersionColumn(_Column):
    """The source's own counter or time of change: whole numbers that grow with each change of an advertisement."""

    as_: Literal["version"] = Field(alias="as")

    def read(self, cell: str) -> Reading:
        return Reading({"version": int(numbers.plain(cell))})


class RentColumn(_Column):
    """The canone in euros; an empty cell means on request. `spese`: whether the source's rents contain them."""

    as_: Literal["rent"] = Field(alias="as")
    per: RentUnit = RentUnit.MONTH
    spese: SpeseTerm = SpeseTerm.UNKNOWN

    def read(self, cell: str) -> Reading:
        rent = Rent(amount_cents=numbers.cents(numbers.plain(cell)), per=self.per, spese=self.spese)
        return rent_reading(rent)

    def absent(self) -> Reading:
        return rent_reading(None)


class EurosColumn(_Column):
    """An amount of money a month other than the rent."""

    as_: Literal["euros"] = Field(alias="as")
    field: Literal["spese_cents", "deposit_cents"]

    def read(self, cell: str) -> Reading:
        return Reading({self.field: numbers.cents(numbers.plain(cell))})


class RoomsColumn(_Column):
    """Locali: `3`, `3.0`, `5+`. `capped_at`: the source writes this number for more rooms as well."""

    as_: Literal["rooms"] = Field(alias="as")
    capped_at: int | None = None

    def read(self, cell: str) -> Reading:
        rooms, or_more = numbers.at_least(cell)
        return Reading({"rooms": rooms, "rooms_or_more": or_more or rooms == self.capped_at})


class CountColumn(_Column):
    """A count of bedrooms or bathrooms; of `3+` the number is taken, since the contract has no lower bound for them."""

    as_: Literal["count"] = Field(alias="as")
    field: Literal["bedrooms", "bathrooms"]

    def read(self, cell: str) -> Reading:
        return Reading({self.field: numbers.at_least(cell)[0]})


class AreaColumn(_Column):
    """Square metres."""

    as_: Literal["area"] = Field(alias="as")

    def read(self, cell: str) -> Reading:
        return area_reading(numbers.plain(cell))


class DateColumn(_Column):
    """A day, by strptime's `format`.

    `not_after`: the day on which the source was read, so that later dates are wrong. `exchanged`: the source mixes
    up day and month, in an unknown part of its rows.
    """

    as_: Literal["date"] = Field(alias="as")
    field: Literal["published_at", "available_from"]
    format: str = "%Y-%m-%d"
    not_after: dt.date = dt.date.max
    exchanged: bool = False

    def read(self, cell: str) -> Reading:
        try:
            date: dt.date | None = dt.datetime.strptime(cell, self.format).replace(tzinfo=ROME).date()
        except ValueError:
            raise RefusedError(Refusal.UNREADABLE_DATE, value=cell) from None
        flags: tuple[ListingFlag, ...] = ()
        if self.exchanged and date is not None:
            date, flags = date_with_doubt(date, not_after=self.not_after)
        if self.field == "published_at" and date is not None:
            return Reading({self.field: dt.datetime.combine(date, dt.time(), ROME)}, flags=flags)
        return Reading({self.field: date}, flags=flags)


class PlaceColumn(_Column):
    """A comune by name, and the province (its two letters) or the region that tells comuni of one name apart."""

    as_: Literal["place"] = Field(alias="as")
    field: Literal["comune_name", "province", "region"]

    def read(self, cell: str) -> Reading:
        return Reading({self.field: " ".join(cell.split())})


class FloorColumn(_Column):
    """`3`, `3°`, `R`, `piano terra`, `Ground floor`; what spans floors is unknown."""

    as_: Literal["floor"] = Field(alias="as")

    def read(self, cell: str) -> Reading:
        floor = floor_of(cell)
        return Reading({"floor": floor}) if floor else NOTHING


class FeatureColumn(_Column):
    """A feature: words that mean yes, that mean no, and that mean that the source does not say."""

    as_: Literal["feature"] = Field(alias="as")
    feature: Feature
    yes: tuple[str, ...]
    no: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def read(self, cell: str) -> Reading:
        if cell in self.unknown:
            return NOTHING
        if cell not in self.yes + self.no:
            raise RefusedError(Refusal.UNKNOWN_WORD, value=cell)
        return Reading(features={self.feature: cell in self.yes})


_CHOICES: Final[Mapping[str, Any]] = {
    "property_type": PropertyType,
    "offering": Offering,
    "contract": ContractType,
    "furnishing": Furnishing,
    "energy_class": EnergyClass,
    "advertiser": AdvertiserKind,
}


class ChoiceColumn(_Column):
    """A field with fixed values: what each word of the source means, and which words say nothing.

    A one-hot column is a choice with one word: `{ as = "choice", field = "property_type", values = { "1" = "loft" },
    unknown = ["0"] }`; of several such columns the first in the mapping that says something decides.
    """

    as_: Literal["choice"] = Field(alias="as")
    field: Literal["property_type", "offering", "contract", "furnishing", "energy_class", "advertiser"]
    values: dict[str, str]
    unknown: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _values_exist(self) -> "ChoiceColumn":
        for value in self.values.values():
            _CHOICES[self.field](value)
        return self

    def read(self, cell: str) -> Reading:
        if cell in self.unknown:
            return NOTHING
        if cell not in self.values:
            raise RefusedError(Refusal.UNKNOWN_WORD, value=cell)
        return Reading({self.field: _CHOICES[self.field](self.values[cell])})


class WordsColumn(_Column):
    """A list of words with a separator: which of them are features and furnishing; the others are not of interest."""

    as_: Literal["words"] = Field(alias="as")
    separator: str
    features: dict[str, Feature] = Field(default_factory=dict)
    furnishing: dict[str, Furnishing] = Field(default_factory=dict)

    def read(self, cell: str) -> Reading:
        words = [word.strip() for word in cell.split(self.separator)]
        furnishing = [self.furnishing[word] for word in words if word in self.furnishing]
        return Reading(
            {"furnishing": furnishing[0]} if furnishing else {},
            {self.features[word]: True for word in words if word in self.features},
        )


class PatternColumn(_Column):
    """Several fields out of one cell: named groups of a regular expression, each read by a column of its own.

    A cell that the expression does not match says nothing, unless `required`.
    """

    as_: Literal["pattern"] = Field(alias="as")
    pattern: str
    groups: "dict[str, Column]"
    required: bool = False

    @model_validator(mode="after")
    def _groups_exist(self) -> "PatternColumn":
        try:
            known = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"the pattern is no regular expression: {error}") from error
        if missing := self.groups.keys() - known.keys():
            raise ValueError(f"the pattern has no group {', '.join(sorted(missing))}")
        return self

    def read(self, cell: str) -> Reading:
        matched = re.fullmatch(self.pattern, cell)
        if matched is None:
            if self.required:
                raise RefusedError(Refusal.UNKNOWN_WORD, value=cell)
            return NOTHING
        said = [(name, text) for name, text in matched.groupdict().items() if text and name in self.groups]
        return first_of_each(self.groups[name].read(text) for name, text in said)


class TitleColumn(_Column):
    """An Italian portal's title, `<typology> <street>, <zone>, <city>`: see `itarent.listings.titles`."""

    as_: Literal["title"] = Field(alias="as")

    def read(self, cell: str) -> Reading:
        return Reading({"title": cell, **read_title(cell)})


Column: TypeAlias = Annotated[
    TextColumn
    | IdColumn
    | VersionColumn
    | RentColumn
    | EurosColumn
    | RoomsColumn
    | CountColumn
    | AreaColumn
    | DateColumn
    | PlaceColumn
    | FloorColumn
    | FeatureColumn
    | ChoiceColumn
    | WordsColumn
    | TitleColumn
    | PatternColumn,
    Field(discriminator="as_"),
]
