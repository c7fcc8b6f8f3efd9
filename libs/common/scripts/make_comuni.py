# ruff: noqa: INP001 - a script that stands alone, not a package
"""Make `common/data/comuni.csv` and `provinces.csv` from ISTAT's list of comuni and openpolis' centroids.

    python libs/common/scripts/make_comuni.py ISTAT_CSV OPENPOLIS_CSV

ISTAT's list: semicolons, Latin-1, header cells with line breaks, hence columns by their number.
"""

import csv
import sys
from pathlib import Path

DATA = Path(__file__).parents[1] / "src" / "common" / "data"

CODE, NAME, OTHER_NAME, REGION, PROVINCE_NAME, PROVINCE = 4, 6, 7, 10, 11, 14
FORMER_CODES = (16, 17, 18)
"""The code while Italy had 110, 107 and 103 provinces."""


def istat_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="latin-1", newline="") as file:
        header, *rows = csv.reader(file, delimiter=";")
    if header[CODE] != "Codice Comune formato alfanumerico" or header[PROVINCE] != "Sigla automobilistica":
        raise SystemExit(f"{path}: the columns are not those of ISTAT's list of comuni")
    return [row for row in rows if row[CODE]]


def centroids(path: Path) -> dict[str, tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["istat_code"]: (_rounded(row["lat"]), _rounded(row["lon"])) for row in csv.DictReader(file)}


def _rounded(degrees: str) -> str:
    return f"{float(degrees):.4f}"


def former_codes(row: list[str], current: set[str]) -> str:
    """Earlier codes of the comune, separated by blanks, without those that another comune has today."""
    codes = {row[column].zfill(6) for column in FORMER_CODES if row[column]}
    return " ".join(sorted(codes - current))


def write(name: str, header: list[str], rows: list[list[str]]) -> None:
    with (DATA / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main(istat: Path, openpolis: Path) -> None:
    rows = istat_rows(istat)
    current = {row[CODE] for row in rows}
    where = centroids(openpolis)
    comuni = [
        [
            row[CODE],
            row[NAME],
            row[OTHER_NAME],
            row[PROVINCE],
            *where.get(row[CODE], ("", "")),
            former_codes(row, current),
        ]
        for row in rows
    ]
    provinces = {row[PROVINCE]: [row[PROVINCE], row[PROVINCE_NAME], row[REGION]] for row in rows}
    write(
        "comuni.csv",
        ["code", "name", "other_name", "province", "latitude", "longitude", "former_codes"],
        sorted(comuni),
    )
    write("provinces.csv", ["code", "name", "region"], sorted(provinces.values()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
