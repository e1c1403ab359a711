"""Voxelisation: hand numbers, borders in float32, limits, and what is dropped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monotakd_ros.config import TeacherConfig
from monotakd_ros.geometry.grid import VoxelGrid
from monotakd_ros.network.voxelization import voxelize

GRID = VoxelGrid((0.0, -1.0, -1.0, 4.0, 1.0, 1.0), (1.0, 0.5, 1.0))
OFFICIAL = TeacherConfig().grid.build()


def cloud(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def voxels_of(points, max_points=5, max_voxels=1000, grid=GRID) -> dict[tuple[int, ...], list[float]]:
    voxels = voxelize(points, grid, max_points, max_voxels)
    return {tuple(index): feature for index, feature in zip(voxels.indices.tolist(), voxels.features.tolist())}


def test_means_and_places_by_hand():
    first = cloud((0.5, 0.25, 0.5, 0.2), (3.5, -1.0, -1.0, 1.0), (0.7, 0.25, 0.5, 0.6))
    second = cloud((0.5, 0.25, 0.5, 0.0))
    voxels = voxelize((first, second), GRID, 5, 100)
    assert voxels.indices.tolist() == [[0, 0, 0, 3], [0, 1, 2, 0], [1, 1, 2, 0]]
    expected = cloud((3.5, -1.0, -1.0, 1.0), (0.6, 0.25, 0.5, 0.4), (0.5, 0.25, 0.5, 0.0))
    torch.testing.assert_close(voxels.features, expected)
    assert voxels.spatial_shape == (3, 4, 4) and voxels.batch_size == 2
    assert voxels.features.dtype == torch.float32 and voxels.indices.dtype == torch.int64


def test_first_points_and_first_voxels_are_kept():
    points = cloud(
        (2.5, 0, 0, 0.0), (0.5, 0, 0, 0.1), (2.5, 0, 0, 0.4), (1.5, 0, 0, 0.2), (2.5, 0, 0, 9.0), (0.5, 0, 0, 0.3)
    )
    kept = voxels_of((points, points[:1]), max_points=2, max_voxels=2)
    assert [round(feature[3], 5) for feature in kept.values()] == [0.2, 0.2, 0.0]
    assert list(kept) == [(0, 1, 2, 0), (0, 1, 2, 2), (1, 1, 2, 2)]


def test_what_is_not_finite_or_outside_is_dropped():
    inside = (0.0, -1.0, -1.0, 0.5)
    outside = [(4.0, 0, 0, 0), (-1e-3, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1e30, 0, 0, 0)]
    broken = [(np.nan, 0, 0, 0), (1, np.inf, 0, 0), (1, 0, -np.inf, 0), (1, 0, 0, np.nan)]
    assert voxels_of((cloud(*outside, *broken, inside),)) == {(0, 0, 0, 0): list(inside)}


@pytest.mark.parametrize("points", [cloud(), cloud((9, 9, 9, 0)), cloud((np.nan, 0, 0, 0))])
def test_nothing_in_the_grid(points):
    voxels = voxelize((points, points), GRID, 5, 100)
    assert voxels.features.shape == (0, 4) and voxels.indices.shape == (0, 4) and voxels.batch_size == 2
    assert voxels_of((points, cloud((0, 0, 0, 0)))) == {(1, 1, 2, 0): [0, 0, 0, 0]}


def test_no_frames():
    voxels = voxelize((), GRID, 5, 100)
    assert voxels.features.shape == (0, 4) and voxels.batch_size == 0


def test_a_point_on_a_border_belongs_to_the_voxel_behind_it():
    """Whole millimetres, on the borders of the official grid as nearly as float32 holds them."""
    x = torch.arange(2000, 46800, 40) / 1000
    points = torch.stack([x, torch.zeros_like(x), torch.zeros_like(x), torch.zeros_like(x)], dim=1)
    index = voxelize((points,), OFFICIAL, 1, 40000).indices[:, 3]
    expected = np.floor((x.double().numpy() - 2.0) / 0.04).astype(np.int64)
    assert index.tolist() == sorted(set(expected.tolist()))


@given(st.integers(0, 1000), st.integers(1, 4), st.integers(1, 12), st.integers(0, 60))
def test_equals_a_loop_over_points(seed, max_points, max_voxels, count):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([5.0, 3.0, 3.0, 1.0])
    shift = torch.tensor([0.5, 1.5, 1.5, 0.0])
    points = [torch.rand(count, 4, generator=generator) * scale - shift for _ in range(2)]
    expected: dict[tuple[int, ...], list[np.ndarray]] = {}
    for frame, rows in enumerate(points):
        held = 0
        for row in rows.numpy():
            x, y, z = np.floor((row[:3] - np.float32([0, -1, -1])) / np.float32([1, 0.5, 1])).astype(int)
            if not (0 <= x < 4 and 0 <= y < 4 and 0 <= z < 2):
                continue
            if (frame, z, y, x) not in expected:
                if held == max_voxels:
                    continue
                expected[frame, z, y, x] = []
                held += 1
            if len(expected[frame, z, y, x]) < max_points:
                expected[frame, z, y, x].append(row)
    got = voxels_of(points, max_points, max_voxels)
    assert list(got) == sorted(expected)
    for index, rows in expected.items():
        np.testing.assert_allclose(got[index], np.mean(rows, axis=0), rtol=1e-5, atol=1e-6)


def test_parity_points(data_dir):
    recorded = np.load(data_dir / "parity" / "voxels.npz")
    got = voxels_of((torch.from_numpy(recorded["points"]),), 5, 40000, OFFICIAL)
    means = recorded["voxels"].sum(axis=1) / recorded["voxel_num_points"][:, None]
    expected = {tuple(index): mean for index, mean in zip(recorded["voxel_coords"].tolist(), means)}
    assert got.keys() == expected.keys()
    np.testing.assert_allclose([got[i] for i in expected], list(expected.values()), rtol=1e-6, atol=1e-6)


def without_border_points(points: np.ndarray) -> np.ndarray:
    """The points that float32 and float64 place alike."""
    low, size = OFFICIAL.range_m[:3], OFFICIAL.voxel_size_m
    exact, coarse = ((points[:, :3] - kind(low)) / kind(size) for kind in (np.float64, np.float32))
    return points[(np.floor(exact) == np.floor(coarse)).all(axis=1)]


@pytest.mark.parametrize("max_voxels", [40000, 3000])
def test_real_cloud_equals_spconv(data_dir, max_voxels):
    pytest.importorskip("spconv.utils")
    from cumm import tensorview
    from spconv.utils import Point2VoxelCPU3d

    points = np.fromfile(data_dir / "kitti" / "training" / "velodyne" / "000007.bin", np.float32).reshape(-1, 4)
    points = without_border_points(points)
    oracle = Point2VoxelCPU3d(list(OFFICIAL.voxel_size_m), list(OFFICIAL.range_m), 4, max_voxels, 5)
    values, indices, counts = (item.numpy() for item in oracle.point_to_voxel(tensorview.from_numpy(points)))
    voxels = voxelize((torch.from_numpy(points),), OFFICIAL, 5, max_voxels)
    order = np.lexsort(indices.T[::-1])
    assert np.array_equal(voxels.indices[:, 1:].numpy(), indices[order])
    means = values.sum(axis=1)[order] / counts[order, None]
    np.testing.assert_allclose(voxels.features.numpy(), means, rtol=1e-6, atol=1e-6)
