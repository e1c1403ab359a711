"""Pause, resume and cancel work that runs in another thread, and know how far it is. No ROS here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from monotakd_ros.errors import OutputError
from monotakd_ros.ros.disk_quota import DiskQuota


class Cancelled(Exception):
    """The work was told to end; no error, so none of `errors`."""


class GenerationControl:
    """Between who works and who says whether to: any thread may call anything.

    Attributes:
        cancelled: whether the work is to end.
        holds: whether the work waits at a step.
    """

    def __init__(self) -> None:
        self._go = threading.Event()
        self._go.set()
        self.cancelled = self.holds = False

    @property
    def paused(self) -> bool:
        """Whether work is to be held up."""
        return not self._go.is_set()

    def pause(self) -> None:
        """Hold the work up at its next step; cancelled work stays so."""
        if not self.cancelled:
            self._go.clear()

    def resume(self) -> None:
        """Let it go on."""
        self._go.set()

    def cancel(self) -> None:
        """End it at its next step, paused or not."""
        self.cancelled = True
        self._go.set()

    def step(self) -> None:
        """Called by the work between its steps: waits while it is paused.

        Raises:
            Cancelled: it is to end.
        """
        while self.paused:
            self.holds = True
            self._go.wait()
        self.holds = False
        if self.cancelled:
            raise Cancelled


class GenerationWatch:
    """The `Watcher` of `generate`: counts, and lets control and quota have their say after every image.

    Args:
        control: see there.
        quota: of the set's folder.
        clock: seconds.

    Attributes:
        reading: name of the recording that is being read through; empty once the work began.
        total: images that this run looks at; None before it is known.
        done: images that it has looked at.
    """

    def __init__(
        self, control: GenerationControl, quota: DiskQuota, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._control, self._quota, self._clock = control, quota, clock
        self.reading = ""
        self.total: int | None = None
        self.done = 0
        self._worked_s = 0.0
        self._since = clock()

    def planning(self, source: Path) -> None:
        """See `Watcher`."""
        self.reading = source.name
        self._step()

    def planned(self, images_to_do: int) -> None:
        """See `Watcher`."""
        self.reading, self.total, self.done = "", images_to_do, 0
        self._worked_s, self._since = 0.0, self._clock()

    def images(self, count: int) -> None:
        """See `Watcher`; also called with 0, to ask whether to go on.

        Raises:
            Cancelled: the work is to end.
            OutputError: the quota is used up.
        """
        self.done += count
        self._step()

    @property
    def share_done(self) -> float:
        """0 to 1."""
        if self.total is None:
            return 0.0
        return min(self.done / self.total, 1.0) if self.total else 1.0

    @property
    def images_per_s(self) -> float:
        """Of this run, pauses not counted."""
        return self.done / self._worked_s if self._worked_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """How long it will still take, at this pace; None before that can be told."""
        if self.total is None or not self.images_per_s:
            return None
        return max(self.total - self.done, 0) / self.images_per_s

    def _step(self) -> None:
        self._worked_s += self._clock() - self._since
        try:
            self._control.step()
        finally:
            self._since = self._clock()
        objection = self._quota.objection()
        if objection is not None:
            raise OutputError(objection)
