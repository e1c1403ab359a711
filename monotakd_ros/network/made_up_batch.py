"""A made-up frame to measure a network with: a noise image and a LiDAR-like cloud in KITTI's geometry.

Nothing can be detected in it. What it has in common with a real frame is what cost depends on: the image's size, which
voxels the camera sees, and how many of the LiDAR's voxels are filled.
"""

from __future__ import annotations

import numpy as np
import torch

from monotakd_ros.config import Config, InputConfig
from monotakd_ros.frame import FrameBatch
from monotakd_ros.geometry.camera import CameraModel
from monotakd_ros.geometry.transforms import LIDAR_HEIGHT_M, nominal_cam_T_lidar, transform_points

KITTI_FOCAL_PX, KITTI_CENTER_PX, KITTI_SIZE_PX = 721.5, (609.6, 172.9), (1242, 375)
RINGS_DEG = np.linspace(2.0, -24.9, 64)
AZIMUTHS_DEG = np.arange(-45.0, 45.0, 0.16)
MAX_RANGE_M = 80.0
HOUSES_Y_M = ((10.0, 20.0), (-22.0, -12.0))
HOUSE_TOP_M = 4.0
CAR_M = (3.9, 1.6, 1.56)
CAR_SPACING_M = 9.0


def make_batch(config: Config, device: torch.device | str = "cpu", seed: int = 0) -> FrameBatch:
    """One frame (B = 1) for the networks of `config`, the same for the same seed."""
    generator = np.random.default_rng(seed)
    camera = _camera(config.student.input)
    cam_T_lidar = nominal_cam_T_lidar()
    points_lidar = made_up_cloud(generator)
    uv_px, depth = camera.project(transform_points(cam_T_lidar, points_lidar[:, :3]))
    seen = camera.contains(uv_px)
    points_img = np.column_stack([uv_px, depth])[seen]
    image = generator.integers(0, 256, (1, 3, camera.height, camera.width), dtype=np.uint8)
    batch = FrameBatch(
        images=torch.from_numpy(image),
        valid_px=torch.tensor([[0.0, 0.0, camera.width, camera.height]]),
        img_P_cam=torch.tensor(camera.img_P_cam[None], dtype=torch.float32),
        cam_T_lidar=torch.tensor(cam_T_lidar[None], dtype=torch.float32),
        names=("made up",),
        points_img=(torch.tensor(points_img, dtype=torch.float32),),
        points_lidar=(torch.tensor(points_lidar[seen], dtype=torch.float32),),
    )
    return batch.to(device)


def made_up_cloud(generator: np.random.Generator) -> np.ndarray:
    """What 64 rings see ahead on a street with a row of cars on either side: (M, 4) x, y, z, intensity, lidar."""
    elevation, azimuth = np.meshgrid(np.radians(RINGS_DEG), np.radians(AZIMUTHS_DEG), indexing="ij")
    directions = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    ).reshape(-1, 3)
    with np.errstate(divide="ignore"):
        inverse = 1 / directions
    ground = np.where(directions[:, 2] < 0, -LIDAR_HEIGHT_M * inverse[:, 2], np.inf)
    reach = np.minimum(ground, _distance_to_boxes(inverse, _street(generator)))
    hit = reach < MAX_RANGE_M
    noisy = reach[hit] + generator.normal(0, 0.02, hit.sum())
    return np.column_stack([directions[hit] * noisy[:, None], generator.uniform(0, 1, hit.sum())])


def _camera(config: InputConfig) -> CameraModel:
    """The network's own camera; KITTI's, as wide as the input, where the config takes images as they come."""
    scale = config.width / KITTI_SIZE_PX[0]
    focal = config.focal_px or KITTI_FOCAL_PX * scale
    center = config.center_px or (KITTI_CENTER_PX[0] * scale, KITTI_CENTER_PX[1] * config.height / KITTI_SIZE_PX[1])
    return CameraModel.from_intrinsics(focal, focal, *center, config.width, config.height)


def _street(generator: np.random.Generator) -> np.ndarray:
    """Low and high corner (K, 2, 3) of houses and parked cars, lidar."""
    bottom = -LIDAR_HEIGHT_M
    houses = [[[2.0, low, bottom], [MAX_RANGE_M, high, HOUSE_TOP_M]] for low, high in HOUSES_Y_M]
    x = np.arange(6.0, 60.0, CAR_SPACING_M)
    centers = [(along + generator.uniform(-2, 2), side) for along in x for side in (5.0, -7.0)]
    length, width, height = CAR_M
    cars = [
        [[x - length / 2, y - width / 2, bottom], [x + length / 2, y + width / 2, bottom + height]] for x, y in centers
    ]
    return np.array(houses + cars)


def _distance_to_boxes(inverse: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Range (R,) at which rays from the origin first meet one of the boxes (K, 2, 3); infinite where they miss.

    Args:
        inverse: (R, 3) 1 / direction.
        boxes: low and high corners.
    """
    crossings = boxes[None] * inverse[:, None, None]  # (R, K, 2, 3)
    entry, exit_ = crossings.min(axis=2).max(axis=2), crossings.max(axis=2).min(axis=2)
    return np.where((entry < exit_) & (entry > 0), entry, np.inf).min(axis=1)
