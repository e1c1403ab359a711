"""AP by distance, occlusion and truncation, and reliability of scores: hand-made frames."""

from __future__ import annotations

import numpy as np
import pytest

from monotakd_ros.evaluation.kitti_ap import r40
from monotakd_ros.evaluation.kitti_counting import Selection, count, events
from monotakd_ros.evaluation.kitti_groups import (
    ap_by_group,
    distance_selections,
    occlusion_selections,
    truncation_selections,
)
from monotakd_ros.evaluation.kitti_pairs import PairTable
from monotakd_ros.evaluation.reliability import reliability
from monotakd_ros.frame import KittiFrame

REPEAT = 60


def cars(z: list[float], score: list[float] | None = None, x: float = 0.0, **columns) -> KittiFrame:
    """Cars one behind the other."""
    count = len(z)
    depth = np.array(z, dtype=np.float64)
    values = {
        "truncation": np.zeros(count),
        "occlusion": np.zeros(count, dtype=np.int64),
        "score": np.zeros(count) if score is None else np.array(score),
    }
    values |= {name: np.asarray(column) for name, column in columns.items()}
    return KittiFrame(
        names=("Car",) * count,
        bbox_px=np.column_stack([600 - 700 / depth, 170 - 300 / depth, 600 + 700 / depth, 170 + 800 / depth]),
        hwl=np.tile([1.5, 1.6, 4.0], (count, 1)),
        location_cam=np.column_stack([np.full(count, x), np.full(count, 1.7), depth]),
        rotation_y=np.zeros(count),
        alpha=np.zeros(count),
        **values,
    )


def by_distance(truth: KittiFrame, results: KittiFrame) -> dict[str, tuple[int, float | None]]:
    pairs = PairTable.build([truth] * REPEAT, [results] * REPEAT)
    rows = ap_by_group(pairs, ["Car"], distance_selections())["Car"]
    return {row["group"]: (row["n_gt"], row["strict"]["3d"]) for row in rows}


def test_few_objects_can_reach_one_hundred() -> None:
    """KITTI's R40 of one found object is 0, of seven 15."""
    for number in (1, 7):
        pairs = PairTable.build([cars([5.0])] * number, [cars([5.0], [0.9])] * number)
        nearest = ap_by_group(pairs, ["Car"], distance_selections())["Car"][0]
        assert (nearest["n_gt"], nearest["strict"]["3d"]) == (number, pytest.approx(100.0))


def test_many_objects_score_as_kitti_does() -> None:
    """Every third result is wrong: 67 % up to recall 2/3; the devkit's last score limit may add one position of 40."""
    sides = [(cars([5.0]), cars([5.0] if index % 3 else [9.5], [1 - index / 300])) for index in range(300)]
    pairs = PairTable.build(*zip(*sides))
    found = events(pairs, count(pairs, "Car", Selection(), "3d", 0.7))
    assert r40(found.precision_at_recalls()[None])[0] == pytest.approx(r40(found.precision())[0], abs=2.5)


def test_each_band_counts_its_own_objects_only() -> None:
    got = by_distance(cars([5.0, 15.0, 70.0]), cars([5.0], [0.9]))
    assert got["0-10 m"] == (REPEAT, pytest.approx(100.0))
    assert got["10-20 m"] == (REPEAT, 0.0)
    assert got["20-30 m"] == (0, None)
    assert got["over 60 m"] == (REPEAT, 0.0)


def test_wrong_result_counts_in_its_own_band() -> None:
    got = by_distance(cars([5.0, 15.0]), cars([5.0, 15.0, 18.5], [0.9, 0.9, 0.95]))
    assert got["0-10 m"][1] == pytest.approx(100.0)
    assert got["10-20 m"][1] == pytest.approx(50.0)


def test_match_across_the_border_is_right_in_the_truths_band() -> None:
    got = by_distance(cars([9.98]), cars([10.02], [0.9]))
    assert got["0-10 m"] == (REPEAT, pytest.approx(100.0))
    assert got["10-20 m"] == (0, None)


def test_groups_by_occlusion_and_truncation_leave_unknown_out() -> None:
    truth = cars([8.0, 20.0, 32.0], occlusion=[0, 2, -1], truncation=[0.0, 0.4, -1.0])
    pairs = PairTable.build([truth] * REPEAT, [cars([8.0, 20.0, 32.0], [0.9, 0.8, 0.7])] * REPEAT)
    occlusion = {r["group"]: r for r in ap_by_group(pairs, ["Car"], occlusion_selections())["Car"]}
    truncation = {r["group"]: r for r in ap_by_group(pairs, ["Car"], truncation_selections())["Car"]}
    assert [row["n_gt"] for row in occlusion.values()] == [REPEAT, 0, REPEAT, 0]
    assert [row["n_gt"] for row in truncation.values()] == [REPEAT, 0, REPEAT, 0]
    assert occlusion["largely occluded"]["loose"]["bev"] == pytest.approx(100.0)


def test_results_in_dont_care_regions_are_excused() -> None:
    region = KittiFrame(
        names=("DontCare",),
        bbox_px=np.array([[500.0, 100.0, 700.0, 300.0]]),
        hwl=np.full((1, 3), -1.0),
        location_cam=np.full((1, 3), -1000.0),
        rotation_y=np.zeros(1),
        alpha=np.zeros(1),
        score=np.zeros(1),
        truncation=np.full(1, -1.0),
        occlusion=np.full(1, -1),
    )
    own = cars([5.0])
    columns = {
        n: v + region.names if n == "names" else np.concatenate([v, getattr(region, n)]) for n, v in vars(own).items()
    }
    assert by_distance(KittiFrame(**columns), cars([5.0, 9.5], [0.8, 0.9]))["0-10 m"][1] == pytest.approx(100.0)


def test_reliability_by_hand() -> None:
    """Two results of score 0.95, one right; one of 0.3, wrong: the second box on an object already found."""
    truth, results = cars([10.0]), cars([10.0, 30.0, 10.2], [0.95, 0.95, 0.3])
    got = reliability(PairTable.build([truth], [results]), ["Car", "Pedestrian"])
    assert got["Car"]["count"] == 3
    assert got["Car"]["bins"][9] == {
        "from": 0.9,
        "to": 1.0,
        "count": 2,
        "mean_score": pytest.approx(0.95),
        "correct_share": 0.5,
    }
    assert got["Car"]["bins"][3]["correct_share"] == 0.0
    assert got["Car"]["expected_calibration_error"] == pytest.approx((2 * 0.45 + 0.3) / 3)
    assert got["Pedestrian"] == {"bins": got["Pedestrian"]["bins"], "expected_calibration_error": None, "count": 0}


def test_scores_that_are_no_probabilities_have_no_reliability() -> None:
    assert reliability(PairTable.build([cars([10.0])], [cars([10.0], [3.5])]), ["Car"]) is None


def test_no_frames_are_defined() -> None:
    pairs = PairTable.build([], [])
    assert all(row["n_gt"] == 0 for row in ap_by_group(pairs, ["Car"], distance_selections())["Car"])
    assert reliability(pairs, ["Car"])["Car"]["count"] == 0
