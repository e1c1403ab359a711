"""What a KITTI folder of ours holds beyond the original layout: stamps, frame names and ego poses per frame."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monotakd_ros.errors import SourceError
from monotakd_ros.geometry.transforms import make_transform

FRAMES_FILE = "frames.csv"
POSES_FILE = "poses.txt"
FRAMES_COLUMNS = ("name", "stamp_ns", "points_stamp_ns", "camera_frame_id", "lidar_frame_id")


@dataclass(frozen=True)
class FrameRecord:
    """One row of `frames.csv` with its pose."""

    stamp_ns: int
    points_stamp_ns: int | None = None
    camera_frame_id: str = "camera"
    lidar_frame_id: str = "lidar"
    world_T_lidar: np.ndarray | None = None


def read_records(root: Path) -> dict[str, FrameRecord]:
    """Read `frames.csv` and `poses.txt` of a folder this package wrote; empty without them.

    Raises:
        SourceError: malformed; the message names file and line.
    """
    path = root / FRAMES_FILE
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    poses = _read_poses(root / POSES_FILE, len(rows))
    records = {}
    for number, (row, world_T_lidar) in enumerate(zip(rows, poses), start=2):
        try:
            records[row["name"]] = FrameRecord(
                stamp_ns=int(row["stamp_ns"]),
                points_stamp_ns=int(row["points_stamp_ns"]) if row["points_stamp_ns"] else None,
                camera_frame_id=row["camera_frame_id"],
                lidar_frame_id=row["lidar_frame_id"],
                world_T_lidar=world_T_lidar,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise SourceError(f"{path}, line {number}: expected {', '.join(FRAMES_COLUMNS)}; got {row}") from error
    return records


def _read_poses(path: Path, count: int) -> list[np.ndarray | None]:
    if not path.is_file():
        return [None] * count
    try:
        table = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise SourceError(f"{path}: expected 12 numbers a line: {error}") from error
    if table.shape != (count, 12):
        raise SourceError(f"{path}: expected {count} lines of 12 numbers, got {table.shape[0]} of {table.shape[1]}")
    rows = table.reshape(-1, 3, 4)
    return [make_transform(row[:, :3], row[:, 3]) if np.isfinite(row).all() else None for row in rows]
