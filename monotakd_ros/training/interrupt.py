"""Ctrl-C (and, on request, other signals) that lets the step in progress finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType


class StopRequested(KeyboardInterrupt):
    """Ctrl-C, delivered where the state is whole."""


class InterruptLatch:
    """While entered, the first signal only sets `requested`; a second one raises KeyboardInterrupt at once.

    Outside the main thread signals cannot be caught, and `requested` stays False.

    Args:
        signals: SIGINT, and what else asks to stop.
    """

    def __init__(self, signals: Sequence[signal.Signals] = (signal.SIGINT,)) -> None:
        self.requested = False
        self._signals = signals
        self._active = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> InterruptLatch:
        if self._active:
            self._previous = {number: signal.signal(number, self._on_signal) for number in self._signals}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            for number, previous in self._previous.items():
                signal.signal(number, previous)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def check(self) -> None:
        """Raise StopRequested after a signal: call where the state is whole."""
        if self.requested:
            raise StopRequested
