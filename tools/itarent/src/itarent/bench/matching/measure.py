"""How a system is measured: it is given searches, then listings one by one, and its answers are compared."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import psutil

from common.listing import Listing
from itarent.bench.matching.oracle import Numbers, digest
from itarent.bench.matching.searches import Searches

WARM_UP: Final = 0.2
"""The share of the time in which nothing is measured yet."""

WARM_UP_LISTINGS: Final = 200
LEAST_SECONDS: Final = 2.0
"""Who is done sooner is asked again, until so much time is measured."""


class Answer(NamedTuple):
    seconds: float
    numbers: Numbers


@dataclass(frozen=True)
class Loaded:
    """A system that holds the searches. `answers` ends with the listings, or after so many seconds."""

    bytes_used: int
    answers: Callable[[Sequence[Listing], float], Iterator[Answer]]


System = Callable[[Searches, Path], AbstractContextManager[Loaded]]
"""Loads a system with searches, its files in an empty directory."""


class WrongAnswer(Exception):  # noqa: N818 - named by what is the case
    """A system answered otherwise than the rules do, for a listing and with so many searches: its time is worthless."""


@dataclass(frozen=True)
class Measured:
    listings: int  # that were compared with the right answers
    matches: float  # a mean of so many
    seconds: Sequence[float]

    def row(self) -> dict[str, Any]:
        p50, p99 = np.percentile(self.seconds, [50, 99]) * 1000
        return {
            "listings_per_s": len(self.seconds) / sum(self.seconds),
            "p50_ms": float(p50),
            "p99_ms": float(p99),
            "matches": self.matches,
            "listings": self.listings,
        }


def measure(
    loaded: Loaded,
    listings: Sequence[Listing],
    digests: Sequence[bytes],
    seconds: float,
    least_seconds: float = LEAST_SECONDS,
) -> Measured:
    """Time a system on as many of the listings as it can answer in so many seconds.

    Raises:
        WrongAnswer: an answer is not the one that the digest stands for.
    """
    gc.collect()
    gc.freeze()  # as the matcher does with what it has loaded
    taken: list[float] = []
    counts: list[int] = []
    while not taken or (len(counts) == len(listings) and sum(taken) < least_seconds):
        counts.clear()
        for number, answer in enumerate(loaded.answers(listings, seconds)):
            if digest(answer.numbers) != digests[number]:
                raise WrongAnswer(listings[number].listing_id, len(answer.numbers))
            taken.append(answer.seconds)
            counts.append(len(answer.numbers))
    return Measured(len(counts), float(np.mean(counts)), taken)


def one_by_one(match: Callable[[Listing], Numbers]) -> Callable[[Sequence[Listing], float], Iterator[Answer]]:
    """Ask a system that runs in this process, or is called from it; what it has to warm up is warm then."""

    def answers(listings: Sequence[Listing], seconds: float) -> Iterator[Answer]:
        until = time.perf_counter() + WARM_UP * seconds
        for listing in listings[-WARM_UP_LISTINGS:]:
            match(listing)
            if time.perf_counter() > until:
                break
        until = time.perf_counter() + seconds
        for listing in listings:
            began = time.perf_counter()
            numbers = match(listing)
            ended = time.perf_counter()
            yield Answer(ended - began, numbers)
            if ended > until:
                return

    return answers


def memory() -> int:
    """Bytes that this process uses."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)
