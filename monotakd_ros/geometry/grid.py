"""The voxel and BEV grid in the lidar frame.

BEV maps are (B, C, Y, X): row j grows with y (to the left), column i with x (forward).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from monotakd_ros.errors import ConfigError


@dataclass(frozen=True)
class VoxelGrid:
    """An axis-aligned grid.

    Attributes:
        range_m: (x0, y0, z0, x1, y1, z1) in the lidar frame.
        voxel_size_m: (dx, dy, dz).

    Raises:
        ConfigError: an empty range, or a range that is no whole number of voxels.
    """

    range_m: tuple[float, float, float, float, float, float]
    voxel_size_m: tuple[float, float, float]

    def __post_init__(self) -> None:
        for axis, name in enumerate("xyz"):
            extent = self.range_m[axis + 3] - self.range_m[axis]
            size = self.voxel_size_m[axis]
            if extent <= 0 or size <= 0:
                raise ConfigError(f"grid: expected a positive extent and voxel size along {name}, got {extent}, {size}")
            if abs(extent / size - round(extent / size)) > 1e-3:
                raise ConfigError(f"grid: {extent:g} m along {name} is no whole number of {size:g} m voxels")

    @property
    def shape_xyz(self) -> tuple[int, int, int]:
        """Number of voxels along x, y, z."""
        x, y, z = (round((self.range_m[a + 3] - self.range_m[a]) / self.voxel_size_m[a]) for a in range(3))
        return x, y, z

    def centers(self) -> torch.Tensor:
        """Voxel centres (Z, Y, X, 3) float32, metres, lidar."""
        axes = []
        for axis, count in enumerate(self.shape_xyz):
            low, high = self.range_m[axis], self.range_m[axis + 3]
            step = (high - low) / count
            axes.append(low + (torch.arange(count, dtype=torch.float64) + 0.5) * step)
        z, y, x = torch.meshgrid(axes[2], axes[1], axes[0], indexing="ij")
        return torch.stack([x, y, z], dim=-1).float()

    def contains_xy(self, points: torch.Tensor) -> torch.Tensor:
        """(N,) bool: whether points (N, >=2) lie inside the x and y range."""
        x0, y0, _, x1, y1, _ = self.range_m
        return (points[:, 0] >= x0) & (points[:, 0] < x1) & (points[:, 1] >= y0) & (points[:, 1] < y1)
