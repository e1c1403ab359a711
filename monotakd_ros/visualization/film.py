"""Pictures in a row to files: an MP4 video, and a PNG contact strip of some of them. OpenCV.

Both take the first picture's size; a picture of another size is fitted into it. Nothing is written atomically here:
whoever asks for files builds them in a folder of its own and renames that.
"""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np

from monotakd_ros.errors import OutputError
from monotakd_ros.visualization.palette import BACKGROUND

logger = logging.getLogger(__name__)


class VideoFile:
    """An MP4 (MPEG-4 part 2) video.

    Args:
        path: file to write.
        frames_per_second: rate of the video.
    """

    def __init__(self, path: Path, frames_per_second: float) -> None:
        self.path = path
        self._rate = frames_per_second
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._count = 0

    def add(self, picture: np.ndarray) -> None:
        """Append a picture (H, W, 3) uint8 RGB."""
        if self._writer is None:
            self._size = (picture.shape[1], picture.shape[0])
            self._writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter_fourcc(*"mp4v"), self._rate, self._size)
        if self._writer.isOpened():
            self._writer.write(cv2.cvtColor(fit(picture, self._size), cv2.COLOR_RGB2BGR))
            self._count += 1

    def close(self) -> bool:
        """Finish the file and read its last picture back; False, and no file, where this OpenCV cannot do it."""
        if self._writer is None:
            return False
        self._writer.release()
        self._writer = None
        if self._count and _last_picture_reads(self.path, self._count, self._size):
            return True
        logger.warning("%s: this OpenCV cannot write a readable MP4 here", self.path.name)
        self.path.unlink(missing_ok=True)
        return False


class ContactStrip:
    """A PNG of pictures below each other, taken evenly from a recording.

    Args:
        path: file to write.
        expected: how many pictures will be offered.
        rows: how many of them to keep at most.
        width_px: width of the strip.
    """

    def __init__(self, path: Path, expected: int, rows: int = 6, width_px: int = 1600) -> None:
        self.path = path
        self._chosen = set(
            np.linspace(0, max(expected, 1) - 1, min(rows, max(expected, 1))).round().astype(int).tolist()
        )
        self._width_px = width_px
        self._offered = 0
        self._pictures: list[np.ndarray] = []

    def wants_next(self) -> bool:
        """Whether the next picture offered will be kept, so that others need not be drawn."""
        return self._offered in self._chosen

    def add(self, picture: np.ndarray | None) -> None:
        """Offer the next picture (H, W, 3) uint8 RGB; it may be None when `wants_next` is false."""
        if self.wants_next() and picture is not None:
            height_px = max(1, round(picture.shape[0] * self._width_px / picture.shape[1]))
            self._pictures.append(cv2.resize(picture, (self._width_px, height_px), interpolation=cv2.INTER_AREA))
        self._offered += 1

    def close(self) -> bool:
        """Write the file; False when no picture was offered.

        Raises:
            OutputError: the file cannot be written.
        """
        if not self._pictures:
            return False
        gap = np.full((4, self._width_px, 3), BACKGROUND, dtype=np.uint8)
        rows = [part for picture in self._pictures for part in (picture, gap)][:-1]
        write_png(self.path, np.concatenate(rows))
        return True


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 RGB.

    Raises:
        OutputError: the file cannot be written.
    """
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done, "PNG encoding of a uint8 picture cannot fail"
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OutputError(f"{path}: cannot write the picture: {error.strerror or error}") from error


def fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture scaled into (width, height) px and centred on background."""
    width, height = size
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    canvas = np.full((height, width, 3), BACKGROUND, dtype=np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return canvas


def _last_picture_reads(path: Path, count: int, size: tuple[int, int]) -> bool:
    reader = cv2.VideoCapture(str(path))
    try:
        reader.set(cv2.CAP_PROP_POS_FRAMES, count - 1)
        done, picture = reader.read()
        return bool(done) and picture.shape[:2] == (size[1], size[0])
    finally:
        reader.release()
