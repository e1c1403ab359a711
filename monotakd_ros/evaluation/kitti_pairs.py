"""All boxes of an evaluation in columns, and every ground truth beside every result of its frame.

The overlaps are computed once; all classes, difficulties and metrics choose among these pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monotakd_ros.evaluation.overlaps import BoxColumns, area_img, intersection_img, iou_bev_and_3d, iou_img
from monotakd_ros.frame import DONT_CARE, KittiFrame


@dataclass(frozen=True, eq=False)
class BoxTable:
    """All boxes of one side below each other, in file order.

    Attributes:
        frame: (N,) int64 frame number, rising.
        kind: (N,) class names in lower case.
        bbox_px: (N, 4) float64 left, top, right, bottom.
        boxes: hwl (N, 3), bottom centre in cam (N, 3), rotation_y (N,).
        alpha, score, truncation, occlusion: (N,) as in `KittiFrame`.
        num_frames: frames, those without boxes included.
    """

    frame: np.ndarray
    kind: np.ndarray
    bbox_px: np.ndarray
    boxes: BoxColumns
    alpha: np.ndarray
    score: np.ndarray
    truncation: np.ndarray
    occlusion: np.ndarray
    num_frames: int

    @classmethod
    def build(cls, frames: Sequence[KittiFrame]) -> BoxTable:
        """Stack the boxes of `frames`."""

        def stack(name: str) -> np.ndarray:
            return np.concatenate([getattr(frame, name) for frame in (*frames, KittiFrame.empty())])

        return cls(
            frame=np.repeat(np.arange(len(frames)), [len(frame) for frame in frames]).astype(np.int64),
            kind=np.array([name.lower() for frame in frames for name in frame.names], dtype=object),
            bbox_px=stack("bbox_px"),
            boxes=(stack("hwl"), stack("location_cam"), stack("rotation_y")),
            alpha=stack("alpha"),
            score=stack("score"),
            truncation=stack("truncation"),
            occlusion=stack("occlusion"),
            num_frames=len(frames),
        )

    def heights_px(self) -> np.ndarray:
        """(N,) height in the image."""
        return self.bbox_px[:, 3] - self.bbox_px[:, 1]

    def distances(self) -> np.ndarray:
        """(N,) m from the camera to the box's centre, over ground (x and z of cam)."""
        location_cam = self.boxes[1]
        return np.hypot(location_cam[:, 0], location_cam[:, 2])


@dataclass(frozen=True, eq=False)
class PairTable:
    """Every ground truth beside every result of its frame that it touches.

    Attributes:
        truth: ground truth, DontCare regions included.
        found: results.
        index: ground-truth and result index of each pair, (P,) int64 each, both rising.
        overlap: "2d", "bev", "3d" -> (P,) float64 intersection over union.
        dont_care_share: (N results,) float64, the largest share of a result's image area that one region covers.
    """

    truth: BoxTable
    found: BoxTable
    index: tuple[np.ndarray, np.ndarray]
    overlap: dict[str, np.ndarray]
    dont_care_share: np.ndarray

    @classmethod
    def build(cls, ground_truth: Sequence[KittiFrame], results: Sequence[KittiFrame]) -> PairTable:
        """Pair the two sides, frame by frame in the same order.

        Raises:
            ValueError: they differ in length.
        """
        if len(ground_truth) != len(results):
            raise ValueError(f"expected one result per ground-truth frame, got {len(results)} for {len(ground_truth)}")
        truth, found = BoxTable.build(ground_truth), BoxTable.build(results)
        objects = np.flatnonzero(truth.kind != DONT_CARE.lower())
        a, b = pairs_within_frames(truth.frame[objects], found.frame)
        a = objects[a]
        bev, space = iou_bev_and_3d(tuple(x[b] for x in found.boxes), tuple(x[a] for x in truth.boxes))
        overlap = {"2d": iou_img(found.bbox_px[b], truth.bbox_px[a]), "bev": bev, "3d": space}
        touching = np.max(list(overlap.values()), axis=0) > 0
        overlap = {metric: values[touching] for metric, values in overlap.items()}
        share = dont_care_share(truth, found, np.arange(len(found.frame)))
        return cls(truth, found, (a[touching], b[touching]), overlap, share)


def pairs_within_frames(a_frame: np.ndarray, b_frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every a beside every b of its frame.

    Args:
        a_frame: (A,) int64 frame of each a.
        b_frame: (B,) int64 frame of each b, rising.

    Returns:
        Index into a, and into b, (P,) int64 each; rising where `a_frame` rises.
    """
    start = np.searchsorted(b_frame, a_frame, side="left")
    count = np.searchsorted(b_frame, a_frame, side="right") - start
    a = np.repeat(np.arange(len(a_frame)), count)
    return a, np.arange(len(a)) + np.repeat(start - np.cumsum(count) + count, count)


def dont_care_share(truth: BoxTable, found: BoxTable, rows: np.ndarray) -> np.ndarray:
    """(K,) largest share of the 2D box of each of some results (K,) that one DontCare region covers."""
    regions = np.flatnonzero(truth.kind == DONT_CARE.lower())
    a, b = pairs_within_frames(truth.frame[regions], found.frame[rows])
    shared = intersection_img(found.bbox_px[rows[b]], truth.bbox_px[regions[a]])
    share = np.zeros(len(rows))
    area = area_img(found.bbox_px[rows[b]])
    np.maximum.at(share, b, np.divide(shared, area, out=np.zeros_like(shared), where=shared > 0))
    return share
