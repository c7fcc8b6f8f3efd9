"""Scripted faults: what goes wrong, how often, and for whom."""

import random
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from twilio_simulator.resources import Status


class FaultKind(StrEnum):
    """What may go wrong. "Taken" means that the message was created although the client is not told so."""

    # when a message is created
    REFUSE = "refuse"  # answers the error `code`: 20429 is a 429, 20003 a 401
    SERVER_ERROR = "server_error"  # answers `http_status`; not taken
    SERVER_ERROR_TAKEN = "server_error_taken"  # answers `http_status`; taken
    SLOW = "slow"  # answers as usual, `seconds` later
    HANG = "hang"  # says nothing for `seconds`, then cuts the connection; not taken
    HANG_TAKEN = "hang_taken"  # the same; taken
    RESET = "reset"  # cuts the connection at once; not taken
    RESET_TAKEN = "reset_taken"  # cuts the connection at once; taken
    WRONG_JSON = "wrong_json"  # answers 201 with something that is not JSON; taken
    FAIL = "fail"  # answers as usual; the message ends in `status` with `code`
    CALLBACK_FIRST = "callback_first"  # answers only after the first callback was delivered
    # when a status callback is sent
    LOSE = "lose"
    DOUBLE = "double"
    DELAY = "delay"  # by `seconds`
    REORDER = "reorder"  # after the callback that follows it
    FORGE = "forge"  # a copy with a wrong signature goes before the true one
    # when a template is submitted for approval
    REJECT = "reject"  # the review ends with a rejection for `reason`


CALLBACK_FAULTS = frozenset(
    {FaultKind.LOSE, FaultKind.DOUBLE, FaultKind.DELAY, FaultKind.REORDER, FaultKind.FORGE},
)

REVIEW_FAULTS = frozenset({FaultKind.REJECT})

CREATION_FAULTS = frozenset(FaultKind) - CALLBACK_FAULTS - REVIEW_FAULTS

TAKEN_FAULTS = frozenset(
    {FaultKind.SERVER_ERROR_TAKEN, FaultKind.HANG_TAKEN, FaultKind.RESET_TAKEN, FaultKind.WRONG_JSON},
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of a script: the next `times` occasions (None: all), each with `probability`, for the phone `to`."""

    kind: FaultKind
    times: int | None = 1
    probability: float = 1.0
    seconds: float = 1.0
    code: int = 20429
    http_status: int = 500
    status: Status = Status.UNDELIVERED
    reason: str = "PROMOTIONAL"
    to: str | None = None


class FaultScript:
    """The faults that are still to come. The same seed and the same requests give the same faults."""

    def __init__(self, counters: Counter[str], seed: int = 0) -> None:
        self._counters = counters
        self._random = random.Random(seed)  # noqa: S311 - chance that can be repeated, not a secret
        self._remaining: list[tuple[Fault, int | None]] = []

    @property
    def faults(self) -> list[Fault]:
        """What is still scripted, as it was given."""
        return [fault for fault, _ in self._remaining]

    def add(self, fault: Fault) -> None:
        self._remaining.append((fault, fault.times))

    def clear(self, seed: int = 0) -> None:
        self._remaining.clear()
        self._random.seed(seed)

    def next_for_creation(self, number: str) -> Fault | None:
        return self._next(CREATION_FAULTS, number) if self._remaining else None

    def next_for_callback(self, number: str) -> Fault | None:
        return self._next(CALLBACK_FAULTS, number) if self._remaining else None

    def next_for_review(self) -> Fault | None:
        return self._next(REVIEW_FAULTS) if self._remaining else None

    def _next(self, kinds: frozenset[FaultKind], number: str | None = None) -> Fault | None:
        for index, (fault, left) in enumerate(self._remaining):
            concerned = fault.kind in kinds and fault.to in {None, number}
            if concerned and self._random.random() < fault.probability:
                self._use_up(index, fault, left)
                self._counters[f"fault_{fault.kind}"] += 1
                return fault
        return None

    def _use_up(self, index: int, fault: Fault, left: int | None) -> None:
        if left is None:
            return
        if left <= 1:
            del self._remaining[index]
        else:
            self._remaining[index] = (fault, left - 1)
