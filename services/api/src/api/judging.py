"""A search judged over all recent listings: what it would have found, and which criterion keeps how many away. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from api.columns import Columns, Rows
from api.loosening import loosened
from common.rules import RULES, Rule
from common.search import Criterion, Search

NEVER_DROPPED: Final = frozenset({Criterion.STATUS, Criterion.PLACE})
"""A search cannot be without them."""


@dataclass(frozen=True)
class Effect:
    """What one criterion does."""

    rule: Rule[Any, Any]
    excluded: int  # of what passes the criteria before it
    more_if_dropped: int | None  # None: it cannot be dropped
    looser: Search | None  # None: there is no step short of dropping it
    more_if_looser: int | None


@dataclass(frozen=True)
class Judged:
    """What matches and what nearly does, in order of time, and what each criterion does."""

    matching: Rows
    nearly: Rows  # in the place, and refused by one criterion alone
    effects: Sequence[Effect]


def matching(columns: Columns, search: Search, recent: Rows) -> Rows:
    """The rows that match."""
    rows = recent
    for rule in RULES:
        if rule.asks(search) is not None:
            rows = rows[~columns.refused(rule, search, rows)]
    return rows


def judge(columns: Columns, search: Search, recent: Rows) -> Judged:
    """Judge all rows, and drop on the way what two criteria refuse: no step of one brings it back."""
    rules = [rule for rule in RULES if rule.asks(search) is not None]
    rows, refused_by = recent, np.full(len(recent), _NONE)
    excluded: list[int] = []
    for index, rule in enumerate(rules):
        refused = columns.refused(rule, search, rows)
        excluded.append(int(np.count_nonzero(refused & (refused_by == _NONE))))
        kept = ~refused | (refused_by == _NONE)
        if rule.criterion is Criterion.PLACE:
            kept &= ~refused | _reached_by_a_step(columns, rule, search, rows)
        refused_by[refused] = index
        rows, refused_by = rows[kept], refused_by[kept]
    effects = [
        _effect(columns, rule, search, count, rows[refused_by == index])
        for index, (rule, count) in enumerate(zip(rules, excluded, strict=True))
    ]
    elsewhere = [index for index, rule in enumerate(rules) if rule.criterion is Criterion.PLACE]
    nearly = rows[(refused_by != _NONE) & ~np.isin(refused_by, elsewhere)]
    return Judged(rows[refused_by == _NONE], nearly, effects)


_NONE: Final = -1


def _reached_by_a_step(columns: Columns, rule: Rule[Any, Any], search: Search, rows: Rows) -> Any:  # noqa: ANN401 - a mask
    """Which rows one step of the place would reach: the rest of Italy need not be looked at."""
    looser = loosened(search, rule.criterion)
    return ~columns.refused(rule, looser, rows) if looser else np.zeros(len(rows), np.bool_)


def _effect(columns: Columns, rule: Rule[Any, Any], search: Search, excluded: int, only_by_it: Rows) -> Effect:
    looser = loosened(search, rule.criterion)
    return Effect(
        rule=rule,
        excluded=excluded,
        more_if_dropped=None if rule.criterion in NEVER_DROPPED else len(only_by_it),
        looser=looser,
        more_if_looser=int(np.count_nonzero(~columns.refused(rule, looser, only_by_it))) if looser else None,
    )
