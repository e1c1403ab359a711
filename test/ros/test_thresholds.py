"""Score limits per class and per distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.errors import ConfigError
from monotakd_ros.frame import Detections3D
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar
from monotakd_ros.ros.thresholds import kept, parse_class_scores, parse_distance_scores

CLASSES = ("Car", "Pedestrian")


def detections(distances_m: list[float], scores: list[float], labels: list[int]) -> Detections3D:
    boxes = np.array([[distance + 0.27, 0, -0.08, 4, 2, 1.5, 0] for distance in distances_m], np.float32)
    return Detections3D(
        boxes_lidar=boxes.reshape(-1, 7),
        scores=np.array(scores, np.float32),
        labels=np.array(labels, np.int64),
        class_names=CLASSES,
        covariance_lidar=np.zeros((len(scores), 3, 3), np.float32),
        cam_T_lidar=nominal_cam_T_lidar(),
    )


def test_class_and_distance_limits_by_hand() -> None:
    found = detections([10, 10, 29, 31, 60], [0.3, 0.3, 0.45, 0.45, 0.7], [0, 1, 0, 0, 1])
    by_distance = parse_distance_scores(["50:0.8", "30:0.5"])
    assert kept(found, 0.1, {"Car": 0.4}, by_distance).tolist() == [False, True, True, False, False]


def test_a_score_at_its_threshold_stays() -> None:
    assert kept(detections([10], [0.3], [0]), 0.3, {}, {}).tolist() == [True]


def test_no_detections() -> None:
    assert kept(detections([], [], []), 0.5, {"Car": 0.1}, {10.0: 0.9}).shape == (0,)


@given(
    st.lists(st.tuples(st.floats(1, 90), st.floats(0, 1), st.integers(0, 1)), max_size=8),
    st.floats(0, 1),
    st.dictionaries(st.floats(0, 80), st.floats(0, 1), max_size=3),
)
def test_limits_are_those_of_a_loop(objects: list, default: float, by_distance: dict[float, float]) -> None:
    found = detections(*([item[part] for item in objects] for part in range(3)))
    by_distance = dict(sorted(by_distance.items()))
    centers = found.boxes_lidar[:, :3].astype(np.float64) @ found.cam_T_lidar[:3, :3].T + found.cam_T_lidar[:3, 3]
    expected = []
    for center, score in zip(centers, found.scores):
        limit = default
        for start, value in by_distance.items():
            if np.linalg.norm(center) >= start:
                step = value
                limit = max(default, step)
        expected.append(bool(score >= np.float32(limit)))
    assert kept(found, default, {}, by_distance).tolist() == expected


@pytest.mark.parametrize("text", ["Car", "Car:", ":0.4", "Car:1.5", "Car:-0.1", "Car:nan", "Car:much"])
def test_a_malformed_class_limit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="class_score_thresholds: expected entries like Class"):
        parse_class_scores([text])


@pytest.mark.parametrize("text", ["near:0.4", "-1:0.4", "inf:0.4", "nan:0.4", "10:2", "10"])
def test_a_malformed_distance_limit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="distance_score_thresholds"):
        parse_distance_scores([text])


def test_limits_are_read_and_named_once() -> None:
    assert parse_class_scores(["", "Car:0.4", "Person_sitting:1"]) == {"Car": 0.4, "Person_sitting": 1.0}
    assert list(parse_distance_scores(["40:0.5", "0:0.1"]).items()) == [(0.0, 0.1), (40.0, 0.5)]
    with pytest.raises(ConfigError, match="each key once"):
        parse_class_scores(["Car:0.4", "Car:0.5"])
