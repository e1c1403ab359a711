"""KITTI's text <-> `KittiFrame`: ground truth and results as the benchmark compares them, without any calibration.

Numbers and their order stay as the file has them, since the metric's ties depend on both. Ground truth has 15 fields a
line (`kitti_text.py`), results have 16, the score last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from monotakd_ros.atomic import PendingFolder, output_errors
from monotakd_ros.data.kitti_text import (
    NUM_LABEL_FIELDS,
    UNKNOWN,
    LabelLine,
    format_matrix,
    ground_truth_lines,
    has_shares,
    is_tracking_flag,
    label_lines,
)
from monotakd_ros.errors import LabelError, OutputError
from monotakd_ros.frame import NO_LOCATION, KittiFrame

NUM_RESULT_FIELDS = NUM_LABEL_FIELDS + 1
_C_INT = (-(2**31), 2**31 - 1)
"""Range of the devkit's occlusion."""


class ReadGroundTruth(NamedTuple):
    """The ground truth of one file.

    Attributes:
        frame: truncation as written, which is how the devkit takes it.
        flags: (N,) bool, whether a truncation is written like a tracking flag above 0 ("1", "2").
        has_shares: whether any truncation is written with decimals: then whole numbers are shares, too.
    """

    frame: KittiFrame
    flags: np.ndarray
    has_shares: bool

    def with_unknown_flags(self) -> KittiFrame:
        """The frame, tracking flags made -1, unknown."""
        return replace(self.frame, truncation=np.where(self.flags, UNKNOWN, self.frame.truncation))


class ReadResults(NamedTuple):
    """The results of one file.

    Attributes:
        frame: all of them.
        without_volume: file and line of those that have a place in 3D but a size <= 0: they overlap nothing there.
    """

    frame: KittiFrame
    without_volume: tuple[str, ...]


def ground_truth_from_text(text: str, where: str) -> ReadGroundTruth:
    """Parse a label file; DontCare regions stay where they are among the rows, the score is 0.

    Args:
        text: the file's content.
        where: file (or topic and stamp), for messages.

    Raises:
        LabelError: as `ground_truth_lines`.
    """
    lines = [line._replace(numbers=[*line.numbers, 0.0]) for line in ground_truth_lines(text, where)]
    written = [line.words[0] for line in lines]
    return ReadGroundTruth(
        frame=_kitti_frame(lines),
        flags=np.array([is_tracking_flag(word) for word in written], dtype=bool),
        has_shares=has_shares(written),
    )


def results_from_text(text: str, where: str) -> ReadResults:
    """Parse a result file. Any finite score is legal, and so are sizes <= 0 (the benchmark counts such a box).

    Raises:
        LabelError: a line does not have 16 fields, or something else than finite numbers after the type.
    """
    lines = list(label_lines(text, where))
    for line in lines:
        if len(line.numbers) + 1 != NUM_RESULT_FIELDS:
            raise LabelError(
                f"{line.where}: expected {NUM_RESULT_FIELDS} fields, got {len(line.numbers) + 1}: results need "
                f"{NUM_RESULT_FIELDS}, the last of them the score"
            )
    return ReadResults(_kitti_frame(lines), tuple(line.where for line in lines if _lacks_volume(line)))


def read_ground_truth(path: Path) -> ReadGroundTruth:
    """`ground_truth_from_text` of a file.

    Raises:
        LabelError: malformed, or cannot be read.
    """
    return ground_truth_from_text(_read(path), str(path))


def read_results(path: Path) -> ReadResults:
    """`results_from_text` of a file.

    Raises:
        LabelError: malformed, or cannot be read.
    """
    return results_from_text(_read(path), str(path))


def text_from_results(results: KittiFrame) -> str:
    """A result file for the benchmark's server; truncation and occlusion are -1, as asked for there.

    Each number has the digits that bring it back bit for bit. A box that no image pixel shows gets no row.
    """
    shown = (results.bbox_px[:, 2] > results.bbox_px[:, 0]) & (results.bbox_px[:, 3] > results.bbox_px[:, 1])
    numbers = np.column_stack(
        (results.alpha, results.bbox_px, results.hwl, results.location_cam, results.rotation_y, results.score)
    )
    types = ["_".join(name.split()) for name in results.names]  # a blank would shift the fields
    return "".join(f"{name} -1 -1 {format_matrix(row)}\n" for name, row, show in zip(types, numbers, shown) if show)


def write_results(folder: Path | str, frames: Iterable[tuple[str, KittiFrame]]) -> None:
    """Write NAME.txt for each frame, also for those without any box, into a new folder.

    Args:
        folder: must not exist yet.
        frames: name and results of each.

    Raises:
        OutputError: the folder exists or cannot be written; a name comes twice or cannot name a file.
    """
    pending = PendingFolder(folder)
    try:
        with output_errors(pending.target):
            pending.path.mkdir()
            for name, results in frames:
                path = pending.path / f"{name}.txt"
                if path.parent != pending.path or path.exists():
                    raise OutputError(f"{pending.target}: frame {name!r}: expected a file name that comes once")
                path.write_text(text_from_results(results), encoding="utf-8")
        pending.commit()
    finally:
        pending.discard()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark at the start
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot read: {error}") from error


def _kitti_frame(lines: list[LabelLine]) -> KittiFrame:
    table = np.array([line.numbers for line in lines], dtype=np.float64).reshape(-1, NUM_RESULT_FIELDS - 1)
    return KittiFrame(
        names=tuple(line.name for line in lines),
        bbox_px=table[:, 3:7],
        hwl=table[:, 7:10],
        location_cam=table[:, 10:13],
        rotation_y=table[:, 13],
        alpha=table[:, 2],
        score=table[:, 14],
        truncation=table[:, 0],
        occlusion=np.clip(table[:, 1], *_C_INT).astype(np.int64),
    )


def _lacks_volume(line: LabelLine) -> bool:
    """Boxes of 2D detectors have location -1000 and size -1: nothing is wrong with them."""
    has_location = any(value != NO_LOCATION for value in line.numbers[10:13])
    return has_location and min(line.numbers[7:10]) <= 0
