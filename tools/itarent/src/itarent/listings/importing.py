"""An import's run: outcomes are counted, refusals reported, listings published in batches."""

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from common.listing import Listing
from itarent.listings.outcomes import Outcome
from itarent.listings.tally import RefusedReport, Seen, Tally

BATCH: Final = 1000

Publish = Callable[[Sequence[Listing]], Awaitable[None]]
"""Publishes listings; returns when they are acknowledged."""


async def import_outcomes(
    outcomes: Iterator[Outcome], publish: Publish, report: RefusedReport, tally: Tally, seen: Seen
) -> None:
    """Publish every listing that is new, counting in `tally` what has happened for certain.

    After an error any part of the batch under way may have been published: an import that is run again publishes the
    same ids and versions, which change nothing.
    """
    while batch := list(itertools.islice(outcomes, BATCH)):
        of_batch = Tally()
        listings = [listing for outcome in batch if (listing := _sorted_out(outcome, of_batch, report, seen))]
        await publish(listings)
        tally.add(of_batch)


def _sorted_out(outcome: Outcome, tally: Tally, report: RefusedReport, seen: Seen) -> Listing | None:
    """The listing of an outcome if it is to be published; the outcome is counted in any case."""
    result = outcome.result
    if isinstance(result, Listing):
        before = seen.before(result)
        if before is False:
            tally.accept(result)
            return result
        if before is True:
            tally.repeated += 1
            return None
        result = before
    tally.refused_by_reason[result.reason] += 1
    report.add(outcome, result)
    return None
