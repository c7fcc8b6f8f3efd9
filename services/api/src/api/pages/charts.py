"""Bars of a chart, as the template draws them in SVG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from api.statistics import Day

WIDTH: Final = 640
HEIGHT: Final = 180
_TOP: Final = 12  # room for the scale's highest line
_FLOOR: Final = HEIGHT - 22  # below it stand the dates
_STEPS: Final = (1, 2, 5)


@dataclass(frozen=True)
class Bar:
    day: Day
    x: float
    width: float
    matches_y: float
    messages_y: float

    @property
    def matches_height(self) -> float:
        return round(_FLOOR - self.matches_y, 1)

    @property
    def messages_height(self) -> float:
        return round(_FLOOR - self.messages_y, 1)


@dataclass(frozen=True)
class Line:
    """A line of the scale."""

    value: int
    y: float


@dataclass(frozen=True)
class Chart:
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]


def chart_of(days: Sequence[Day]) -> Chart:
    """Two bars for each day, side by side, on a scale that ends at a round number."""
    top = round_above(max([1, *(max(day.matches, day.messages) for day in days)]))

    def y_of(value: int) -> float:
        return round(_FLOOR - value / top * (_FLOOR - _TOP), 1)

    slot = WIDTH / max(1, len(days))
    bars = tuple(
        Bar(day, round(index * slot, 1), round(slot * 0.4, 1), y_of(day.matches), y_of(day.messages))
        for index, day in enumerate(days)
    )
    values = sorted({0, top // 2, top} if top % 2 == 0 else {0, top})
    return Chart(bars, tuple(Line(value, y_of(value)) for value in values))


def round_above(value: int) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 … that is not below a value."""
    return next(candidate for candidate in _round_numbers() if candidate >= value)


def _round_numbers() -> Iterator[int]:
    power = 1
    while True:
        yield from (step * power for step in _STEPS)
        power *= 10
