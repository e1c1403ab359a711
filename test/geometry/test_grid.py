"""The voxel grid: KITTI's numbers, centres, bad settings."""

from __future__ import annotations

import pytest
import torch

from monotakd_ros.errors import ConfigError
from monotakd_ros.geometry.grid import VoxelGrid

KITTI = VoxelGrid((2.0, -30.08, -3.0, 46.8, 30.08, 1.0), (0.32, 0.32, 0.4))


def test_kitti_grid():
    assert KITTI.shape_xyz == (140, 188, 10)
    centers = KITTI.centers()
    assert centers.shape == (10, 188, 140, 3) and centers.dtype == torch.float32
    assert torch.allclose(centers[0, 0, 0], torch.tensor([2.16, -29.92, -2.8]))
    assert torch.allclose(centers[3, 2, 1], torch.tensor([2.48, -29.28, -1.6]))
    assert torch.allclose(centers[-1, -1, -1], torch.tensor([46.64, 29.92, 0.8]))


def test_contains_is_half_open_and_ignores_height():
    points = torch.tensor(
        [[2.0, 0.0, 99.0], [46.8, 0.0, 0.0], [10.0, 30.08, 0.0], [10.0, -30.08, 0.0], [1.9, 0.0, 0.0]]
    )
    assert KITTI.contains_xy(points).tolist() == [True, False, False, True, False]
    assert KITTI.contains_xy(torch.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize(
    ("range_m", "voxel", "words"),
    [
        ((2, 0, 0, 2, 1, 1), (1, 1, 1), "positive extent .* along x"),
        ((0, 0, 0, 1, 1, 1), (1, 0, 1), "positive extent .* along y"),
        ((0, 0, 0, 1, 1, 1), (1, 1, 0.3), "no whole number .*"),
    ],
)
def test_bad_grid_is_named(range_m, voxel, words):
    with pytest.raises(ConfigError, match=words):
        VoxelGrid(range_m, voxel)
