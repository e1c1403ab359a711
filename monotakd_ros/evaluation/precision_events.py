"""Precision against recall as a sum of events, so that any weighting of the frames costs one pass.

Which result matches which ground truth is decided within a frame, and in a frame only its own scores change it. So a
frame's counts of right and wrong results, as the score limit falls, are steps at scores of its own: *events*. The
counts at any limit are sums of the events above it; a frame drawn twice (bootstrap) weighs two. With all weights one
the curve is exactly KITTI's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RECALL_STEPS = 40
MAX_LIMITS = RECALL_STEPS + 6
"""More than the devkit's rule can give: 41, one more from accumulated rounding, and the last hit."""
CHUNK_VALUES = 4_000_000
"""Weighted events held at once, so that memory stays small whatever the number of frames and weightings."""


@dataclass(frozen=True, eq=False)
class PrecisionEvents:
    """What one class, difficulty and metric counts.

    Attributes:
        counted: (F,) int64 ground truth of each frame that counts.
        hit_frame: (H,) int64 frame of each hit at the lowest limit; falling score.
        hit_score: (H,) float64, falling.
        frame: (E,) int64 frame of each event; falling score.
        score: (E,) float64 the event happens at, falling.
        right: (E,) int64 change of the number of true positives.
        wrong: (E,) int64 change of the number of false positives.
        similarity: (E,) float64 change of the summed orientation similarity.
    """

    counted: np.ndarray
    hit_frame: np.ndarray
    hit_score: np.ndarray
    frame: np.ndarray
    score: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    similarity: np.ndarray

    @classmethod
    def build(cls, counted: np.ndarray, hits: tuple, events: tuple) -> PrecisionEvents:
        """Sort `hits` (frame, score) and `events` (frame, score, right, wrong, similarity) by falling score.

        Events below the last hit are left out: no score limit reaches them.
        """
        hit_frame, hit_score = hits
        order = np.argsort(-hit_score, kind="stable")
        lowest = hit_score.min() if len(hit_score) else np.inf
        events = tuple(column[events[1] >= lowest] for column in events)
        event_order = np.argsort(-events[1], kind="stable")
        return cls(counted, hit_frame[order], hit_score[order], *(column[event_order] for column in events))

    def num_counted(self) -> int:
        """Ground truth that counts, all frames."""
        return int(self.counted.sum())

    def precision(self, weights: np.ndarray | None = None, oriented: bool = False) -> np.ndarray:
        """Precision at recall 0, 1/40 ... 1, each the best at that recall or above; zero beyond the last hit.

        Args:
            weights: (B, F) how often each frame counts, one row per weighting; None weighs every frame one.
            oriented: sum orientation similarities instead of true positives (AOS).

        Returns:
            (B, 41) float64; (1, 41) without weights.
        """
        if weights is None:
            weights = np.ones((1, len(self.counted)))
        rows = max(1, CHUNK_VALUES // max(len(self.score), len(self.counted), 1))
        chunks = [self._precision(weights[start : start + rows], oriented) for start in range(0, len(weights), rows)]
        return np.concatenate(chunks) if chunks else np.zeros((0, RECALL_STEPS + 1))

    def precision_at_recalls(self) -> np.ndarray:
        """(41,) the best precision at recall k/40 or above, at any score limit.

        Unlike `precision`, whose few score limits keep perfect results on fewer than 40 objects below 100, this means
        the same for any number of objects; for many, the two hardly differ.
        """
        last_of_score = np.append(self.score[1:] != self.score[:-1], True)[: len(self.score)]
        right, wrong = (np.cumsum(steps)[last_of_score] for steps in (self.right, self.wrong))
        precision = np.divide(right, right + wrong, out=np.zeros(len(right)), where=right > 0)
        reached = right * RECALL_STEPS >= self.num_counted() * np.arange(RECALL_STEPS + 1)[:, None]
        return np.where(reached, precision, 0.0).max(axis=1, initial=0.0)

    def _precision(self, weights: np.ndarray, oriented: bool) -> np.ndarray:
        reached = self._events_at_limits(weights)
        of_event = weights[:, self.frame]
        right = _sum_of_first(of_event * self.right, reached)
        wrong = _sum_of_first(of_event * self.wrong, reached)
        good = _sum_of_first(of_event * self.similarity, reached) if oriented else right
        total = right + wrong
        return running_maximum(np.divide(good, total, out=np.zeros_like(good), where=total > 0))

    def _events_at_limits(self, weights: np.ndarray) -> np.ndarray:
        """(B, MAX_LIMITS) number of events at or above each score limit; 0 beyond the last limit."""
        if not len(self.hit_score):
            return np.zeros((len(weights), MAX_LIMITS), dtype=np.int64)
        drawn = np.cumsum(weights[:, self.hit_frame], axis=1)
        kept = limit_positions(weights @ self.counted, drawn[:, -1])
        hit = _first_beyond(drawn, kept)
        events_above = np.searchsorted(-self.score, -self.hit_score, side="right")
        return np.where(kept >= 0, events_above[hit], 0)


def limit_positions(num_counted: np.ndarray, num_hits: np.ndarray) -> np.ndarray:
    """Which hits, best score first, become score limits: those nearest to recall 0, 1/40, 2/40 ... (the devkit's rule).

    The devkit walks through the hits, accumulating 1/40 in floating point; a hit is passed over when the next one is
    nearer to the recall that is due. The last hit always becomes a limit. Here the same sums are compared, without
    the walk.

    Args:
        num_counted: (B,) ground truth that counts.
        num_hits: (B,) hits.

    Returns:
        (B, MAX_LIMITS) int64 positions, rising; -1 beyond the last.
    """
    count = np.maximum(np.asarray(num_counted, dtype=np.float64), 1.0)[:, None]
    due = np.cumsum(np.concatenate([[0.0], np.full(MAX_LIMITS - 1, 1.0 / RECALL_STEPS)]))[None]
    guess = np.maximum(np.floor(count * due - 1.5) - 1, 0)
    nearest = guess + 4
    for step in (3, 2, 1, 0):
        position = guess + step
        nearer_next = (position + 2) / count - due < due - (position + 1) / count
        nearest = np.where(nearer_next, nearest, position)
    ordinal = np.arange(MAX_LIMITS)
    positions = (np.maximum.accumulate(nearest - ordinal, axis=1) + ordinal).astype(np.int64)
    last = np.asarray(num_hits, dtype=np.int64)[:, None] - 1
    before = np.concatenate([np.full((len(count), 1), -1), positions[:, :-1]], axis=1)
    return np.where(before < last, np.minimum(positions, last), -1)


def running_maximum(precision: np.ndarray) -> np.ndarray:
    """(B, 41) from (B, T >= 41): each value becomes the greatest at its place or to the right of it."""
    return np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1][:, : RECALL_STEPS + 1]


def _sum_of_first(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(B, T) sum of the first `counts` (B, T) of each row of `values` (B, E)."""
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
    return np.take_along_axis(sums, counts, axis=1)


def _first_beyond(sums: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(B, T) index of the first entry of each rising row of `sums` (B, H) that exceeds `positions` (B, T)."""
    rows = [np.searchsorted(row, wanted, side="right") for row, wanted in zip(sums, positions)]
    return np.minimum(np.array(rows).reshape(positions.shape), sums.shape[1] - 1)
