"""Pictures of a recording's frames into one folder: a video of all, a contact strip of a few, each as a file."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Literal

import numpy as np

from monotakd_ros.visualization.film import ContactStrip, VideoFile, write_png

PictureKind = Literal["strip", "video", "frames"]
STRIP_NAME = "strip.png"
VIDEO_NAME = "video.mp4"
FRAMES_NAME = "frames"
DEFAULT_RATE_HZ = 10.0
RATE_LIMITS_HZ = (1.0, 60.0)


class PictureFiles:
    """Takes one picture after the other into the files that were asked for.

    A video that this machine cannot encode becomes a strip instead.

    Args:
        folder: where the files go.
        kinds: which of them.
        expected: how many frames will come.
    """

    def __init__(self, folder: Path, kinds: Set[PictureKind], expected: int) -> None:
        self._strip = ContactStrip(folder / STRIP_NAME, expected) if kinds & {"strip", "video"} else None
        self._keep_strip = "strip" in kinds
        self._video_path = folder / VIDEO_NAME if "video" in kinds else None
        self._video: VideoFile | None = None
        self._frames = folder / FRAMES_NAME if "frames" in kinds else None
        self._count = 0
        self._first: tuple[int, np.ndarray | None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether the next picture goes anywhere, so that others need not be drawn."""
        one_of_all = self._video_path is not None or self._frames is not None
        return one_of_all or (self._strip is not None and self._strip.wants_next())

    def add(self, name: str, stamp_ns: int, picture: np.ndarray | None) -> None:
        """Offer the next picture (H, W, 3) uint8 RGB of a frame; it may be None when it is not `wanted`.

        Raises:
            OutputError: a file cannot be written.
        """
        if self._strip is not None:
            self._strip.add(picture)
        if self._frames is not None and picture is not None:
            self._frames.mkdir(exist_ok=True)
            write_png(self._frames / f"{name.replace('/', '_')}.png", picture)
            self._count += 1
        if self._first is None:
            self._first = (stamp_ns, picture)
        elif self._video_path is not None:
            self._open_video(stamp_ns - self._first[0]).add(picture)

    def close(self) -> dict[str, str]:
        """Finish the files; returns kind -> name of those that were written."""
        files = {}
        if self._video_path is not None and self._first is not None and self._open_video(0).close():
            files["video"] = VIDEO_NAME
        if self._strip is not None and (self._keep_strip or "video" not in files) and self._strip.close():
            files["strip"] = STRIP_NAME
        if self._count:
            files["frames"] = FRAMES_NAME
        return files

    def _open_video(self, period_ns: int) -> VideoFile:
        """The video, begun with the first picture at the rate that the first two stamps give."""
        if self._video is None:
            rate_hz = float(np.clip(1e9 / period_ns, *RATE_LIMITS_HZ)) if period_ns > 0 else DEFAULT_RATE_HZ
            self._video = VideoFile(self._video_path, round(rate_hz, 2))
            self._video.add(self._first[1])
        return self._video
