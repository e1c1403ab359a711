"""Linear-increasing discretisation (LID) of depth, as in CaDDN (Reading et al., CVPR 2021, eq. 2).

The continuous index b of a depth t is b = -0.5 + 0.5 sqrt(1 + 8 (t - min) / w) with
w = 2 (max - min) / (D (D + 1)): bin k holds depths with k <= b < k + 1 and is w (k + 1) metres deep.
Index D is the class "out of range".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from monotakd_ros.errors import ConfigError


@dataclass(frozen=True)
class DepthBins:
    """D depth bins in [min_m, max_m), growing linearly with depth."""

    min_m: float
    max_m: float
    num_bins: int

    def __post_init__(self) -> None:
        if not 0 < self.min_m < self.max_m or self.num_bins < 1:
            raise ConfigError(
                f"depth bins: expected 0 < min < max and at least one bin, got {self.min_m}, {self.max_m}, "
                f"{self.num_bins}"
            )

    @property
    def _width(self) -> float:
        return 2.0 * (self.max_m - self.min_m) / (self.num_bins * (self.num_bins + 1))

    def continuous_index(self, depth: torch.Tensor) -> torch.Tensor:
        """Continuous bin index of depth (any shape), m. NaN where depth is too far below the range to have one."""
        return -0.5 + 0.5 * torch.sqrt(1.0 + 8.0 * (depth - self.min_m) / self._width)

    def bin_index(self, depth: torch.Tensor) -> torch.Tensor:
        """Whole bin index (any shape) int64; D where depth is out of range or not finite."""
        index = torch.floor(self.continuous_index(depth))
        valid = torch.isfinite(index) & (index >= 0) & (index < self.num_bins)
        return torch.where(valid, index, torch.full_like(index, self.num_bins)).long()

    def edges(self) -> torch.Tensor:
        """Bin edges (D + 1,) float32, m."""
        k = torch.arange(self.num_bins + 1, dtype=torch.float64)
        return (self.min_m + 0.5 * self._width * k * (k + 1)).float()

    def centers(self) -> torch.Tensor:
        """Bin centres (D,) float32, m: the mean of each bin's edges."""
        edges = self.edges()
        return 0.5 * (edges[1:] + edges[:-1])
