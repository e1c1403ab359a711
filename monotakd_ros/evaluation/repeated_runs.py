"""Comparing ways to train, each repeated with several seeds, on the same frames.

One training with one seed says little: another seed of the same recipe may differ by more than two recipes do. A
recipe's figure is the mean over its seeds, and its interval covers both kinds of luck: frames are drawn as in
`bootstrap`, and seeds are drawn with replacement beside them. All recipes share the draws, so that what frames, and
seeds (same order of frames, same random start), do to both cancels in a difference. With few seeds such an interval
is too narrow: three seeds tell little about their own spread, and one nothing, which is why every seed's value is
given too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monotakd_ros.errors import ConfigError
from monotakd_ros.evaluation.bootstrap import Resampling, ap_once, ap_under
from monotakd_ros.evaluation.kitti_ap import Cell, KittiScores

Interval = tuple[float, float]


@dataclass(frozen=True)
class RowFigure:
    """One figure of one recipe.

    Attributes:
        by_seed: R40 of each seed's detector, per cent.
        interval: of their mean.
        gain: interval of the mean's difference to the baseline's.
        gap_closed: gain as a share of the distance from the baseline to the ceiling, and its interval; None without a
            ceiling, or where the ceiling is no higher than the baseline in some draw.
    """

    by_seed: tuple[float, ...]
    interval: Interval
    gain: Interval
    gap_closed: tuple[float, Interval] | None = None

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.by_seed))


def row_figures(
    rows: Mapping[str, Sequence[KittiScores]],
    cell: Cell,
    resampling: Resampling,
    *,
    baseline: str,
    ceiling: KittiScores | None = None,
    recordings: Sequence[str] | None = None,
    on_run: Callable[[], None] = lambda: None,
) -> dict[str, RowFigure]:
    """One figure of every recipe.

    Args:
        rows: recipe -> scores of its seeds. Recipes with as many share the draws of seeds, so that theirs have to be
            the same seeds in the same order.
        cell: which figure.
        resampling: how to draw; at least one draw.
        baseline: the recipe that gains are counted from.
        ceiling: scores that gaps are counted to, as the teacher's.
        recordings: see `Resampling.weights`.
        on_run: called after each detector, for a progress bar.

    Raises:
        ConfigError: no such baseline, no draws, or a recipe without seeds.
    """
    _check(rows, baseline, resampling)
    frames = rows[baseline][0].pairs.truth.num_frames
    weights = resampling.weights(frames, recordings)
    points = {name: np.array([ap_once(item, cell) for item in scores]) for name, scores in rows.items()}
    means = {name: _drawn_means(scores, cell, weights, resampling.seed, on_run) for name, scores in rows.items()}
    top = None if ceiling is None else (ap_once(ceiling, cell), ap_under(ceiling, cell, weights))
    figures = {}
    for name in rows:
        gains = means[name] - means[baseline]
        gap = None
        if top is not None:
            gain = float(points[name].mean() - points[baseline].mean())
            gap = _share(gain, top[0] - float(points[baseline].mean()), gains, top[1] - means[baseline], resampling)
        figures[name] = RowFigure(
            tuple(map(float, points[name])), resampling.interval(means[name]), resampling.interval(gains), gap
        )
    return figures


def _check(rows: Mapping[str, Sequence[KittiScores]], baseline: str, resampling: Resampling) -> None:
    if baseline not in rows:
        raise ConfigError(f"baseline {baseline}: expected one of {', '.join(rows) or 'no rows at all'}")
    if not resampling.resamples:
        raise ConfigError("expected at least 1 draw, got 0")
    empty = [name for name, scores in rows.items() if not scores]
    if empty:
        raise ConfigError(f"{', '.join(empty)}: expected at least 1 seed, got none")


def _drawn_means(
    scores: Sequence[KittiScores],
    cell: Cell,
    weights: np.ndarray,
    seed_of_draws: int,
    on_run: Callable[[], None],
) -> np.ndarray:
    """(B,) mean over the drawn seeds, each under the drawn frames."""
    shape = len(weights), len(scores)
    drawn_seeds = np.random.default_rng([seed_of_draws, 1]).integers(len(scores), size=shape)
    by_seed = []
    for item in scores:
        by_seed.append(ap_under(item, cell, weights))
        on_run()
    return np.stack(by_seed)[drawn_seeds, np.arange(len(weights))[:, None]].mean(axis=1)


def _share(
    gain: float, gap: float, gains: np.ndarray, gaps: np.ndarray, resampling: Resampling
) -> tuple[float, Interval] | None:
    if gap <= 0 or (gaps <= 0).any():
        return None
    return gain / gap, resampling.interval(gains / gaps)
