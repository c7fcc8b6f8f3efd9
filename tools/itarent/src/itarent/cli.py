"""`itarent`: run, test and look at the system. A sub-command lives in a module of its own and is named here."""

import importlib
from collections.abc import Mapping
from typing import Any, Final

import typer
from typer.core import TyperGroup

COMMANDS: Final[Mapping[str, str]] = {
    "up": "itarent.up:up",
    "worker": "itarent.worker:worker",
    "api": "itarent.serving:api",
    "demo": "itarent.demo.cli:demo",
    "test": "itarent.checking:check_and_test",
    "settings": "itarent.settings:settings",
    "sandbox": "itarent.sandbox:sandbox",
    "ledger": "itarent.ledger.cli:app",
    "explain": "itarent.explain:explain_match",
    "lock": "itarent.lock:lock",
    "openapi": "itarent.openapi.document:openapi",
    "guides": "itarent.guides:guides",
    "audit": "itarent.audit.cli:audit",
    "reconcile": "itarent.reconcile:reconcile",
    "budget": "itarent.budget:budget",
    "listings": "itarent.listings.cli:app",
    "flats": "itarent.flats:app",
    "check": "itarent.check.cli:app",
    "dlq": "itarent.dlq.cli:app",
    "templates": "itarent.templates.cli:app",
    "faults": "itarent.faults.cli:faults",
    "restore": "itarent.restoring.cli:app",
    "mutants": "itarent.mutants.cli:mutants",
    "bench": "itarent.bench.cli:app",
}


class ImportedWhenCalled(TyperGroup):
    """A command's module is imported when the command is asked for: all of them together take a second or two."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - Typer's own signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 - Typer's own signature
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(module), name)
        app = found if isinstance(found, typer.Typer) else _app_of(found)
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command


def _app_of(function: Any) -> typer.Typer:  # noqa: ANN401 - whatever Typer takes for a command
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(function)
    return app


app = typer.Typer(cls=ImportedWhenCalled, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def itarent() -> None:
    """Italian rental alerts over WhatsApp."""
