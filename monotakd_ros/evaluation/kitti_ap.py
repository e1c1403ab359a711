"""KITTI's average precision, equal to the benchmark's C++ devkit, on a CPU.

The metric in words. For one class, one difficulty and one kind of overlap (in the image, seen from above, in 3D):

1. Ground truth counts when it is of the class, taller in the image than 40 / 25 / 25 px, and neither more occluded
   than 0 / 1 / 2 nor more truncated than 0.15 / 0.3 / 0.5 (easy / moderate / hard). Ground truth of the class that
   fails this, and of the class's neighbour (Van for Car, Person_sitting for Pedestrian), is *ignored*: a detection on
   it is neither right nor wrong. All other ground truth does not exist. Unknown occlusion or truncation (-1) excludes
   nothing.
2. Detections of the class count. A detection of *any* class whose height, rounded down to whole pixels, is under
   40 / 25 / 25 px is ignored: it may cover a ground truth (which is then neither hit nor missed) but is never wrong.
3. A pair may match when its overlap is strictly greater than the limit of the class.
4. Score limits: each ground truth, in file order, takes the free matching detection of highest score; the scores
   of the hits, falling, are thinned to those nearest to recall 0, 1/40, 2/40, ... of the counted ground truth. (With
   fewer than 40 of them there are fewer limits, so that even perfect results stay under 100: the devkit's rule.)
5. At each score limit, detections below it vanish, and each ground truth in file order takes the free matching
   detection of greatest overlap (an ignored one only if there is no other). Hits on counted ground truth are true
   positives; counted detections left over are false positives, except, in the image, those of whose area a
   DontCare region covers more than the overlap limit.
6. Precision is tp / (tp + fp) at each limit, zero beyond the last one, and then the running maximum from the right.
   R40 is its mean at the recall positions 1/40 ... 40/40; R11 at 0, 4/40, ... 40/40. Per cent.
7. AOS replaces tp in 6 by the sum of (1 + cos(alpha difference)) / 2 over the image metric's true positives. One
   alpha of -10 in any result switches it off.
8. A class of which the results hold no detection is not evaluated (None); neither is a metric whose numbers no
   detection gives: the left edge >= 0 in the image, a location other than -1000 and sizes > 0 in 3D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monotakd_ros.evaluation.kitti_frame import kitti_frame_from_detections, kitti_frame_from_labels
from monotakd_ros.evaluation.matching import make_candidates, match_at_limits, scores_of_hits
from monotakd_ros.evaluation.overlaps import area_img, intersection_img, iou_bev_and_3d, iou_img
from monotakd_ros.frame import DONT_CARE, NO_LOCATION, Detections3D, KittiFrame, Labels3D
from monotakd_ros.geometry.camera import CameraModel

KITTI_CLASSES = ("Car", "Pedestrian", "Cyclist")
DIFFICULTIES = ("easy", "moderate", "hard")
METRICS = ("2d", "aos", "bev", "3d")
MIN_HEIGHT_PX = (40, 25, 25)
MAX_OCCLUSION = (0, 1, 2)
MAX_TRUNCATION = (0.15, 0.3, 0.5)
NEIGHBOURS = {"car": "van", "pedestrian": "person_sitting"}
RECALL_STEPS = 40
NO_ALPHA = -10.0
STRICT_OVERLAP = {"Car": 0.7}
LOOSE_OVERLAP = {"Car": 0.5}
OTHER_STRICT_OVERLAP, OTHER_LOOSE_OVERLAP = 0.5, 0.25


def overlap_limit(class_name: str, metric: str, overlaps: str) -> float:
    """The overlap a match must exceed: "strict" is the benchmark's; "loose" relaxes bev and 3d."""
    if overlaps == "loose" and metric in ("bev", "3d"):
        return LOOSE_OVERLAP.get(class_name, OTHER_LOOSE_OVERLAP)
    return STRICT_OVERLAP.get(class_name, OTHER_STRICT_OVERLAP)


def kitti_ap(
    ground_truth: Sequence[KittiFrame], results: Sequence[KittiFrame], class_names: Sequence[str] = KITTI_CLASSES
) -> dict[str, Any]:
    """Average precision of `results` against `ground_truth`, frame by frame in the same order.

    Returns:
        "strict" | "loose" -> class -> "2d" | "aos" | "bev" | "3d" -> {"R40": [easy, moderate, hard], "R11": [...],
        "n_gt": [...]}, per cent; a metric that is not evaluated (point 8 above) has None in its lists.

    Raises:
        ValueError: the two sides differ in length.
    """
    if len(ground_truth) != len(results):
        raise ValueError(f"expected one result per ground-truth frame, got {len(results)} for {len(ground_truth)}")
    pairs = _Pairs.build(_Table.build(ground_truth), _Table.build(results))
    return {
        overlaps: {name: _class_ap(pairs, name, overlaps) for name in class_names} for overlaps in ("strict", "loose")
    }


