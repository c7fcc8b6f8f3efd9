"""Twilio's limits: how fast requests are taken, and how fast a number may send."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What Twilio bears; None is without limit.

    `requests_per_second`, `concurrent_requests`: above them the answer is 429 / 20429 and nothing is taken.
    `messages_per_second`: of the number. Excess waits in Twilio's queue; what would wait for longer than
    `queue_seconds` fails with 63018.
    """

    requests_per_second: float | None = None
    concurrent_requests: int | None = None
    messages_per_second: float | None = None
    queue_seconds: float = 4 * 3600


class RequestMeter:
    """A bucket that holds one second's worth of requests."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._at = 0.0

    def admits(self, rate: float | None, now: float) -> bool:
        """Whether one more request fits at `now` (seconds of any clock that never goes back); counts it if so."""
        if rate is None:
            return True
        self._spent = max(0.0, self._spent - (now - self._at) * rate)
        self._at = now
        if self._spent + 1 > max(rate, 1):
            return False
        self._spent += 1
        return True


class SendingQueue:
    """The queue of a number: when its next message may leave."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def wait(self, limits: Limits, now: float) -> float | None:
        """Seconds until a message that comes now may leave, and its turn is taken; None when the queue is full."""
        if limits.messages_per_second is None:
            return 0.0
        seconds = max(0.0, self._free_at - now)
        if seconds > limits.queue_seconds:
            return None
        self._free_at = max(self._free_at, now) + 1 / limits.messages_per_second
        return seconds
