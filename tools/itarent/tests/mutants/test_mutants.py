"""`itarent mutants` reports the mistakes that tests do not notice, and no others."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from itarent.cli import app
from itarent.mutants import cli
from itarent.mutants.making import Mutant, mutants_of

SOURCE = """
from typing import Final

LIMIT: Final = 3

def clamp(value: int) -> int:
    if value < 0 or not value:
        return 0
    return min(value, LIMIT)
"""

EXPECTED = {
    ("3", "4"),
    ("3", "2"),
    ("value < 0 or not value", "value < 0 and (not value)"),
    ("value < 0", "value <= 0"),
    ("value < 0", "value >= 0"),
    ("0", "1"),
    ("0", "-1"),
    ("not value", "value"),
    ("min", "max"),
}


def test_a_module_has_a_mutant_for_each_small_mistake() -> None:
    assert {(each.before, each.after) for each in mutants_of("sample", SOURCE, "sample.py")} == EXPECTED


def test_a_mutant_differs_in_one_place_only() -> None:
    for mutant in mutants_of("sample", SOURCE, "sample.py"):
        assert SOURCE.splitlines()[mutant.line - 1].strip() == mutant.text
        assert mutant.before in mutant.text


BLIND = """
def test_nothing():
    import matcher.places
"""

WATCHFUL = """
from matcher import places

def test_half_a_turn():
    assert places.HALF_TURN == 180
"""


def _report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: str) -> tuple[int, dict[str, Any]]:
    tests = tmp_path / "test_some.py"
    tests.write_text(test, encoding="utf-8")
    monkeypatch.setattr(cli, "sample", _one_mutant)
    result = CliRunner().invoke(app, ["mutants", "--json", "--tests", str(tests)])
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}


def _one_mutant(*_modules_count_seed: object) -> list[Mutant]:
    path = cli.SOURCES / "places.py"
    every = mutants_of("matcher.places", path.read_text(encoding="utf-8"), str(path))
    return [each for each in every if (each.before, each.after) == ("180", "181")]


def test_who_survives_is_reported_and_who_is_killed_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, report = _report(tmp_path, monkeypatch, BLIND)
    assert (status, [each["after"] for each in report["survivors"]], report["killed"]) == (1, ["181"], [])
    status, report = _report(tmp_path, monkeypatch, WATCHFUL)
    assert (status, report["survivors"]) == (0, [])
    assert [each["by"] for each in report["killed"]] == ["test_some.py::test_half_a_turn"]


def test_tests_that_fail_without_a_mutant_prove_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, report = _report(tmp_path, monkeypatch, "def test_wrong() -> None:\n    raise ValueError\n")
    assert (status, report) == (2, {})
