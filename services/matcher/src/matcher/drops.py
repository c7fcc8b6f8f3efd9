"""How far a rent has fallen, as each search counts it. Pure.

Every search says by how much a rent must fall to be news, and small steps add up. That needs no memory per search: of
an advertisement every rent is kept that was its lowest so far, and going through them in order tells of which of them
a search has last heard. Searches with one threshold have heard of the same ones, so there are as many answers as
different thresholds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from common.listing import SpeseTerm
from common.search import PriceDrop


@dataclass(frozen=True, order=True)
class Asked:
    """A rent that was lower than all that its advertisement had asked before on the same terms; the first is one too.

    `turn` counts through what a flat's advertisements asked, in the order in which it took effect.
    """

    turn: int
    spese: SpeseTerm
    cents: int


def is_drop(rent_cents: int, before_cents: int, least: PriceDrop) -> bool:
    fall = before_cents - rent_cents
    return fall > 0 and fall >= least.cents and fall * 100 >= before_cents * least.percent


def last_heard(asked_cents: Iterable[int], least: PriceDrop) -> int | None:
    """Of the rents that were asked one after the other, the one of which who waits for such a drop has last heard."""
    heard: int | None = None
    for rent in asked_cents:
        if heard is None or is_drop(rent, heard, least):
            heard = rent
    return heard
