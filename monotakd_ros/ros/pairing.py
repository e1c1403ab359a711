"""Which cloud goes with which image, live: message_filters' approximate synchronizer where it is installed.

Where it is not, an image takes the nearest cloud once a later one, or `PATIENCE` more images, came. No ROS here.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from monotakd_ros.data.bag_windows import Window
from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.errors import MissingDependencyError
from monotakd_ros.ros.optional import ros_module
from monotakd_ros.ros.stamp_clock import StampClock

logger = logging.getLogger(__name__)

QUEUE = 10
"""Messages of each kind that wait for their partner; a 30 Hz camera has three a cloud."""
PATIENCE = 4

OnPair = Callable[[Any, Any], None]


class Pairing(Protocol):
    """Takes images and clouds as they come, and tells pairs."""

    def add_image(self, message: Any) -> None: ...

    def add_cloud(self, message: Any) -> None: ...


def open_pairing(on_pair: OnPair, tolerance_s: float, on_jump: Callable[[], None] = lambda: None) -> Pairing:
    """The pairing of this installation.

    Args:
        on_pair: called with image and cloud.
        tolerance_s: largest time between their stamps.
        on_jump: called when stamps go far back: a bag begins anew.
    """
    try:
        filters = ros_module("message_filters", "pairing of image and cloud", "go on without it")
    except MissingDependencyError as error:
        logger.warning("clouds are paired with images by our own rule: %s", error)
        return NearestPairing(on_pair, tolerance_s, on_jump)
    return SynchronizedPairing(filters, on_pair, tolerance_s, on_jump)


class SynchronizedPairing:
    """`message_filters.ApproximateTimeSynchronizer`, begun anew when time jumps back: it would wait for the old end."""

    def __init__(self, filters: Any, on_pair: OnPair, tolerance_s: float, on_jump: Callable[[], None]) -> None:
        self._filters, self._on_pair, self._tolerance_s = filters, on_pair, tolerance_s
        self._time = _Time(self._begin, on_jump)
        self._begin()

    def add_image(self, message: Any) -> None:
        """See `Pairing`."""
        self._time.goes_to(stamp_ns_from_msg(message.header.stamp))
        self._images.signalMessage(message)

    def add_cloud(self, message: Any) -> None:
        """See `Pairing`."""
        self._time.goes_to(stamp_ns_from_msg(message.header.stamp))
        self._clouds.signalMessage(message)

    def _begin(self) -> None:
        self._images, self._clouds = self._filters.SimpleFilter(), self._filters.SimpleFilter()
        both = [self._images, self._clouds]
        self._synchronizer = self._filters.ApproximateTimeSynchronizer(both, QUEUE, self._tolerance_s)
        self._synchronizer.registerCallback(self._on_pair)


class NearestPairing:
    """The rule by which bags are read, as far as the future is known."""

    def __init__(self, on_pair: OnPair, tolerance_s: float, on_jump: Callable[[], None]) -> None:
        self._on_pair, self._tolerance_ns = on_pair, int(tolerance_s * 1e9)
        self._time = _Time(self._begin, on_jump)
        self._begin()

    def add_image(self, message: Any) -> None:
        """See `Pairing`."""
        stamp_ns = stamp_ns_from_msg(message.header.stamp)
        self._time.goes_to(stamp_ns)
        self._images.append((stamp_ns, message))
        self._pair()

    def add_cloud(self, message: Any) -> None:
        """See `Pairing`."""
        stamp_ns = stamp_ns_from_msg(message.header.stamp)
        self._time.goes_to(stamp_ns)
        self._newest_cloud_ns = max(self._newest_cloud_ns, stamp_ns)
        self._clouds.add(stamp_ns, message)
        self._pair()

    def _begin(self) -> None:
        self._images: deque[tuple[int, Any]] = deque()
        self._clouds, self._newest_cloud_ns = Window(), 0

    def _pair(self) -> None:
        while self._images and (self._newest_cloud_ns >= self._images[0][0] or len(self._images) > PATIENCE):
            stamp_ns, image = self._images.popleft()
            nearest = self._clouds.nearest(stamp_ns, self._tolerance_ns)
            if nearest is not None:
                self._on_pair(image, nearest[1])
            self._clouds.forget_before(stamp_ns - self._tolerance_ns)


class _Time:
    """Stamps of images and clouds together; calls back when time jumps back."""

    def __init__(self, *on_jump: Callable[[], None]) -> None:
        self._on_jump = on_jump
        self._clock = StampClock()

    def goes_to(self, stamp_ns: int) -> None:
        """Take the next stamp."""
        if self._clock.jump_back_s(stamp_ns):
            for call in self._on_jump:
                call()
