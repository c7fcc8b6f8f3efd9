"""A check is steps, a step has findings: run in order, told as they come, as lines or as one JSON object."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import asyncpg
import httpx
from aiokafka.errors import KafkaError
from rich.console import Console

OUTAGES: Final = (TimeoutError, OSError, KafkaError, asyncpg.PostgresError, asyncpg.InterfaceError, httpx.HTTPError)
"""What a step need not catch itself: something does not answer."""


class State(StrEnum):
    """In the order in which they outweigh each other."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """What was found in one sentence, and what to do about it."""

    state: State
    says: str
    cure: str = ""


def ok(says: str) -> Finding:
    return Finding(State.OK, says)


def skipped(says: str, cure: str = "") -> Finding:
    return Finding(State.SKIPPED, says, cure)


def warning(says: str, cure: str) -> Finding:
    return Finding(State.WARNING, says, cure)


def failed(says: str, cure: str) -> Finding:
    return Finding(State.FAILED, says, cure)


@dataclass(frozen=True)
class Step:
    """One step. It is skipped where one that it `needs` was not passed; `outage_cure` is for what does not answer."""

    name: str
    look: Callable[[], Awaitable[Iterable[Finding]]]
    outage_cure: str
    needs: tuple[str, ...] = ()
    within_seconds: float = 30.0


@dataclass(frozen=True)
class Result:
    name: str
    findings: tuple[Finding, ...]

    @property
    def state(self) -> State:
        """The gravest of its findings."""
        states = list(State)
        return max((finding.state for finding in self.findings), key=states.index, default=State.OK)


@dataclass(frozen=True)
class Report:
    results: list[Result] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(result.state is not State.FAILED for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """`{"ok", "steps": [{"name", "state", "findings": [{"state", "says", "cure"}]}]}`."""
        return {
            "ok": self.passed,
            "steps": [
                {
                    "name": result.name,
                    "state": result.state,
                    "findings": [{"state": f.state, "says": f.says, "cure": f.cure} for f in result.findings],
                }
                for result in self.results
            ],
        }


async def run(steps: Sequence[Step], console: Console) -> Report:
    """Run steps one after the other; each is told when it is done."""
    report = Report()
    width = max(len(step.name) for step in steps)
    for step in steps:
        with console.status(step.name):
            result = Result(step.name, tuple(await _findings(step, report)))
        report.results.append(result)
        _tell(result, console, width)
    console.print(_summary(report), style="bold")
    return report


def _summary(report: Report) -> str:
    if not report.passed:
        return "Not everything works: see ✗."
    if all(result.state is State.OK for result in report.results):
        return "Everything works."
    return "Nothing failed; not everything could be tried: see ! and ·."


async def _findings(step: Step, report: Report) -> Iterable[Finding]:
    unmet = [
        result.name
        for result in report.results
        if result.name in step.needs and result.state in {State.FAILED, State.SKIPPED}
    ]
    if unmet:
        return [skipped(f"not tried, since this was not passed: {', '.join(unmet)}")]
    try:
        async with asyncio.timeout(step.within_seconds):
            return await step.look()
    except OUTAGES as error:
        return [failed(f"no answer: {described(error)}", step.outage_cure)]


def described(error: BaseException) -> str:
    """An error in a line. Its text may hold addresses, never a password: none of these libraries prints one."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


_SIGNS: Final = {
    State.OK: "[green]✓[/]",
    State.SKIPPED: "[dim]·[/]",
    State.WARNING: "[yellow]![/]",
    State.FAILED: "[red]✗[/]",
}


def _tell(result: Result, console: Console, width: int) -> None:
    name = result.name
    for finding in result.findings:
        console.print(f"{_SIGNS[finding.state]} {name:<{width}} ", end="")
        console.print(finding.says, markup=False, highlight=False, soft_wrap=True)
        if finding.cure:
            console.print(f"  {'':<{width}} → {finding.cure}", markup=False, highlight=False, soft_wrap=True)
        name = ""
