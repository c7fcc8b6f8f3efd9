"""`itarent settings`: what is in force for each service, where it comes from, and what is wrong with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.settings import SettingFault, SettingInForce, faults_of, in_force
from itarent import local
from itarent.credentials import Credentials
from itarent.environment import LOOPBACK, SERVICES, SETTINGS, Addresses, environments
from itarent.given import OneServerOnly, given_in
from itarent.system import KAFKA, POSTGRES, PREFERRED_PORTS


@dataclass(frozen=True)
class Told:
    """What one service would start with now."""

    settings: Sequence[SettingInForce]
    faults: Sequence[SettingFault]


def settings(
    *,
    service: Annotated[str, typer.Option(help=f"only of one: {', '.join(SERVICES)}")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on stdout")] = False,
) -> None:
    """Show the settings in force, secrets masked, with where each comes from; faults with their cure.

    It is what a service would start with now, from this folder's .env and the environment. Where neither names a Kafka,
    a local system draws what is missing (`itarent up`). Exit status: 0 when all is well, 1 when something is wrong.
    """
    if service and service not in SERVICES:
        raise typer.BadParameter(f"There is no {service}: choose one of {', '.join(SERVICES)}.", param_hint="--service")
    told = told_to([service] if service else SERVICES)
    if as_json:
        typer.echo(json.dumps(_as_json(told), indent=2))
    else:
        _print(told, Console())
    raise typer.Exit(any(each.faults for each in told.values()))


def told_to(services: Sequence[str]) -> dict[str, Told]:
    """By service: its settings and what is wrong with them."""
    drawn = _drawn()
    return {
        name: Told(in_force(SETTINGS[name], drawn.get(name)), faults_of(SETTINGS[name], drawn.get(name)))
        for name in services
    }


def _drawn() -> Mapping[str, Mapping[str, str]]:
    """What a local system tells each service; nothing where the operator's own Kafka is used."""
    try:
        given = given_in(Path.cwd())
    except OneServerOnly:
        return {}
    if found := local.running():
        return environments(found.addresses, found.credentials, given.settings)
    return {} if given.servers else environments(_addresses_to_be(), Credentials(), given.settings)


def _addresses_to_be() -> Addresses:
    """Where a local system listens if all of its ports are free."""
    database = f"postgresql://postgres@{LOOPBACK}:{PREFERRED_PORTS[POSTGRES]}/itarent"
    return Addresses(f"{LOOPBACK}:{PREFERRED_PORTS[KAFKA]}", database, PREFERRED_PORTS)


# --- showing ---------------------------------------------------------------------------------------------------------


def _as_json(told: Mapping[str, Told]) -> dict[str, object]:
    return {"ok": not any(each.faults for each in told.values()), "services": {n: asdict(t) for n, t in told.items()}}


def _print(told: Mapping[str, Told], console: Console) -> None:
    table = Table("setting", "value", "from", "of", box=None, pad_edge=False, header_style="bold")
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    table.columns[1].overflow = "fold"
    for name, values in _values(told).items():
        for (shown, source), services in values.items():
            table.add_row(name, escape(shown), source, ", ".join(services) if len(values) > 1 else "")
    console.print(table)
    faults = _faults(told)
    for fault, services in faults.items():
        console.print(f"✗ {', '.join(fault.names)}", style="bold red", end="", highlight=False)
        console.print(f" ({', '.join(services)}): {escape(fault.problem)}. {escape(fault.cure)}", highlight=False)
    if not faults:
        console.print("✓ nothing is wrong with them", style="green")


def _values(told: Mapping[str, Told]) -> dict[str, dict[tuple[str, str], list[str]]]:
    """By setting: its values and their sources, each with the services that have it; they mostly agree."""
    values: dict[str, dict[tuple[str, str], list[str]]] = {}
    for service, each in told.items():
        for setting in each.settings:
            of_it = values.setdefault(setting.name, {})
            of_it.setdefault((setting.shown, setting.source), []).append(service)
    return values


def _faults(told: Mapping[str, Told]) -> dict[SettingFault, list[str]]:
    faults: dict[SettingFault, list[str]] = {}
    for service, each in told.items():
        for fault in each.faults:
            faults.setdefault(fault, []).append(service)
    return faults
