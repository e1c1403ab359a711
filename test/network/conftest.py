"""A student small enough for a test, and a batch for it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from monotakd_ros.config import (
    BevConfig,
    Config,
    DepthConfig,
    EncoderConfig,
    GridConfig,
    InputConfig,
    LidarEncoderConfig,
    StudentConfig,
    TeacherConfig,
)
from monotakd_ros.frame import FrameBatch
from monotakd_ros.geometry.transforms import nominal_cam_T_lidar

WIDTH, HEIGHT = 150, 61


def make_tiny_config(**changes) -> StudentConfig:
    config = StudentConfig(
        input=InputConfig(width=WIDTH, height=HEIGHT),
        grid=GridConfig((2.0, -8.0, -3.0, 20.0, 8.0, 1.0), (1.0, 1.0, 1.0)),
        depth=DepthConfig(2.0, 20.0, 12),
        encoder=EncoderConfig(
            block="basic",
            layers=(1, 1, 1, 1),
            stem_channels=8,
            channels=(8, 12, 16, 20),
            feature_channels=6,
            aspp_channels=8,
            aspp_rates=(2, 3),
            dropout=0.0,
        ),
        bev=BevConfig(10, (1, 1), (1, 2), (8, 12), (6, 6)),
    )
    return dataclasses.replace(config, **changes)


def make_clouds(batch: FrameBatch, points: int = 200) -> FrameBatch:
    """The batch with a cloud in every frame, as `data.preprocess` gives it: what the camera sees, also in pixels."""
    generator = torch.Generator().manual_seed(11)
    low, high = torch.tensor([2.5, -6.0, -2.5, 0.0]), torch.tensor([19.0, 6.0, 0.5, 1.0])
    clouds, images = [], []
    for projection, extrinsic in zip(batch.img_P_cam, batch.cam_T_lidar):
        cloud = low + (high - low) * torch.rand(points, 4, generator=generator)
        cam = cloud[:, :3] @ extrinsic[:3, :3].T + extrinsic[:3, 3]
        homogeneous = cam @ projection[:, :3].T + projection[:, 3]
        clouds.append(cloud)
        images.append(torch.cat([homogeneous[:, :2] / homogeneous[:, 2:], homogeneous[:, 2:]], dim=1))
    return dataclasses.replace(batch, points_lidar=tuple(clouds), points_img=tuple(images))


def make_batch(size: int, width: int = WIDTH, height: int = HEIGHT) -> FrameBatch:
    """Frames of different calibration and padding."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (size, 3, height, width), generator=generator, dtype=torch.uint8)
    index = torch.arange(size, dtype=torch.float32)
    img_P_cam = torch.tensor([[90.0, 0, 74, 4], [0, 90, 30, 0.2], [0, 0, 1, 0.003]]).repeat(size, 1, 1)
    img_P_cam[:, 0, 2] += 3 * index
    valid_px = torch.tensor([0.0, 0.0, width, height]).repeat(size, 1)
    valid_px[:, 2] -= 5 * index
    cam_T_lidar = torch.from_numpy(nominal_cam_T_lidar()).float().repeat(size, 1, 1)
    return FrameBatch(images, valid_px, img_P_cam, cam_T_lidar, tuple(f"{i:06d}" for i in range(size)))


@pytest.fixture
def tiny_config() -> StudentConfig:
    return make_tiny_config()


@pytest.fixture
def tiny_checkpoint_config(tiny_config) -> Config:
    return Config("tiny", student=tiny_config)


@pytest.fixture
def tiny_config_of_three(tiny_config) -> Config:
    """Student, assistant and teacher on one BEV map."""
    teacher = TeacherConfig(
        grid=GridConfig(tiny_config.grid.range_m, (0.25, 0.25, 0.25)),
        encoder=LidarEncoderConfig(channels=(4, 6, 8), blocks=1, out_channels=10),
        bev=tiny_config.bev,
    )
    return Config("tiny", student=tiny_config, teacher=teacher)


@pytest.fixture
def batch() -> FrameBatch:
    return make_batch(2)


@pytest.fixture
def batch_with_clouds() -> FrameBatch:
    return make_clouds(make_batch(2))


@pytest.fixture
def single() -> FrameBatch:
    return make_batch(1)
