"""Does a score of 0.7 mean right seven times in ten? Scores against the share of results that are right.

A result is right when it is KITTI's true positive under the loose 3D overlap limit of its class and the hard
difficulty, with DontCare regions excusing; a second box on the same object is wrong. What KITTI ignores is left out.
The expected calibration error is the mean distance of score and share, over ten bins, weighted by their counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from monotakd_ros.evaluation.kitti_counting import HARD, count, overlap_limit, verdicts
from monotakd_ros.evaluation.kitti_pairs import PairTable

BINS = 10


def reliability(pairs: PairTable, class_names: Sequence[str]) -> dict[str, Any] | None:
    """Reliability of the scores of each class.

    Returns:
        class -> {"bins": [{"from", "to", "count", "mean_score", "correct_share"}], "expected_calibration_error",
        "count"}; None when scores lie outside 0..1, as they then are no probabilities.
    """
    score = pairs.found.score
    if ((score < 0) | (score > 1)).any():
        return None
    return {name: _of_class(pairs, name) for name in class_names}


def _of_class(pairs: PairTable, class_name: str) -> dict[str, Any]:
    selection = replace(HARD, excuse_dont_care=True)
    counting = count(pairs, class_name, selection, "3d", overlap_limit(class_name, "3d", "loose"))
    right, wrong = verdicts(pairs, counting)
    judged = right | wrong
    score, right = pairs.found.score[judged], right[judged]
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    bins = [_bin(index, score[place == index], right[place == index]) for index in range(BINS)]
    gaps = [abs(bin_["mean_score"] - bin_["correct_share"]) * bin_["count"] for bin_ in bins if bin_["count"]]
    error = sum(gaps) / len(score) if len(score) else None
    return {"bins": bins, "expected_calibration_error": error, "count": len(score)}


def _bin(index: int, score: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    return {
        "from": index / BINS,
        "to": (index + 1) / BINS,
        "count": len(score),
        "mean_score": float(score.mean()) if len(score) else None,
        "correct_share": float(right.mean()) if len(score) else None,
    }
