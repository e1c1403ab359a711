"""Which boxes of each frame are right, wrong or missed, for looking at pictures.

The words are KITTI's (`evaluation.kitti_ap`) with the loose 3D overlap limit and the difficulty "hard"; the matching is
simpler: within a class, each result, best score first, takes the free counted ground truth it overlaps most, else a
free ignored one. So a result's verdict does not depend on results of lower score, and the score limit can be applied
afterwards. Results on ignored ground truth, in DontCare regions (more than half covered) or too small to count are
neither right nor wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.evaluation.kitti_counting import HARD, Counting, count, overlap_limit
from monotakd_ros.evaluation.kitti_pairs import PairTable

SELECTION = replace(HARD, excuse_dont_care=True)


@dataclass(frozen=True, eq=False)
class FrameVerdict:
    """Verdicts on the boxes of one frame.

    Attributes:
        right: (N,) bool of the results, whatever their score.
        wrong: (N,) bool of the results, whatever their score.
        shown: (N,) bool of the results: of a judged class, with a score at or above its limit.
        counted: (M,) bool of the ground truth: to be found.
        missed: (M,) bool of the ground truth: counted, and no shown result is on it.
    """

    right: np.ndarray
    wrong: np.ndarray
    shown: np.ndarray
    counted: np.ndarray
    missed: np.ndarray

    @property
    def num_right(self) -> int:
        return int((self.right & self.shown).sum())

    @property
    def num_wrong(self) -> int:
        return int((self.wrong & self.shown).sum())

    @property
    def num_missed(self) -> int:
        return int(self.missed.sum())


def judge(frames: Sequence[EvaluationFrame], scores: Mapping[str, float | None]) -> list[FrameVerdict]:
    """Judge every box of the classes in `scores`.

    Args:
        frames: both sides.
        scores: class -> least score of a result that is shown; None shows no result of the class.

    Returns:
        One verdict a frame, in the same order.
    """
    pairs = PairTable.build([frame.truth for frame in frames], [frame.results for frame in frames])
    num_truth, num_found = len(pairs.truth.frame), len(pairs.found.frame)
    right, wrong, shown = (np.zeros(num_found, dtype=bool) for _ in range(3))
    counted, missed = (np.zeros(num_truth, dtype=bool) for _ in range(2))
    for name, score in scores.items():
        own = pairs.found.kind == name.lower()
        counting = count(pairs, name, SELECTION, "3d", overlap_limit(name, "3d", "loose"))
        taken_by = _match(counting, pairs.found.score, own)
        hit = counting.counted & (taken_by >= 0)
        right[taken_by[hit]] = True
        free = np.ones(num_found, dtype=bool)
        free[taken_by[taken_by >= 0]] = False
        wrong |= own & counting.punished & free
        class_shown = own & (pairs.found.score >= (np.inf if score is None else score))
        shown |= class_shown
        counted |= counting.counted
        missed |= counting.counted & ~(hit & np.append(class_shown, False)[taken_by])
    of_result = np.searchsorted(pairs.found.frame, np.arange(1, len(frames)))
    of_truth = np.searchsorted(pairs.truth.frame, np.arange(1, len(frames)))
    columns = [np.split(values, of_result) for values in (right, wrong, shown)]
    columns += [np.split(values, of_truth) for values in (counted, missed)]
    return [FrameVerdict(*values) for values, _ in zip(zip(*columns), frames)]


def _match(counting: Counting, score: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Index of the result that takes each ground truth, best score first; (all ground truth,) int64, -1 for none."""
    table = counting.candidates
    taken_by = np.full(len(counting.counted), -1, dtype=np.int64)
    row, column = np.nonzero(table.result >= 0)
    result, truth = table.result[row, column], table.truth[row]
    usable = own[result]
    row, column, result, truth = row[usable], column[usable], result[usable], truth[usable]
    ignored, overlap = counting.truth_ignored[truth], table.overlap[row, column]
    served: set[int] = set()
    for pair in np.lexsort((-overlap, ignored, result, -score[result])):
        if int(result[pair]) not in served and taken_by[truth[pair]] < 0:
            taken_by[truth[pair]] = result[pair]
            served.add(int(result[pair]))
    return taken_by
