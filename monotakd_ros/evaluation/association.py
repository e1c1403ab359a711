"""Which result means which ground truth, for measuring errors; and the score at which a detector is best used.

A camera errs along the viewing ray, often by more than a box's length. Matching by overlap would drop exactly these
errors, so boxes are associated along the ray instead. The rule in words, for one class:

1. Objects are the ground truth of the class (case does not matter) and of KITTI's neighbouring class (Van for Car,
   Person_sitting for Pedestrian) that has a place in 3D. Those of the class that the image shows (a 2D box that is not
   all zero) *count*. Results of the class take part if they have a place in 3D.
2. The offset of a result from an object, over ground (cam x, z), is split at the object's viewing ray into "along" and
   "across". Result and object may belong together if across <= max(1 m, r) and along <= max(2 m + 0.25 d, r), r half
   the diagonal of the object's footprint and d its distance over ground: directions are seen well, depth is not.
   The nearest is that of the smallest (across / limit)^2 + (along / limit)^2. Within r a result *sits on* the object.
3. Results, in falling score (of equal ones the first in the file), each take one free object: the nearest of those
   they sit on, and no other, else a second result on one car would be an error of many metres on the car behind; if
   they sit on none, the nearest that counts, and else the nearest that does not.
4. Results that took an object that does not count, and those left over of whose 2D box one DontCare region covers more
   than half, are *excused*: neither right nor wrong. Others left over are wrong. Objects that count and are left over
   are missed.

No result changes what one of a higher score takes, so results below a score limit can be dropped afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_counting import DONT_CARE_SHARE, NEIGHBOURS
from monotakd_ros.evaluation.kitti_pairs import BoxTable, dont_care_share, pairs_within_frames
from monotakd_ros.evaluation.pairing import has_place, take_while_free
from monotakd_ros.evaluation.viewing_ray import ground_ray, split_at_ray

ACROSS_LIMIT_M = 1.0
ALONG_LIMIT_M = 2.0
ALONG_LIMIT_SHARE = 0.25
NONE = -1
"""Row or index of a side that a link lacks."""


@dataclass(frozen=True, eq=False)
class Links:
    """L boxes or pairs of boxes, by frame and then by result (or ground truth).

    Attributes:
        frame: (L,) int64 index of the frame.
        truth: (L,) int64 index in the frame's ground truth; -1 for none.
        result: (L,) int64 index in the frame's results; -1 for none.
        score: (L,) float64 of the result; NaN without one.
    """

    frame: np.ndarray
    truth: np.ndarray
    result: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.frame)

    def at_least(self, score: float | None) -> Links:
        """Those with this score or a higher one; all of them for None."""
        if score is None:
            return self
        keep = self.score >= score
        return Links(self.frame[keep], self.truth[keep], self.result[keep], self.score[keep])


@dataclass(frozen=True, eq=False)
class Association:
    """What became of every box of one class.

    Attributes:
        pairs: result and ground truth that belong together.
        wrong: results without ground truth.
        excused: results that are neither right nor wrong; `truth` is what excuses them, -1 for a DontCare region.
        missed: ground truth without a result.
    """

    pairs: Links
    wrong: Links
    excused: Links
    missed: Links


@dataclass(frozen=True)
class OperatingPoint:
    """What a detector does when results below `score` are dropped.

    Attributes:
        score: the limit; None where no result is right, so that no limit is better than another: nothing is dropped.
        precision: correct / (correct + wrong); None without results.
        recall: correct / (correct + missed); None without ground truth.
        f1: harmonic mean of both; None without results and ground truth.
        correct: pairs at or above the limit.
        wrong: wrong results at or above the limit.
        missed: ground truth without a result at or above the limit.
    """

    score: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    correct: int
    wrong: int
    missed: int


def associate(frames: Sequence[EvaluationFrame], class_name: str) -> Association:
    """Pair the boxes of one class in all frames, as the top of this module says."""
    truth, found = BoxTable.build([f.truth for f in frames]), BoxTable.build([f.results for f in frames])
    kind = class_name.lower()
    own = truth.kind == kind
    objects = np.flatnonzero((own | (truth.kind == NEIGHBOURS.get(kind, ""))) & has_place(truth))
    usable = np.flatnonzero((found.kind == kind) & has_place(found))
    counts = own & (truth.bbox_px != 0).any(axis=1)
    taken, taking = _take_nearest(truth, objects, counts, found, usable)
    right = counts[taken]
    left = np.setdiff1d(usable, taking)
    covered = left[dont_care_share(truth, found, left) > DONT_CARE_SHARE]
    wrong, missed = np.setdiff1d(left, covered), np.setdiff1d(objects[counts[objects]], taken)
    excuse = np.concatenate([taken[~right], np.full(len(covered), NONE)])
    return Association(
        pairs=_links(truth, found, taken[right], taking[right]),
        wrong=_links(truth, found, np.full(len(wrong), NONE), wrong),
        excused=_links(truth, found, excuse, np.concatenate([taking[~right], covered])),
        missed=_links(truth, found, missed, np.full(len(missed), NONE)),
    )


def operating_point(association: Association, score: float | None = None) -> OperatingPoint:
    """The score limit of the best F1, the highest of equally good ones; or the counts at a limit that is given.

    Dropping results below the score of a pair never costs a correct one, so only pairs' scores are candidates. Scores
    may have any range.
    """
    right, wrong = np.sort(association.pairs.score), np.sort(association.wrong.score)
    total = len(right) + len(association.missed)
    if score is None and len(right):
        limits = np.unique(right)[::-1]
        correct = len(right) - np.searchsorted(right, limits)
        f1 = 2 * correct / (correct + len(wrong) - np.searchsorted(wrong, limits) + total)
        score = float(limits[np.argmax(f1)])
    limit = -np.inf if score is None else score
    correct, mistakes = int((right >= limit).sum()), int((wrong >= limit).sum())
    return OperatingPoint(
        score=score,
        precision=_share(correct, correct + mistakes),
        recall=_share(correct, total),
        f1=_share(2 * correct, correct + mistakes + total),
        correct=correct,
        wrong=mistakes,
        missed=total - correct,
    )


def _take_nearest(
    truth: BoxTable, objects: np.ndarray, counts: np.ndarray, found: BoxTable, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rules 2 and 3.

    Args:
        truth: ground truth.
        objects: (A,) its rows that are objects.
        counts: (all rows,) bool, whether an object counts.
        found: results.
        usable: (B,) its rows that take part.

    Returns:
        Rows (P,) of `truth` and (P,) of `found` that go together.
    """
    a, b = pairs_within_frames(truth.frame[objects], found.frame[usable])
    a, b = objects[a], usable[b]
    near, farness, sits_on = _nearness(truth, a, found.boxes[1][b])
    sits = np.zeros(len(found.frame), dtype=bool)
    sits[b[sits_on]] = True
    chosen = np.flatnonzero(sits_on | (near & ~sits[b]))
    a, b, farness, second = a[chosen], b[chosen], farness[chosen], (~counts[a] & ~sits_on)[chosen]
    order = np.lexsort((a, farness, second, b, -found.score[b]))
    order = order[take_while_free(a[order], b[order])]
    return a[order], b[order]


