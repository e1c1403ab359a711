"""When to stop writing: a folder has its size, or the disk is nearly full. Nothing is ever deleted. No ROS here."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

GIB = 2**30
MEASURE_S = 2.0
"""A folder is measured again after so long, and after 20 times what it took: its files may be many."""


class DiskQuota:
    """Watches a folder and its disk.

    Who writes asks it; that measures. The figures are those measured last, for anybody to read at no cost.

    Args:
        folder: need not exist yet.
        limits: gives the largest size of the folder (0: any) and the least free space of its disk, both in GiB; asked
            each time, since they may change.
        clock: seconds.

    Attributes:
        free_gib: what the disk still takes.
        used_gib: what the folder takes; None before it was measured, and while it has no limit.
    """

    def __init__(
        self, folder: Path, limits: Callable[[], tuple[float, float]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._limits, self._clock = folder, limits, clock
        self._measure_at = -float("inf")
        self._measuring = threading.Lock()
        self.free_gib = self._free_gib()
        self.used_gib: float | None = None

    def objection(self) -> str | None:
        """Why nothing more may be written; None when it may. Slow: not for callbacks."""
        max_gib, min_free_gib = self._limits()
        self._measure(bool(max_gib))
        used_gib, free_gib = self.used_gib, self.free_gib
        if max_gib and used_gib is not None and used_gib >= max_gib:
            return f"{self._folder} takes {used_gib:.2f} GiB: max_gib is {max_gib:g}"
        if free_gib < min_free_gib:
            return f"the disk of {self._folder} has {free_gib:.2f} GiB free: min_free_gib is {min_free_gib:g}"
        return None

    def measure_anew(self) -> None:
        """Have the next who asks measure: somebody may have made room."""
        self._measure_at = -float("inf")

    def _measure(self, is_limited: bool) -> None:
        self.free_gib = self._free_gib()
        if not is_limited:
            self.used_gib, self._measure_at = None, -float("inf")
            return
        if not self._measuring.acquire(blocking=self.used_gib is None):
            return  # another thread is at it; what was measured before it will do
        try:
            now = self._clock()
            if now >= self._measure_at:
                self.used_gib = sum(_sizes(self._folder)) / GIB
                self._measure_at = now + max(MEASURE_S, 20 * (self._clock() - now))
        finally:
            self._measuring.release()

    def _free_gib(self) -> float:
        there = next(path for path in (self._folder, *self._folder.absolute().parents) if path.exists())
        return shutil.disk_usage(there).free / GIB


def _sizes(folder: Path | str) -> Iterator[int]:
    """Bytes of every file; those that go away meanwhile count nothing."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _sizes(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield _size(entry)
    except OSError:
        return


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0
