"""Ctrl-C (and, on request, other signals) that lets the step in progress, and saving it, finish."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType

PATIENCE_S = 1.0
"""A second Ctrl-C sooner than this is the first one's echo: torchrun and job schedulers signal several times over."""


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """While entered, SIGTERM raises KeyboardInterrupt, so that what is half written is removed; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class StopRequested(KeyboardInterrupt):
    """Ctrl-C, delivered where the state is whole."""


class InterruptLatch:
    """While entered, a signal only sets `requested`; Ctrl-C again, `PATIENCE_S` later, raises KeyboardInterrupt.

    No other signal does, however often it comes: those who send them kill when they have waited enough.

    Outside the main thread signals cannot be caught, and `requested` stays False.

    Args:
        signals: those that ask to stop.
    """

    def __init__(self, signals: Sequence[signal.Signals]) -> None:
        self.requested = False
        self._requested_at = 0.0
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
        if not self.requested:
            self.requested, self._requested_at = True, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._requested_at >= PATIENCE_S:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise StopRequested after a signal: call where the state is whole."""
        if self.requested:
            raise StopRequested
