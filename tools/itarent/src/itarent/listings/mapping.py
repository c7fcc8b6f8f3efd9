"""Column mappings: a TOML file that says what each column of a source's CSV means (mappings/README.md)."""

import csv
import functools
import tomllib
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError

from common.listing import Position
from common.model import Request
from itarent.listings.columns import Column
from itarent.listings.draft import Draft
from itarent.listings.outcomes import Refusal, RefusedError
from itarent.listings.reading import Reading, first_of_each

PACKAGED: Final = resources.files("itarent.listings") / "mappings"
_CELL_END: Final = "\x1f"
_READINGS_KEPT: Final = 20_000


ZonePoints: TypeAlias = dict[str, Position]
"""A point for each zone, by its name as the source writes it."""


class UnusableMappingError(Exception):
    """A mapping that cannot be found or read; the message says what is wrong with it."""


Columns: TypeAlias = Annotated[
    list[Column], BeforeValidator(lambda given: given if isinstance(given, list) else [given])
]
"""The ways in which one column is read: most have one, which needs no list around it."""


class Points(Request):
    """A CSV file beside the source's own that gives zones a point: columns of the zone's name and of its degrees."""

    zone: str
    latitude: str
    longitude: str


class Mapping(Request):
    """One source's CSV files: what makes a file one of them, and what their columns mean."""

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    about: str = Field(description="what the data are, where from, and what is peculiar about them")
    source: str = Field(pattern=r"^[a-z0-9._-]+$", description="the portal, as listings name it")
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    missing: frozenset[str] = Field(default=frozenset({""}), description="cells that say nothing")
    not_content: frozenset[str] = Field(
        default=frozenset(), description="columns that differ between repeats of one row, such as a row number"
    )
    constants: dict[str, Any] = Field(default_factory=dict, description="fields that are the same in every row")
    columns: dict[str, Columns] = Field(min_length=1, description="earlier ones win")
    points: Points | None = None

    def accompanies(self, header: Sequence[str]) -> bool:
        """Whether this is the header of the points that lie beside the mapping's files."""
        return self.points is not None and set(header) == set(self.points.model_dump().values())

    def fits(self, header: Sequence[str]) -> bool:
        return set(header) >= self.columns.keys() | self.not_content


def load_mapping(name_or_path: str) -> Mapping:
    """A mapping that comes with the package, by name, or one's own, by path."""
    packaged = {name.removesuffix(".toml"): name for name in _packaged_names()}
    if name_or_path in packaged:
        return _parse(PACKAGED / packaged[name_or_path])
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(sorted(packaged))
        raise UnusableMappingError(f"{name_or_path} is neither a file nor one of the mappings {known}")
    return _parse(path)


@functools.cache
def packaged_mappings() -> tuple[Mapping, ...]:
    return tuple(_parse(PACKAGED / name) for name in _packaged_names())


def _packaged_names() -> Iterator[str]:
    return (each.name for each in PACKAGED.iterdir() if each.name.endswith(".toml"))


def _parse(file: Traversable) -> Mapping:
    try:
        return Mapping.model_validate(tomllib.loads(file.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnusableMappingError(f"{file} is not TOML: {error}") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise UnusableMappingError(f"{file}: " + "; ".join(faults)) from error


def load_points(mapping: Mapping, path: Path) -> ZonePoints:
    """The points of a mapping's zones. Raises UnusableMappingError."""
    if mapping.points is None:
        raise UnusableMappingError(f"mapping {mapping.name} knows no points of zones")
    names = mapping.points
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {
                row[names.zone].strip(): Position.model_validate(
                    {"latitude": row[names.latitude], "longitude": row[names.longitude]}
                )
                for row in csv.DictReader(file)
            }
    except (KeyError, ValueError, OSError, csv.Error) as error:
        raise UnusableMappingError(f"{path}: points of zones cannot be read: {error}") from error


class RowReader:
    """A mapping made ready for the files that have one header."""

    def __init__(self, mapping: Mapping, header: Sequence[str], points: ZonePoints | None = None) -> None:
        if not mapping.fits(header):
            lacking = sorted(mapping.columns.keys() - set(header))
            raise UnusableMappingError(f"mapping {mapping.name} wants columns that are not there: {', '.join(lacking)}")
        self._source = mapping.source
        self._width = len(header)
        self._content = [index for index, name in enumerate(header) if name not in mapping.not_content]
        self._constants = Reading(mapping.constants)
        self._points = points or {}
        self._columns = [
            (header.index(name), name, _remembering(columns, mapping.missing))
            for name, columns in mapping.columns.items()
        ]

    def read(self, cells: Sequence[str]) -> Draft:
        """What a row says. Raises RefusedError."""
        if len(cells) != self._width:
            counts = f"{len(cells)} columns, the header has {self._width}"
            raise RefusedError(Refusal.WRONG_COLUMN_COUNT, value=counts)
        readings = []
        for index, name, read in self._columns:
            try:
                readings.append(read(cells[index]))
            except RefusedError as error:
                raise error.at(name) from None
        content = _CELL_END.join([cells[index] for index in self._content])
        reading = first_of_each((*readings, self._constants))
        if position := self._points.get(reading.fields.get("zone", "")):
            reading = first_of_each((reading, Reading({"position": position})))
        return Draft(self._source, reading, content)


def _remembering(columns: Sequence[Column], missing: frozenset[str]) -> Callable[[str], Reading]:
    """Sources write the same few words and round sums again and again: each is understood once."""

    @functools.lru_cache(_READINGS_KEPT)
    def read(cell: str) -> Reading:
        text = cell.strip()
        return first_of_each(column.absent() if text in missing else column.read(text) for column in columns)

    return read
