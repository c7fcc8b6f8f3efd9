"""The comuni of Italy by code and by name: official and bilingual names, names in use, and comuni that have gone."""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self

from common.listing import IstatCode, Position, ProvinceCode
from common.text import fold

FORMER_PROVINCES = {"104": "OT", "105": "OG", "106": "VS", "107": "CI"}
"""Provinces of Sardegna from 2006 to 2016, by the digits that their codes began with: some sources still name them."""


@dataclass(frozen=True, slots=True)
class Province:
    code: ProvinceCode
    name: str
    region: str


@dataclass(frozen=True, slots=True)
class Comune:
    """`centre` is the area's centroid, None for a comune younger than the source of the centroids."""

    code: IstatCode
    name: str
    other_name: str | None
    province: ProvinceCode
    centre: Position | None
    former_codes: tuple[IstatCode, ...]
    former_provinces: frozenset[ProvinceCode]

    def lies_in(self, province: ProvinceCode) -> bool:
        return province == self.province or province in self.former_provinces


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A name that several comuni bear: only the province can tell which one is meant."""

    name: str
    candidates: tuple[Comune, ...]


@dataclass(frozen=True, slots=True)
class _Former:
    """A name that has gone, and the comune that it belongs to today."""

    name: str
    province: ProvinceCode
    former_code: IstatCode | None
    code: IstatCode


_Key = Callable[[str], str]
_Named = Mapping[str, tuple[Comune, ...]]

_PROVINCE_SUFFIX = re.compile(r"(?P<name>.*\S)\s*(?:\((?P<bracketed>[^()]+)\)|,\s*(?P<sigla>[A-Z]{2}))\s*")
_SAINT = re.compile(r"\b(?:san|santo|santa|sant|sankt|st)\b")


def _run_together(name: str) -> str:
    """`Montescudo - Montecolombo` is `Montescudo-Monte Colombo`, `San Remo` is `Sanremo`."""
    return fold(name).replace(" ", "")


def _abbreviated(name: str) -> str:
    """`S. Donato Milanese` is `San Donato Milanese`."""
    return _SAINT.sub("s", fold(name))


class Comuni:
    """All comuni. Names are compared folded; one that fits several comuni is `Ambiguous`, never guessed."""

    def __init__(
        self,
        comuni: Iterable[Comune],
        provinces: Iterable[Province],
        former: Iterable[_Former] = (),
        aliases: Iterable[tuple[str, IstatCode]] = (),
    ) -> None:
        former = tuple(former)
        self._by_code = {comune.code: comune for comune in comuni}
        self._provinces = {key: province for province in provinces for key in _keys_of(province)}
        self._current_code = {old: comune.code for comune in self for old in comune.former_codes}
        self._current_code |= {each.former_code: each.code for each in former if each.former_code}

        names = [(name, comune) for comune in self for name in _names_of(comune)]
        names += [(alias, self._by_code[code]) for alias, code in aliases]
        gone = [(each.name, self._by_code[each.code]) for each in former]
        # In order of trust: an accent that is written decides (Paternò, Paterno), a name of today comes before one
        # that has gone, and the words as written before a loose reading.
        accented = [(name, comune) for name, comune in names if not name.isascii()]
        self._readings: tuple[tuple[_Key, _Named], ...] = (
            (str.casefold, _by_key(str.casefold, accented)),
            (fold, _by_key(fold, names)),
            (fold, _by_key(fold, gone)),
            (_run_together, _by_key(_run_together, names + gone)),
            (_abbreviated, _by_key(_abbreviated, names + gone)),
        )

    @classmethod
    @cache
    def load(cls) -> Self:
        """The list that the package carries; read once."""
        rows = list(_rows("comuni.csv"))
        prefixes = {row["code"][:3]: row["province"] for row in rows} | FORMER_PROVINCES
        return cls(
            comuni=[_comune(row, prefixes) for row in rows],
            provinces=[Province(**row) for row in _rows("provinces.csv")],
            former=[
                _Former(row["name"], row["province"], row["former_code"] or None, row["code"])
                for row in _rows("comuni_merged.csv")
            ],
            aliases=[(row["name"], row["code"]) for row in _rows("comuni_aliases.csv")],
        )

    def __iter__(self) -> Iterator[Comune]:
        return iter(self._by_code.values())

    def __len__(self) -> int:
        return len(self._by_code)

    def current(self, code: IstatCode) -> IstatCode:
        """The code of today of a comune that was merged or renumbered; any other code as it is."""
        return self._current_code.get(code, code)

    def by_code(self, code: IstatCode) -> Comune | None:
        return self._by_code.get(self.current(code))

    def province(self, name_or_code: str) -> Province | None:
        """A province by its sigla or its name: `RM`, `Roma`, `Bozen`."""
        return self._provinces.get(fold(name_or_code))

    def find(self, name: str, province: str | None = None) -> Comune | Ambiguous | None:
        """The comune that bears a name, as written in an advertisement: `Bolzano/Bozen`, `REGGIO EMILIA`, `Roma (RM)`.

        The province, a sigla or a name, decides between comuni of one name; a comune elsewhere is not taken.
        """
        if found := self._read(name, self._sigla(province)):
            return found
        if province is None and (suffixed := _PROVINCE_SUFFIX.fullmatch(name)):
            return self._read(suffixed["name"], self._sigla(suffixed["bracketed"] or suffixed["sigla"]))
        return None

    def _sigla(self, province: str | None) -> ProvinceCode | None:
        if province is None:
            return None
        known = self.province(province)
        return known.code if known else province.strip().upper()

    def _read(self, name: str, province: ProvinceCode | None) -> Comune | Ambiguous | None:
        for key_of, named in self._readings:
            found = named.get(key_of(name), ())
            if province is not None:
                found = tuple(comune for comune in found if comune.lies_in(province))
            if len(found) > 1:
                return Ambiguous(name, found)
            if found:
                return found[0]
        return None


def _names_of(comune: Comune) -> Iterator[str]:
    yield comune.name
    if comune.other_name:
        yield comune.other_name
        yield f"{comune.name}/{comune.other_name}"
        yield f"{comune.other_name}/{comune.name}"


def _keys_of(province: Province) -> Iterator[str]:
    yield fold(province.code)
    yield fold(province.name)
    if "/" in province.name:
        yield from map(fold, province.name.split("/"))


def _by_key(key_of: _Key, names: Iterable[tuple[str, Comune]]) -> _Named:
    named: defaultdict[str, dict[IstatCode, Comune]] = defaultdict(dict)
    for name, comune in names:
        named[key_of(name)][comune.code] = comune
    return {key: tuple(comuni.values()) for key, comuni in named.items()}


def _rows(name: str) -> Iterator[dict[str, str]]:
    text = files("common").joinpath("data", name).read_text(encoding="utf-8")
    yield from csv.DictReader(text.splitlines())


def _comune(row: dict[str, str], prefixes: Mapping[str, ProvinceCode]) -> Comune:
    former_codes = tuple(row["former_codes"].split())
    return Comune(
        code=row["code"],
        name=row["name"],
        other_name=row["other_name"] or None,
        province=row["province"],
        centre=Position(latitude=row["latitude"], longitude=row["longitude"]) if row["latitude"] else None,
        former_codes=former_codes,
        former_provinces=frozenset(prefixes[code[:3]] for code in former_codes),
    )
