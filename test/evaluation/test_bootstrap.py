"""Intervals of AP and the comparison of two detectors: weights are repeated frames, draws are seeded and paired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monotakd_ros.evaluation.bootstrap import Resampling, ap_intervals, compare_ap
from monotakd_ros.evaluation.kitti_ap import KittiScores, kitti_ap, r40
from monotakd_ros.frame import KittiFrame


def car(score: float, offset_m: float = 0.0) -> KittiFrame:
    """One car at 20 m, moved sideways."""
    return KittiFrame(
        names=("Car",),
        bbox_px=np.array([[500.0, 100.0, 580.0, 160.0]]),
        hwl=np.array([[1.5, 1.6, 4.0]]),
        location_cam=np.array([[offset_m, 1.7, 20.0]]),
        rotation_y=np.zeros(1),
        alpha=np.zeros(1),
        score=np.array([score]),
        truncation=np.zeros(1),
        occlusion=np.zeros(1, dtype=np.int64),
    )


def random_sides(count: int, seed: int, share_right: float = 0.6) -> tuple[list[KittiFrame], list[KittiFrame]]:
    """One car a frame, found in place with probability `share_right`, else beside it; every fifth frame empty."""
    rng = np.random.default_rng(seed)
    truth, results = [], []
    for index in range(count):
        truth.append(KittiFrame.empty() if index % 5 == 4 else car(0.0))
        found = car(round(rng.random(), 2), 0.0 if rng.random() < share_right else 9.0)
        results.append(found if rng.random() < 0.9 else KittiFrame.empty())
    return truth, results


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 4), min_size=12, max_size=12))
def test_weights_are_repeated_frames(seed: int, weights: list[int]) -> None:
    truth, results = random_sides(12, seed)
    scores = KittiScores(truth, results, ["Car"])
    repeated = [[frame for frame, times in zip(side, weights) for _ in range(times)] for side in (truth, results)]
    expected = kitti_ap(*repeated, ["Car"])
    for cell in scores.cells():
        wanted = expected[cell.overlaps]["Car"][cell.metric]["R40"][("easy", "moderate", "hard").index(cell.difficulty)]
        precision = scores.precision(cell, np.array([weights], dtype=np.float64))
        if wanted is not None:
            assert r40(precision)[0] == pytest.approx(wanted, abs=1e-9)


def test_interval_holds_the_figure_and_narrows_with_more_frames() -> None:
    widths = []
    for count in (60, 600):
        truth, results = random_sides(count, 1)
        scores = KittiScores(truth, results, ["Car"])
        low, high = ap_intervals(scores, Resampling(resamples=200))["strict"]["Car"]["3d"][1]
        assert low < scores.average_precision()["strict"]["Car"]["3d"]["R40"][1] < high
        widths.append(high - low)
    assert widths[1] < 0.5 * widths[0]


def test_interval_is_seeded() -> None:
    scores = KittiScores(*random_sides(40, 2), ["Car"])
    same = [ap_intervals(scores, Resampling(seed=7, resamples=50)) for _ in range(2)]
    other = ap_intervals(scores, Resampling(seed=8, resamples=50))
    assert same[0] == same[1] != other


def test_blocks_keep_neighbours_together() -> None:
    weights = Resampling(resamples=20, block_frames=4).weights(10)
    assert weights.shape == (20, 10)
    for block in (slice(0, 4), slice(4, 8), slice(8, 10)):
        assert (weights[:, block] == weights[:, block][:, :1]).all()
    assert Resampling(resamples=3).weights(6).sum(axis=1).tolist() == [6, 6, 6]


def test_blocks_do_not_reach_from_one_recording_into_the_next() -> None:
    recordings = ["a"] * 5 + ["b"] * 3
    weights = Resampling(resamples=50, block_frames=4).weights(8, recordings)
    for block in (slice(0, 4), slice(4, 5), slice(5, 8)):
        assert (weights[:, block] == weights[:, block][:, :1]).all()
    assert (weights[:, 4] != weights[:, 5]).any()
    assert Resampling(resamples=2, block_frames=3).weights(0, []).shape == (2, 0)


def test_repeated_frames_need_blocks_for_an_honest_interval() -> None:
    """Each frame five times over looks five times as certain, unless the five are drawn together."""
    truth, results = random_sides(60, 3)
    repeated = [[frame for frame in side for _ in range(5)] for side in (truth, results)]
    once = ap_intervals(KittiScores(truth, results, ["Car"]), Resampling(resamples=300))["strict"]["Car"]["3d"][1]
    scores = KittiScores(*repeated, ["Car"])
    naive = ap_intervals(scores, Resampling(resamples=300))["strict"]["Car"]["3d"][1]
    blocked = ap_intervals(scores, Resampling(resamples=300, block_frames=5))["strict"]["Car"]["3d"][1]
    assert naive[1] - naive[0] < 0.7 * (once[1] - once[0])
    assert blocked == pytest.approx(once, abs=2.0)


def test_no_resamples_and_no_frames_give_no_interval() -> None:
    scores = KittiScores(*random_sides(10, 4), ["Car"])
    assert ap_intervals(scores, Resampling(resamples=0))["strict"]["Car"]["3d"] == [None] * 3
    assert ap_intervals(KittiScores([], [], ["Car"]), Resampling(resamples=5))["strict"]["Car"]["3d"] == [None] * 3


def test_a_class_without_hits_has_no_interval() -> None:
    truth, results = [car(0.0)] * 20, [car(0.9, offset_m=9.0)] * 20
    intervals = ap_intervals(KittiScores(truth, results, ["Car"]), Resampling(resamples=10))
    assert intervals["strict"]["Car"]["3d"] == [None] * 3
    assert intervals["strict"]["Car"]["2d"][1] is not None


def moderate(differences: list, metric: str = "3d"):
    return next(d for d in differences if d.cell == ("strict", "Car", metric, "moderate"))


def test_a_clearly_better_detector_is_beyond_noise_and_the_same_one_is_not() -> None:
    truth, worse = random_sides(200, 5, share_right=0.4)
    _, better = random_sides(200, 6, share_right=0.9)
    difference = moderate(compare_ap(truth, worse, better, ["Car"], Resampling(resamples=200)))
    assert difference.is_beyond_noise
    assert difference.low > 0
    assert difference.counted == 160
    assert difference.b > difference.a
    same = moderate(compare_ap(truth, worse, worse, ["Car"], Resampling(resamples=200)))
    assert (same.low, same.high, same.is_beyond_noise) == (0.0, 0.0, False)


def test_pairing_sees_a_small_but_constant_gain() -> None:
    """B is A with its few wrong scores lowered: intervals overlap widely, the paired difference does not hold zero."""
    truth, a = random_sides(150, 7)
    b = [replace(frame, score=frame.score * np.where(frame.location_cam[:, 0] > 5, 0.6, 1.0)) for frame in a]
    resampling = Resampling(resamples=300)
    alone = [ap_intervals(KittiScores(truth, side, ["Car"]), resampling)["strict"]["Car"]["3d"][1] for side in (a, b)]
    assert alone[0][1] > alone[1][0]
    assert moderate(compare_ap(truth, a, b, ["Car"], resampling)).is_beyond_noise


def test_class_that_one_detector_never_finds_counts_as_zero() -> None:
    truth, results = random_sides(30, 8)
    nothing = [KittiFrame.empty()] * 30
    difference = moderate(compare_ap(truth, nothing, results, ["Car"], Resampling(resamples=50)))
    assert difference.a == 0.0
    assert difference.b > 0
    assert compare_ap([], [], [], ["Car"], Resampling(resamples=5)) == []
