"""The pictures of a replay: a video of every frame and a contact strip of a few."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Literal

import numpy as np

from monotakd_ros.frame import Detections3D, Frame
from monotakd_ros.visualization.film import ContactStrip, VideoFile
from monotakd_ros.visualization.picture import draw_picture

PictureKind = Literal["strip", "video"]
STRIP_NAME = "strip.png"
VIDEO_NAME = "video.mp4"
DEFAULT_RATE_HZ = 10.0
RATE_LIMITS_HZ = (1.0, 60.0)


class Pictures:
    """Draws frames into the files that were asked for.

    A video that this machine cannot encode becomes a strip instead.

    Args:
        folder: where the files go.
        kinds: which of them.
        expected: how many frames will come.
    """

    def __init__(self, folder: Path, kinds: Set[PictureKind], expected: int) -> None:
        self._strip = ContactStrip(folder / STRIP_NAME, expected) if kinds else None
        self._keep_strip = "strip" in kinds
        self._video_path = folder / VIDEO_NAME if "video" in kinds else None
        self._video: VideoFile | None = None
        self._first: tuple[int, np.ndarray | None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether the next frame would be drawn."""
        return self._video_path is not None or (self._strip is not None and self._strip.wants_next())

    def add(self, frame: Frame, detections: Detections3D) -> None:
        """Draw one frame if it is wanted."""
        start_ns = frame.stamp_ns if self._first is None else self._first[0]
        picture = None
        if self.wanted:
            picture = draw_picture(frame, detections, _caption(frame, detections, start_ns))
        if self._strip is not None:
            self._strip.add(picture)
        if self._first is None:
            self._first = (frame.stamp_ns, picture)
        elif self._video_path is not None:
            self._open_video(frame.stamp_ns - start_ns).add(picture)

    def close(self) -> dict[str, str]:
        """Finish the files; returns kind -> name of those that were written."""
        files = {}
        if self._video_path is not None and self._first is not None and self._open_video(0).close():
            files["video"] = VIDEO_NAME
        if self._strip is not None and (self._keep_strip or "video" not in files) and self._strip.close():
            files["strip"] = STRIP_NAME
        return files

    def _open_video(self, period_ns: int) -> VideoFile:
        """The video, begun with the first picture at the rate that the first two stamps give."""
        if self._video is None:
            rate_hz = float(np.clip(1e9 / period_ns, *RATE_LIMITS_HZ)) if period_ns > 0 else DEFAULT_RATE_HZ
            self._video = VideoFile(self._video_path, round(rate_hz, 2))
            self._video.add(self._first[1])
        return self._video


def _caption(frame: Frame, detections: Detections3D, start_ns: int) -> str:
    text = f"{frame.name}    {(frame.stamp_ns - start_ns) / 1e9:.1f} s    {len(detections)} found"
    return text if frame.labels is None else f"{text}, {len(frame.labels)} labelled"
