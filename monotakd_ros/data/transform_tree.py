"""Transforms between named frames, as tf keeps them: a tree of static and moving edges. No ROS."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np

from monotakd_ros.geometry.transforms import (
    invert_transform,
    make_transform,
    quaternion_from_rotation,
    rotation_from_quaternion,
)

MAX_EXTRAPOLATION_NS = 200_000_000
"""A moving frame is taken to stand still this long before its first and after its last sample."""
MAX_SAMPLES = 2000
"""Samples kept of an edge, if not asked otherwise; the oldest go first: a long recording stays small in memory."""
WORLD_FRAMES = ("map", "odom", "world", "earth", "utm", "enu")
"""REP-105's names of fixed frames, and common ones."""


@dataclass
class _Edge:
    parent: str
    is_static: bool
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)

    def add(self, stamp_ns: int, pose: np.ndarray, max_samples: int | None) -> None:
        index = bisect.bisect_left(self.stamps_ns, stamp_ns)
        if index < len(self.stamps_ns) and self.stamps_ns[index] == stamp_ns:
            self.poses[index] = pose
            return
        self.stamps_ns.insert(index, stamp_ns)
        self.poses.insert(index, pose)
        if max_samples is not None and len(self.poses) > max_samples:
            del self.stamps_ns[0], self.poses[0]

    def at(self, stamp_ns: int) -> np.ndarray | None:
        after = bisect.bisect_right(self.stamps_ns, stamp_ns)
        before = max(after - 1, 0)
        if self.is_static or self.stamps_ns[before] == stamp_ns:
            return self.poses[before]
        if after in (0, len(self.stamps_ns)):
            near = abs(self.stamps_ns[before] - stamp_ns) <= MAX_EXTRAPOLATION_NS
            return self.poses[before] if near else None
        fraction = (stamp_ns - self.stamps_ns[before]) / (self.stamps_ns[after] - self.stamps_ns[before])
        return interpolate_pose(self.poses[before], self.poses[after], fraction)


class TransformTree:
    """Looks up the transform between two frames at a time.

    A static edge that is sent again changes from its new stamp on.

    Args:
        max_samples: how many samples of an edge are kept; None keeps all, for looking back over a whole recording.
    """

    def __init__(self, max_samples: int | None = MAX_SAMPLES) -> None:
        self._edges: dict[str, _Edge] = {}
        self._max_samples = max_samples

    def add(self, parent: str, child: str, parent_T_child: np.ndarray, stamp_ns: int, is_static: bool) -> None:
        """Add the pose (4, 4) of `child` in `parent` at `stamp_ns`."""
        parent, child = frame_name(parent), frame_name(child)
        edge = self._edges.get(child)
        if edge is None or (edge.parent, edge.is_static) != (parent, is_static):
            edge = self._edges[child] = _Edge(parent, is_static)
        edge.add(stamp_ns, parent_T_child, self._max_samples)

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray | None:
        """target_T_source (4, 4) at `stamp_ns`; None when the frames are not connected then."""
        target_up, source_up = self._ancestors(target), self._ancestors(source)
        common = next((name for name in source_up if name in target_up), None)
        if common is None:
            return None
        common_T_source = self._climb(source_up[: source_up.index(common)], stamp_ns)
        common_T_target = self._climb(target_up[: target_up.index(common)], stamp_ns)
        if common_T_source is None or common_T_target is None:
            return None
        return invert_transform(common_T_target) @ common_T_source

    def world_of(self, frame: str) -> str | None:
        """The highest frame above `frame` with a name of `WORLD_FRAMES`; None without one."""
        worlds = [name for name in self._ancestors(frame) if name.rpartition("/")[2] in WORLD_FRAMES]
        return worlds[-1] if worlds else None

    def _ancestors(self, frame: str) -> list[str]:
        names = [frame_name(frame)]
        while names[-1] in self._edges and self._edges[names[-1]].parent not in names:
            names.append(self._edges[names[-1]].parent)
        return names

    def _climb(self, names: list[str], stamp_ns: int) -> np.ndarray | None:
        result = np.eye(4)
        for name in names:
            pose = self._edges[name].at(stamp_ns)
            if pose is None:
                return None
            result = pose @ result
        return result


def interpolate_pose(start: np.ndarray, end: np.ndarray, fraction: float) -> np.ndarray:
    """Between two (4, 4) poses: straight line, and rotation at constant speed the short way round (slerp)."""
    a, b = quaternion_from_rotation(start[:3, :3]), quaternion_from_rotation(end[:3, :3])
    dot = float(a @ b)
    b, dot = (-b, -dot) if dot < 0 else (b, dot)
    angle = np.arccos(min(dot, 1.0))
    if angle < 1e-6:
        weights = (1 - fraction, fraction)
    else:
        weights = (np.sin((1 - fraction) * angle) / np.sin(angle), np.sin(fraction * angle) / np.sin(angle))
    rotation = rotation_from_quaternion(weights[0] * a + weights[1] * b)
    return make_transform(rotation, (1 - fraction) * start[:3, 3] + fraction * end[:3, 3])


def frame_name(name: str) -> str:
    """ROS 1 allowed a leading slash; it means nothing."""
    return name.removeprefix("/")
