"""From voxels to a BEV map: the height axis becomes channels, a 1x1 convolution mixes them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class HeightCollapse(nn.Module):
    """Voxels (B, C, Z, Y, X) -> BEV (B, out, Y, X).

    Input channel c * Z + z of the convolution is channel c of height z (z = 0 lowest). Reading voxels in memory
    order (Y, X, Z, C), as the lift writes them, avoids a copy: the weight is turned instead of the map.

    Source: CaDDN (Reading et al., CVPR 2021), sec. 3.1 "voxel collapse to BEV".
    """

    def __init__(self, channels: int, heights: int, out_channels: int) -> None:
        super().__init__()
        self.heights = heights
        self.conv = nn.Conv2d(channels * heights, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, voxels: torch.Tensor) -> torch.Tensor:
        channels, heights = voxels.shape[1:3]
        assert heights == self.heights, f"expected {self.heights} voxel layers, got {heights}"
        layers = voxels.transpose(1, 2).flatten(1, 2)  # (B, Z * C, Y, X)
        weight = self.conv.weight.unflatten(1, (channels, heights)).transpose(1, 2).flatten(1, 2)
        return F.relu(self.bn(F.conv2d(layers, weight)), inplace=True)
