"""Files of listings: found, opened, recognised by their content, and read row by row."""

import codecs
import contextlib
import functools
import gzip
import itertools
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final, TypeVar, cast

from pydantic import ValidationError

from common.listing import Listing
from itarent.listings.csv_rows import csv_rows
from itarent.listings.draft import Draft, Judge, breach_of_contract
from itarent.listings.json_items import Item, UnusableDocumentError, document_items, is_json_lines, json_lines
from itarent.listings.mapping import Mapping, RowReader, UnusableMappingError, ZonePoints, packaged_mappings
from itarent.listings.outcomes import Outcome, Refusal, Refused, RefusedError
from itarent.listings.portals import casa, idealista, immobiliare
from itarent.listings.portals.payload import Payload

SUFFIXES: Final = (".csv", ".csv.gz", ".json", ".json.gz", ".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


_LONGEST_CSV_LINE: Final = 1024 * 1024  # what is longer is cut, and refused for its number of columns


class UnusableFileError(Exception):
    """A file that cannot be read as listings; the message names it and says why."""


class Format(StrEnum):
    """What a file holds; AUTO is told from its content, JSON by each item's own."""

    AUTO = "auto"
    CSV = "csv"
    CONTRACT = "contract"
    IMMOBILIARE = "immobiliare"
    CASA = "casa"
    IDEALISTA = "idealista"


@dataclass(frozen=True)
class How:
    """How files are to be read: what is None or AUTO is told from their content."""

    judge: Judge
    format: Format = Format.AUTO
    mapping: Mapping | None = None
    points: ZonePoints | None = None


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The files given, and those within directories given, in the order of their names."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            within = sorted(each for each in path.rglob("*") if each.name.endswith(SUFFIXES))
            found += [each for each in within if not _is_companion(each)]
        elif path.is_file():
            found.append(path)
        else:
            raise UnusableFileError(f"{path}: there is no such file or directory")
    if not found:
        raise UnusableFileError(f"{', '.join(map(str, paths))}: no file with one of the endings {', '.join(SUFFIXES)}")
    return found


def _is_companion(path: Path) -> bool:
    """Points of zones lie beside the listings and are no listings."""
    with opened(path) as file:
        first = file.stream.readline(10_000).decode(errors="replace")
    header = first.strip().split(",")
    return any(mapping.accompanies(header) for mapping in packaged_mappings())


class OpenFile:
    """A file that is being read, unpacked if it is packed."""

    def __init__(self, raw: BinaryIO) -> None:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        self._raw = raw
        self.stream: BinaryIO = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw

    @property
    def bytes_read(self) -> int:
        """Of the file as it lies on the disk."""
        return self._raw.tell()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[OpenFile]:
    """Raises UnusableFileError, also for what goes wrong while the file is read."""
    try:
        with path.open("rb") as raw:
            yield OpenFile(raw)
    except (OSError, EOFError, zlib.error) as error:  # a packed file may be cut short or broken
        raise UnusableFileError(f"{path}: {error}") from error


def outcomes(path: Path, file: OpenFile, how: How) -> Iterator[Outcome]:
    """What becomes of each row or item of a file. Raises UnusableFileError."""
    reading = _csv_outcomes if _is_csv(file, how.format) else _json_outcomes
    try:
        for line, result in reading(file.stream, how):
            yield Outcome(str(path), line, result)
    except (UnusableMappingError, UnusableDocumentError) as error:
        raise UnusableFileError(f"{path}: {error}") from error


def _is_csv(file: OpenFile, form: Format) -> bool:
    if form is not Format.AUTO:
        return form is Format.CSV
    beginning = file.stream.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    file.stream.seek(0)
    return not beginning.startswith((b"{", b"["))


Result = Listing | Refused


def _csv_outcomes(stream: BinaryIO, how: How) -> Iterator[tuple[int, Result]]:
    rows = csv_rows(_lines_of_text(stream), how.mapping.delimiter if how.mapping else ",")
    _, header = next(rows, (1, []))
    if isinstance(header, Refused) or not header:
        raise UnusableMappingError("the file has no header that names its columns")
    reader = RowReader(how.mapping or _mapping_that_fits(header), header, how.points)
    for line, cells in rows:
        yield line, cells if isinstance(cells, Refused) else _judged(reader.read, cells, how.judge)


def _lines_of_text(stream: BinaryIO) -> Iterator[str]:
    """Lines with their ends. Bytes that are not UTF-8 become lone surrogates here, and a refusal of their row later."""
    first = stream.readline(_LONGEST_CSV_LINE).removeprefix(codecs.BOM_UTF8)
    rest = iter(lambda: stream.readline(_LONGEST_CSV_LINE), b"")
    for line in itertools.chain([first] if first else [], rest):
        yield line.decode(errors="surrogateescape")


def _mapping_that_fits(header: list[str]) -> Mapping:
    for mapping in packaged_mappings():
        if mapping.fits(header):
            return mapping
    shown = ", ".join(header)[:200]
    raise UnusableMappingError(f"no mapping is known for the columns {shown}: write one and give it with --mapping")


RowT = TypeVar("RowT")


def _judged(read: Callable[[RowT], Draft | Listing], row: RowT, judge: Judge) -> Result:
    try:
        read_row = read(row)
        return judge.listing(read_row) if isinstance(read_row, Draft) else read_row
    except RefusedError as error:
        return error.refused
    except ValidationError as error:
        return breach_of_contract(error).refused


def _json_outcomes(stream: BinaryIO, how: How) -> Iterator[tuple[int, Result]]:
    read = functools.partial(_read_item, how.format)
    in_lines = is_json_lines(stream, _is_item)
    stream.seek(0)
    items = json_lines(stream) if in_lines else document_items(stream, _is_item)
    for line, item in items:
        yield line, item if isinstance(item, Refused) else _judged(read, item, how.judge)


_DRAFT_OF: Final[dict[Format, Callable[[Payload], Draft]]] = {
    Format.IMMOBILIARE: immobiliare.draft_of,
    Format.CASA: casa.draft_of,
    Format.IDEALISTA: idealista.draft_of,
}
_FIELDS: Final = {
    Format.CONTRACT: frozenset({"listing_id", "version", "source"}),
    Format.IMMOBILIARE: immobiliare.FIELDS,
    Format.CASA: casa.FIELDS,
    Format.IDEALISTA: idealista.FIELDS,
}


def _shape_of(item: Item) -> Format | None:
    return next((shape for shape, fields in _FIELDS.items() if item.keys() >= fields), None)


def _is_item(item: Item) -> bool:
    return _shape_of(item) is not None


def _read_item(expected: Format, item: Item) -> Draft | Listing:
    shape = _shape_of(item)
    if shape is None or expected not in {shape, Format.AUTO}:
        raise RefusedError(Refusal.UNKNOWN_SHAPE, value=", ".join(item))
    return Listing.model_validate(item) if shape is Format.CONTRACT else _DRAFT_OF[shape](Payload(item))
