"""One list from several cameras: an object that two of them see is kept once. No ROS.

Cameras judge depth badly and direction well, so a pair is the same object when its boxes overlap from above, or when
their distance is small for what both say of their own uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from monotakd_ros.frame import Detections3D
from monotakd_ros.geometry.boxes import transform_boxes
from monotakd_ros.geometry.rotated_iou import iou_bev

SAME_OBJECT_CHI2 = 5.99
"""Squared Mahalanobis distance over ground that 95 % of pairs of one object stay below (chi-square, two degrees)."""


@dataclass(frozen=True, eq=False)
class View:
    """What one camera found.

    Attributes:
        detections: boxes in its own lidar frame.
        frame_T_cam: (4, 4) into the frame that all views share, z up.
    """

    detections: Detections3D
    frame_T_cam: np.ndarray

    @property
    def frame_T_lidar(self) -> np.ndarray:
        """(4, 4)."""
        return self.frame_T_cam @ self.detections.cam_T_lidar


def without_duplicates(views: Sequence[View], merge_iou: float, merge_distance_m: float) -> list[np.ndarray]:
    """Which detections of each view to keep.

    Args:
        views: of cameras at about the same time.
        merge_iou: boxes that overlap this much from above are one object.
        merge_distance_m: boxes further apart over ground than this, and not overlapping so, are two; nearer ones are
            one where their covariances allow it.

    Returns:
        Per view (N,) bool. Of a pair the lower score goes; a box pairs with at most one of each other view, and
        boxes of one view never with each other.
    """
    keep = [np.ones(len(view.detections), dtype=bool) for view in views]
    boxes = [transform_boxes(view.frame_T_lidar, view.detections.boxes_lidar) for view in views]
    spreads = [_ground_covariance(view) for view in views]
    for a, b in combinations(range(len(views)), 2):
        distance = _pair_distance(boxes[a], boxes[b], spreads[a], spreads[b], merge_iou, merge_distance_m)
        names_a, names_b = np.array(views[a].detections.names), np.array(views[b].detections.names)
        distance[names_a[:, None] != names_b[None, :]] = np.inf
        scores = views[a].detections.scores, views[b].detections.scores
        _drop_pairs(distance, *scores, keep[a], keep[b])
    return keep


def _ground_covariance(view: View) -> np.ndarray:
    """(N, 2, 2) m^2 over ground."""
    rotation = view.frame_T_lidar[:3, :3]
    return (rotation @ view.detections.covariance_lidar.astype(np.float64) @ rotation.T)[:, :2, :2]


def _pair_distance(
    boxes_a: np.ndarray,
    boxes_b: np.ndarray,
    spread_a: np.ndarray,
    spread_b: np.ndarray,
    merge_iou: float,
    merge_distance_m: float,
) -> np.ndarray:
    """(N, M) metres between centres over ground; infinite where the boxes are two objects."""
    apart = boxes_a[:, None, :2] - boxes_b[None, :, :2]
    distance = np.linalg.norm(apart, axis=2)
    spread = spread_a[:, None] + spread_b[None, :] + 1e-6 * np.eye(2)
    chi2 = (apart[..., None, :] @ np.linalg.inv(spread) @ apart[..., None])[..., 0, 0]
    overlaps = iou_bev(torch.from_numpy(boxes_a), torch.from_numpy(boxes_b)).numpy() >= merge_iou
    same = overlaps | ((chi2 <= SAME_OBJECT_CHI2) & (distance <= merge_distance_m))
    return np.where(same, distance, np.inf)


def _drop_pairs(
    distance: np.ndarray, scores_a: np.ndarray, scores_b: np.ndarray, keep_a: np.ndarray, keep_b: np.ndarray
) -> None:
    """Pair what is nearest first, and take the lower score of each pair out of `keep_a` or `keep_b`."""
    paired_a, paired_b = ~keep_a, ~keep_b
    for flat in np.argsort(distance, axis=None, kind="stable"):
        i, j = np.unravel_index(flat, distance.shape)
        if not np.isfinite(distance[i, j]):
            return
        if paired_a[i] or paired_b[j]:
            continue
        paired_a[i] = paired_b[j] = True
        if scores_a[i] >= scores_b[j]:
            keep_b[j] = False
        else:
            keep_a[i] = False
