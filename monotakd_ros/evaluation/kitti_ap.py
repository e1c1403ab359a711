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
   DontCare region covers more than the overlap limit. (Seen from above, a 2D detection, place -1000 and size -1,
   lies where DontCare regions are written, and is excused in a frame that has one.)
6. Precision is tp / (tp + fp) at each limit, zero beyond the last one, and then the running maximum from the right.
   R40 is its mean at the recall positions 1/40 ... 40/40; R11 at 0, 4/40, ... 40/40. Per cent.
7. AOS replaces tp in 6 by the sum of (1 + cos(alpha difference)) / 2 over the image metric's true positives. One
   alpha of -10 in any result switches it off.
8. A class of which the results hold no detection is not evaluated (None); neither is a metric whose numbers no
   detection gives: the left edge >= 0 in the image, a location other than -1000 and sizes > 0 in 3D.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from monotakd_ros.evaluation.kitti_counting import DIFFICULTIES as SELECTIONS
from monotakd_ros.evaluation.kitti_counting import count, events, overlap_limit
from monotakd_ros.evaluation.kitti_frame import kitti_frame_from_detections, kitti_frame_from_labels
from monotakd_ros.evaluation.kitti_pairs import BoxTable, PairTable
from monotakd_ros.evaluation.precision_events import PrecisionEvents
from monotakd_ros.frame import NO_LOCATION, Detections3D, KittiFrame, Labels3D
from monotakd_ros.geometry.camera import CameraModel

KITTI_CLASSES = ("Car", "Pedestrian", "Cyclist")
DIFFICULTIES = tuple(SELECTIONS)
METRICS = ("2d", "aos", "bev", "3d")
OVERLAPS = ("strict", "loose")
NO_ALPHA = -10.0


class Cell(NamedTuple):
    """Address of one figure."""

    overlaps: str
    class_name: str
    metric: str
    difficulty: str


def counted_alike(cell: Cell) -> Cell:
    """The same address for cells of the same figure: in the image, loose overlaps are strict ones."""
    return cell._replace(overlaps="strict") if cell.metric in ("2d", "aos") else cell


class KittiScores:
    """Everything the KITTI metric counts about two sides of the same frames.

    Args:
        ground_truth: one record per frame.
        results: of the same frames, in the same order.
        class_names: classes to evaluate.

    Raises:
        ValueError: the two sides differ in length.
    """

    def __init__(
        self,
        ground_truth: Sequence[KittiFrame],
        results: Sequence[KittiFrame],
        class_names: Sequence[str] = KITTI_CLASSES,
    ) -> None:
        self.pairs = PairTable.build(ground_truth, results)
        self.class_names = tuple(class_names)
        self._evaluated = {name: _evaluated_metrics(self.pairs.found, name) for name in self.class_names}

    def cells(self) -> Iterator[Cell]:
        """Every figure's address."""
        for overlaps in OVERLAPS:
            for name in self.class_names:
                for metric in METRICS:
                    for difficulty in DIFFICULTIES:
                        yield Cell(overlaps, name, metric, difficulty)

    def is_evaluated(self, cell: Cell) -> bool:
        """Whether the results hold the class and the metric's numbers (point 8)."""
        return cell.metric in self._evaluated[cell.class_name]

    def precision(self, cell: Cell, weights: np.ndarray | None = None) -> np.ndarray | None:
        """(B, 41) precision at recall 0, 1/40 ... 1, under each weighting of the frames; None if not evaluated.

        Args:
            cell: which figure.
            weights: (B, F) how often each frame counts; None weighs every frame one, B = 1.
        """
        if not self.is_evaluated(cell):
            return None
        return self.events(cell).precision(weights, oriented=cell.metric == "aos")

    def events(self, cell: Cell) -> PrecisionEvents:
        """What the figure counts; aos counts what 2d does, and 2d has one overlap limit."""
        metric = "2d" if cell.metric == "aos" else cell.metric
        key = counted_alike(cell._replace(metric=metric))
        if key not in self._events:
            limit = overlap_limit(cell.class_name, metric, cell.overlaps)
            counting = count(self.pairs, cell.class_name, SELECTIONS[cell.difficulty], metric, limit)
            self._events[key] = events(self.pairs, counting)
        return self._events[key]

    def average_precision(self) -> dict[str, Any]:
        """What `kitti_ap` returns."""
        result: dict[str, Any] = {}
        for cell in self.cells():
            figures = result.setdefault(cell.overlaps, {}).setdefault(cell.class_name, {})
            lists = figures.setdefault(cell.metric, {"R40": [], "R11": [], "n_gt": []})
            precision = self.precision(cell)
            lists["R40"].append(None if precision is None else float(r40(precision)[0]))
            lists["R11"].append(None if precision is None else float(100.0 * precision[0, ::4].mean()))
            lists["n_gt"].append(self.events(cell).num_counted())
        return result

    @cached_property
    def _events(self) -> dict[Cell, PrecisionEvents]:
        return {}


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
    return KittiScores(ground_truth, results, class_names).average_precision()


def r40(precision: np.ndarray) -> np.ndarray:
    """AP over 40 recall positions (B,), per cent, of precision curves (B, 41)."""
    return 100.0 * precision[:, 1:].mean(axis=1)


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


def _evaluated_metrics(found: BoxTable, class_name: str) -> set[str]:
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
