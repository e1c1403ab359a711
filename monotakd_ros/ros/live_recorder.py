"""Chosen frames of a drive into parts: bags or KITTI folders that are complete on their own. No ROS here.

    OUT/parts/part_000000     from its first frame on for so many seconds, then closed, and safe from a power cut
    OUT/parts/part_000001     ...

Each is a recording for `monotakd generate OUT/parts/*`. The open part has a hidden name until it is closed.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from monotakd_ros.atomic import output_errors
from monotakd_ros.data.frame_writers import FrameWriter, ImageEncoding, OutputFormat, open_writer
from monotakd_ros.errors import OutputError
from monotakd_ros.frame import Frame
from monotakd_ros.generation.frame_files import seen_points
from monotakd_ros.generation.selection import FrameSelector
from monotakd_ros.generation.settings import SelectionSettings
from monotakd_ros.ros.stamp_clock import StampClock

PART_DIR = "parts"


class LiveRecorder:
    """Chooses frames and writes them; one thread at a time.

    Args:
        out: the folder that gets `parts`; what is there already is kept, and counted on from.
        selection: which frames are kept.
        format: of the parts.
        image_encoding: of images in bags.
        part_s: a part is closed so long after it was opened.
        clock: seconds.

    Attributes:
        kept: frames written, those of earlier runs not counted.
        left_out: reason and number of frames that were not kept.
        parts: closed by this run, in order.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(
        self,
        out: Path,
        selection: SelectionSettings,
        format: OutputFormat,
        image_encoding: ImageEncoding,
        part_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = out / PART_DIR
        self._selection, self._format, self._image_encoding = selection, format, image_encoding
        self._part_s, self._clock = part_s, clock
        with output_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        self._number = 1 + max((_number(path) for path in earlier_parts(out)), default=-1)
        self._selector = FrameSelector(selection)
        self._writer: FrameWriter | None = None
        self._closes_at = 0.0
        self._time = StampClock()
        self.kept = 0
        self.left_out: Counter[str] = Counter()
        self.parts: list[Path] = []

    def add(self, frame: Frame) -> bool:
        """Write a frame if it is worth keeping; returns whether it was.

        Raises:
            OutputError: it cannot be written. The open part is closed with what it held before.
        """
        if self._time.jump_back_s(frame.stamp_ns):
            self.close()  # a bag's stamps rise
        self.close_when_due()
        objection = self._selector.objection(frame, lambda: len(seen_points(frame)[1]))
        if objection is not None:
            self.left_out[objection] += 1
            return False
        if self._writer is None:
            self._open()
        self._write(replace(frame, name=f"{self.kept:06d}", labels=None))
        self.kept += 1
        return True

    def close_when_due(self) -> None:
        """Close the open part if its time is up; also to be called when no frame comes."""
        if self._writer is not None and self._clock() >= self._closes_at:
            self.close()

    def close(self) -> None:
        """Close the open part, if any; the next frame opens another one.

        Raises:
            OutputError: it cannot be written.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.__exit__(None, None, None)
        os.sync()
        self.parts.append(self._path(self._number))
        self._number += 1

    def _open(self) -> None:
        path = self._path(self._number)
        self._writer = open_writer(path, self._format, image_encoding=self._image_encoding)
        try:
            self._writer.__enter__()
        except BaseException:
            self._writer = None
            raise
        self._closes_at = self._clock() + self._part_s

    def _write(self, frame: Frame) -> None:
        assert self._writer is not None, "a part is open"
        try:
            self._writer.write(frame)
        except OutputError:
            if self._writer.count:
                self.close()
            else:
                self._writer.__exit__(*sys.exc_info())
                self._writer = None
            raise

    def _path(self, number: int) -> Path:
        return self._folder / f"part_{number:06d}"


def earlier_parts(out: Path) -> list[Path]:
    """The closed parts of a folder, in order."""
    return sorted(path for path in (out / PART_DIR).glob("part_*") if path.is_dir())


def _number(part: Path) -> int:
    digits = part.name.removeprefix("part_")
    return int(digits) if digits.isascii() and digits.isdigit() else -1
