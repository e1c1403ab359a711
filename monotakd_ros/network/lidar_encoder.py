"""The LiDAR encoder: active voxels through residual sparse convolutions to a BEV map.

Module names inside follow OpenPCDet's `VoxelResBackBone8x` (`conv_input.0`, `conv1.0.conv1`, `conv2.0.0`, ...), so that
the keys of published weights differ by a prefix only.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from monotakd_ros.config import LidarEncoderConfig
from monotakd_ros.network.bev_backbone import NORM_EPS, NORM_MOMENTUM
from monotakd_ros.network.norm import ActiveSiteNorm
from monotakd_ros.network.rulebook import Rulebook, submanifold_rulebook
from monotakd_ros.network.sparse_conv import SparseConv3d, SubmanifoldConv3d
from monotakd_ros.network.sparse_tensor import SparseTensor


def site_norm(channels: int) -> ActiveSiteNorm:
    """The norm after every sparse convolution."""
    return ActiveSiteNorm(channels, eps=NORM_EPS, momentum=NORM_MOMENTUM)


class ResidualBlock(nn.Module):
    """Two submanifold convolutions and a shortcut; sites and channels stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = SubmanifoldConv3d(channels, channels)
        self.bn1 = site_norm(channels)
        self.conv2 = SubmanifoldConv3d(channels, channels)
        self.bn2 = site_norm(channels)

    def forward(self, x: SparseTensor, rulebook: Rulebook) -> SparseTensor:
        out = self.conv1(x, rulebook)
        out = out.with_features(F.relu(self.bn1(out.features), inplace=True))
        out = self.conv2(out, rulebook)
        return out.with_features(F.relu(self.bn2(out.features).add_(x.features), inplace=True))


class ConvNormRelu(nn.Sequential):
    """A sparse convolution (index 0, as in published weights), norm and ReLU."""

    def __init__(self, conv: SubmanifoldConv3d | SparseConv3d) -> None:
        super().__init__(conv, site_norm(len(conv.weight)))

    def forward(self, x: SparseTensor, *rulebook: Rulebook) -> SparseTensor:
        conv, norm = self
        out = conv(x, *rulebook)
        return out.with_features(F.relu(norm(out.features), inplace=True))


class LidarEncoder(nn.Module):
    """Voxels (N, in) on (Z, Y, X) -> BEV map (B, out_channels * heights, Y / stride, X / stride), float32.

    The first stage works at the voxels' resolution; every other halves it with a strided convolution, the last
    without padding along z. A last convolution halves z once more. Heights are folded into the channels: channel
    c * heights + z. Cells without an active site are exactly 0.

    Source: SECOND (Yan et al., Sensors 2018), sec. 3.1.2, with OpenPCDet's residual blocks.
    """

    def __init__(self, config: LidarEncoderConfig, in_channels: int) -> None:
        super().__init__()
        first, *others = config.channels
        self.conv_input = ConvNormRelu(SubmanifoldConv3d(in_channels, first, bias=False))
        self.conv1 = nn.Sequential(*(ResidualBlock(first) for _ in range(config.blocks)))
        self.num_stages = len(config.channels)
        previous = first
        for number, channels in enumerate(others, start=2):
            padding = (0, 1, 1) if number == self.num_stages else (1, 1, 1)
            halve = ConvNormRelu(SparseConv3d(previous, channels, (3, 3, 3), (2, 2, 2), padding))
            blocks = (ResidualBlock(channels) for _ in range(config.blocks))
            self.add_module(f"conv{number}", nn.Sequential(halve, *blocks))
            previous = channels
        self.conv_out = ConvNormRelu(SparseConv3d(previous, config.out_channels, (3, 1, 1), (2, 1, 1)))

    def forward(self, voxels: SparseTensor) -> torch.Tensor:
        rulebook = submanifold_rulebook(voxels)
        x = _run(self.conv1, self.conv_input(voxels, rulebook), rulebook)
        for number in range(2, self.num_stages + 1):
            halve, *blocks = getattr(self, f"conv{number}")
            x = halve(x)
            x = _run(blocks, x, submanifold_rulebook(x))
        return self.conv_out(x).dense().flatten(1, 2)


def _run(blocks: Iterable[nn.Module], x: SparseTensor, rulebook: Rulebook) -> SparseTensor:
    for block in blocks:
        x = block(x, rulebook)
    return x
