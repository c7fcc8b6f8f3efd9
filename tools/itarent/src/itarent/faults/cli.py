"""`itarent faults`: break things while listings flow, and judge what came of it."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from itarent.commands import until_stopped
from itarent.faults import report
from itarent.faults.broken import BUILDS
from itarent.faults.families import FAMILIES
from itarent.faults.laws import MOST_SHOWN
from itarent.faults.run import Result, run
from itarent.faults.scene import Family
from itarent.project import PROJECT
from local_servers.home import home_of, scratch_home


def faults(
    *,
    family: Annotated[
        list[str] | None, typer.Option(help="Only these families, or broken builds; all by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each family, with the seeds 1, 2, …")] = 1,
    seed: Annotated[int | None, typer.Option(help="Only this seed: a run that is to be repeated.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the families that CI runs.")] = False,
    broken: Annotated[bool, typer.Option("--broken", help="Test the suite: builds that break a law each.")] = False,
    keep: Annotated[bool, typer.Option(help="Write benchmarks/results/faults.json and docs/faults.md.")] = True,
) -> None:
    """Break everything that can break while listings flow; a history checker judges the laws L1 to L9.

    Exit status: 0 when no law was breached, 1 when one was, 2 when there is no such family. With --broken, 0 when every
    broken build was caught.
    """
    console = Console()
    if broken:
        raise typer.Exit(1 if _uncaught(console, family or list(BUILDS)) else 0)
    chosen = _chosen(family or [], quick=quick)
    results: list[Result] = []
    unfinished: list[str] = []
    numbers = [seed] if seed is not None else range(1, seeds + 1)
    until_stopped(_run(chosen, numbers, console, results, unfinished, keep=keep), console)
    if unfinished or not results or any(each.breaches for each in results):
        raise typer.Exit(1)


def _chosen(names: Sequence[str], *, quick: bool) -> list[Family]:
    known = {each.name: each for each in FAMILIES}
    if unknown := [name for name in names if name not in known]:
        typer.echo(f"There is no family {', '.join(unknown)}; there are {', '.join(known)}.", err=True)
        raise typer.Exit(2)
    return [each for each in FAMILIES if (not names or each.name in names) and (each.quick or not quick)]


async def _run(
    families: Sequence[Family],
    seeds: Sequence[int],
    console: Console,
    results: list[Result],
    unfinished: list[str],
    *,
    keep: bool,
) -> None:
    def tell(result: Result) -> None:
        results.append(result)
        _tell(console, result)
        if keep:
            report.write_page(report.keep([result]))

    for family in families:
        if reason := family.why_not():
            console.print(f"{family.name} is skipped: {reason}", markup=False, highlight=False, soft_wrap=True)
            continue
        try:
            with scratch_home(home_of(PROJECT)) as home:
                await run(family, seeds, home, tell)
        except Exception:  # noqa: BLE001 - the other families are to be run all the same; the exit status tells
            console.print_exception(max_frames=10)
            unfinished.append(family.name)


def _uncaught(console: Console, names: Sequence[str]) -> Sequence[str]:
    """The broken builds, of those, that breached nothing, or another law than theirs."""
    uncaught = list(names)

    async def run_all() -> None:
        for name, build in BUILDS.items():
            if name not in names:
                continue
            with scratch_home(home_of(PROJECT)) as home:
                (result,) = await run(build.family(name), [1], home)
            laws = sorted({breach.law for breach in result.breaches})
            if build.law in laws:
                uncaught.remove(name)
            verdict = "[green]caught[/green]" if build.law in laws else "[red]not caught[/red]"
            console.print(f"{build.about}: {verdict}, breaches of {', '.join(laws) or 'nothing'}")

    until_stopped(run_all(), console)
    return uncaught


def _tell(console: Console, result: Result) -> None:
    verdict = f"[red]{len(result.breaches)} breaches[/red]" if result.breaches else "[green]no breach[/green]"
    console.print(
        f"{result.family}, seed {result.seed}: {result.listings:,} listings, {result.notifications:,} notifications, "
        f"{result.messages:,} messages, {result.strikes} strikes, drained in {result.drained_s:.1f} s, "
        f"{result.took_s:.0f} s in all: {verdict}",
        soft_wrap=True,
    )
    for breach in result.breaches[:MOST_SHOWN]:
        console.print(f"  {breach}", markup=False, highlight=False, soft_wrap=True)
