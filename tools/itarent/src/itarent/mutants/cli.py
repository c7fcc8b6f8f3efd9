"""`itarent mutants`: whether the tests of the index notice small mistakes in it."""

import json
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import track

from itarent.mutants.making import Mutant, mutants_of
from itarent.mutants.running import Outcome, TestsFail, limits, try_out
from itarent.project import PROJECT

SOURCES: Final = PROJECT / "services/matcher/src/matcher"
TESTS: Final = PROJECT / "services/matcher/tests"

MODULES: Final = (
    "places",
    "verdicts",
    "wanted_places",
    "question",
    "partition",
    "kernels",
    "index",
    "register",
    "reading",
    "telling",
)

KILLERS: Final = ("test_index_edges.py", "test_reading.py", "test_index.py", "test_telling.py")
"""The quickest first."""

EQUIVALENT: Final = Path(__file__).with_name("equivalent.toml")

AT_ONCE: Final = 2


def mutants(
    *,
    count: Annotated[int, typer.Option(help="how many, drawn from all; 0: all of them")] = 60,
    seed: Annotated[int, typer.Option(help="draws others")] = 1,
    module: Annotated[list[str] | None, typer.Option(help=f"of these only: {', '.join(MODULES)}")] = None,
    tests: Annotated[list[Path] | None, typer.Option(help="files of tests, instead of the index's own")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Make small mistakes in the index, one at a time, and tell which of them its tests do not notice.

    Exit status: 0 when every mutant was killed, 1 when one survived, 2 when the tests fail without one.
    """
    console = Console(stderr=True)
    names = [str(path.resolve()) for path in tests or [TESTS / name for name in KILLERS]]
    chosen = sample(module or MODULES, count, seed)
    tried = [each for each in chosen if reason_for_equivalence(each) is None]
    try:
        within = limits(names, tried)
    except TestsFail as refusal:
        console.print(str(refusal), style="red", markup=False)
        raise typer.Exit(2) from None
    outcomes = []
    for outcome in track(_outcomes(tried, names, within), "Mutants", len(tried), console=console):
        outcomes.append(outcome)
        if outcome.killed_by is None:
            console.print(f"survives  {outcome.mutant}", style="red", markup=False, highlight=False, soft_wrap=True)
    report = _report(outcomes, [each for each in chosen if each not in tried])
    typer.echo(json.dumps(report, indent=2, ensure_ascii=False)) if as_json else _show(report)
    raise typer.Exit(1 if report["survivors"] else 0)


def sample(modules: Sequence[str], count: int, seed: int) -> list[Mutant]:
    """`count` mutants of all that the modules have, in the order of the source; all of them for 0."""
    everything = [
        mutant
        for name in modules
        for mutant in mutants_of(
            f"matcher.{name}", (SOURCES / f"{name}.py").read_text(encoding="utf-8"), str(SOURCES / f"{name}.py")
        )
    ]
    if not 0 < count < len(everything):
        return everything
    chosen = random.Random(seed).sample(range(len(everything)), count)  # noqa: S311 - drawn again by the same seed
    return [everything[place] for place in sorted(chosen)]


def reason_for_equivalence(mutant: Mutant) -> str | None:
    """Why no test can kill it, as `equivalent.toml` says: by what stands in the line, which edits may move."""
    said = {"module": mutant.module, "line": mutant.text, "before": mutant.before, "after": mutant.after}
    return next(
        (known["reason"] for known in _KNOWN if known.items() <= (said | {"reason": known["reason"]}).items()), None
    )


_KNOWN: Final[list[dict[str, str]]] = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("mutant", [])


def _outcomes(tried: Sequence[Mutant], tests: Sequence[str], within: Mapping[bool, float]) -> Iterator[Outcome]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda mutant: try_out(mutant, tests, within), tried)


def _report(outcomes: Sequence[Outcome], equivalent: Sequence[Mutant]) -> dict[str, list[dict[str, Any]]]:
    return {
        "killed": [_as_json(each.mutant) | {"by": each.killed_by} for each in outcomes if each.killed_by],
        "equivalent": [_as_json(each) | {"reason": reason_for_equivalence(each)} for each in equivalent],
        "survivors": [_as_json(each.mutant) for each in outcomes if not each.killed_by],
    }


def _as_json(mutant: Mutant) -> dict[str, Any]:
    return {
        "module": mutant.module,
        "at": mutant.line,
        "line": mutant.text,
        "before": mutant.before,
        "after": mutant.after,
    }


def _show(report: dict[str, list[dict[str, Any]]]) -> None:
    for kind, found in report.items():
        for each in found:
            why = each.get("by") or each.get("reason") or each["line"]
            typer.echo(f"{kind:10}  {each['module']}:{each['at']}  {each['before']}  →  {each['after']}  ({why})")
    typer.echo(", ".join(f"{len(found)} {kind}" for kind, found in report.items()))
