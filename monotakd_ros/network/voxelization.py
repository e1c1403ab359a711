"""Points to voxels: the mean of the points in each, the first layer of the LiDAR encoder.

Which voxel a point falls into is computed in float64. LiDAR coordinates are often whole millimetres, so that many
points lie on a border; spconv's voxel generator, which computes in float32, puts some 3 % of them one voxel beside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from monotakd_ros.geometry.grid import VoxelGrid
from monotakd_ros.network.sparse_tensor import SparseTensor, linear_keys

POINT_FEATURES = 4


def voxelize(points: Sequence[torch.Tensor], grid: VoxelGrid, max_points: int, max_voxels: int) -> SparseTensor:
    """Active voxels of a batch of clouds.

    A feature is the mean of the first `max_points` points of its voxel. Of each frame the `max_voxels` voxels whose
    first points come first are kept. Points that are not finite or lie outside the grid are dropped.

    Args:
        points: per frame (M, 4) float32 x, y, z, intensity, lidar; M may be 0.
        grid: voxels; the sparse shape has one more along z, which stays empty.
        max_points: per voxel, >= 1.
        max_voxels: per frame, >= 1.

    Returns:
        Features (N, 4) float32.

    Source: SECOND (Yan et al., Sensors 2018), sec. 3.1.1; the mean in place of its feature network as in OpenPCDet.
    """
    x, y, z = grid.shape_xyz
    shape = (z + 1, y, x)
    if not points:
        return SparseTensor(torch.zeros(0, POINT_FEATURES), torch.zeros((0, 4), dtype=torch.int64), shape, 0)
    cloud, indices = _points_in_grid(points, grid)
    order, starts, counts = _group(linear_keys(indices, shape))
    first = order[starts]
    kept = _kept_voxels(first, indices[first, 0], max_voxels, len(points))
    first, starts, counts = first[kept], starts[kept], counts[kept].clamp(max=max_points)
    return SparseTensor(_means(cloud, order, starts, counts, max_points), indices[first], shape, len(points))


def _points_in_grid(points: Sequence[torch.Tensor], grid: VoxelGrid) -> tuple[torch.Tensor, torch.Tensor]:
    """The points (M, 4) float32 inside the grid, frame after frame, and their voxels (M, 4) int64 batch, z, y, x."""
    cloud = torch.cat([frame.float() for frame in points])
    low, size, count = (
        cloud.new_tensor(v, dtype=torch.float64) for v in (grid.range_m[:3], grid.voxel_size_m, grid.shape_xyz)
    )
    cells = torch.floor((cloud[:, :3].double() - low) / size)
    inside = ((cells >= 0) & (cells < count)).all(dim=1) & cloud.isfinite().all(dim=1)
    frames = torch.arange(len(points), device=cloud.device)
    frames = frames.repeat_interleave(torch.tensor([len(frame) for frame in points], device=cloud.device))
    indices = torch.cat([frames[inside, None], cells[inside].long().flip(1)], dim=1)
    return cloud[inside], indices


def _group(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Points by voxel: their order (M,), and per voxel (V,) where it starts in that order and how many it has."""
    sorted_keys, order = torch.sort(keys, stable=True)
    _, counts = torch.unique_consecutive(sorted_keys, return_counts=True)
    return order, counts.cumsum(0) - counts, counts


def _kept_voxels(first: torch.Tensor, frames: torch.Tensor, max_voxels: int, batch_size: int) -> torch.Tensor:
    """(V,) bool: among the `max_voxels` of its frame whose first points (V,) come first."""
    by_time = torch.argsort(first)
    rank = torch.empty_like(by_time)
    rank[by_time] = torch.arange(len(first), device=first.device)
    per_frame = torch.bincount(frames, minlength=batch_size)
    return rank - (per_frame.cumsum(0) - per_frame)[frames] < max_voxels


def _means(
    cloud: torch.Tensor, order: torch.Tensor, starts: torch.Tensor, counts: torch.Tensor, max_points: int
) -> torch.Tensor:
    """(V, C) mean of each voxel's first `counts` points, added in their order."""
    total = cloud[order[starts]]
    for index in range(1, max_points):
        voxels = torch.nonzero(counts > index).flatten()
        total[voxels] += cloud[order[starts[voxels] + index]]
    return total / counts[:, None]
