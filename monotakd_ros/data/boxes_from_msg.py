"""Boxes as any detector records them: vision_msgs/Detection3DArray in any frame, class ids as names or numbers.

Imports no ROS and reads attributes only, as `from_msg.py`. The messages of ROS 1 and of ROS 2 before Galactic, which
keep id and score beside each other without `hypothesis`, are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from monotakd_ros.data.from_msg import stamp_ns_from_msg
from monotakd_ros.data.kitti_text import KITTI_TYPES, kitti_type
from monotakd_ros.data.transform_tree import frame_name
from monotakd_ros.errors import CalibrationError, ConfigError
from monotakd_ros.geometry.transforms import rotation_from_quaternion

_FRONT_SIDE_UP = np.array([[1, 2, 0], [0, 2, 1], [0, 1, 2]])
"""Row k: which axes of a box are its front, side and up when axis k stands upright."""


@dataclass(frozen=True)
class ClassNames:
    """How the class ids of a recording become KITTI types.

    Attributes:
        by_number: names of class ids, from a LabelInfo.
        class_map: names (or ids) of the recording -> KITTI types, asked for by the user; case does not matter.

    Raises:
        ConfigError: `class_map` leads to something that is no KITTI type.
    """

    by_number: Mapping[str, str] = field(default_factory=dict)
    class_map: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for source, target in self.class_map.items():
            if kitti_type(target) not in KITTI_TYPES:
                raise ConfigError(
                    f"class map {source}={target}: expected one of {', '.join(KITTI_TYPES)}, got {target!r}"
                )

    def type_of(self, class_id: str) -> str:
        """KITTI's spelling of the class, or the recording's own name for one that KITTI does not know."""
        name = self.by_number.get(class_id, class_id)
        wanted = {source.lower(): target for source, target in self.class_map.items()}
        return kitti_type(wanted.get(class_id.lower()) or wanted.get(name.lower()) or name)


@dataclass(frozen=True, eq=False)
class RecordedBoxes:
    """One Detection3DArray, without the detections that cannot be used.

    Attributes:
        stamp_ns: of the header; of the first detection's, or the bag's time, where that is empty.
        age_ns: bag's time minus stamp; None when the stamp is the bag's time.
        frame_ids: N tf names, the frame of each box; empty where the message names none.
        centers: (N, 3) float64 geometric centre, m, each in its own frame.
        rotations: (N, 3, 3) float64 axes of the box as columns, in its own frame.
        sizes: (N, 3) float64 along these axes, m.
        names: N class names, KITTI's where there is one.
        scores: (N,) float64.
        covariances: (N, 3, 3) float64 m^2 of the centre, in its own frame; all zero where unknown.
        left_out: why each detection that is not among them cannot be used.
    """

    stamp_ns: int
    age_ns: int | None
    frame_ids: tuple[str, ...]
    centers: np.ndarray
    rotations: np.ndarray
    sizes: np.ndarray
    names: tuple[str, ...]
    scores: np.ndarray
    covariances: np.ndarray
    left_out: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def upright_boxes(self, lidar_T_frames: np.ndarray) -> np.ndarray:
        """The boxes as (N, 7) in a frame `lidar` whose z points up.

        The axis nearest to vertical becomes the height, so that the box fills the same space whichever way its axes
        are named; the front is its x axis (y where x stands upright). What tilts it is dropped, its heading kept.

        Args:
            lidar_T_frames: (N, 4, 4) from each box's frame.
        """
        rotations = lidar_T_frames[:, :3, :3] @ self.rotations
        axes = _FRONT_SIDE_UP[np.abs(rotations[:, 2]).argmax(axis=1)]
        front = rotations[np.arange(len(self)), :, axes[:, 0]]
        centers = np.einsum("nij,nj->ni", lidar_T_frames[:, :3, :3], self.centers) + lidar_T_frames[:, :3, 3]
        sizes = np.take_along_axis(self.sizes, axes, axis=1)
        return np.column_stack([centers, sizes, np.arctan2(front[:, 1], front[:, 0])])

    def covariances_in(self, target_T_frames: np.ndarray) -> np.ndarray:
        """`covariances` (N, 3, 3) in the target frame of `target_T_frames` (N, 4, 4)."""
        rotations = target_T_frames[:, :3, :3]
        return rotations @ self.covariances @ rotations.transpose(0, 2, 1)


def boxes_from_msg(message: Any, class_names: ClassNames, log_stamp_ns: int) -> RecordedBoxes:
    """Read a vision_msgs/Detection3DArray.

    Left out, with the reason, are detections without a hypothesis, class or finite score, and with a pose or size
    that is not finite or a quaternion of length zero. The best hypothesis names class and score.

    Args:
        message: the array.
        class_names: how its class ids are called.
        log_stamp_ns: the bag's time.
    """
    rows, left_out = [], []
    for detection in message.detections:
        try:
            rows.append(_row(detection, class_names))
        except _Unusable as reason:
            left_out.append(str(reason))
    count = len(rows)
    headers = [message.header, *(detection.header for detection in message.detections)]
    stamp_ns = next((stamp for stamp in (stamp_ns_from_msg(header.stamp) for header in headers) if stamp), None)
    return RecordedBoxes(
        stamp_ns=log_stamp_ns if stamp_ns is None else stamp_ns,
        age_ns=None if stamp_ns is None else log_stamp_ns - stamp_ns,
        frame_ids=tuple(frame_name(message.header.frame_id or row.frame_id) for row in rows),
        centers=np.array([row.center for row in rows], dtype=np.float64).reshape(count, 3),
        rotations=np.array([row.rotation for row in rows], dtype=np.float64).reshape(count, 3, 3),
        sizes=np.array([row.size for row in rows], dtype=np.float64).reshape(count, 3),
        names=tuple(row.name for row in rows),
        scores=np.array([row.score for row in rows], dtype=np.float64),
        covariances=np.array([row.covariance for row in rows], dtype=np.float64).reshape(count, 3, 3),
        left_out=tuple(left_out),
    )


class _Unusable(Exception):
    """Why a detection is left out."""


@dataclass(frozen=True, eq=False)
class _Row:
    frame_id: str
    center: np.ndarray
    rotation: np.ndarray
    size: np.ndarray
    name: str
    score: float
    covariance: np.ndarray


def _row(detection: Any, class_names: ClassNames) -> _Row:
    result, hypothesis = _best(detection.results)
    class_id = str(getattr(hypothesis, "class_id", None) or getattr(hypothesis, "id", "")).strip()
    if not class_id:
        raise _Unusable("no class")
    pose, size = detection.bbox.center, detection.bbox.size
    center, sizes = _xyz(pose.position), _xyz(size)
    if not (np.isfinite(center).all() and np.isfinite(sizes).all()):
        raise _Unusable("a pose or size that is not finite")
    try:
        rotation = rotation_from_quaternion(np.array([*_xyz(pose.orientation), pose.orientation.w], dtype=np.float64))
    except CalibrationError:
        raise _Unusable("a quaternion of length zero or not finite") from None
    return _Row(
        frame_id=detection.header.frame_id,
        center=center,
        rotation=rotation,
        size=sizes,
        name=class_names.type_of(class_id),
        score=float(hypothesis.score),
        covariance=_position_covariance(result.pose),
    )


def _best(results: Any) -> tuple[Any, Any]:
    """The result of highest score and its hypothesis (the result itself in old messages)."""
    pairs = [(result, getattr(result, "hypothesis", result)) for result in results]
    if not pairs:
        raise _Unusable("no hypothesis")
    usable = [pair for pair in pairs if np.isfinite(pair[1].score)]
    if not usable:
        raise _Unusable("a score that is not finite")
    return max(usable, key=lambda pair: pair[1].score)


def _xyz(vector: Any) -> np.ndarray:
    return np.array([vector.x, vector.y, vector.z], dtype=np.float64)


def _position_covariance(pose: Any) -> np.ndarray:
    """(3, 3); zero, unknown, where it is no covariance (ROS also writes -1 first for that)."""
    values = np.asarray(pose.covariance, dtype=np.float64).reshape(6, 6)[:3, :3]
    valid = np.isfinite(values).all() and (np.diag(values) >= 0).all()
    return values if valid else np.zeros((3, 3))
