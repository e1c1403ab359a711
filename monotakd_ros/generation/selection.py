"""Which frames are worth keeping: at most so many a second, and only where something changed.

A pure function of the frames before, within one segment; the first usable frame of a segment is always kept.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from monotakd_ros.frame import Frame
from monotakd_ros.generation.settings import SelectionSettings

THUMBNAIL_PX = (32, 16)
RATE_SLACK = 0.1
"""Share of the period by which a frame may be early: recorded rates jitter."""
CLOCK_JUMP_NS = 1_000_000_000
"""A stamp that goes back further is a clock that was set, not a message out of order."""


class FrameSelector:
    """Judges the frames of a segment in their order."""

    def __init__(self, settings: SelectionSettings) -> None:
        self._settings = settings
        self._last_seen_ns: int | None = None
        self._kept: Frame | None = None
        self._kept_thumbnail: np.ndarray | None = None

    def objection(self, frame: Frame, count_points: Callable[[], int]) -> str | None:
        """Why a frame is not kept; None keeps it, and the next ones are compared with it.

        Args:
            frame: with image, and pose where it is known.
            count_points: gives the number of LiDAR points that fall into its image; asked only if it matters.
        """
        before, self._last_seen_ns = self._last_seen_ns, frame.stamp_ns
        if before is not None and 0 <= before - frame.stamp_ns < CLOCK_JUMP_NS:
            self._last_seen_ns = before
            return "stamp repeated" if before == frame.stamp_ns else "stamp goes back"
        if frame.points_lidar is None or frame.cam_T_lidar is None:
            return "no cloud near enough in time" if frame.cam_T_lidar is not None else "no LiDAR pose or no cloud"
        if self._is_too_soon(frame):
            return "too soon after the frame before"
        if count_points() < self._settings.min_points:
            return f"fewer than {self._settings.min_points} LiDAR points in the image"
        thumbnail = _thumbnail(frame.image)
        if not self._is_new(frame, thumbnail):
            return "nothing changed"
        self._kept, self._kept_thumbnail = frame, thumbnail
        return None

    def _is_too_soon(self, frame: Frame) -> bool:
        rate_hz = self._settings.max_rate_hz
        if not rate_hz or self._kept is None or frame.stamp_ns < self._kept.stamp_ns:
            return False
        return (frame.stamp_ns - self._kept.stamp_ns) * 1e-9 < (1 - RATE_SLACK) / rate_hz

    def _is_new(self, frame: Frame, thumbnail: np.ndarray) -> bool:
        if self._kept is None or self._kept_thumbnail is None or frame.stamp_ns < self._kept.stamp_ns:
            return True
        if _moved(self._kept, frame, self._settings):
            return True
        return float(np.abs(thumbnail - self._kept_thumbnail).mean()) >= self._settings.min_novelty


def _moved(kept: Frame, frame: Frame, settings: SelectionSettings) -> bool:
    if kept.world_T_lidar is None or frame.world_T_lidar is None:
        return False
    motion = np.linalg.inv(kept.world_T_lidar) @ frame.world_T_lidar
    turn_deg = np.degrees(np.arccos(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1)))
    return bool(np.linalg.norm(motion[:3, 3]) >= settings.min_motion_m or turn_deg >= settings.min_turn_deg)


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """(16, 32) float64 brightness in 0..1 of an image (H, W, 3) uint8, its mean taken off."""
    small = cv2.resize(image, THUMBNAIL_PX, interpolation=cv2.INTER_AREA).astype(np.float64).mean(axis=2) / 255
    return small - small.mean()
