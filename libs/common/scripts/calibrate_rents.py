# ruff: noqa: INP001 - a script that stands alone, not a package
"""Make `common/data/zone_rent_levels.csv`: how far asking rents are from OMI's bands of 2018, by comune, kind of zone.

    python libs/common/scripts/calibrate_rents.py OMI_DIRECTORY LISTINGS_CSV_GZ

The listings name their city and quartiere. A quartiere counts for the zones whose description names a part of it; its
band is the median of theirs. Each listing's rent a square metre is brought to the typical size and divided by the
middle of the band; the level is the median. Printed besides, to choose the thresholds in `common.signals` by: which
power of the size fits a city best, and how listings spread about their level.
"""

import csv
import gzip
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from common.text import contains_phrase, fold
from common.zone_rents import AREA_ELASTICITY, TYPICAL_AREA_M2, ZoneId, ZoneRents

CITIES = {
    "Bologna": "A944", "Firenze": "D612", "Milano": "F205", "Napoli": "F839", "Roma": "H501", "Torino": "L219",
}  # fmt: skip
FEWEST = 25
"""Listings that a level is the median of."""

SHORTEST_NAME = 4
"""A part of a quartiere's name that is shorter stands in too many descriptions."""

LEVELS = Path(__file__).parents[1] / "src" / "common" / "data" / "zone_rent_levels.csv"


class Asked(NamedTuple):
    kind: str
    over_band: float
    area_m2: float

    def at_typical_size(self, elasticity: float = AREA_ELASTICITY) -> float:
        return self.over_band / float((self.area_m2 / TYPICAL_AREA_M2) ** elasticity)


def main(omi: Path, listings: Path) -> None:
    rents = ZoneRents.load(omi)
    described = descriptions(next(omi.glob("omi_residential_rent_*.csv.gz")))
    rows = []
    for city, comune in CITIES.items():
        asked = list(asked_in(city, comune, rents, described[comune], listings))
        of_kind = defaultdict(list)
        for each in asked:
            of_kind[each.kind].append(each.at_typical_size())
        levels = {kind: median(values) for kind, values in sorted(of_kind.items()) if len(values) >= FEWEST}
        rows += [(comune, city, kind, f"{level:.2f}", len(of_kind[kind])) for kind, level in levels.items()]
        spread = quantiles([each.at_typical_size() / levels[each.kind] for each in asked if each.kind in levels], n=200)
        told = " ".join(f"{spread[permille // 5 - 1]:.2f}" for permille in (5, 10, 20, 500, 980, 990, 995))
        print(f"{city}: {len(asked)} listings, elasticity {best_elasticity(asked):.2f}, spread {told}")  # noqa: T201
    with LEVELS.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("comune", "name", "kind", "level", "listings"), *rows])


def descriptions(path: Path) -> dict[str, dict[str, str]]:
    """By comune and zone."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["cadastral_code"]][row["zona"]] = fold(row["zone_descr"])
    return found


def asked_in(city: str, comune: str, rents: ZoneRents, described: dict[str, str], listings: Path) -> Iterator[Asked]:
    with gzip.open(listings, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["citta"] != city or not row["prezzo"] or not row["superficie"]:
                continue
            rent, area = float(row["prezzo"]), float(row["superficie"])
            zones = zones_named(row["quartiere"], described)
            bands = [band for zone in zones if (band := rents.band_of(ZoneId(comune, zone)))]
            if bands and 9 <= area <= 400 and 50 <= rent <= 20_000:  # noqa: PLR2004 - the rest are slips
                kind = Counter(zone[0] for zone in zones).most_common(1)[0][0]
                yield Asked(kind, rent / area / median((low + high) / 2 for low, high in bands), area)


def zones_named(quartiere: str, described: dict[str, str]) -> list[str]:
    parts = [part for each in re.split(r" - |,|/", quartiere) if len(part := fold(each)) >= SHORTEST_NAME]
    return [
        zone
        for zone, description in described.items()
        if any(contains_phrase(fold(description), part) for part in parts)
    ]


def best_elasticity(asked: list[Asked]) -> float:
    """The power of the size that leaves least to explain."""

    def left(elasticity: float) -> float:
        of_kind = defaultdict(list)
        for each in asked:
            of_kind[each.kind].append(each.at_typical_size(elasticity))
        return sum(abs(value / median(values) - 1) for values in of_kind.values() for value in values)

    return min((-step / 50 for step in range(5, 35)), key=left)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
