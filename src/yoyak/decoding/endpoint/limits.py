"""How fast an endpoint is asked: so many requests and tokens a minute, evenly spaced, and pauses that it asks for.

Even spacing keeps below any way of counting, whether the endpoint's minutes slide, are fixed or refill a bucket.
"""

from __future__ import annotations

import time
from collections.abc import Callable

MINUTE = 60.0


class Pace:
    """A rate per minute; None is no limit."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self.clock = clock
        self._free_at = clock()

    def take(self, amount: float) -> float:
        """Take ``amount`` of the rate and return how many seconds to wait before using it."""
        now = self.clock()
        if self.per_minute is None:
            return 0.0
        start = max(now, self._free_at)
        self._free_at = start + amount * MINUTE / self.per_minute
        return start - now

    def give_back(self, amount: float) -> None:
        """Give back what was taken and not used; a negative amount takes more."""
        if self.per_minute is not None:
            self._free_at -= amount * MINUTE / self.per_minute


class Limits:
    """The limits of one endpoint."""

    def __init__(
        self, requests: float | None, tokens: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.requests = Pace(requests, clock)
        self.tokens = Pace(tokens, clock)
        self._paused_until = clock()

    def take(self, tokens: float) -> float:
        """Take a request of so many tokens and return how many seconds to wait before sending it."""
        return max(self.requests.take(1), self.tokens.take(tokens))

    def pause(self, seconds: float) -> None:
        """Let no request start for so long."""
        self._paused_until = max(self._paused_until, self.clock() + seconds)

    @property
    def pause_left(self) -> float:
        """Seconds until requests may start again."""
        return max(0.0, self._paused_until - self.clock())
