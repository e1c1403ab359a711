"""A drive past upright boards before a wall, so plain that depth edges and image edges are the same lines."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from monotakd_ros.data.frame_writers import open_writer
from monotakd_ros.frame import Frame
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar, transform_points

CAMERA = CameraModel.from_intrinsics(280.0, 280.0, 239.5, 69.5, 480, 160)
CAM_T_LIDAR = nominal_cam_T_lidar()
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
SPEED_M = 1.2
"""A frame."""
WALL_M = 45.0
BOARDS = 60


def _boards() -> np.ndarray:
    """(BOARDS, 5): ahead, left edge, right edge, bottom, top, m, where the drive begins."""
    random = np.random.default_rng(4)
    ahead = random.uniform(8, 42, BOARDS)
    left = random.uniform(-18, 18, BOARDS)
    top = random.uniform(-0.8, 1.6, BOARDS)
    return np.column_stack([ahead, left, left - random.uniform(0.5, 2.0, BOARDS), np.full(BOARDS, -1.8), top])


def _cloud(boards: np.ndarray) -> np.ndarray:
    azimuth, elevation = np.meshgrid(np.deg2rad(np.arange(-45, 45, 0.2)), np.deg2rad(np.arange(-18, 8, 0.4)))
    rays = np.stack([np.ones_like(azimuth), np.tan(azimuth), np.tan(elevation) / np.cos(azimuth)], axis=-1).reshape(
        -1, 3
    )
    ahead = np.full(len(rays), WALL_M)
    for depth, left, right, bottom, top in boards:
        y, z = rays[:, 1] * depth, rays[:, 2] * depth
        ahead[(y <= left) & (y >= right) & (z >= bottom) & (z <= top) & (depth < ahead)] = depth
    points = rays * ahead[:, None]
    return np.column_stack([points, np.full(len(points), 0.5)]).astype(np.float32)


def _image(boards: np.ndarray) -> np.ndarray:
    image = np.full((CAMERA.height, CAMERA.width, 3), 90, dtype=np.uint8)
    for number in np.argsort(-boards[:, 0]):
        depth, left, right, bottom, top = boards[number]
        corners = np.array([[depth, left, top], [depth, right, bottom]])
        (u0, v0), (u1, v1) = CAMERA.project(transform_points(CAM_T_LIDAR, corners))[0]
        grey = 20 + 47 * (int(boards[number, 1] * 1000) % 6)
        shape = np.round(16 * np.array([[u0, v0], [u1, v1]])).astype(int)
        cv2.rectangle(image, shape[0].tolist(), shape[1].tolist(), (grey, grey, grey), -1, cv2.LINE_AA, 4)
    return image


@pytest.fixture(scope="session")
def drive_frames() -> list[Frame]:
    """Twenty frames at 10 Hz."""
    frames = []
    for index in range(20):
        boards = _boards() - np.array([SPEED_M * index, 0, 0, 0, 0])
        boards = boards[boards[:, 0] > 3]
        frames.append(
            Frame(
                name=f"{index:06d}",
                stamp_ns=START_NS + index * PERIOD_NS,
                image=_image(boards),
                camera=CAMERA,
                camera_frame_id="camera",
                cam_T_lidar=CAM_T_LIDAR,
                points_lidar=_cloud(boards),
                points_stamp_ns=START_NS + index * PERIOD_NS,
            )
        )
    return frames


@pytest.fixture(scope="session")
def drive(drive_frames: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drive as a bag."""
    folder = tmp_path_factory.mktemp("drive") / "drive"
    with open_writer(folder) as writer:
        for frame in drive_frames:
            writer.write(frame)
    return folder


@pytest.fixture(scope="session")
def benchmark_module(repository: Path) -> ModuleType:
    """`benchmarks/calibration_check.py`, which plants errors into bags."""
    spec = importlib.util.spec_from_file_location("calibration_check", repository / "benchmarks/calibration_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plant(benchmark_module: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Write a bag anew with a planted error."""
    return lambda bag, **error: benchmark_module.plant(bag, tmp_path / "planted", **error)
