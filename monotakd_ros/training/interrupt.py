"""Ctrl-C that lets the step in progress finish."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopRequested(KeyboardInterrupt):
    """Ctrl-C, delivered where the state is whole."""


class InterruptLatch:
    """While entered, the first SIGINT only sets `requested`; a second one raises KeyboardInterrupt at once.

    Outside the main thread signals cannot be caught, and `requested` stays False.
    """

    def __init__(self) -> None:
        self.requested = False
        self._active = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> InterruptLatch:
        if self._active:
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._previous)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def check(self) -> None:
        """Raise StopRequested after a SIGINT: call where the state is whole."""
        if self.requested:
            raise StopRequested
