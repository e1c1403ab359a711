"""What pairing boxes by distance needs: boxes with a place in 3D, and first come first served."""

from __future__ import annotations

import numpy as np

from monotakd_ros.evaluation.kitti_pairs import BoxTable
from monotakd_ros.frame import NO_LOCATION


def take_while_free(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(P,) bool, which of the candidate pairs a[i], b[i] are taken: in order, those of which both are still free."""
    taken_a, taken_b, takes = set(), set(), []
    for one, other in zip(a.tolist(), b.tolist()):
        free = one not in taken_a and other not in taken_b
        takes.append(free)
        if free:
            taken_a.add(one)
            taken_b.add(other)
    return np.array(takes, dtype=bool)


def has_place(boxes: BoxTable) -> np.ndarray:
    """(N,) bool, whether a box has a place and a size in 3D."""
    hwl, location_cam, _ = boxes.boxes
    placed = (np.isfinite(location_cam) & (location_cam != NO_LOCATION)).all(axis=1)
    return placed & (hwl > 0).all(axis=1)
