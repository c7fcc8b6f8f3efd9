"""Pictures of results, SVG files beside their JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itarent.bench.results import RESULTS


@dataclass(frozen=True)
class Axis:
    name: str
    log: bool = False


def plot_lines(name: str, series: Mapping[str, Sequence[tuple[float, float]]], *, x: Axis, y: Axis) -> None:
    """Write `results/<name>.svg`: a line for each series of points."""
    figure, axes = _empty(y)
    for label, points in series.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set_xscale("log" if x.log else "linear")
    axes.set_xlabel(x.name)
    axes.legend()
    _save(figure, name)


def plot_bars(name: str, bars: Mapping[str, float], *, y: Axis) -> None:
    """Write `results/<name>.svg`: a bar for each label."""
    figure, axes = _empty(y)
    axes.bar_label(axes.bar(list(bars), list(bars.values())), fmt="{:,.2f}")
    _save(figure, name)


def _empty(y: Axis) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt  # noqa: PLC0415 - a second to import, and wanted at a benchmark's end only

    # Letters as letters, and the same picture for the same figures.
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "itarent", "figure.figsize": (8, 4.5)})
    plt.switch_backend("svg")
    figure, axes = plt.subplots(layout="constrained")
    axes.set_ylabel(y.name)
    axes.set_yscale("log" if y.log else "linear")
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def _save(figure: Any, name: str) -> None:  # noqa: ANN401 - matplotlib is imported when needed
    RESULTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
