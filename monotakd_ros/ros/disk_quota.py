"""When to stop writing: a folder has its size, or the disk is nearly full. Nothing is ever deleted. No ROS here."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

GIB = 2**30
MEASURE_S = 2.0
"""A folder is measured again after so long, and after 20 times what it took: its files may be many."""


class DiskQuota:
    """Watches a folder and its disk.

    Args:
        folder: need not exist yet.
        limits: gives the largest size of the folder (0: any) and the least free space of its disk, both in GiB; asked
            each time, since they may change.
        clock: seconds.
    """

    def __init__(
        self, folder: Path, limits: Callable[[], tuple[float, float]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._limits, self._clock = folder, limits, clock
        self._used_gib = 0.0
        self._measure_at: float | None = None

    @property
    def free_gib(self) -> float:
        """What the disk still takes."""
        there = next(path for path in (self._folder, *self._folder.absolute().parents) if path.exists())
        return shutil.disk_usage(there).free / GIB

    @property
    def used_gib(self) -> float:
        """What the folder takes, as it was measured a moment ago."""
        now = self._clock()
        if self._measure_at is None or now >= self._measure_at:
            self._used_gib = sum(_sizes(self._folder)) / GIB
            took_s = self._clock() - now
            self._measure_at = now + max(MEASURE_S, 20 * took_s)
        return self._used_gib

    def objection(self) -> str | None:
        """Why nothing more may be written; None when it may."""
        max_gib, min_free_gib = self._limits()
        if max_gib and self.used_gib >= max_gib:
            return f"{self._folder} takes {self.used_gib:.2f} GiB: max_gib is {max_gib:g}"
        free_gib = self.free_gib
        if free_gib < min_free_gib:
            return f"the disk of {self._folder} has {free_gib:.2f} GiB free: min_free_gib is {min_free_gib:g}"
        return None


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes of every file; those that go away meanwhile count nothing."""
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                yield path.stat().st_size
        except OSError:
            continue
