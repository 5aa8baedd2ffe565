"""How long to wait before trying again, and how often."""

from __future__ import annotations

import random


class Backoff:
    """Doubling delays with jitter, so that a fleet does not come back in step."""

    def __init__(self, first: float = 0.25, longest: float = 15.0, rng: random.Random | None = None) -> None:
        self._first = first
        self._longest = longest
        self._next = first
        self._rng = rng or random.Random()

    def reset(self) -> None:
        """It worked: the next trouble is a new one."""
        self._next = self._first

    def delay(self) -> float:
        """Seconds to wait now; each call waits longer than the last, up to the longest."""
        now, self._next = self._next, min(self._next * 2, self._longest)
        return now * self._rng.uniform(0.8, 1.2)
