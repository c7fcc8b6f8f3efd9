"""What flats are rented for in the zones of the OMI, and what that means today.

Source: Agenzia Entrate - OMI, second half of 2018. The files are not ours to carry: they are read from a directory that
the operator names. Their level is that of 2018, so they say how zones differ, not what flats cost:
`zone_rent_levels.csv` says how far asking rents have moved away since, by comune and kind of zone (B centre to E
outskirts), as measured by `scripts/calibrate_rents.py`. A zone without a measured level has no usual rent.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple, Self

import orjson
import shapely  # type: ignore[import-untyped] # published without types

from common.listing import Position

TYPICAL_AREA_M2: Final = 70
"""The size for which levels are measured."""

AREA_ELASTICITY: Final = -0.38
"""Small flats cost more a square metre: by the power of their size that fits best, the median of six cities."""

FLATS: Final = frozenset({"Abitazioni civili", "Abitazioni di tipo economico", "Abitazioni signorili"})
"""OMI's kinds of flats. An advertisement does not say which of them its flat is, so their bands are taken together."""


class ZoneId(NamedTuple):
    """A zone of the OMI: the comune's cadastral code and the zone's own, H501 and B12."""

    comune: str
    zone: str


class Band(NamedTuple):
    """Rents in € a square metre and month, as in 2018."""

    low: float
    high: float


@dataclass(frozen=True)
class ZoneRents:
    """The zones on the map, with their bands."""

    _zones: tuple[ZoneId, ...]
    _shapes: shapely.STRtree
    _bands: Mapping[ZoneId, Band]

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The zones of every `omi_zones_*.geojson`, with the bands of `omi_residential_rent_*.csv.gz`.

        Raises:
            FileNotFoundError: the directory lacks one of them.
        """
        bands = _bands(_sole(directory, "omi_residential_rent_*.csv.gz"))
        zones: list[ZoneId] = []
        shapes: list[shapely.Geometry] = []
        for path in _several(directory, "omi_zones_*.geojson"):
            for feature in orjson.loads(path.read_bytes())["features"]:
                zones.append(ZoneId(feature["properties"]["CODCOM"], feature["properties"]["CODZONA"]))
                shapes.append(shapely.from_geojson(orjson.dumps(feature["geometry"])))
        return cls(tuple(zones), shapely.STRtree(shapes), bands)

    def zone_of(self, position: Position) -> ZoneId | None:
        point = shapely.Point(position.longitude, position.latitude)
        found = self._shapes.query(point, predicate="intersects")
        return self._zones[min(found)] if len(found) else None  # on the border of two: always the same one

    def band_of(self, zone: ZoneId) -> Band | None:
        return self._bands.get(zone)

    def usual_rent(self, position: Position, area_m2: int) -> float | None:
        """What a flat of this size is usually asked for here, € a month; None where that is not known."""
        zone = self.zone_of(position)
        band = zone and self.band_of(zone)
        level = zone and levels().get((zone.comune, zone.zone[0]))
        if not band or not level:
            return None
        return (band.low + band.high) / 2 * level * by_size(area_m2) * area_m2


def by_size(area_m2: float) -> float:
    """How much more a flat costs a square metre for being small: 1 at the typical size."""
    return float((area_m2 / TYPICAL_AREA_M2) ** AREA_ELASTICITY)


@cache
def levels() -> Mapping[tuple[str, str], float]:
    """By cadastral code and kind of zone: asking rents today over the middle of the band of 2018."""
    lines = files("common").joinpath("data", "zone_rent_levels.csv").read_text(encoding="utf-8").splitlines()
    return {(row["comune"], row["kind"]): float(row["level"]) for row in csv.DictReader(lines)}


def _bands(path: Path) -> dict[ZoneId, Band]:
    """Of each zone, from the least for a plain flat to the most for a fine one; run-down ones are left out."""
    of_zone: defaultdict[ZoneId, list[Band]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["typology"] in FLATS and row["condition"] != "SCADENTE":
                low, high = float(row["rent_min_eur_m2_month"]), float(row["rent_max_eur_m2_month"])
                of_zone[ZoneId(row["cadastral_code"], row["zona"])].append(Band(low, high))
    return {
        zone: Band(min(each.low for each in bands), max(each.high for each in bands)) for zone, bands in of_zone.items()
    }


def _several(directory: Path, pattern: str) -> list[Path]:
    if not (paths := sorted(directory.glob(pattern))):
        raise FileNotFoundError(f"{directory} holds no {pattern}")
    return paths


def _sole(directory: Path, pattern: str) -> Path:
    return _several(directory, pattern)[-1]
