"""The pictures of a replay: camera with boxes beside the view from above."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from monotakd_ros.frame import Detections3D, Frame
from monotakd_ros.visualization.picture import draw_picture
from monotakd_ros.visualization.picture_files import PictureFiles, PictureKind


class Pictures:
    """Draws frames into the files that were asked for.

    Args:
        folder: where the files go.
        kinds: which of them.
        expected: how many frames will come.
    """

    def __init__(self, folder: Path, kinds: Set[PictureKind], expected: int) -> None:
        self._files = PictureFiles(folder, kinds, expected)
        self._start_ns: int | None = None

    @property
    def wanted(self) -> bool:
        """Whether the next frame would be drawn."""
        return self._files.wanted

    def add(self, frame: Frame, detections: Detections3D) -> None:
        """Draw one frame if it is wanted."""
        self._start_ns = frame.stamp_ns if self._start_ns is None else self._start_ns
        picture = None
        if self.wanted:
            picture = draw_picture(frame, detections, _caption(frame, detections, self._start_ns))
        self._files.add(frame.name, frame.stamp_ns, picture)

    def close(self) -> dict[str, str]:
        """Finish the files; returns kind -> name of those that were written."""
        return self._files.close()


def _caption(frame: Frame, detections: Detections3D, start_ns: int) -> str:
    text = f"{frame.name}    {(frame.stamp_ns - start_ns) / 1e9:.1f} s    {len(detections)} found"
    return text if frame.labels is None else f"{text}, {len(frame.labels)} labelled"
