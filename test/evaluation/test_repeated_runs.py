"""Recipes with several seeds: hand numbers, pairing, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.errors import ConfigError
from monotakd_ros.evaluation.bootstrap import Resampling
from monotakd_ros.evaluation.kitti_ap import Cell, KittiScores
from monotakd_ros.evaluation.repeated_runs import row_figures
from monotakd_ros.frame import KittiFrame

CELL = Cell("strict", "Car", "3d", "moderate")
DRAWS = Resampling(seed=1, resamples=200)
FRAMES = 60


def one_car(score: float | None = None) -> KittiFrame:
    """A frame with a car 20 m ahead; a result of it where a score is given."""
    return KittiFrame(
        names=("Car",),
        bbox_px=np.array([[100.0, 100.0, 200.0, 160.0]]),
        hwl=np.array([[1.5, 1.6, 3.9]]),
        location_cam=np.array([[0.0, 1.6, 20.0]]),
        rotation_y=np.zeros(1),
        alpha=np.zeros(1),
        score=np.full(1, 0.0 if score is None else score),
        truncation=np.zeros(1),
        occlusion=np.zeros(1, dtype=np.int64),
    )


def scores(found: int) -> KittiScores:
    """A detector that finds the car in the first `found` of the frames."""
    results = [one_car(0.9 - index / 1000) if index < found else KittiFrame.empty() for index in range(FRAMES)]
    return KittiScores([one_car()] * FRAMES, results)


def build(rows):
    """Scores of rows given as lists (seeds 0, 1, ...) or as {seed: frames in which it finds the car}."""
    by_seed = {name: founds if isinstance(founds, dict) else dict(enumerate(founds)) for name, founds in rows.items()}
    return {name: {seed: scores(found) for seed, found in founds.items()} for name, founds in by_seed.items()}


def figures(**rows):
    built = build(rows)
    return row_figures(built, CELL, DRAWS, baseline="none", ceiling=scores(FRAMES))


def test_means_gains_and_gap_by_hand():
    result = figures(none=[12, 18], all=[30, 36])
    assert result["none"].by_seed == pytest.approx({0: 20.0, 1: 30.0}, abs=1.3)
    assert result["all"].mean - result["none"].mean == pytest.approx(30.0, abs=1.5)
    share, (low, high) = result["all"].gap_closed
    assert share == pytest.approx((result["all"].mean - result["none"].mean) / (100 - result["none"].mean), abs=0.02)
    assert low < share < high
    gain, (low, high) = result["all"].gain
    assert gain == pytest.approx(result["all"].mean - result["none"].mean)
    assert 10 < low < 30 < high < 50


def test_the_baseline_gains_nothing_and_a_twin_neither():
    result = figures(none=[12, 18], twin=[12, 18])
    for name in ("none", "twin"):
        assert result[name].gain == (0.0, (0.0, 0.0)) and result[name].gap_closed[0] == 0.0
        low, high = result[name].interval
        assert low < result[name].mean < high


def test_seeds_that_differ_widen_the_interval():
    spread, equal = (figures(none=pair)["none"].interval for pair in ([6, 42], [24, 24]))
    assert spread[1] - spread[0] > 1.3 * (equal[1] - equal[0])


def test_a_gain_is_over_the_seeds_that_both_have():
    both = figures(none={0: 12, 2: 36}, all={2: 54, 0: 30})
    assert both["all"].gain[0] == pytest.approx(30.0, abs=1.5)
    alike = both["all"].gain[1]
    crossed = figures(none={0: 12, 2: 36}, all={0: 54, 2: 30})["all"].gain[1]
    assert crossed[1] - crossed[0] > 2 * (alike[1] - alike[0]), "seeds cancel only where they are the same"
    one = figures(none={0: 12, 2: 36}, all={0: 30, 1: 60})["all"]
    alone = figures(none={0: 12}, all={0: 30})["all"]
    assert (one.gain, one.gap_closed) == (alone.gain, alone.gap_closed)
    assert one.mean == pytest.approx(75.0, abs=1.5) and set(one.by_seed) == {0, 1}


def test_without_a_common_seed_there_is_no_gain():
    result = figures(none={0: 12}, all={1: 30})["all"]
    assert result.gain is None and result.gap_closed is None
    assert result.interval[0] < result.mean < result.interval[1]


@pytest.mark.parametrize("trained", ["none", "all"])
def test_what_was_not_trained_goes_with_any_seed(trained):
    rows = {"none": {None: 12}, "all": {None: 30}}
    rows[trained] = {4: 6, 7: 48} if trained == "all" else {4: 3, 7: 21}
    gain, (low, high) = figures(**rows)["all"].gain
    mean = {name: np.mean(list(founds.values())) for name, founds in rows.items()}
    assert gain == pytest.approx((mean["all"] - mean["none"]) / 0.6, abs=1.5)
    assert low < gain < high


def test_seeds_draw_alike_whatever_rows_stand_beside():
    assert figures(none=[12, 36], all=[30, 54])["all"] == figures(none=[12, 36], all=[30, 54], more=[3])["all"]


def test_no_gap_where_the_ceiling_is_not_above():
    built = build({"none": [30], "all": [40]})
    result = row_figures(built, CELL, DRAWS, baseline="none", ceiling=scores(20))
    assert result["all"].gap_closed is None
    assert row_figures(built, CELL, DRAWS, baseline="none")["all"].gap_closed is None


def test_every_detector_is_announced():
    calls = []
    built = build({"none": [3, 4], "all": [5, 6]})
    row_figures(built, CELL, DRAWS, baseline="none", on_run=lambda: calls.append(1))
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("rows", "draws", "message"),
    [
        ({}, DRAWS, "baseline none: expected one of no rows at all"),
        ({"all": [1]}, DRAWS, "baseline none: expected one of all"),
        ({"none": []}, DRAWS, "none: expected at least 1 seed, got none"),
        ({"none": [1], "all": []}, DRAWS, "all: expected at least 1 seed, got none"),
        ({"none": [1]}, Resampling(resamples=0), "at least 1 draw, got 0"),
    ],
)
def test_what_is_refused(rows, draws, message):
    built = build(rows)
    with pytest.raises(ConfigError, match=message):
        row_figures(built, CELL, draws, baseline="none")
