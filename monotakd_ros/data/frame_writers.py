"""Write frames as a rosbag2 (MCAP) or as a KITTI object folder. Both come back unchanged through our sources.

A writer is a context manager around a temporary folder: it takes its final name when all went well, or when the
user pressed Ctrl-C (what is whole so far is kept); after any other error nothing is left.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from monotakd_ros.atomic import PendingFolder, output_errors
from monotakd_ros.errors import OutputError
from monotakd_ros.frame import Frame

logger = logging.getLogger(__name__)

OutputFormat = Literal["bag", "kitti"]
ImageEncoding = Literal["raw", "png", "jpeg"]


class FrameWriter(Protocol):
    """Takes frames one by one; use as a context manager."""

    count: int
    """Number of frames written."""

    def write(self, frame: Frame) -> None:
        """Add one frame.

        Raises:
            OutputError: the disk is full, or the place cannot be written.
        """
        ...

    def __enter__(self) -> FrameWriter: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_writer(
    out: Path | str,
    format: OutputFormat = "bag",
    overwrite: bool = False,
    image_encoding: ImageEncoding = "png",
) -> FrameWriter:
    """Open a writer for `out`.

    Args:
        out: the bag's or KITTI folder's name; its parent is made when missing.
        format: "bag" (rosbag2 with MCAP storage) or "kitti".
        overwrite: replace an existing bag or KITTI folder, once the new one is complete.
        image_encoding: of images in a bag: "png" (lossless), "raw" (lossless, larger, quicker), "jpeg" (small).
            KITTI folders hold PNG.

    Raises:
        OutputError: `out` exists, or cannot be written.
    """
    # Imported here: they build on this module.
    from monotakd_ros.data.bag_writer import BagFrameWriter
    from monotakd_ros.data.kitti_writer import KittiFrameWriter

    if format == "bag":
        return BagFrameWriter(out, overwrite, image_encoding)
    return KittiFrameWriter(out, overwrite)


class FolderWriter:
    """What both writers share: the temporary folder and how it ends."""

    def __init__(self, out: Path | str, overwrite: bool) -> None:
        self.path = Path(out)
        self.count = 0
        self._overwrite = overwrite
        self._folder: PendingFolder | None = None

    def write(self, frame: Frame) -> None:
        """Add one frame; see `FrameWriter.write`."""
        with output_errors(self.path), interrupts_deferred():
            self._write(frame)
            self.count += 1

    def _open(self, folder: Path) -> None:
        raise NotImplementedError

    def _write(self, frame: Frame) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError

    def _abort(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> FolderWriter:
        self._folder = PendingFolder(self.path, self._overwrite)
        try:
            with output_errors(self.path):
                self._open(self._folder.path)
        except BaseException:
            self._folder.discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._folder is not None
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt) and self.count > 0
        try:
            if kind is None or interrupted:
                self._commit()
            else:
                self._abort()
        finally:
            self._folder.discard()

    def _commit(self) -> None:
        if not self.count:
            self._abort()
            raise OutputError(f"{self.path}: no frames to write")
        with interrupts_deferred():
            with output_errors(self.path):
                self._finish()
            self._folder.commit()
        logger.info("%s: %d frames", self.path, self.count)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done, so that no frame is half-written. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending = []
    previous = signal.signal(signal.SIGINT, lambda *caught: pending.append(caught))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if pending and callable(previous):
            previous(*pending[0])
