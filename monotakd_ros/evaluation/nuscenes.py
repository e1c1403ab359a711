"""nuScenes' detection metrics on KITTI's boxes, for readers who know that benchmark. Equal to nuscenes-devkit's.

The metric in words, for one class:

1. Boxes of the class count that have a place in 3D and are nearer than the class's range (car 50 m, pedestrian and
   cyclist, nuScenes' bicycle, 40 m), over ground. nuScenes measures from the vehicle, this from the camera. nuScenes
   drops ground truth without LiDAR or radar points; this drops what the image does not show. nuScenes has no DontCare.
2. KITTI's Van counts as Car and Person_sitting as Pedestrian among the ground truth: nuScenes' car includes vans and
   its pedestrian people who sit, and it has no class whose boxes are neither right nor wrong.
3. Results in falling score (of equal ones the last first) each take the nearest free ground truth by distance of
   centres over ground, if that is under the limit: 0.5, 1, 2 or 4 m. The others are wrong.
4. Precision is interpolated at recall 0, 0.01, ... 1, zero beyond the recall that is reached. AP is the mean over
   recall above 0.1 of the precision above 0.1, divided by 0.9 so that 1 is the best.
5. Errors come from the pairs at 2 m: translation (distance of centres over ground, m), scale (1 - overlap of the two
   sizes laid on each other), orientation (yaw difference of 0..pi rad). Each is the running mean over falling scores,
   interpolated at the scores of 4 and averaged over recall above 0.1, up to the recall that is reached; 1 if that is
   not above 0.1. A score of exactly 0 counts as not reached.
6. mAP is the mean over limits and classes, mATE, mASE and mAOE that over classes. Of nuScenes' detection score,
   (5 mAP + sum of five max(0, 1 - error)) / 10, velocity and attribute do not exist here:
   NDS without them = (5 mAP + sum of three max(0, 1 - error)) / 8. It is no official score.

A class without ground truth in its range has no value (None) and no part in the means; the benchmark, of which every
class has ground truth, would give it AP 0.

Source: nuScenes detection task, https://www.nuscenes.org/object-detection, and its configuration
`detection_cvpr_2019`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_counting import NEIGHBOURS
from monotakd_ros.evaluation.kitti_pairs import BoxTable, pairs_within_frames
from monotakd_ros.evaluation.pairing import has_place, take_while_free

LIMITS_M = (0.5, 1.0, 2.0, 4.0)
ERROR_LIMIT_M = 2.0
SMALL_RANGE_M, LARGE_RANGE_M = 40.0, 50.0
SMALL_KINDS = ("pedestrian", "person_sitting", "cyclist")
RECALLS = np.linspace(0.0, 1.0, 101)
FIRST_RECALL = 11
"""Index of the first recall above 0.1."""
MIN_PRECISION = 0.1
MEAN_AP_WEIGHT = 5
ERRORS = ("ate_m", "ase", "aoe_rad")


def nuscenes_section(frames: Sequence[EvaluationFrame], class_names: Sequence[str]) -> dict[str, Any]:
    """The report's "nuscenes": per class AP by limit and the three errors, their means, and the score."""
    truth, found = BoxTable.build([f.truth for f in frames]), BoxTable.build([f.results for f in frames])
    classes = {name: _class_metrics(truth, found, name.lower()) for name in class_names}
    mean_ap, *errors = (_mean([of_class[key] for of_class in classes.values()]) for key in ("mean_ap", *ERRORS))
    return {
        "classes": classes,
        "mean_ap": mean_ap,
        **dict(zip(("mate_m", "mase", "maoe_rad"), errors)),
        "nds_without_velocity_attribute": _detection_score(mean_ap, errors),
    }