def _nearness(truth: BoxTable, a: np.ndarray, location_cam: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rule 2 for places (P, 3) and objects `a` (P,): within both limits, how far in limits, squared, and sits on."""
    hwl, center, _ = (values[a] for values in truth.boxes)
    offset = location_cam - center
    along, across = split_at_ray(offset, ground_ray(center))
    radius = 0.5 * np.hypot(hwl[:, 1], hwl[:, 2])
    across = np.abs(across) / np.maximum(ACROSS_LIMIT_M, radius)
    along = np.abs(along) / np.maximum(ALONG_LIMIT_M + ALONG_LIMIT_SHARE * truth.distances()[a], radius)
    sits_on = np.hypot(offset[:, 0], offset[:, 2]) <= radius
    return (across <= 1) & (along <= 1), across**2 + along**2, sits_on


def _links(truth: BoxTable, found: BoxTable, of_truth: np.ndarray, of_found: np.ndarray) -> Links:
    """Rows of the two tables, -1 for none, as indices within their frames."""
    with_truth, with_result = of_truth >= 0, of_found >= 0
    frame = np.where(with_result, _at(found.frame, of_found), _at(truth.frame, of_truth))
    truth_index = np.where(with_truth, of_truth - np.searchsorted(truth.frame, frame), NONE)
    result_index = np.where(with_result, of_found - np.searchsorted(found.frame, frame), NONE)
    score = np.where(with_result, _at(found.score, of_found), np.nan)
    order = np.lexsort((truth_index, result_index, frame))
    return Links(frame[order], truth_index[order], result_index[order], score[order])


def _at(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`values` in these rows; anything (zero) for the row -1, also where there is no row at all."""
    return np.append(values, values.dtype.type(0))[rows]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
