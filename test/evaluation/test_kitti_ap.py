"""KITTI AP: the devkit's own numbers, hand-made cases for each rule, and undefined input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.evaluation.kitti_ap import (
    KITTI_CLASSES,
    METRICS,
    ap_value,
    kitti_ap,
    kitti_ap_from_frames,
)
from monotakd_ros.evaluation.kitti_frame import kitti_frame_from_labels
from monotakd_ros.frame import Detections3D, KittiFrame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar


def read_kitti_text(path: Path) -> KittiFrame:
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    numbers = np.array([[float(x) for x in row[1:]] + [0.0] * (16 - len(row)) for row in rows]).reshape(-1, 15)
    return KittiFrame(
        names=tuple(row[0] for row in rows),
        bbox_px=numbers[:, 3:7],
        hwl=numbers[:, 7:10],
        location_cam=numbers[:, 10:13],
        rotation_y=numbers[:, 13],
        alpha=numbers[:, 2],
        score=numbers[:, 14],
        truncation=numbers[:, 0],
        occlusion=numbers[:, 1].astype(np.int64),
    )


@pytest.fixture
def golden(data_dir: Path):
    folder = data_dir / "ap_golden"
    if not folder.is_dir():
        pytest.skip(f"no devkit figures at {folder}")
    frames = (folder / "frames.txt").read_text().split()
    truth = [read_kitti_text(folder / "label_2" / f"{name}.txt") for name in frames]
    return folder, frames, truth, json.loads((folder / "golden.json").read_text())["cases"]


@pytest.mark.parametrize("case", ["main", "accurate", "sparse", "ties"])
def test_equals_the_devkit(golden, case: str) -> None:
    folder, frames, truth, cases = golden
    expected = cases[case]
    results = [read_kitti_text(folder / expected["dir"] / f"{name}.txt") for name in frames]
    got = kitti_ap(truth, results)
    for overlaps in ("strict", "loose"):
        for name in KITTI_CLASSES:
            for metric in METRICS:
                for figure in ("R40", "R11", "n_gt"):
                    where = f"{overlaps} {name} {metric} {figure}"
                    wanted = expected[overlaps][name][metric][figure]
                    assert got[overlaps][name][metric][figure] == pytest.approx(wanted, abs=1e-9), where


def cars(x: list[float], score: list[float] | None = None, name: str = "Car", height_px: float = 60.0) -> KittiFrame:
    """Cars beside each other at z = 20 m, each with a 2D box of its own."""
    count = len(x)
    column = np.array(x, dtype=np.float64)
    left = 500 + 30 * column
    return KittiFrame(
        names=(name,) * count,
        bbox_px=np.column_stack([left, np.full(count, 100.0), left + 80, np.full(count, 100.0 + height_px)]),
        hwl=np.tile([1.5, 1.6, 4.0], (count, 1)),
        location_cam=np.column_stack([column, np.full(count, 1.7), np.full(count, 20.0)]),
        rotation_y=np.zeros(count),
        alpha=np.zeros(count),
        score=np.array(score if score is not None else [0.9] * count),
        truncation=np.zeros(count),
        occlusion=np.zeros(count, dtype=np.int64),
    )


def many(frame: KittiFrame, count: int = 60) -> list[KittiFrame]:
    return [frame] * count


def figures(truth: list[KittiFrame], results: list[KittiFrame], metric: str = "3d") -> list[float]:
    return kitti_ap(truth, results)["strict"]["Car"][metric]["R40"]


def test_perfect_results_score_one_hundred() -> None:
    result = kitti_ap(many(cars([0.0, 6.0])), many(cars([0.0, 6.0])))
    for metric in METRICS:
        assert result["strict"]["Car"][metric]["R40"] == pytest.approx([100.0] * 3)


def test_case_of_an_evaluated_class_does_not_change_its_overlap_limit() -> None:
    truth, shifted = many(cars([0.0])), many(cars([1.0]))  # overlap 3 / 5
    for name in ("Car", "car"):
        result = kitti_ap(truth, shifted, [name])
        assert result["strict"][name]["3d"]["R40"] == pytest.approx([0.0] * 3)
        assert result["loose"][name]["3d"]["R40"] == pytest.approx([100.0] * 3)


def test_half_of_the_detections_wrong_halves_the_precision() -> None:
    result = figures(many(cars([0.0])), many(cars([0.0, 20.0])))
    assert result == pytest.approx([50.0] * 3)


def test_a_wrong_detection_of_lower_score_costs_nothing() -> None:
    assert figures(many(cars([0.0])), many(cars([0.0, 20.0], [0.9, 0.1]))) == pytest.approx([100.0] * 3)


def test_neighbour_class_takes_the_detection_away() -> None:
    van = cars([0.0], name="Van")
    truth = KittiFrame(*[join(a, b) for a, b in zip(vars(cars([20.0])).values(), vars(van).values())])
    assert figures(many(truth), many(cars([0.0, 20.0]))) == pytest.approx([100.0] * 3)


def join(a, b):
    return (*a, *b) if isinstance(a, tuple) else np.concatenate([a, b])


def test_ground_truth_of_exactly_the_height_limit_is_ignored() -> None:
    result = kitti_ap(many(cars([0.0], height_px=40.0)), many(cars([0.0], height_px=60.0)))
    assert result["strict"]["Car"]["3d"]["n_gt"] == [0, 60, 60]


def test_dont_care_excuses_false_positives_in_the_image_only() -> None:
    region = replace(cars([20.0], name="DontCare"), hwl=np.full((1, 3), -1.0), location_cam=np.full((1, 3), -1000.0))
    truth = KittiFrame(*[join(a, b) for a, b in zip(vars(cars([0.0])).values(), vars(region).values())])
    results = many(cars([0.0, 20.0]))
    assert figures(many(truth), results, "2d") == pytest.approx([100.0] * 3)
    assert figures(many(truth), results, "3d") == pytest.approx([50.0] * 3)


def test_dont_care_excuses_detections_without_a_place_from_above() -> None:
    def both(a: KittiFrame, b: KittiFrame) -> KittiFrame:
        return KittiFrame(*[join(*columns) for columns in zip(vars(a).values(), vars(b).values())])

    nowhere = {"hwl": np.full((1, 3), -1.0), "location_cam": np.full((1, 3), -1000.0)}
    truth, region = cars([0.0]), replace(cars([0.0], name="DontCare"), **nowhere)
    results = many(both(truth, replace(cars([0.0], [2.0]), **nowhere)))
    assert figures(many(truth), results, "bev") == pytest.approx([50.0] * 3)
    assert figures(many(both(truth, region)), results, "bev") == pytest.approx([100.0] * 3)
    assert figures(many(both(truth, region)), results, "3d") == pytest.approx([50.0] * 3)


def test_small_detection_of_another_class_shields_the_ground_truth() -> None:
    """It is neither a hit nor a miss, so nothing was found and the curve is empty."""
    small = cars([0.0], name="Pedestrian", height_px=39.0)
    absent_car = cars([20.0])
    results = KittiFrame(*[join(a, b) for a, b in zip(vars(small).values(), vars(absent_car).values())])
    assert figures(many(cars([0.0])), many(results)) == [0.0, 0.0, 0.0]


def test_unknown_truncation_and_occlusion_exclude_nothing() -> None:
    truth = replace(cars([0.0]), truncation=np.array([-1.0]), occlusion=np.array([-1]))
    assert kitti_ap(many(truth), many(cars([0.0])))["strict"]["Car"]["3d"]["n_gt"] == [60, 60, 60]


def test_orientation_similarity_of_a_quarter_turn_is_half() -> None:
    turned = replace(cars([0.0]), alpha=np.array([np.pi / 2]))
    assert figures(many(cars([0.0])), many(turned), "aos") == pytest.approx([50.0] * 3)


def test_one_missing_alpha_switches_aos_off() -> None:
    results = many(cars([0.0]))
    results[7] = replace(results[7], alpha=np.array([-10.0]))
    assert figures(many(cars([0.0])), results, "aos") == [None] * 3


def test_class_without_detections_is_not_evaluated() -> None:
    result = kitti_ap(many(cars([0.0])), many(KittiFrame.empty()))
    assert result["strict"]["Car"]["3d"]["R40"] == [None] * 3
    assert ap_value(result, "Car", "3d") == 0.0


def test_no_ground_truth_and_no_frames_are_defined() -> None:
    result = kitti_ap(many(KittiFrame.empty()), many(cars([0.0])))
    assert result["strict"]["Car"]["3d"]["R40"] == [0.0] * 3
    assert np.isnan(ap_value(result, "Car", "3d"))
    assert kitti_ap([], [])["strict"]["Car"]["3d"]["n_gt"] == [0, 0, 0]


def test_sides_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="got 1 for 2"):
        kitti_ap(many(cars([0.0]), 2), many(cars([0.0]), 1))


def labels_and_detections(boxes: np.ndarray) -> tuple[Labels3D, Detections3D, CameraModel]:
    cam_T_lidar, count = nominal_cam_T_lidar(), len(boxes)
    labels = Labels3D(boxes, ("Car",) * count, np.full(count, -1.0), np.full(count, -1), np.full((count, 4), np.nan))
    detections = Detections3D(
        boxes.astype(np.float32),
        np.full(count, 0.8, dtype=np.float32),
        np.zeros(count, dtype=np.int64),
        ("Car",),
        np.zeros((count, 3, 3), dtype=np.float32),
        cam_T_lidar,
    )
    return labels, detections, CameraModel.from_intrinsics(721.5, 721.5, 609.6, 172.9, 1242, 375)


def test_own_types_with_perfect_detections_score_one_hundred() -> None:
    boxes = np.array([[12.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4], [20.0, -5.0, -1.0, 4.0, 1.7, 1.5, 3.0]])
    labels, detections, camera = labels_and_detections(boxes)
    result = kitti_ap_from_frames([labels] * 40, [detections] * 40, [camera] * 40)
    for metric in METRICS:
        assert ap_value(result, "Car", metric) == pytest.approx(100.0)


def test_label_outside_the_image_is_not_counted() -> None:
    behind = np.array([[-12.0, 2.0, -1.0, 4.0, 1.7, 1.5, 0.4], [5.0, 30.0, -1.0, 4.0, 1.7, 1.5, 0.0]])
    labels, _, camera = labels_and_detections(behind)
    frame = kitti_frame_from_labels(labels, camera, nominal_cam_T_lidar())
    assert (frame.bbox_px == 0).all()
    assert kitti_ap([frame], [KittiFrame.empty()])["strict"]["Car"]["3d"]["n_gt"] == [0, 0, 0]
