"""What PostgreSQL does for each statement of our own code: it explains them itself while they run (auto_explain)."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final

EXPLAINS: Final = MappingProxyType(
    {
        "session_preload_libraries": "auto_explain",
        "auto_explain.log_min_duration": "0",
        "auto_explain.log_analyze": "on",
        "auto_explain.log_buffers": "on",
        "auto_explain.log_format": "json",
        "auto_explain.log_parameter_max_length": "0",
    }
)
"""Settings of a session whose statements are explained in the server's log, with the parameters that they have."""


@dataclass(frozen=True)
class Explained:
    """A statement that ran: how long, and how many pages of 8 KiB it looked at."""

    statement: str
    milliseconds: float
    pages: int
    scanned: Mapping[str, int]  # rows read of each table that it read from end to end


def explained(log: Path, begin: int, names: Mapping[str, str]) -> Iterator[Explained]:
    """The statements with these names that the server has explained since this place in its log."""
    with log.open("rb") as file:
        file.seek(begin)
        text = file.read().decode()
    for found in _PLAN.finditer(text):
        told, _ = _DECODER.raw_decode(text[found.end() :].replace("\n\t", "\n").lstrip())
        if name := names.get(_squeezed(told["Query Text"])):
            yield _explained(name, float(found[1]), told["Plan"])


_PLAN: Final = re.compile(r"duration: ([\d.]+) ms {2}plan:\n")
_DECODER: Final = json.JSONDecoder()


def names_of(*modules: ModuleType) -> dict[str, str]:
    """The names of the statements that these modules hold, by their text."""
    return {
        _squeezed(text): f"{module.__name__.partition('.')[2]}.{name}"
        for module in modules
        for name, text in inspect.getmembers(module)
        if isinstance(text, str) and name.isupper() and " " in text
    }


def _squeezed(statement: str) -> str:
    return " ".join(statement.split())


def _explained(name: str, milliseconds: float, plan: Mapping[str, Any]) -> Explained:
    scanned: dict[str, int] = {}
    for node in _nodes(plan):
        if node["Node Type"] == "Seq Scan":
            read = int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
            scanned[node["Relation Name"]] = max(read, scanned.get(node["Relation Name"], 0))
    return Explained(name, milliseconds, plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], scanned)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