def _class_metrics(truth: BoxTable, found: BoxTable, kind: str) -> dict[str, Any]:
    shown = (truth.bbox_px != 0).any(axis=1)
    of_truth = _in_range(truth, kind, shown & np.isin(truth.kind, [kind, NEIGHBOURS.get(kind, kind)]))
    of_found = _in_range(found, kind, found.kind == kind)
    if not len(of_truth):
        nothing = dict.fromkeys(("mean_ap", *ERRORS))
        return {"ap": dict.fromkeys(map(str, LIMITS_M)), **nothing, "n_gt": 0}
    of_found = of_found[np.argsort(found.score[of_found], kind="stable")[::-1]]
    pairs = {limit: _pairs(truth, of_truth, found, of_found, limit) for limit in LIMITS_M}
    score = found.score[of_found]
    ap = {str(limit): _average_precision(rank, score, len(of_truth)) for limit, (_, rank) in pairs.items()}
    a, rank = pairs[ERROR_LIMIT_M]
    errors = _errors(truth, a, found, of_found[rank])
    means = [_error_over_recall(error, rank, score, len(of_truth)) for error in errors]
    return {"ap": ap, "mean_ap": float(np.mean(list(ap.values()))), **dict(zip(ERRORS, means)), "n_gt": len(of_truth)}


def _in_range(boxes: BoxTable, kind: str, mask: np.ndarray) -> np.ndarray:
    limit = SMALL_RANGE_M if kind in SMALL_KINDS else LARGE_RANGE_M
    return np.flatnonzero(mask & has_place(boxes) & (boxes.distances() < limit))


def _pairs(
    truth: BoxTable, of_truth: np.ndarray, found: BoxTable, of_found: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rule 3: (P,) row of `truth` and (P,) rank of the result in `of_found`, in rising rank."""
    rank, a = pairs_within_frames(found.frame[of_found], truth.frame[of_truth])
    a = of_truth[a]
    distance = _center_distances(truth, a, found, of_found[rank])
    near = np.flatnonzero(distance < limit)
    order = near[np.lexsort((a[near], distance[near], rank[near]))]
    order = order[take_while_free(rank[order], a[order])]
    return a[order], rank[order]


def _center_distances(truth: BoxTable, a: np.ndarray, found: BoxTable, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm((found.boxes[1][b] - truth.boxes[1][a])[:, [0, 2]], axis=1)


def _errors(truth: BoxTable, a: np.ndarray, found: BoxTable, b: np.ndarray) -> tuple[np.ndarray, ...]:
    """Translation, scale and orientation error of each pair, (P,) each."""
    size, other = truth.boxes[0][a], found.boxes[0][b]
    shared = np.minimum(size, other).prod(axis=1)
    turn = np.abs(found.boxes[2][b] - truth.boxes[2][a]) % (2 * np.pi)
    scale = 1.0 - shared / (size.prod(axis=1) + other.prod(axis=1) - shared)
    return _center_distances(truth, a, found, b), scale, np.minimum(turn, 2 * np.pi - turn)


def _hits(rank: np.ndarray, count: int) -> np.ndarray:
    """(count,) right results up to each result, from the ranks of those that are right."""
    return np.cumsum(np.bincount(rank, minlength=count))


def _average_precision(rank: np.ndarray, score: np.ndarray, n_gt: int) -> float:
    if not len(rank):
        return 0.0
    hits = _hits(rank, len(score))
    precision = np.interp(RECALLS, hits / n_gt, hits / np.arange(1, len(score) + 1), right=0.0)
    return float(np.maximum(precision[FIRST_RECALL:] - MIN_PRECISION, 0.0).mean() / (1.0 - MIN_PRECISION))


def _error_over_recall(error: np.ndarray, rank: np.ndarray, score: np.ndarray, n_gt: int) -> float:
    if not len(rank):
        return 1.0
    at_recall = np.interp(RECALLS, _hits(rank, len(score)) / n_gt, score, right=0.0)
    last = np.flatnonzero(at_recall)[-1:]
    if not len(last) or last[0] < FIRST_RECALL:
        return 1.0
    mean = np.cumsum(error) / np.arange(1, len(error) + 1)
    over_recall = np.interp(at_recall[::-1], score[rank][::-1], mean[::-1])[::-1]
    return float(over_recall[FIRST_RECALL : last[0] + 1].mean())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _detection_score(mean_ap: float | None, errors: Sequence[float | None]) -> float | None:
    if mean_ap is None:
        return None
    good = sum(1.0 - min(1.0, error) for error in errors)
    return (MEAN_AP_WEIGHT * mean_ap + good) / (MEAN_AP_WEIGHT + len(errors))
