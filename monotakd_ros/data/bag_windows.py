"""What waits between a bag's stream and its frames: recent messages by stamp, and cameras by the time they hold."""

from __future__ import annotations

import bisect
import logging
from typing import Any

from monotakd_ros.data.camera_info import CameraInfo

logger = logging.getLogger(__name__)

MAX_WAITING = 32
"""Messages of a kind that wait at most; bounds memory where bag times are useless."""


class Window:
    """The latest messages of a topic by stamp, at most `MAX_WAITING`."""

    def __init__(self) -> None:
        self._stamps_ns: list[int] = []
        self._values: list[Any] = []

    def add(self, stamp_ns: int, value: Any) -> None:
        """Insert by stamp."""
        index = bisect.bisect_right(self._stamps_ns, stamp_ns)
        self._stamps_ns.insert(index, stamp_ns)
        self._values.insert(index, value)
        if len(self._values) > MAX_WAITING:
            del self._stamps_ns[0], self._values[0]

    def nearest(self, stamp_ns: int, tolerance_ns: int) -> tuple[int, Any] | None:
        """Stamp and value nearest to `stamp_ns`; None when none is within the tolerance."""
        index = bisect.bisect_left(self._stamps_ns, stamp_ns)
        candidates = [i for i in (index - 1, index) if 0 <= i < len(self._values)]
        best = min(candidates, key=lambda i: abs(self._stamps_ns[i] - stamp_ns), default=None)
        if best is None or abs(self._stamps_ns[best] - stamp_ns) > tolerance_ns:
            return None
        return self._stamps_ns[best], self._values[best]

    def forget_before(self, stamp_ns: int) -> None:
        """Drop what is older."""
        first = bisect.bisect_left(self._stamps_ns, stamp_ns)
        del self._stamps_ns[:first], self._values[:first]


class CameraTimeline:
    """Which CameraInfo holds when: the one with the image's stamp, else the last before it, else the first."""

    def __init__(self) -> None:
        self._stamps_ns: list[int] = []
        self._infos: list[CameraInfo] = []

    def __len__(self) -> int:
        return len(self._infos)

    def add(self, stamp_ns: int, info: CameraInfo, where: str) -> None:
        """Add a message; one that says nothing new is passed over, a change is logged."""
        if self._infos and self._infos[-1].same_as(info):
            return
        if self._infos:
            logger.warning("%s: CameraInfo changes; the new one holds for images from here on", where)
        self._stamps_ns.append(stamp_ns)
        self._infos.append(info)
        if len(self._infos) > MAX_WAITING:
            del self._stamps_ns[0], self._infos[0]

    def at(self, stamp_ns: int) -> CameraInfo:
        """The one that holds at `stamp_ns`."""
        return self._infos[max(bisect.bisect_right(self._stamps_ns, stamp_ns) - 1, 0)]