def kitti_ap_from_frames(
    labels: Sequence[Labels3D],
    detections: Sequence[Detections3D],
    cameras: Sequence[CameraModel],
    cam_T_lidar: Sequence[np.ndarray] | None = None,
    class_names: Sequence[str] = KITTI_CLASSES,
) -> dict[str, Any]:
    """`kitti_ap` on the package's own types; frame i of each sequence belongs together.

    Args:
        labels: ground truth, lidar.
        detections: results, lidar.
        cameras: each frame's own camera (heights in pixels decide on easy, moderate and hard).
        cam_T_lidar: extrinsic of each frame; that of the detections when not given.
        class_names: classes to evaluate.
    """
    extrinsics = cam_T_lidar if cam_T_lidar is not None else [item.cam_T_lidar for item in detections]
    truth = [kitti_frame_from_labels(*frame) for frame in zip(labels, cameras, extrinsics)]
    results = [kitti_frame_from_detections(*frame) for frame in zip(detections, cameras)]
    return kitti_ap(truth, results, class_names)


def ap_value(
    result: dict[str, Any], class_name: str, metric: str, difficulty: str = "moderate", overlaps: str = "strict"
) -> float:
    """One R40 figure of `kitti_ap`'s result for logs: 0 where nothing was detected, NaN without ground truth."""
    cell = result[overlaps][class_name][metric]
    index = DIFFICULTIES.index(difficulty)
    if cell["n_gt"][index] == 0:
        return float("nan")
    return cell["R40"][index] or 0.0


