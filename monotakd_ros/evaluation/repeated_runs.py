"""Comparing ways to train, each repeated with several seeds, on the same frames.

One training with one seed says little: another seed of the same recipe may differ by more than two recipes do. A
recipe's figure is the mean over its seeds, and its interval covers both kinds of luck: frames are drawn as in
`bootstrap`, and seeds are drawn with replacement beside them. A gain is counted over the seeds that both recipes have,
under the same draws, so that what frames, and seeds (same order of frames, same random start), do to both cancels in
it. With few seeds such an interval is too narrow: three seeds tell little about their own spread, and one nothing,
which is why every seed's value is given too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monotakd_ros.errors import ConfigError
from monotakd_ros.evaluation.bootstrap import Resampling, ap_once, ap_under
from monotakd_ros.evaluation.kitti_ap import Cell, KittiScores

Interval = tuple[float, float]
Seeds = Mapping[int | None, KittiScores]
"""Seed -> scores of the detector that was trained with it; None: of one that was not trained, the same for any."""


@dataclass(frozen=True)
class RowFigure:
    """One figure of one recipe.

    Attributes:
        by_seed: R40 of each seed's detector, per cent.
        interval: of their mean.
        gain: mean difference to the baseline over the seeds that both have, per cent, and its interval; None without
            such a seed.
        gap_closed: gain as a share of the distance from the baseline to the ceiling, and its interval; None without a
            gain or ceiling, or where the ceiling is no higher than the baseline in some draw.
    """

    by_seed: Mapping[int | None, float]
    interval: Interval
    gain: tuple[float, Interval] | None
    gap_closed: tuple[float, Interval] | None = None

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(list(self.by_seed.values())))


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One detector's figure: as it is, and (B,) under the drawn frames."""

    point: float
    draws: np.ndarray

    def minus(self, other: _Drawn) -> _Drawn:
        return _Drawn(self.point - other.point, self.draws - other.draws)


def row_figures(
    rows: Mapping[str, Seeds],
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
        rows: recipe -> its detectors; recipes may have different seeds.
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
    frames = next(iter(rows[baseline].values())).pairs.truth.num_frames
    weights = resampling.weights(frames, recordings)

    def drawn(scores: KittiScores) -> _Drawn:
        return _Drawn(ap_once(scores, cell), ap_under(scores, cell, weights))

    runs: dict[str, dict[int | None, _Drawn]] = {name: {} for name in rows}
    for name, seeds in rows.items():
        for seed, scores in seeds.items():
            runs[name][seed] = drawn(scores)
            on_run()
    top = None if ceiling is None else drawn(ceiling)
    return {name: _row_figure(own, runs[baseline], top, resampling) for name, own in runs.items()}


def _row_figure(
    own: Mapping[int | None, _Drawn],
    baseline: Mapping[int | None, _Drawn],
    top: _Drawn | None,
    resampling: Resampling,
) -> RowFigure:
    by_seed = {seed: run.point for seed, run in own.items()}
    interval = resampling.interval(_over_seeds(list(own.values()), resampling).draws)
    pairs = _pairs(own, baseline)
    if not pairs:
        return RowFigure(by_seed, interval, gain=None)
    ours, theirs = (_over_seeds(side, resampling) for side in zip(*pairs))
    gain = ours.minus(theirs)
    gap = None if top is None else _share(gain, top.minus(theirs), resampling)
    return RowFigure(by_seed, interval, (gain.point, resampling.interval(gain.draws)), gap)


def _check(rows: Mapping[str, Seeds], baseline: str, resampling: Resampling) -> None:
    if baseline not in rows:
        raise ConfigError(f"baseline {baseline}: expected one of {', '.join(rows) or 'no rows at all'}")
    if not resampling.resamples:
        raise ConfigError("expected at least 1 draw, got 0")
    empty = [name for name, seeds in rows.items() if not seeds]
    if empty:
        raise ConfigError(f"{', '.join(empty)}: expected at least 1 seed, got none")


def _pairs(row: Mapping[int | None, _Drawn], baseline: Mapping[int | None, _Drawn]) -> list[tuple[_Drawn, _Drawn]]:
    """The runs of both that have one seed; what was not trained goes with any."""
    if None in row:
        return [(row[None], run) for run in baseline.values()]
    if None in baseline:
        return [(run, baseline[None]) for run in row.values()]
    return [(row[seed], baseline[seed]) for seed in row if seed in baseline]


def _over_seeds(runs: Sequence[_Drawn], resampling: Resampling) -> _Drawn:
    """Their mean, and (B,) the mean over drawn runs; as many runs are drawn alike."""
    draws = np.stack([run.draws for run in runs])
    count, size = draws.shape
    drawn_seeds = np.random.default_rng([resampling.seed, 1]).integers(count, size=(size, count))
    mean = float(np.mean([run.point for run in runs]))
    return _Drawn(mean, draws[drawn_seeds, np.arange(size)[:, None]].mean(axis=1))


def _share(gain: _Drawn, gap: _Drawn, resampling: Resampling) -> tuple[float, Interval] | None:
    if gap.point <= 0 or (gap.draws <= 0).any():
        return None
    return gain.point / gap.point, resampling.interval(gain.draws / gap.draws)
