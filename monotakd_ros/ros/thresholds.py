"""Which detections a node hands out: score limits per class and per distance. No ROS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from monotakd_ros.errors import ConfigError
from monotakd_ros.frame import Detections3D
from monotakd_ros.geometry.transforms import transform_points

Key = TypeVar("Key")


def parse_class_scores(texts: Sequence[str]) -> dict[str, float]:
    """`["Car:0.4", "Pedestrian:0.2"]` as scores by class; empty texts say nothing.

    Raises:
        ConfigError: not of that form, a score outside 0..1, or a class named twice.
    """
    return _pairs("class_score_thresholds", texts, "Class:0.4", str)


def parse_distance_scores(texts: Sequence[str]) -> dict[float, float]:
    """`["30:0.4", "50:0.6"]` as scores by the distance, m, from which they hold, nearest first.

    Raises:
        ConfigError: not of that form, a score outside 0..1, a negative distance, or one named twice.
    """
    scores = _pairs("distance_score_thresholds", texts, "30:0.4", _distance)
    return dict(sorted(scores.items()))


def _pairs(parameter: str, texts: Sequence[str], example: str, key_of: Callable[[str], Key]) -> dict[Key, float]:
    pairs: dict[Key, float] = {}
    for text in filter(None, texts):
        before, _, number = text.rpartition(":")
        try:
            key, score = key_of(before), float(number)
        except ValueError:
            key, score = key_of("0"), -1.0
        if not before or not 0.0 <= score <= 1.0 or key in pairs:
            raise ConfigError(f"{parameter}: expected entries like {example}, each key once, got {list(texts)}")
        pairs[key] = score
    return pairs


def _distance(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < float("inf"):
        raise ValueError(text)
    return value


def kept(
    detections: Detections3D, default: float, by_class: Mapping[str, float], by_distance: Mapping[float, float]
) -> np.ndarray:
    """(N,) bool: which detections reach the score that their class and their distance ask for.

    Args:
        detections: boxes in lidar.
        default: lowest score of classes that `by_class` does not name.
        by_class: lowest score by class name.
        by_distance: lowest score from each distance on, m from the camera, nearest first; the higher limit counts.
    """
    limit = np.array([by_class.get(name, default) for name in detections.names], dtype=np.float64)
    centers_cam = transform_points(detections.cam_T_lidar, np.asarray(detections.boxes_lidar[:, :3], dtype=np.float64))
    step = np.searchsorted(list(by_distance), np.linalg.norm(centers_cam, axis=1), side="right")
    limit = np.maximum(limit, np.array([0.0, *by_distance.values()])[step])
    # In the precision of scores: a threshold of 0.3 keeps a score of float32(0.3).
    return np.asarray(detections.scores >= limit.astype(np.float32))