@dataclass(frozen=True, eq=False)
class _Table:
    """All frames of one side below each other; `frame` (N,) int64 rises."""

    frame: np.ndarray
    kind: np.ndarray
    bbox_px: np.ndarray
    boxes: tuple[np.ndarray, np.ndarray, np.ndarray]
    alpha: np.ndarray
    score: np.ndarray
    truncation: np.ndarray
    occlusion: np.ndarray
    num_frames: int

    @classmethod
    def build(cls, frames: Sequence[KittiFrame]) -> _Table:
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
        return self.bbox_px[:, 3] - self.bbox_px[:, 1]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Every ground truth beside every detection of its frame, with the overlaps that all classes share."""

    truth: _Table
    found: _Table
    index: tuple[np.ndarray, np.ndarray]
    overlap: dict[str, np.ndarray]
    dont_care_share: np.ndarray

    @classmethod
    def build(cls, truth: _Table, found: _Table) -> _Pairs:
        a, b = _pairs_within_frames(truth, found)
        stuff = truth.kind[a] == DONT_CARE.lower()
        shared = intersection_img(found.bbox_px[b[stuff]], truth.bbox_px[a[stuff]])
        area = area_img(found.bbox_px[b[stuff]])
        share = np.zeros(len(found.frame))
        np.maximum.at(share, b[stuff], np.divide(shared, area, out=np.zeros_like(shared), where=shared > 0))
        a, b = a[~stuff], b[~stuff]
        bev, space = iou_bev_and_3d(tuple(x[b] for x in found.boxes), tuple(x[a] for x in truth.boxes))
        overlap = {"2d": iou_img(found.bbox_px[b], truth.bbox_px[a]), "bev": bev, "3d": space}
        touching = np.max(list(overlap.values()), axis=0) > 0
        overlap = {metric: values[touching] for metric, values in overlap.items()}
        return cls(truth, found, (a[touching], b[touching]), overlap, share)


def _pairs_within_frames(truth: _Table, found: _Table) -> tuple[np.ndarray, np.ndarray]:
    """Index pairs (P,), (P,) of ground truth and detections of one frame, both rising."""
    per_frame = np.bincount(found.frame, minlength=truth.num_frames)
    start = np.cumsum(per_frame) - per_frame
    repeats = per_frame[truth.frame]
    a = np.repeat(np.arange(len(truth.frame)), repeats)
    offset = np.arange(len(a)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return a, start[truth.frame[a]] + offset


def _class_ap(pairs: _Pairs, class_name: str, overlaps: str) -> dict[str, Any]:
    cells = {metric: {"R40": [], "R11": [], "n_gt": []} for metric in METRICS}
    evaluated = _evaluated_metrics(pairs.found, class_name)
    for level in range(len(DIFFICULTIES)):
        curves, n_gt = _curves_at_level(pairs, class_name, level, overlaps, evaluated)
        for metric, cell in cells.items():
            curve = curves.get(metric)
            cell["R40"].append(None if curve is None else float(100.0 * curve[1:].mean()))
            cell["R11"].append(None if curve is None else float(100.0 * curve[::4].mean()))
            cell["n_gt"].append(n_gt)
    return cells


def _evaluated_metrics(found: _Table, class_name: str) -> set[str]:
    """Metrics for which the results hold the class and its numbers (points 7 and 8)."""
    of_class = found.kind == class_name.lower()
    hwl, location = (values[of_class] for values in found.boxes[:2])
    placed_bev = (location[:, [0, 2]] != NO_LOCATION).all(axis=1) & (hwl[:, 1:] > 0).all(axis=1)
    evaluated = {"2d"} if (found.bbox_px[of_class, 0] >= 0).any() else set()
    if evaluated and not (found.alpha == NO_ALPHA).any():
        evaluated.add("aos")
    if placed_bev.any():
        evaluated.add("bev")
    if (placed_bev & (location[:, 1] != NO_LOCATION) & (hwl[:, 0] > 0)).any():
        evaluated.add("3d")
    return evaluated


def _curves_at_level(
    pairs: _Pairs, class_name: str, level: int, overlaps: str, evaluated: set[str]
) -> tuple[dict[str, np.ndarray], int]:
    """Precision curves (41,) of the evaluated metrics and the number of counted ground truth."""
    truth, found = pairs.truth, pairs.found
    exists, truth_ignored = _ground_truth_state(truth, class_name, level)
    n_gt = int((exists & ~truth_ignored).sum())
    small = np.trunc(np.abs(found.heights_px())) < MIN_HEIGHT_PX[level]
    usable = small | (found.kind == class_name.lower())
    curves = {}
    for metric in evaluated - {"aos"}:
        limit = overlap_limit(class_name, metric, overlaps)
        a, b = pairs.index
        chosen = (pairs.overlap[metric] > limit) & exists[a] & usable[b]
        table = make_candidates(a[chosen], b[chosen], pairs.overlap[metric][chosen], truth.frame)
        limits = score_limits(scores_of_hits(table, truth_ignored, found.score, small), n_gt)
        similarity = 0.5 * (1.0 + np.cos(truth.alpha[table.truth][:, None] - found.alpha[table.detection]))
        hits, similar, taken = match_at_limits(table, truth_ignored, found.score, small, limits, similarity)
        wrong = usable & ~small
        if metric == "2d":
            wrong = wrong & ~(pairs.dont_care_share > limit)
        misses = ((found.score[wrong][:, None] >= limits) & ~taken[wrong]).sum(axis=0)
        curves[metric] = precision_curve(hits, hits + misses)
        if metric == "2d" and "aos" in evaluated:
            curves["aos"] = precision_curve(similar, hits + misses)
    return curves, n_gt


def _ground_truth_state(truth: _Table, class_name: str, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether each ground truth exists for the class (own or neighbour), and whether it is ignored (point 1)."""
    own = truth.kind == class_name.lower()
    neighbour = truth.kind == NEIGHBOURS.get(class_name.lower(), "")
    difficult = (
        (truth.occlusion > MAX_OCCLUSION[level])
        | (truth.truncation > MAX_TRUNCATION[level])
        | (truth.heights_px() <= MIN_HEIGHT_PX[level])
    )
    return own | neighbour, neighbour | difficult


def score_limits(hit_scores: np.ndarray, n_gt: int) -> np.ndarray:
    """Thin the scores of all hits to at most 41 limits, each nearest to the next recall step (point 4).

    Recall is accumulated in steps of 1/40 as the devkit does, so that rounding falls the same way.
    """
    limits = []
    wanted = 0.0
    scores = np.sort(hit_scores)[::-1]
    for position, score in enumerate(scores):
        recall, next_recall = (position + 1) / n_gt, (position + 2) / n_gt
        is_last = position == len(scores) - 1
        if not is_last and next_recall - wanted < wanted - recall:
            continue
        limits.append(score)
        wanted += 1.0 / RECALL_STEPS
    return np.array(limits)


def precision_curve(good: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(41,) running maximum from the right of good / total, zero beyond the last score limit (point 6)."""
    curve = np.zeros(max(RECALL_STEPS + 1, len(good)))
    curve[: len(good)] = np.divide(good, total, out=np.zeros(len(good)), where=total > 0)
    return np.maximum.accumulate(curve[::-1])[::-1][: RECALL_STEPS + 1]
