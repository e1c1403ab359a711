"""KITTI's greedy assignment of detections to ground truth, for all frames and score limits at once.

The devkit walks through frames, score limits, ground truth and detections in four nested loops. Only ground truth of
one frame competes for detections, so here the k-th ground truth of every frame is served in one step, for every
score limit together; a drive of any length takes as many steps as its fullest frame has objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs whose overlap exceeds the limit, as a table with one row per ground truth that has any.

    Attributes:
        truth: (G,) int64 index of the ground truth, rising.
        step: (G,) int64 position of the row among the rows of its frame.
        detection: (G, C) int64 index of the candidates in file order; -1 fills up.
        overlap: (G, C) float64; -inf fills up.
    """

    truth: np.ndarray
    step: np.ndarray
    detection: np.ndarray
    overlap: np.ndarray

    def steps(self) -> list[np.ndarray]:
        """Row indices of each step."""
        order = np.argsort(self.step, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.step))[:-1]) if len(order) else []


def make_candidates(
    pair_truth: np.ndarray, pair_detection: np.ndarray, overlap: np.ndarray, truth_frame: np.ndarray
) -> Candidates:
    """Build the table.

    Args:
        pair_truth: (P,) int64 ground-truth index of each pair, rising.
        pair_detection: (P,) int64 detection index, rising within one ground truth.
        overlap: (P,) float64.
        truth_frame: frame number of every ground truth, rising.
    """
    truth, first, row, counts = np.unique(pair_truth, return_index=True, return_inverse=True, return_counts=True)
    row = row.reshape(-1)
    width = int(counts.max()) if len(counts) else 0
    detection = np.full((len(truth), width), -1, dtype=np.int64)
    table = np.full((len(truth), width), -np.inf)
    column = np.arange(len(pair_truth)) - first[row]
    detection[row, column] = pair_detection
    table[row, column] = overlap
    frame = truth_frame[truth]
    step = np.arange(len(truth)) - np.searchsorted(frame, frame)
    return Candidates(truth, step, detection, table)


def scores_of_hits(
    candidates: Candidates, truth_ignored: np.ndarray, score: np.ndarray, detection_ignored: np.ndarray
) -> np.ndarray:
    """Scores (K,) of true positives when every ground truth takes its best-scored free candidate.

    Args:
        candidates: table of pairs.
        truth_ignored: bool of every ground truth.
        score: float64 of every detection.
        detection_ignored: bool of every detection.
    """
    taken = np.zeros(len(score), dtype=bool)
    hits = []
    for rows in candidates.steps():
        detection = candidates.detection[rows]
        key = np.where((detection >= 0) & ~taken[detection], score[detection], -np.inf)
        best = key.argmax(axis=1)
        chosen = np.take_along_axis(detection, best[:, None], axis=1)[:, 0]
        found = np.take_along_axis(key, best[:, None], axis=1)[:, 0] > -np.inf
        taken[chosen[found]] = True
        counts = found & ~truth_ignored[candidates.truth[rows]] & ~detection_ignored[chosen]
        hits.append(score[chosen[counts]])
    return np.concatenate(hits) if hits else np.zeros(0)


def match_at_limits(
    candidates: Candidates,
    truth_ignored: np.ndarray,
    score: np.ndarray,
    detection_ignored: np.ndarray,
    limits: np.ndarray,
    similarity: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Assign at each score limit: a ground truth takes the free candidate of greatest overlap.

    An ignored detection is taken only where no counted one is left, the first in file order.

    Args:
        candidates: table of pairs.
        truth_ignored: bool of every ground truth.
        score: float64 of every detection.
        detection_ignored: bool of every detection.
        limits: (T,) score limits; a detection counts when its score is >= the limit.
        similarity: (G, C) float64 orientation similarity of each pair, summed over the true positives.

    Returns:
        true positives (T,) int64, their summed similarity (T,) float64, and (D, T) bool: detection taken.
    """
    taken = np.zeros((len(score), len(limits)), dtype=bool)
    hits, similar = np.zeros(len(limits), dtype=np.int64), np.zeros(len(limits))
    for rows in candidates.steps():
        detection, overlap = candidates.detection[rows], candidates.overlap[rows]
        present = detection >= 0
        position = np.arange(detection.shape[1])
        key = np.where(detection_ignored[detection], -1.0 - position, overlap)
        free = present[..., None] & ~taken[detection] & (score[detection][..., None] >= limits)
        ranked = np.where(free, key[..., None], -np.inf)
        best = ranked.argmax(axis=1)
        found = np.take_along_axis(ranked, best[:, None], axis=1)[:, 0] > -np.inf
        chosen = np.take_along_axis(detection, best, axis=1)
        row, column = np.nonzero(found)
        taken[chosen[row, column], column] = True
        counts = found & ~truth_ignored[candidates.truth[rows]][:, None] & ~detection_ignored[chosen]
        hits += counts.sum(axis=0)
        similar += np.where(counts, np.take_along_axis(similarity[rows], best, axis=1), 0.0).sum(axis=0)
    return hits, similar, taken
