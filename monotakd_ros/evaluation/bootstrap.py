"""How far AP could be off by the luck of which frames were recorded: bootstrap over frames.

From the F frames, F are drawn with replacement, and AP is computed anew; repeated, the middle 95 % of the values are
the interval. The draws are seeded, so the same frames give the same interval, and two detectors scored on the same
frames are compared on the same draws: what makes a frame hard for both cancels in the difference.

Neighbouring frames of a recording resemble each other. `block_frames` draws runs of consecutive frames instead,
which gives the wider, honest interval for a drive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from monotakd_ros.evaluation.kitti_ap import Cell, KittiScores, counted_alike, r40
from monotakd_ros.frame import KittiFrame


@dataclass(frozen=True)
class Resampling:
    """How to draw.

    Attributes:
        seed: of the random draws.
        resamples: number of draws; 0 makes no intervals.
        block_frames: consecutive frames that are drawn together.
        confidence: share of the draws inside the interval.
    """

    seed: int = 0
    resamples: int = 1000
    block_frames: int = 1
    confidence: float = 0.95

    def weights(self, num_frames: int, recordings: Sequence[str] | None = None) -> np.ndarray:
        """(resamples, F) float32: how often each draw holds each frame.

        Args:
            num_frames: F.
            recordings: of which recording each frame is; no block reaches from one into the next. None: all of one.
        """
        block = self._blocks(recordings if recordings is not None else [""] * num_frames)
        blocks = int(block[-1]) + 1 if num_frames else 0
        rng = np.random.default_rng(self.seed)
        if not blocks:
            return np.zeros((self.resamples, 0), dtype=np.float32)
        drawn = rng.multinomial(blocks, np.full(blocks, 1.0 / blocks), size=self.resamples)
        return drawn[:, block].astype(np.float32)

    def _blocks(self, recordings: Sequence[str]) -> np.ndarray:
        """(F,) number of each frame's block, rising."""
        lengths = [len(list(frames)) for _, frames in groupby(recordings)]
        within = [np.arange(length) // self.block_frames for length in lengths]
        starts = np.cumsum([0] + [int(numbers[-1]) + 1 for numbers in within])
        return np.concatenate([np.zeros(0, np.int64), *(start + numbers for start, numbers in zip(starts, within))])

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """Low and high end of the middle `confidence` of `values` (B,)."""
        tail = 50.0 * (1.0 - self.confidence)
        low, high = np.percentile(values, [tail, 100.0 - tail])
        return float(low), float(high)


def ap_intervals(
    scores: KittiScores,
    resampling: Resampling,
    on_cell: Callable[[], None] = lambda: None,
    recordings: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Interval of every R40 figure.

    Args:
        scores: what was counted.
        resampling: see there.
        on_cell: called after each figure, for a progress bar.
        recordings: see `Resampling.weights`.

    Returns:
        "strict" | "loose" -> class -> metric -> [[low, high] or None for easy, moderate, hard], per cent. None also
        where no result is right: draws of nothing but zeros would look like certainty.
    """
    weights = resampling.weights(scores.pairs.truth.num_frames, recordings)
    known: dict[Cell, list[float]] = {}
    result: dict[str, Any] = {}
    for cell in scores.cells():
        figures = result.setdefault(cell.overlaps, {}).setdefault(cell.class_name, {}).setdefault(cell.metric, [])
        figures.append(_interval(scores, cell, weights, resampling, known))
        on_cell()
    return result


def _interval(
    scores: KittiScores,
    cell: Cell,
    weights: np.ndarray,
    resampling: Resampling,
    known: dict[Cell, list[float]],
) -> list[float] | None:
    """The interval of one cell; 2d and aos, the same for strict and loose overlaps, are computed once."""
    if not scores.is_evaluated(cell) or not len(weights) or not len(scores.events(cell).hit_score):
        return None
    key = counted_alike(cell)
    if key not in known:
        known[key] = list(resampling.interval(r40(scores.precision(cell, weights))))
    return known[key]


@dataclass(frozen=True)
class Difference:
    """One figure of two detectors on the same frames.

    Attributes:
        cell: which figure.
        counted: ground truth that counts.
        a, b: R40 of each, per cent; 0 for a class that was not found at all.
        low, high: interval of b - a.
    """

    cell: Cell
    counted: int
    a: float
    b: float
    low: float
    high: float

    @property
    def is_beyond_noise(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def compare_ap(
    truth: Sequence[KittiFrame],
    results_a: Sequence[KittiFrame],
    results_b: Sequence[KittiFrame],
    class_names: Sequence[str],
    resampling: Resampling,
    on_cell: Callable[[], None] = lambda: None,
    recordings: Sequence[str] | None = None,
) -> list[Difference]:
    """Every R40 figure that has ground truth, for two detectors on the same frames, with the interval of b - a."""
    a, b = KittiScores(truth, results_a, class_names), KittiScores(truth, results_b, class_names)
    weights = resampling.weights(len(truth), recordings)
    differences = []
    for cell in a.cells():
        counted = a.events(cell).num_counted()
        if counted and cell == counted_alike(cell):
            differences.append(_difference(a, b, cell, weights, resampling))
        on_cell()
    return differences


def _difference(a: KittiScores, b: KittiScores, cell: Cell, weights: np.ndarray, resampling: Resampling) -> Difference:
    drawn = ap_under(b, cell, weights) - ap_under(a, cell, weights)
    low, high = resampling.interval(drawn) if len(drawn) else (-np.inf, np.inf)
    return Difference(cell, a.events(cell).num_counted(), ap_once(a, cell), ap_once(b, cell), low, high)


def ap_under(scores: KittiScores, cell: Cell, weights: np.ndarray) -> np.ndarray:
    """(B,) R40 of one figure under each weighting (B, F) of the frames; 0 for a class that was not found at all."""
    precision = scores.precision(cell, weights)
    return np.zeros(len(weights)) if precision is None else r40(precision)


def ap_once(scores: KittiScores, cell: Cell) -> float:
    """R40 of one figure with every frame counted once, per cent."""
    return float(ap_under(scores, cell, np.ones((1, scores.pairs.truth.num_frames)))[0])
