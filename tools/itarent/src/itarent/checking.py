"""`itarent test`: everything that CI runs, step by step."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from itarent.lock import CannotBeResolved, RegistryDoesNotAnswer, is_current
from itarent.manifests import checkov_agrees, kube_score_agrees, manifests_are_valid
from itarent.openapi import document
from itarent.openapi.document import LinterNotInstalled
from itarent.programs import ProgramNotInstalled, own
from itarent.project import PROJECT

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


@dataclass(frozen=True)
class Step:
    """One check; `passes` prints what is wrong."""

    name: str
    passes: Callable[[], bool]


def check_and_test(
    arguments: Annotated[list[str] | None, typer.Argument(help="passed to pytest, after --")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="all but the tests")] = False,
    deploy: Annotated[bool, typer.Option("--deploy", help="instead: what is slow and needs a Docker engine")] = False,
) -> None:
    """Check format, lint, types, imports and the lock, then run the tests; all steps run, whatever fails."""
    console = Console()
    tests = Step("tests", _tool("pytest", *(arguments or [])))
    steps = DEPLOYMENT if deploy else CHECKS if quick else (*CHECKS, tests)
    failed = [step.name for step in steps if not _passes(step, console)]
    if failed:
        console.print(f"Failed: {', '.join(failed)}", style="bold red")
        raise typer.Exit(1)
    console.print("Everything passed.", style="bold green")


def _passes(step: Step, console: Console) -> bool:
    console.rule(step.name, align="left", style="dim")
    started = time.monotonic()
    passed = step.passes()
    sign = "[green]✓[/]" if passed else "[red]✗[/]"
    console.print(f"{sign} {step.name} [dim]{time.monotonic() - started:.1f} s[/]", highlight=False)
    return passed


def _tool(name: str, *arguments: str) -> Callable[[], bool]:
    """A tool of this environment, run on the whole project, its output shown as it comes."""
    return lambda: subprocess.run([own(name), *arguments], cwd=PROJECT, check=False).returncode == 0  # noqa: S603 - our own tools


def _lock_is_current() -> bool:
    """Without the registry nobody can tell: that fails in CI and is told on a laptop."""
    try:
        current = is_current()
    except RegistryDoesNotAnswer as silence:
        typer.echo(f"not checked, the package registry does not answer: {silence}")
        return not IN_CI
    except CannotBeResolved as contradiction:
        typer.echo(str(contradiction))
        return False
    if not current:
        typer.echo("requirements.lock is not what pyproject.toml files say: run `make lock`")
    return current


def _compose_file_is_valid() -> bool:
    """By its schema; also by docker compose where that is there, which needs no engine for it."""
    valid = _tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")()
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:  # noqa: S603 - as below
        return valid
    config = [docker, "compose", "--env-file", "/dev/null", "config", "--quiet"]
    return subprocess.run(config, cwd=PROJECT, check=False).returncode == 0 and valid  # noqa: S603 - a known program


def _openapi_is_current_and_clean() -> bool:
    """Without the registry the linter cannot be had: that fails in CI and is told on a laptop."""
    if not document.is_current():
        typer.echo("docs/openapi.json is not what the api's code says: run `make openapi`")
        return False
    try:
        return not document.has_findings()
    except LinterNotInstalled as reason:
        typer.echo(f"not linted: {reason}")
        return not IN_CI


def _by_others(agree: Callable[[], bool], *, if_they_cannot_be_had: bool) -> Callable[[], bool]:
    """What programs say that are installed when they are first asked."""

    def passes() -> bool:
        try:
            return agree()
        except ProgramNotInstalled as reason:
            typer.echo(f"not checked: {reason}")
            return if_they_cannot_be_had

    return passes


CHECKS = (
    Step("format", _tool("ruff", "format", "--check")),
    Step("lint", _tool("ruff", "check")),
    Step("types", _tool("mypy")),
    Step("imports", _tool("lint-imports")),
    Step("lock", _lock_is_current),
    Step("OpenAPI", _openapi_is_current_and_clean),
    Step("Dockerfile", _tool("hadolint", "deploy/Dockerfile")),
    Step("compose file", _compose_file_is_valid),
    Step("manifests", _by_others(manifests_are_valid, if_they_cannot_be_had=not IN_CI)),
)

DEPLOYMENT = (
    Step("kube-score", _by_others(kube_score_agrees, if_they_cannot_be_had=False)),
    Step("checkov", _by_others(checkov_agrees, if_they_cannot_be_had=False)),
    Step(
        "servers in containers",
        _tool("pytest", "libs/common/tests/test_kafka.py", "services/matcher/tests/test_store.py"),
    ),
    Step("docker compose", _tool("pytest", "deploy/tests")),
)
