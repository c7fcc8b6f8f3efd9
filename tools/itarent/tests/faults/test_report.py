"""Results are merged, and the page shows them with the families that there are."""

from dataclasses import replace
from pathlib import Path

from itarent.faults.laws import Breach
from itarent.faults.report import PAGE, families, keep, write_page
from itarent.faults.run import Result

SOUND = Result("kafka", 1, 500, 800, 300, 3, 4.25, 31.4, ())


def test_a_run_again_replaces_its_earlier_result_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    breached = replace(SOUND, breaches=(Breach("L2", "told 2 times", ("SM1",)),))

    keep([breached, replace(SOUND, seed=2), replace(SOUND, family="killed")], file)
    rows = keep([SOUND], file)

    assert [(row["family"], row["seed"], row["breaches"]) for row in rows] == [
        ("killed", 1, 0),
        ("kafka", 1, 0),
        ("kafka", 2, 0),
    ]


def test_the_page_shows_families_and_results(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    page.write_text(PAGE.read_text())

    write_page(keep([SOUND], tmp_path / "faults.json"), page)

    assert families() in page.read_text()
    assert "| kafka | 1 | 500 | 800 | 300 | 3 | 4.2 s | 0 |" in page.read_text()


def test_the_page_names_every_family_that_there_is() -> None:
    assert families() in PAGE.read_text(), "run `itarent faults`, which writes the page"
