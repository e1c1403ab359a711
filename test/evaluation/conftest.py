"""Boxes for tests, written as short rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from monotakd_ros.evaluation.evaluation_frame import EvaluationFrame
from monotakd_ros.frame import KittiFrame

SIZES_HWL = {"car": (1.5, 1.6, 4.0), "pedestrian": (1.8, 0.6, 0.8), "cyclist": (1.7, 0.6, 1.8), "van": (2.0, 1.8, 5.0)}
BOX_PX = (100.0, 100.0, 200.0, 200.0)


def kitti_frame(rows: Sequence[dict]) -> KittiFrame:
    """Rows of name, x, z and what else differs from a box of the class's usual size on the ground that is shown."""
    names = [row["name"] for row in rows]
    sizes = [row.get("hwl", SIZES_HWL.get(name.lower(), SIZES_HWL["car"])) for row, name in zip(rows, names)]
    return KittiFrame(
        names=tuple(names),
        bbox_px=np.array([row.get("bbox", BOX_PX) for row in rows], dtype=np.float64).reshape(-1, 4),
        hwl=np.array(sizes, dtype=np.float64).reshape(-1, 3),
        location_cam=np.array([(row["x"], row.get("y", 1.7), row["z"]) for row in rows], dtype=float).reshape(-1, 3),
        rotation_y=np.array([row.get("yaw", 0.0) for row in rows], dtype=np.float64),
        alpha=np.zeros(len(rows)),
        score=np.array([row.get("score", 0.0) for row in rows], dtype=np.float64),
        truncation=np.zeros(len(rows)),
        occlusion=np.zeros(len(rows), dtype=np.int64),
    )


@pytest.fixture
def make_frame() -> Callable[..., EvaluationFrame]:
    """Builds an evaluation frame from rows of ground truth and of results (see `kitti_frame`)."""

    def make(truth: Sequence[dict], results: Sequence[dict], covariance_cam: np.ndarray | None = None):
        return EvaluationFrame("000000", kitti_frame(truth), kitti_frame(results), covariance_cam)

    return make


@pytest.fixture
def random_frames(make_frame) -> Callable[..., list[EvaluationFrame]]:
    """Builds frames of several classes with noisy, doubled, invented and missing results; many scores are tied."""

    def make(seed: int, count: int, noise_m: float = 1.0) -> list[EvaluationFrame]:
        rng = np.random.default_rng(seed)
        return [make_frame(*_random_sides(rng, noise_m)) for _ in range(count)]

    return make


def _random_sides(rng: np.random.Generator, noise_m: float) -> tuple[list[dict], list[dict]]:
    kinds = ("Car", "Car", "Van", "Pedestrian", "Cyclist", "Person_sitting")
    truth = [_random_box(rng, kinds[rng.integers(len(kinds))]) for _ in range(rng.integers(0, 8))]
    results = [_seen(rng, box, noise_m) for box in truth for _ in range(rng.integers(0, 3))]
    results += [_seen(rng, _random_box(rng, "Car"), noise_m) for _ in range(rng.integers(0, 3))]
    return truth, results


def _random_box(rng: np.random.Generator, name: str) -> dict:
    size = rng.uniform((1.4, 0.5, 0.8), (2.0, 1.8, 4.5))
    return {"name": name, "x": rng.uniform(-15, 15), "z": rng.uniform(2, 70), "yaw": rng.uniform(-3, 3), "hwl": size}


def _seen(rng: np.random.Generator, box: dict, noise_m: float) -> dict:
    return {
        "name": {"Van": "Car", "Person_sitting": "Pedestrian"}.get(box["name"], box["name"]),
        "x": box["x"] + rng.normal(0, 0.3 * noise_m),
        "z": box["z"] + rng.normal(0, noise_m),
        "yaw": box["yaw"] + rng.normal(0, 0.3),
        "hwl": box["hwl"] * rng.uniform(0.8, 1.2, 3),
        "score": rng.integers(1, 20) / 20 if rng.random() < 0.5 else rng.random(),
    }
