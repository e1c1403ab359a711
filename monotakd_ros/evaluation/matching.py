"""KITTI's greedy assignment of results to ground truth, for all frames and many score limits at once.

The devkit walks through frames, score limits, ground truth and results in four nested loops. Only ground truth of
one frame competes for results, so here the k-th ground truth of every frame is served in one step, for every score
limit together; a drive of any length takes as many steps as its fullest frame has objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs whose overlap exceeds the limit, as a table with one row per ground truth that has any.

    Attributes:
        truth: (G,) int64 index of the ground truth, rising.
        frame: (G,) int64 its frame.
        step: (G,) int64 position of the row among the rows of its frame.
        result: (G, C) int64 index of the candidates in file order; -1 fills up.
        overlap: (G, C) float64; -inf fills up.
    """

    truth: np.ndarray
    frame: np.ndarray
    step: np.ndarray
    result: np.ndarray
    overlap: np.ndarray

    def steps(self) -> list[np.ndarray]:
        """Row indices of each step."""
        order = np.argsort(self.step, kind="stable")
        return np.split(order, np.cumsum(np.bincount(self.step))[:-1]) if len(order) else []


def make_candidates(
    pair_truth: np.ndarray, pair_result: np.ndarray, overlap: np.ndarray, truth_frame: np.ndarray
) -> Candidates:
    """Build the table.

    Args:
        pair_truth: (P,) int64 ground-truth index of each pair, rising.
        pair_result: (P,) int64 result index, rising within one ground truth.
        overlap: (P,) float64.
        truth_frame: frame number of every ground truth, rising.
    """
    truth, first, row, counts = np.unique(pair_truth, return_index=True, return_inverse=True, return_counts=True)
    row = row.reshape(-1)
    width = int(counts.max()) if len(counts) else 0
    result = np.full((len(truth), width), -1, dtype=np.int64)
    table = np.full((len(truth), width), -np.inf)
    column = np.arange(len(pair_truth)) - first[row]
    result[row, column] = pair_result
    table[row, column] = overlap
    frame = truth_frame[truth]
    step = np.arange(len(truth)) - np.searchsorted(frame, frame)
    return Candidates(truth, frame, step, result, table)


def best_scored_hits(
    candidates: Candidates, truth_ignored: np.ndarray, score: np.ndarray, result_ignored: np.ndarray
) -> np.ndarray:
    """Indices (K,) of the results that are true positives when every ground truth takes its best-scored free one.

    Args:
        candidates: table of pairs.
        truth_ignored: bool of every ground truth.
        score: float64 of every result.
        result_ignored: bool of every result.
    """
    taken = np.zeros(len(score), dtype=bool)
    hits = []
    for rows in candidates.steps():
        result = candidates.result[rows]
        key = np.where((result >= 0) & ~taken[result], score[result], -np.inf)
        best = key.argmax(axis=1)
        chosen = np.take_along_axis(result, best[:, None], axis=1)[:, 0]
        found = np.take_along_axis(key, best[:, None], axis=1)[:, 0] > -np.inf
        taken[chosen[found]] = True
        counts = found & ~truth_ignored[candidates.truth[rows]] & ~result_ignored[chosen]
        hits.append(chosen[counts])
    return np.concatenate(hits) if hits else np.zeros(0, dtype=np.int64)


def match_at_limits(
    candidates: Candidates,
    truth_ignored: np.ndarray,
    score: np.ndarray,
    result_ignored: np.ndarray,
    limits: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Assign at score limits of each frame's own: a ground truth takes the free candidate of greatest overlap.

    An ignored result is taken only where no counted one is left, the first in file order.

    Args:
        candidates: table of pairs.
        truth_ignored: bool of every ground truth.
        score: float64 of every result.
        result_ignored: bool of every result.
        limits: (G, T) score limits of each row's frame; a result takes part when its score is >= the limit.

    Returns:
        column (G, T) int64 of the candidate that each row took (-1: none), and (N results, T) bool: result taken.
    """
    taken = np.zeros((len(score), limits.shape[1]), dtype=bool)
    column = np.full(limits.shape, -1, dtype=np.int64)
    for rows in candidates.steps():
        result, overlap = candidates.result[rows], candidates.overlap[rows]
        present = result >= 0
        position = np.arange(result.shape[1])
        key = np.where(result_ignored[result], -1.0 - position, overlap)
        free = present[..., None] & ~taken[result] & (score[result][..., None] >= limits[rows][:, None])
        ranked = np.where(free, key[..., None], -np.inf)
        best = ranked.argmax(axis=1)
        found = np.take_along_axis(ranked, best[:, None], axis=1)[:, 0] > -np.inf
        chosen = np.take_along_axis(result, best, axis=1)
        row, level = np.nonzero(found)
        taken[chosen[row, level], level] = True
        column[rows] = np.where(found, best, -1)
    return column, taken
