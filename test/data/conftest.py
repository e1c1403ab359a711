"""Small frames, folders and bags for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.frame import Frame, Labels3D
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import make_transform, nominal_cam_T_lidar, rotation_about_z

WIDTH, HEIGHT = 64, 48


def tilted_cam_T_lidar() -> np.ndarray:
    """An extrinsic with tilt and rounded digits, as calibration files have."""
    small = np.array([[1, -0.011, 0.007], [0.011, 1, 0.009], [-0.007, -0.009, 1.0]])
    rotation, _ = np.linalg.qr(small)
    tilt = make_transform(rotation * np.sign(np.diag(rotation)), np.zeros(3))
    return np.round(tilt @ nominal_cam_T_lidar(), 7)


def some_labels() -> Labels3D:
    """Three objects and a DontCare region."""
    return Labels3D(
        boxes_lidar=np.array(
            [
                [12.3, 1.5, -0.9, 4.1, 1.7, 1.5, 0.4],
                [25.0, -6.0, -0.8, 0.8, 0.6, 1.8, -2.9],
                [8, 0, -1, 1.8, 0.6, 1.7, 3],
            ]
        ),
        class_names=("Car", "Pedestrian", "Cyclist"),
        truncation=np.array([0.0, 0.25, -1.0]),
        occlusion=np.array([0, 2, -1]),
        boxes_img_px=np.array([[1.5, 2.25, 30, 40], [0, 0, 10, 12], [np.nan] * 4]),
        dont_care_px=np.array([[5.0, 6.0, 7.5, 8.125]]),
    )


def frame(index: int, **changes) -> Frame:
    """Frame `index` of a drive of 1 m a frame in a slow left turn."""
    generator = np.random.default_rng(index)
    stamp_ns = 1_700_000_000_123_456_789 + index * 100_000_000
    fields = {
        "name": f"{index:06d}",
        "stamp_ns": stamp_ns,
        "image": generator.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        "camera": CameraModel(
            np.array([[60.1, 0, 31.7, 4.4857], [0, 59.3, 23.9, 0.21637], [0, 0, 1, 0.0027458]]), WIDTH, HEIGHT
        ),
        "camera_frame_id": "camera_optical",
        "cam_T_lidar": tilted_cam_T_lidar(),
        "points_lidar": generator.normal(0, 20, (50, 4)).astype(np.float32),
        "points_stamp_ns": stamp_ns - 10_000_001,
        "lidar_frame_id": "velodyne",
        "labels": some_labels(),
        "world_T_lidar": make_transform(rotation_about_z(0.013 * index), [index / 3, 0.1 * index, 1.73]),
    }
    return Frame(**{**fields, **changes})


@pytest.fixture
def make_frame() -> Callable[..., Frame]:
    return frame


@pytest.fixture
def write_frames(tmp_path: Path) -> Callable[..., Path]:
    """Write frames as a bag or KITTI folder and give its path."""

    def write(frames: list[Frame], name: str = "recording", **options) -> Path:
        with open_writer(tmp_path / name, **options) as writer:
            for item in frames:
                writer.write(item)
        return tmp_path / name

    return write
