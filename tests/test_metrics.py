"""Every metric says what it is where it is defined; alerts speak of metrics that exist, and of what is broken only."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import promql_parser
import pytest
import yaml

from itarent.cli import COMMANDS

PROJECT = Path(__file__).parents[1]
KINDS: Final = {"Counter", "Gauge", "Histogram"}
RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((PROJECT / "deploy" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
BUSY: Final = frozenset({"rate_limited", "held"})
"""Why sending is paused when nothing is broken."""


@dataclass(frozen=True)
class Metric:
    """A metric as its definition says."""

    kind: str
    name: str
    documentation: str
    where: str


def metrics() -> Iterator[Metric]:
    """Every metric that a service or a library of ours defines."""
    for file in sorted(PROJECT.glob("*/*/src/**/*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        kinds = {
            name.asname or name.name: name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "prometheus_client"
            for name in node.names
            if name.name in KINDS
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                name, documentation = (ast.literal_eval(argument) for argument in node.args[:2])
                where = f"{file.relative_to(PROJECT)}:{node.lineno}"
                yield Metric(kinds[node.func.id], name, documentation, where)


METRICS: Final = list(metrics())


def test_there_are_metrics_of_every_service() -> None:
    assert len(METRICS) > 20
    assert {metric.where.split("/")[1] for metric in METRICS} == {
        "api",
        "common",
        "itarent",
        "matcher",
        "sender",
        "status-webhook",
    }
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_says_what_it_is(metric: Metric) -> None:
    assert re.fullmatch(r"itarent_[a-z_]+", metric.name), metric.where
    assert metric.name.endswith("_total") == (metric.kind == "Counter"), metric.where
    assert metric.kind != "Histogram" or metric.name.endswith("_seconds"), metric.where
    said = metric.documentation
    assert len(said.split()) >= 4, f"{metric.where}: {said!r} leaves open what it counts"
    assert said[0].isupper() or said[0].isdigit(), metric.where


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_of_metrics_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    promql_parser.parse(rule["expr"])
    named = set(re.findall(r"itarent_[a-z_]+", rule["expr"]))
    assert named
    assert named <= {metric.name for metric in METRICS}
    assert rule["labels"]["severity"] in ("page", "ticket")
    said = rule["annotations"]
    assert said["summary"].endswith(".")
    assert said["cure"].endswith(".")
    assert {command.split()[0] for command in re.findall(r"`itarent ([^`]+)`", said["cure"])} <= COMMANDS.keys()


def test_what_is_only_busy_alerts_nobody() -> None:
    """No rule is of a queue's length, and none of the reasons for which a healthy sender waits."""
    for rule in RULES:
        for pattern in re.findall(r'itarent_sender_channel_paused\{reason=~"([^"]*)"', rule["expr"].split("unless")[0]):
            assert not {reason for reason in BUSY if re.fullmatch(pattern, reason)}, rule["alert"]
        assert not re.search(r'messages\{stage="(due|sending)"', rule["expr"]), rule["alert"]
