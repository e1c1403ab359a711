from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from monotakd_ros.errors import ConfigError, MissingDependencyError
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.boxes import points_in_boxes
from monotakd_ros.geometry.transforms import transform_points
from monotakd_ros.simulation.drive import DriveSettings, SimulatedDrive
from monotakd_ros.simulation.scene import RayTarget


def test_frames_are_complete(small_frames: list[Frame], small_settings: DriveSettings):
    assert [frame.name for frame in small_frames] == ["000000", "000001", "000002"]
    assert np.diff([frame.stamp_ns for frame in small_frames]).tolist() == [2_000_000_000] * 2
    for frame in small_frames:
        assert frame.image.shape == (96, 320, 3)
        assert frame.image.dtype == np.uint8
        assert (frame.camera.width, frame.camera.height) == (320, 96)
        assert frame.points_lidar.dtype == np.float32
        assert len(frame.points_lidar) > 5000
        assert frame.labels is not None


def test_same_seed_gives_the_same_bits(open3d, small_frames: list[Frame], small_settings: DriveSettings):
    drive = SimulatedDrive(small_settings)
    for _ in range(2):  # the source can be read again
        for first, second in zip(small_frames, drive.frames()):
            np.testing.assert_array_equal(first.image, second.image)
            np.testing.assert_array_equal(first.points_lidar, second.points_lidar)
            np.testing.assert_array_equal(first.labels.boxes_lidar, second.labels.boxes_lidar)
            np.testing.assert_array_equal(first.world_T_lidar, second.world_T_lidar)


def test_another_seed_gives_another_street(open3d, small_frames: list[Frame], small_settings: DriveSettings):
    other = SimulatedDrive(dataclasses.replace(small_settings, seed=5)).frame(0)
    assert np.abs(other.image.astype(int) - small_frames[0].image).mean() > 5


def test_a_picture_has_contrast_and_colour(small_frames: list[Frame]):
    for frame in small_frames:
        assert frame.image.std() > 25
        assert 40 < frame.image.mean() < 215


def test_points_lie_in_the_boxes_of_visible_cars(small_frames: list[Frame]):
    checked = 0
    for frame in small_frames:
        labels = frame.labels
        inside = points_in_boxes(frame.points_lidar, labels.boxes_lidar, 0.06).sum(axis=0)
        distance = np.hypot(labels.boxes_lidar[:, 0], labels.boxes_lidar[:, 1])
        for index, name in enumerate(labels.class_names):
            if name == "Car" and labels.occlusion[index] == 0 and distance[index] < 25 and not labels.truncation[index]:
                assert inside[index] > 15
                checked += 1
    assert checked > 0


def test_labels_keep_kittis_ranges(small_frames: list[Frame]):
    for frame in small_frames:
        labels = frame.labels
        left, top, right, bottom = labels.boxes_img_px.T
        assert (left >= 0).all() and (top >= 0).all() and (right <= 319).all() and (bottom <= 95).all()
        assert (right > left).all() and (bottom > top).all()
        assert ((labels.truncation >= 0) & (labels.truncation <= 1)).all()
        assert set(labels.occlusion) <= {0, 1, 2}
        assert set(labels.class_names) <= {"Car", "Van", "Truck", "Pedestrian", "Cyclist"}


def test_the_ground_is_where_the_lidar_says(small_frames: list[Frame]):
    """Points right ahead, near, on the road: z = 0 in the world."""
    frame = small_frames[0]
    points = frame.points_lidar[:, :3].astype(np.float64)
    near = (np.abs(points[:, 1]) < 1.0) & (points[:, 0] < 7)
    world = transform_points(frame.world_T_lidar, points[near])
    assert np.median(np.abs(world[:, 2])) < 0.02


def test_camera_only_and_full_circle(open3d, small_settings: DriveSettings):
    camera_only = SimulatedDrive(dataclasses.replace(small_settings, lidar=False)).frame(0)
    assert camera_only.points_lidar is None
    assert camera_only.points_stamp_ns is None
    circle = SimulatedDrive(dataclasses.replace(small_settings, lidar_full_circle=True, lidar_step_deg=1.0)).frame(0)
    assert circle.points_lidar[:, 0].min() < -3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 0}, "frames: expected at least 1, got 0"),
        ({"seed": -1}, "seed"),
        ({"rate_hz": 0.0}, "rate_hz"),
        ({"rate_hz": float("nan")}, "rate_hz"),
        ({"width": 3}, "width"),
        ({"height": 100_000}, "height"),
        ({"focal_px": -700.0}, "focal_px"),
        ({"camera_height_m": 50.0}, "camera_height_m"),
        ({"edge_samples": 9}, "edge_samples"),
    ],
)
def test_bad_settings_are_named(change: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        DriveSettings(**change)


def test_without_open3d_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(MissingDependencyError, match="apt install libusb"):
        RayTarget(np.zeros((1, 3, 3)))
