"""Repeated log messages, told every few seconds."""

from __future__ import annotations

import time

PERIOD_S = 5.0


class Throttle:
    """Lets each kind of message through at most once per period."""

    def __init__(self, period_s: float = PERIOD_S) -> None:
        self._period_s = period_s
        self._last_s: dict[str, float] = {}

    def lets_through(self, kind: str) -> bool:
        """Whether to tell a message of this kind now."""
        now = time.monotonic()
        if now - self._last_s.get(kind, -float("inf")) < self._period_s:
            return False
        self._last_s[kind] = now
        return True
