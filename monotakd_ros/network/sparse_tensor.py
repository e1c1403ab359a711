"""Features at the active sites of a batch of 3D grids. Indices are (batch, z, y, x), in lexicographic order."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """Features at the active sites of a batch of grids.

    Attributes:
        features: (N, C).
        indices: (N, 4) int64 batch, z, y, x; unique rows in lexicographic order.
        spatial_shape: (Z, Y, X).
        batch_size: number of grids; some may have no active site.
    """

    features: torch.Tensor
    indices: torch.Tensor
    spatial_shape: Triple
    batch_size: int

    def with_features(self, features: torch.Tensor) -> SparseTensor:
        """Other features (N, C') at the same sites."""
        return replace(self, features=features)

    def dense(self) -> torch.Tensor:
        """(B, C, Z, Y, X), exactly 0 where no site is active."""
        channels, cells = self.features.shape[1], math.prod(self.spatial_shape)
        sites = self.indices[:, 0] * channels * cells + linear_keys(self.indices[:, 1:], self.spatial_shape)
        places = sites[:, None] + cells * torch.arange(channels, device=sites.device)
        flat = self.features.new_zeros(self.batch_size * channels * cells)
        flat = flat.index_copy(0, places.flatten(), self.features.flatten())
        return flat.view(self.batch_size, channels, *self.spatial_shape)


def linear_keys(indices: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Position (N,) int64 of each row of `indices` (N, D) in a C-contiguous grid; the first axis may be open-ended.

    Args:
        indices: (N, D) int64.
        shape: sizes of the last axes, D of them or D - 1.
    """
    keys = indices[:, 0]
    for axis, size in enumerate(shape[len(shape) - indices.shape[1] + 1 :], start=1):
        keys = keys * size + indices[:, axis]
    return keys


def indices_of_keys(keys: torch.Tensor, shape: Triple) -> torch.Tensor:
    """Indices (N, 4) int64 of linear keys (N,): the inverse of `linear_keys`."""
    columns = []
    for size in reversed(shape):
        quotient = torch.div(keys, size, rounding_mode="floor")
        columns.append(keys - quotient * size)
        keys = quotient
    return torch.stack([keys, *reversed(columns)], dim=1)
